//! The replication engine: one volume on one node, as a pure state machine.
//!
//! May not know: sockets, files, clocks, threads, how agreement is reached, how bytes look.

pub mod bits;
pub mod config;
mod disk;
pub mod gateway;
pub mod interval;
pub mod io;
mod primary;
mod replica;
mod slab;
mod store;
#[cfg(test)]
mod tests;
pub mod unstable;
pub mod volume;
pub mod window;
pub mod windows;

#[cfg(test)]
mod schedules;

pub use config::{Canaries, Timing, VolumeConfig};
pub use volume::Volume;
