//! Why a daemon ends, for people and for its parent.

use std::fmt::Display;

/// Why the daemon cannot run (any more), and what its parent should make of it.
#[derive(Debug)]
pub struct Stopped {
    /// For people.
    pub why: String,
    /// One of `exit`.
    pub code: u8,
}

impl Stopped {
    pub(super) fn new(code: u8, what: impl Display, error: impl Display) -> Self {
        Self {
            why: format!("{what}: {error}"),
            code,
        }
    }

    /// A crash: started again.
    pub(super) fn crash(what: impl Display, error: impl Display) -> Self {
        Self::new(1, what, error)
    }
}
