//! Bytes on disk of a replica's store: superblocks, intent ring, bitmaps, data.
//!
//! May not know: sockets, threads, the engine. Everything but `store` (which creates, locks and opens
//! files and devices, and therefore waits) is a function from values to bytes and back, without a
//! clock. Described byte by byte,
//! with the argument for each crash, in `docs/on-disk-format.md`.
//!
//! Rules that every writer keeps:
//! - Every page is written whole, durably, and by one writer at a time.
//! - Superblock generation `g` goes to `layout.superblocks[g % 2]`, after `g - 1` is durable.
//! - Ring record `n` goes to `layout.ring_page(n)`, after record `n - 1` is durable.
//! - The pages of a dirty bitmap that hold bits are durable before the superblock that names the
//!   bitmap.

pub mod bitmap;
mod bytes;
pub mod finding;
pub mod layout;
pub mod recover;
pub mod recovered;
pub mod refused;
pub mod report;
pub mod ring;
pub mod signature;
pub mod store;
pub mod superblock;
#[cfg(test)]
mod tests;

pub use finding::{Finding, Severity};
pub use layout::layout;
pub use recover::{format, recover};
pub use refused::Refused;
pub use report::{Report, Verdict, inspect};

/// Bytes of a metadata page: the unit of every metadata write.
pub const PAGE: usize = 4096;

/// One metadata page.
pub type PageBytes = [u8; PAGE];

/// Version of the format that this program writes, and the newest one that it reads.
pub const VERSION: u32 = 1;

const _: () = assert!(PAGE as u64 == crate::types::BLOCK);
