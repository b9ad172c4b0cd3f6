//! Fencing: making sure that a node takes no more steps, as pure code. No device is touched here.
//!
//! The one thing that counts is a node seen *off*. A command that was accepted, a device that does
//! not answer (its host may have no power, or its network may be cut) or a node that is silent
//! prove nothing.

mod confirmation;

pub use confirmation::{Confirmation, Epoch, Event, READINGS, Reading, SUPPLIES_MAX, Supply};

/// What is known of a fenced node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was seen off: it takes no more steps until someone powers it on.
    Confirmed,
    /// It was seen on, or a device refused: it may be running.
    Failed,
    /// Nobody can say. To be treated as running.
    Unknown,
}

impl Verdict {
    /// Whether something may be built on the node being off. Never true for `Unknown`.
    #[must_use]
    pub const fn is_confirmed(self) -> bool {
        matches!(self, Self::Confirmed)
    }
}
