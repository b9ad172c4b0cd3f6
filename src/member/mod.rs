//! The membership core: who is alive, what is agreed, who is primary. Pure state machines.
//!
//! May not know: sockets, files, clocks, threads, what a volume's data is.

mod canaries;
pub mod core;
pub mod io;
pub mod log;
pub mod pulse;

pub use canaries::Canaries;
