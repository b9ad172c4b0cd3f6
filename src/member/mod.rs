//! The membership core: who is alive, what is agreed, who is primary. Pure state machines.
//!
//! May not know: sockets, files, clocks, threads, what a volume's data is.

pub mod io;
