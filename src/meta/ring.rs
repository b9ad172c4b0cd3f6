//! The intent ring: which regions may differ between replicas, as a log of 4 KiB records.
//!
//! A record says what changed in the slot table, and repeats one eighth of the table ("context"),
//! another one with each record. So any [`ROTATION`] consecutive records reproduce the whole table
//! and nothing ever needs a checkpoint. Record `n` lies in page `n % PAGES`.
//!
//! Every 512-byte sector of a page ends with the record's number and a CRC of its own. A torn
//! write leaves whole sectors, old and new; rot leaves a sector whose CRC is wrong. The first is
//! harmless (nobody was told that the record is durable), the second is not.

use super::bytes::{put_u16, put_u32, put_u64, put_u128, u16_at, u32_at, u64_at, u128_at};
use super::{PAGE, PageBytes, VERSION};
use crate::types::{Seq, StoreId};

/// Slots of the table: most regions active at once.
pub const SLOTS: usize = 4096;
/// Slots that each record repeats.
pub const CONTEXT: usize = 512;
/// So many consecutive records reproduce the table.
pub const ROTATION: usize = SLOTS / CONTEXT;
/// Pages of the ring: twice what is needed, so that one damaged page is seldom fatal.
pub const PAGES: usize = 16;
/// Most changes in one record.
pub const CHANGES_MAX: usize = 256;

const SECTOR: usize = 512;
const SECTORS: usize = PAGE / SECTOR;
/// Bytes of a sector that carry the record; then the number's low half and the CRC.
const SECTOR_BODY: usize = SECTOR - 8;
const BODY: usize = SECTORS * SECTOR_BODY;

const MAGIC: u64 = u64::from_le_bytes(*b"SFintent");
const VERSION_AT: usize = 8;
const LENGTH_AT: usize = 12;
const STORE_AT: usize = 16;
const NUMBER_AT: usize = 32;
const SEQ_AT: usize = 40;
const CHANGES_AT: usize = 48;
const CONTEXT_FIRST_AT: usize = 50;
const CONTEXT_LEN_AT: usize = 52;
const BODY_CRC_AT: usize = 56;
const CHANGED_SLOTS_AT: usize = 64;
const CHANGED_REGIONS_AT: usize = CHANGED_SLOTS_AT + CHANGES_MAX * 2;
const CONTEXT_AT: usize = CHANGED_REGIONS_AT + CHANGES_MAX * 4;

/// A slot without a region.
const NONE: u32 = u32::MAX;

const _: () = assert!(SLOTS.is_multiple_of(CONTEXT) && CONTEXT_AT + CONTEXT * 4 <= BODY);
// The newest record may be torn, and takes the place of the oldest.
const _: () = assert!(PAGES > ROTATION);

/// A record to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// One more than the record before; formatting writes 1 to [`PAGES`].
    pub number: u64,
    /// Highest sequence number given out so far.
    pub seq: Seq,
    /// Slots that change, and what they hold from now on; at most [`CHANGES_MAX`].
    pub changes: &'a [(u16, Option<u32>)],
    /// First slot of the context: see [`context_first`].
    pub context_first: u16,
    /// The [`CONTEXT`] slots from there, as they are after the changes.
    pub context: &'a [Option<u32>],
}

/// First slot of the context of record `number`.
#[must_use]
pub const fn context_first(number: u64) -> u16 {
    (number % ROTATION as u64 * CONTEXT as u64) as u16
}

impl<'a> Record<'a> {
    /// The record that makes `changes`; `table` is the slot table after them.
    #[must_use]
    pub fn new(
        number: u64,
        seq: Seq,
        changes: &'a [(u16, Option<u32>)],
        table: &'a [Option<u32>],
    ) -> Self {
        assert!(table.len() == SLOTS);
        let first = context_first(number);
        Self {
            number,
            seq,
            changes,
            context_first: first,
            context: &table[usize::from(first)..usize::from(first) + CONTEXT],
        }
    }
}

/// Encodes a record into its page.
///
/// # Panics
/// If there are too many changes, a slot is out of range, or the context is not the one that this
/// record has to repeat: the table could not be reproduced.
pub fn encode(store: StoreId, record: &Record<'_>, page: &mut PageBytes) {
    assert!(record.changes.len() <= CHANGES_MAX);
    assert!(record.context_first == context_first(record.number));
    assert!(record.context.len() == CONTEXT);
    let mut body = [0; BODY];
    put_u64(&mut body, 0, MAGIC);
    put_u32(&mut body, VERSION_AT, VERSION);
    put_u32(&mut body, LENGTH_AT, PAGE as u32);
    put_u128(&mut body, STORE_AT, store.0);
    put_u64(&mut body, NUMBER_AT, record.number);
    put_u64(&mut body, SEQ_AT, record.seq.0);
    put_u16(&mut body, CHANGES_AT, record.changes.len() as u16);
    put_u16(&mut body, CONTEXT_FIRST_AT, record.context_first);
    put_u16(&mut body, CONTEXT_LEN_AT, record.context.len() as u16);
    for (index, &(slot, region)) in record.changes.iter().enumerate() {
        assert!(usize::from(slot) < SLOTS);
        put_u16(&mut body, CHANGED_SLOTS_AT + index * 2, slot);
        put_u32(&mut body, CHANGED_REGIONS_AT + index * 4, raw(region));
    }
    for (index, &region) in record.context.iter().enumerate() {
        put_u32(&mut body, CONTEXT_AT + index * 4, raw(region));
    }
    // A second write of the same number may tear over a torn first one: every sector is good then
    // and carries the number, and only this CRC tells.
    let crc = crc32fast::hash(&body);
    put_u32(&mut body, BODY_CRC_AT, crc);
    for (sector, part) in page
        .chunks_exact_mut(SECTOR)
        .zip(body.chunks_exact(SECTOR_BODY))
    {
        sector[..SECTOR_BODY].copy_from_slice(part);
        put_u32(sector, SECTOR_BODY, record.number as u32);
        let crc = crc32fast::hash(&sector[..SECTOR - 4]);
        put_u32(sector, SECTOR - 4, crc);
    }
}

fn raw(region: Option<u32>) -> u32 {
    match region {
        Some(region) => {
            assert!(region != NONE);
            region
        }
        None => NONE,
    }
}

fn cooked(raw: u32) -> Option<u32> {
    (raw != NONE).then_some(raw)
}

/// A record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// See [`Record`].
    pub number: u64,
    /// See [`Record`].
    pub seq: Seq,
    /// See [`Record`].
    pub changes: Vec<(u16, Option<u32>)>,
    /// See [`Record`].
    pub context_first: u16,
    /// See [`Record`].
    pub context: Vec<Option<u32>>,
}

impl Decoded {
    fn record(&self) -> Record<'_> {
        Record {
            number: self.number,
            seq: self.seq,
            changes: &self.changes,
            context_first: self.context_first,
            context: &self.context,
        }
    }

    /// Brings a slot table up to this record.
    pub fn apply(&self, table: &mut [Option<u32>]) {
        for &(slot, region) in &self.changes {
            table[usize::from(slot)] = region;
        }
        let first = usize::from(self.context_first);
        table[first..first + self.context.len()].copy_from_slice(&self.context);
    }
}

/// Why a page holds no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPage {
    /// Every sector is intact, but they are of several writes: the newest was cut off by a loss of
    /// power. Holds the low half of the number in each sector, lowest first, without repetition.
    Torn(Vec<u32>),
    /// A sector's CRC is wrong, or the content makes no sense. Holds the low half of the number in
    /// each sector that is intact, lowest first, without repetition.
    Rotten(Vec<u32>),
    /// An intact record of another store.
    OtherStore,
}

/// Decodes a page.
pub fn decode(store: StoreId, page: &PageBytes) -> Result<Decoded, BadPage> {
    let mut body = [0; BODY];
    let mut numbers = Vec::new();
    let mut rotten = false;
    for (sector, part) in page
        .chunks_exact(SECTOR)
        .zip(body.chunks_exact_mut(SECTOR_BODY))
    {
        part.copy_from_slice(&sector[..SECTOR_BODY]);
        if u32_at(sector, SECTOR - 4) == crc32fast::hash(&sector[..SECTOR - 4]) {
            numbers.push(u32_at(sector, SECTOR_BODY));
        } else {
            rotten = true;
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    if rotten {
        return Err(BadPage::Rotten(numbers));
    }
    let crc = u32_at(&body, BODY_CRC_AT);
    put_u32(&mut body, BODY_CRC_AT, 0);
    if numbers.len() > 1 || crc != crc32fast::hash(&body) {
        return Err(BadPage::Torn(numbers));
    }
    let number = u64_at(&body, NUMBER_AT);
    let changes = usize::from(u16_at(&body, CHANGES_AT));
    let context_first_slot = u16_at(&body, CONTEXT_FIRST_AT);
    let sound = u64_at(&body, 0) == MAGIC
        && u32_at(&body, VERSION_AT) == VERSION
        && u32_at(&body, LENGTH_AT) == PAGE as u32
        && number as u32 == numbers[0]
        && changes <= CHANGES_MAX
        && context_first_slot == context_first(number)
        && usize::from(u16_at(&body, CONTEXT_LEN_AT)) == CONTEXT;
    if !sound {
        return Err(BadPage::Rotten(numbers));
    }
    if u128_at(&body, STORE_AT) != store.0 {
        return Err(BadPage::OtherStore);
    }
    let changes: Vec<_> = (0..changes)
        .map(|index| {
            (
                u16_at(&body, CHANGED_SLOTS_AT + index * 2),
                cooked(u32_at(&body, CHANGED_REGIONS_AT + index * 4)),
            )
        })
        .collect();
    if changes.iter().any(|&(slot, _)| usize::from(slot) >= SLOTS) {
        return Err(BadPage::Rotten(numbers));
    }
    let decoded = Decoded {
        number,
        seq: Seq(u64_at(&body, SEQ_AT)),
        changes,
        context_first: context_first_slot,
        context: (0..CONTEXT)
            .map(|index| cooked(u32_at(&body, CONTEXT_AT + index * 4)))
            .collect(),
    };
    // What comes back encodes to the same bytes: nothing unknown is dropped unseen.
    let mut again = [0; PAGE];
    encode(store, &decoded.record(), &mut again);
    if again != *page {
        return Err(BadPage::Rotten(numbers));
    }
    Ok(decoded)
}
