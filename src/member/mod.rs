//! The membership core: who is alive, what is agreed, who is primary. Pure state machines.
//!
//! May not know: sockets, files, clocks, threads, what a volume's data is.

mod canaries;
pub mod core;
mod entry;
pub mod io;
mod liveness;
pub mod log;
mod message;
mod policy;
pub mod pulse;
mod state;
#[cfg(test)]
mod tests;

pub use canaries::Canaries;
