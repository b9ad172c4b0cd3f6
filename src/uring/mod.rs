//! The io_uring reactor: one thread that carries an I/O from socket to disk to peer and back.
//!
//! It owns the sockets, the disk, the buffers and the timers, and drives the pure engine
//! (`engine::Volume`) with what happens there. It decides nothing: policy is the engine's. This
//! folder holds the only `unsafe` code of the workspace.
//!
//! One pass of the loop: handle every completion and message that is there, let the volumes release
//! what clock and lease allow, hand all ready bytes to the sockets, submit everything to the kernel
//! at once and sleep until something happens.

mod clients;
mod clock;
mod complaints;
mod config;
mod disk;
mod effects;
mod hear;
mod inbound;
mod kit;
mod lease_cell;
mod link;
mod links;
mod mapping;
mod message;
mod outbound;
mod pass;
mod progress_cell;
mod reactor;
mod requests;
mod ring;
mod served;
mod session;
mod slab;
mod slots;
mod socket;
mod stop;
mod token;

pub use config::{Limits, NbdAddress, Peer, ReactorConfig, Store, VolumeSetup};
pub use lease_cell::LeaseCell;
pub use message::{Figures, Handle, Input, Output};
pub use progress_cell::ProgressCell;
pub use reactor::Reactor;
