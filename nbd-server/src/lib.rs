//! The NBD protocol, server side, as pure code: no socket, file, thread, clock or dependency.
//!
//! Contract, in the order in which a driver meets it:
//! 1. [`Handshake::new`] writes the greeting. Bytes that arrive go to [`Handshake::input`]; what it
//!    appends to `out` is sent. It says how many bytes it used: those it left belong to the next
//!    call, or to the transmission phase. The driver limits the time that a handshake may take.
//! 2. [`Outcome::Transmission`] names the export and gives a [`Transmission`]. From then on
//!    [`Transmission::next`] parses one request header at a time where it lies in the receive
//!    buffer, and has judged it: a [`Parsed::Request`] is in range and allowed, everything else is
//!    answered or closed without asking the disk. It keeps no state: the driver steps over
//!    [`REQUEST_LEN`] bytes and takes the payload, or skips the `drain`, that follows.
//! 3. Answers go out in any order: [`Transmission::data_reply`] before the data of a read,
//!    [`Transmission::reply`] for everything else. Both write into a slice of the driver's.
//!
//! Nothing here allocates in the transmission phase. A request is never refused because quorum or
//! lease is missing: it waits, in the engine.

mod errno;
mod export;
mod handshake;
mod option;
pub mod protocol;
mod reply;
mod request;

pub use errno::Errno;
pub use export::{Export, Flags};
pub use handshake::{Handshake, OUTPUT_PAUSE, Outcome};
pub use protocol::{BLOCK_MIN, BLOCK_PREFERRED, PAYLOAD_ACCEPTED_MAX, PAYLOAD_ADVERTISED_MAX};
pub use reply::{DATA_REPLY_MAX, REPLY_MAX};
pub use request::{Command, Disconnect, Parsed, REQUEST_LEN, Request, Transmission};
