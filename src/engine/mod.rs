//! The replication engine: one volume on one node, as a pure state machine.
//!
//! May not know: sockets, files, clocks, threads, how agreement is reached, how bytes look.

pub mod bits;
pub mod config;
pub mod gateway;
pub mod interval;
pub mod io;
pub mod unstable;
pub mod volume;
pub mod window;

#[cfg(test)]
mod schedules;

pub use config::{Canaries, Timing, VolumeConfig};
pub use volume::Volume;
