//! Bytes on disk of a replica's store: superblocks, intent ring, bitmaps, data.
//!
//! May not know: sockets, threads, clocks, the engine. Everything but `store` (which creates and
//! opens files and devices) is a function from values to bytes and back.

pub mod recovered;
