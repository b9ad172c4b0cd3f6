//! Real processes: sandboxes, clients that nobody here wrote, cut links.
//!
//! Nothing in here knows the product's code: it speaks to it as a person or a script would, by the
//! command line, its JSON and NBD.

pub mod client;
pub mod cut;
pub mod events;
pub mod filler;
pub mod image;
pub mod latency;
pub mod processes;
pub mod pty;
pub mod replicas;
pub mod sandbox;
pub mod solo;
pub mod tool;
pub mod writer;

use std::time::{Duration, Instant};

/// Looks every few milliseconds until `ready` gives something; panics with `what` after `patience`.
///
/// # Panics
///
/// `patience` is over.
pub fn wait_for<T>(what: &str, patience: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
