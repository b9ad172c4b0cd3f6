//! Digests of data: whether two replicas hold the same, for 32 bytes on the wire.
//!
//! Two different pieces of data with one digest would stay different on two replicas for ever, and
//! clients choose what they write. So the digest is BLAKE3 with all its 256 bits: nobody can make
//! two such pieces, and chance will not. A faster, weaker one would need a secret seed, and would
//! rest on it. Without a key, because none is needed: the answer is bound to its question by their
//! number, and the link that carries digests carries the data itself.

use super::frame::Digest;

/// The digest of data.
#[must_use]
pub fn digest(data: &[u8]) -> Digest {
    Digest(*blake3::hash(data).as_bytes())
}
