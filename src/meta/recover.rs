//! From the bytes of a store to what the engine starts from, and the bytes of an empty store.

mod replay;

use std::io;

use replay::read_ring;

use super::bitmap::{self, PageState, WORDS_PER_PAGE};
use super::recovered::{Bits, DirtySlot, Layout, Recovered};
use super::ring;
use super::superblock::{Fault, Superblock};
use super::{Finding, PAGE, PageBytes, Refused, Severity, layout};
use crate::types::{Index, NodeId, REGION, Seq};

/// Reads bytes of a store: all of `buf`, from byte `offset`. Both are multiples of the page.
pub type Read<'a> = dyn FnMut(u64, &mut [u8]) -> io::Result<()> + 'a;

/// Pages that are read in one go.
const CHUNK: usize = 64;

/// The metadata pages of an empty store, by byte offset. Written durably, in this order, over an
/// area that reads as zeroes up to the end of the data; the superblocks come last, so that a store
/// of which only a part was written is no store.
///
/// `superblock.generation` is that of the second superblock and must be 1.
#[must_use]
pub fn format(superblock: &Superblock) -> Vec<(u64, Box<PageBytes>)> {
    assert!(superblock.generation == 1 && superblock.failed.is_none());
    assert!(superblock.dirty.iter().all(Option::is_none));
    let layout = &superblock.layout;
    let mut pages = Vec::new();
    let table = vec![None; ring::SLOTS];
    for number in 1..=ring::PAGES as u64 {
        let mut page = Box::new([0; PAGE]);
        let record = ring::Record::new(number, Seq(0), &[], &table);
        ring::encode(superblock.store, &record, &mut page);
        pages.push((layout.ring_page(number), page));
    }
    for index in 0..layout.written_pages {
        let mut page = Box::new([0; PAGE]);
        bitmap::encode_written(superblock.store, index, &[], &mut page);
        pages.push((layout.written_page(index), page));
    }
    for generation in [0, 1] {
        let mut page = Box::new([0; PAGE]);
        Superblock {
            generation,
            ..*superblock
        }
        .encode(&mut page);
        pages.push((layout.superblock(generation), page));
    }
    pages
}

/// Reads everything but the data of a store of `store_bytes` bytes. What can be used although it is
/// not as it should be is told in `Recovered::findings`.
pub fn recover(read: &mut Read<'_>, store_bytes: u64) -> Result<Recovered, Refused> {
    let mut findings = Vec::new();
    let superblock = newest_superblock(read, store_bytes, &mut findings)?;
    if let Some(errno) = superblock.failed {
        findings.push(Finding {
            severity: Severity::Damaged,
            offset: superblock.layout.superblock(superblock.generation),
            what: format!(
                "the store has failed with error {errno} of its disk, and is not used any more"
            ),
        });
    }
    let layout = superblock.layout;
    let needed = layout.store_bytes(superblock.size);
    if store_bytes < needed {
        return Err(Refused::TooSmall {
            bytes: store_bytes,
            needed,
        });
    }
    let ring = read_ring(read, &superblock, &mut findings)?;
    let mut written = read_written(read, &superblock, &mut findings);
    for &region in ring.table.iter().flatten() {
        written.words[region as usize / 64] |= 1 << (region % 64);
    }
    let dirty = (0..)
        .zip(superblock.dirty)
        .map(|(slot, dirty)| {
            dirty.map(|(replica, since)| {
                read_dirty(read, &superblock, slot, replica, since, &mut findings)
            })
        })
        .collect();
    Ok(Recovered {
        cluster: superblock.cluster,
        volume: superblock.volume,
        store: superblock.store,
        node: superblock.node,
        size: superblock.size,
        layout,
        term: superblock.term,
        seq: ring.seq,
        generation: superblock.generation,
        record: ring.number,
        active: ring.table,
        written,
        dirty,
        failed: superblock.failed,
        findings,
    })
}

/// Reads and decodes one superblock.
pub(super) fn read_superblock(
    read: &mut Read<'_>,
    offset: u64,
    store_bytes: u64,
) -> Result<Superblock, SuperblockFault> {
    if offset + PAGE as u64 > store_bytes {
        return Err(SuperblockFault::Beyond);
    }
    let mut page = [0; PAGE];
    read(offset, &mut page).map_err(|error| SuperblockFault::Unreadable(error.to_string()))?;
    let superblock = Superblock::decode(&page).map_err(SuperblockFault::Bad)?;
    if superblock.layout.superblock(superblock.generation) != offset {
        return Err(SuperblockFault::Bad(Fault::Damaged(
            "at the place of the other superblock",
        )));
    }
    Ok(superblock)
}

/// Why a superblock is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SuperblockFault {
    /// The store ends before it.
    Beyond,
    /// The medium failed.
    Unreadable(String),
    /// The bytes are not right.
    Bad(Fault),
}

impl std::fmt::Display for SuperblockFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Beyond => write!(f, "beyond the end"),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Bad(fault) => write!(f, "{fault}"),
        }
    }
}

fn newest_superblock(
    read: &mut Read<'_>,
    store_bytes: u64,
    findings: &mut Vec<Finding>,
) -> Result<Superblock, Refused> {
    let found = layout::SUPERBLOCKS.map(|offset| read_superblock(read, offset, store_bytes));
    for copy in &found {
        if let Err(SuperblockFault::Bad(Fault::Newer(version))) = copy {
            return Err(Refused::NewerVersion { found: *version });
        }
    }
    match found {
        [Ok(a), Ok(b)] => {
            if !a.same_store(&b) {
                return Err(Refused::SuperblocksDisagree);
            }
            if a.generation.abs_diff(b.generation) != 1 {
                findings.push(Finding {
                    severity: Severity::Suspicious,
                    offset: layout::SUPERBLOCKS[0],
                    what: format!(
                        "the superblocks have the generations {} and {}: one was skipped",
                        a.generation, b.generation
                    ),
                });
            }
            Ok(if a.generation > b.generation { a } else { b })
        }
        // A torn write leaves a whole superblock, the old one or the new, so this is rot; and the
        // damaged one may have been the newer: the other's term may be one that this replica has
        // promised to refuse.
        [Ok(good), Err(fault)] | [Err(fault), Ok(good)] => Err(Refused::SuperblockDamaged {
            offset: good.layout.superblock(good.generation + 1),
            what: fault.to_string(),
        }),
        [Err(a), Err(b)] => {
            let foreign = |fault: &SuperblockFault| {
                matches!(
                    fault,
                    SuperblockFault::Beyond | SuperblockFault::Bad(Fault::Blank | Fault::Foreign)
                )
            };
            if foreign(&a) && foreign(&b) {
                let blank = a == SuperblockFault::Bad(Fault::Blank);
                Err(Refused::Foreign {
                    looks_like: super::signature::recognise(read, store_bytes).map_or_else(
                        || {
                            String::from(if store_bytes == 0 {
                                "it is empty"
                            } else if store_bytes < PAGE as u64 {
                                "it ends within its first block"
                            } else if blank {
                                "it begins with zeroes"
                            } else {
                                "unknown content"
                            })
                        },
                        |name| format!("it looks like {name}"),
                    ),
                })
            } else {
                Err(Refused::SuperblocksDamaged {
                    what: [a.to_string(), b.to_string()],
                })
            }
        }
    }
}

fn read_written(read: &mut Read<'_>, superblock: &Superblock, findings: &mut Vec<Finding>) -> Bits {
    let layout = superblock.layout;
    let mut bits = zeroes(layout::regions(superblock.size));
    let offset = |page| layout.written_page(page);
    read_bitmap(read, offset, &mut bits, |index, page, words| {
        let fault =
            match page.map(|page| bitmap::decode_written(superblock.store, index, page, words)) {
                Some(PageState::Good) => return,
                Some(PageState::Blank) => "is empty",
                Some(PageState::Stale | PageState::Bad) => "has a wrong checksum",
                None => "cannot be read",
            };
        words.fill(u64::MAX);
        findings.push(Finding {
            severity: Severity::Damaged,
            offset: layout.written_page(index),
            what: format!(
                "page {index} of the written regions {fault}: all its regions count as written"
            ),
        });
    });
    bits
}

fn read_dirty(
    read: &mut Read<'_>,
    superblock: &Superblock,
    slot: u32,
    replica: NodeId,
    since: Index,
    findings: &mut Vec<Finding>,
) -> DirtySlot {
    let layout: Layout = superblock.layout;
    let mut bits = zeroes(layout::blocks(superblock.size));
    let offset = |page| layout.dirty_page(slot, page);
    read_bitmap(read, offset, &mut bits, |index, page, words| {
        let fault = match page
            .map(|page| bitmap::decode_dirty(superblock.store, replica, since, index, page, words))
        {
            Some(PageState::Good | PageState::Blank | PageState::Stale) => return,
            Some(PageState::Bad) => "has a wrong checksum",
            None => "cannot be read",
        };
        words.fill(u64::MAX);
        findings.push(Finding {
            severity: Severity::Suspicious,
            offset: layout.dirty_page(slot, index),
            what: format!(
                "page {index} of the dirty bitmap of node {replica} {fault}: all its blocks count \
                 as dirty"
            ),
        });
    });
    DirtySlot {
        replica,
        since,
        bits,
    }
}

/// Calls `decode` for each page of a bitmap, with the page if it could be read, and the page's
/// words; then clears the bits beyond the end.
fn read_bitmap(
    read: &mut Read<'_>,
    offset: impl Fn(u32) -> u64,
    bits: &mut Bits,
    mut decode: impl FnMut(u32, Option<&PageBytes>, &mut [u64]),
) {
    let mut buffer = vec![0; CHUNK * PAGE];
    let pages = bits.words.len().div_ceil(WORDS_PER_PAGE);
    for first in (0..pages).step_by(CHUNK) {
        let count = CHUNK.min(pages - first);
        let whole = read(offset(first as u32), &mut buffer[..count * PAGE]).is_ok();
        for (index, chunk) in (first as u32..).zip(buffer[..count * PAGE].chunks_exact_mut(PAGE)) {
            // One bad sector must not cost the whole run.
            let readable = whole || read(offset(index), chunk).is_ok();
            let page: Option<&PageBytes> = chunk.first_chunk().filter(|_| readable);
            let words = bitmap::page_words(index, bits.words.len());
            decode(index, page, &mut bits.words[words]);
        }
    }
    clear_tail(bits);
}

fn zeroes(len: u64) -> Bits {
    Bits {
        words: vec![0; len.div_ceil(64) as usize],
        len,
    }
}

fn clear_tail(bits: &mut Bits) {
    if let (Some(last), tail @ 1..) = (bits.words.last_mut(), bits.len % 64) {
        *last &= (1 << tail) - 1;
    }
}

const _: () = assert!(REGION.is_multiple_of(PAGE as u64));
