//! One page of the ring.
//!
//! Eight sectors of 512 bytes, each ending with the page's tag: the CRC32 of its number (u64). What is
//! left of the sectors, put together, holds: 8 bytes magic, version (u16), length of the body (u16),
//! CRC32 of identity, of these 12 bytes and of the body (u32), body. Numbers are little-endian; the body is `Body` in postcard's
//! encoding.
//!
//! Sectors of a torn write carry different tags: that of the page, and that of what was there before,
//! or zero. A page whose sectors all carry one tag but whose CRC is wrong was not torn: it is damaged;
//! and so is one with a tag that was never written there. The tag is no plain number, so that no
//! single bit makes the one of the other.

use serde::{Deserialize, Serialize};

use super::{Ballot, Identity, PAGE, SnapshotAt};
use crate::member::entry::{ENTRY_MAX, Entry};
use crate::types::{Index, NodeId};

const MAGIC: [u8; 8] = *b"SFLOGRNG";
const VERSION: u16 = 2;
const SECTOR: usize = 512;
const TAG: usize = 4;
/// Bytes of the sectors without their numbers.
const ROOM: usize = PAGE / SECTOR * (SECTOR - TAG);
/// Bytes before the body.
const HEAD: usize = 16;
/// Most bytes of a body without its entries.
const BODY_OVERHEAD: usize = 128;
/// Room for the entries of one page.
pub(super) const ENTRIES_MAX: usize = ROOM - HEAD - BODY_OVERHEAD;

const _: () = assert!(ENTRIES_MAX >= 3 * ENTRY_MAX);

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    /// Its number; goes up by one with each page.
    pub(super) sequence: u64,
    /// The oldest page that counts.
    pub(super) tail: u64,
    /// The newest term.
    pub(super) term: u64,
    /// The vote in that term.
    pub(super) vote: Option<NodeId>,
    /// The newest snapshot.
    pub(super) snapshot: SnapshotAt,
    /// Index of the first of the entries.
    pub(super) first: Index,
    /// New entries. One that is there already in the same term changes nothing; one of another term
    /// takes the place of the older one and of all that followed it.
    pub(super) entries: Vec<Entry>,
}

impl Body {
    /// Term and vote.
    pub(super) const fn ballot(&self) -> Ballot {
        Ballot {
            term: self.term,
            vote: self.vote,
        }
    }
}

/// What was found where a page should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A page.
    Page(Box<Body>),
    /// Zeroes.
    Blank,
    /// Sectors of several pages, by their tags.
    Mixed([u32; PAGE / SECTOR]),
    /// Written whole, and changed since; the sectors carry this tag.
    Damaged(u32),
    /// Of another version.
    Version(u16),
}

/// The page as bytes.
pub(super) fn encode(body: &Body, identity: &Identity) -> Box<[u8; PAGE]> {
    let encoded = postcard::to_stdvec(body).unwrap_or_default();
    assert!(
        !encoded.is_empty() && encoded.len() <= ROOM - HEAD,
        "pages are filled within their room"
    );
    let mut room = [0; ROOM];
    room[..8].copy_from_slice(&MAGIC);
    room[8..10].copy_from_slice(&VERSION.to_le_bytes());
    room[10..12].copy_from_slice(&(encoded.len() as u16).to_le_bytes());
    let crc = checksum(identity, &room[..12], &encoded);
    room[12..16].copy_from_slice(&crc.to_le_bytes());
    room[HEAD..HEAD + encoded.len()].copy_from_slice(&encoded);
    let mut bytes = Box::new([0; PAGE]);
    let tag = tag(body.sequence).to_le_bytes();
    let sectors = bytes.chunks_exact_mut(SECTOR);
    for (sector, part) in sectors.zip(room.chunks_exact(SECTOR - TAG)) {
        sector[..SECTOR - TAG].copy_from_slice(part);
        sector[SECTOR - TAG..].copy_from_slice(&tag);
    }
    bytes
}

/// What every sector of the page with this number ends with.
pub(super) fn tag(sequence: u64) -> u32 {
    crc32fast::hash(&sequence.to_le_bytes())
}

/// Reads a page.
pub(super) fn decode(bytes: &[u8], identity: &Identity) -> Found {
    if bytes.iter().all(|&byte| byte == 0) {
        return Found::Blank;
    }
    let mut room = Vec::with_capacity(ROOM);
    let mut tags = [0; PAGE / SECTOR];
    for (sector, found) in bytes.chunks_exact(SECTOR).zip(&mut tags) {
        let (part, tag) = sector.split_at(SECTOR - TAG);
        room.extend_from_slice(part);
        *found = u32::from_le_bytes([tag[0], tag[1], tag[2], tag[3]]);
    }
    let found = tags[0];
    if tags.iter().any(|&other| other != found) {
        return Found::Mixed(tags);
    }
    let number = |at: usize| u16::from_le_bytes([room[at], room[at + 1]]);
    let len = usize::from(number(10));
    if room[..8] != MAGIC || len > ROOM - HEAD {
        return Found::Damaged(found);
    }
    let encoded = &room[HEAD..HEAD + len];
    let crc = u32::from_le_bytes([room[12], room[13], room[14], room[15]]);
    if crc != checksum(identity, &room[..12], encoded) {
        return Found::Damaged(found);
    }
    if number(8) != VERSION {
        return Found::Version(number(8));
    }
    match postcard::from_bytes::<Body>(encoded) {
        Ok(body) if tag(body.sequence) == found => Found::Page(Box::new(body)),
        Ok(_) | Err(_) => Found::Damaged(found),
    }
}

fn checksum(identity: &Identity, head: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&identity.cluster.to_le_bytes());
    crc.update(&[identity.node.0]);
    crc.update(head);
    crc.update(body);
    crc.finalize()
}
