//! Bytes between peers: frames of the data links, sealed datagrams of the pulse and the core.
//!
//! May not know: sockets, clocks, the engine's or the core's state. Everything here is a function
//! from values to bytes and back; what comes from outside is refused with an error, never a panic.
//! Described byte by byte in `docs/wire-format.md`.

pub mod codec;
pub mod digest;
mod fields;
pub mod frame;
pub mod handshake;
pub mod key;
pub mod pulse;
pub mod seal;
#[cfg(test)]
mod tests;
