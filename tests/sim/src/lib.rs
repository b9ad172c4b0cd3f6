//! Deterministic simulation of whole clusters.
//!
//! The real pulse, core and volume of every node run in one thread, over disks, log files, clocks
//! and a network that fail in every way a seed can think of. Oracles judge what clients see and
//! what the disks hold. One seed is one run.

pub mod canaries;
pub mod clock;
pub mod disk;
pub mod logfile;
pub mod net;
pub mod options;
pub mod oracle;
pub mod queue;
pub mod random;
pub mod runner;
pub mod scenarios;
pub mod script;
pub mod slab;
pub mod world;
