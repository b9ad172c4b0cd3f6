//! Deterministic simulation of whole clusters.

pub mod clock;
pub mod disk;
pub mod logfile;
pub mod oracle;
pub mod queue;
pub mod random;
pub mod slab;
