//! Pages of the bitmaps: which regions were ever written, which blocks an absent replica misses.
//!
//! Both have 508 words of 64 bits in each page: 127 regions of blocks in a dirty page (so that a
//! region never straddles two), 32 512 regions in a written page.

use super::bytes::{is_zero, put_u16, put_u32, put_u64, u16_at, u32_at, u64_at};
use super::{PAGE, PageBytes, VERSION, layout};
use crate::types::{Index, NodeId, REGION_BLOCKS, StoreId};

/// Words of 64 bits in a page.
pub const WORDS_PER_PAGE: usize = 508;
/// Bits in a page.
pub const BITS_PER_PAGE: u64 = WORDS_PER_PAGE as u64 * 64;
/// Words of one region in a dirty bitmap.
pub const WORDS_PER_REGION: usize = (REGION_BLOCKS / 64) as usize;
/// Regions in a page of a dirty bitmap.
pub const REGIONS_PER_DIRTY_PAGE: u32 = (WORDS_PER_PAGE / WORDS_PER_REGION) as u32;

const HEADER: usize = PAGE - WORDS_PER_PAGE * 8;
const DIRTY_MAGIC: u32 = u32::from_le_bytes(*b"SFdi");
const WRITTEN_MAGIC: u32 = u32::from_le_bytes(*b"SFwr");
const CRC_AT: usize = 4;
const STORE_AT: usize = 8;
const SINCE_AT: usize = 16;
const INDEX_AT: usize = 24;
const VERSION_AT: usize = 28;
const REPLICA_AT: usize = 29;
const LENGTH_AT: usize = 30;

const _: () = assert!(HEADER == 32 && REGIONS_PER_DIRTY_PAGE == 127 && VERSION <= 255);

/// Pages of the written-regions bitmap of a volume of `size` bytes.
#[must_use]
pub const fn written_pages(size: u64) -> u32 {
    layout::regions(size).div_ceil(BITS_PER_PAGE) as u32
}

/// Pages of a dirty bitmap of a volume of `size` bytes.
#[must_use]
pub const fn dirty_pages(size: u64) -> u32 {
    layout::regions(size).div_ceil(REGIONS_PER_DIRTY_PAGE as u64) as u32
}

/// The page of a dirty bitmap that holds `region`.
#[must_use]
pub const fn dirty_page_of(region: u32) -> u32 {
    region / REGIONS_PER_DIRTY_PAGE
}

/// The page of the written-regions bitmap that holds `region`.
#[must_use]
pub const fn written_page_of(region: u32) -> u32 {
    region / BITS_PER_PAGE as u32
}

/// The words of the whole bitmap (dirty or written, of `words` words) that page `page` holds.
#[must_use]
pub fn page_words(page: u32, words: usize) -> std::ops::Range<usize> {
    let first = page as usize * WORDS_PER_PAGE;
    first.min(words)..(first + WORDS_PER_PAGE).min(words)
}

/// The words of a whole dirty bitmap that hold `region`.
#[must_use]
pub const fn region_words(region: u32) -> std::ops::Range<usize> {
    let first = region as usize * WORDS_PER_REGION;
    first..first + WORDS_PER_REGION
}

/// Encodes a page of the dirty bitmap of `replica` since `since`; `words` are those of
/// [`page_words`], at most [`WORDS_PER_PAGE`], the rest is zero.
pub fn encode_dirty(
    store: StoreId,
    replica: NodeId,
    since: Index,
    page_index: u32,
    words: &[u64],
    page: &mut PageBytes,
) {
    encode(
        store,
        DIRTY_MAGIC,
        replica.0,
        since,
        page_index,
        words,
        page,
    );
}

/// Encodes a page of the written-regions bitmap.
pub fn encode_written(store: StoreId, page_index: u32, words: &[u64], page: &mut PageBytes) {
    encode(store, WRITTEN_MAGIC, 0, Index(0), page_index, words, page);
}

fn encode(
    store: StoreId,
    magic: u32,
    replica: u8,
    since: Index,
    page_index: u32,
    words: &[u64],
    page: &mut PageBytes,
) {
    assert!(words.len() <= WORDS_PER_PAGE);
    page.fill(0);
    put_u32(page, 0, magic);
    put_u64(page, STORE_AT, fold(store));
    put_u64(page, SINCE_AT, since.0);
    put_u32(page, INDEX_AT, page_index);
    page[VERSION_AT] = VERSION as u8;
    page[REPLICA_AT] = replica;
    put_u16(page, LENGTH_AT, (WORDS_PER_PAGE * 8) as u16);
    for (chunk, word) in page[HEADER..].chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let crc = crc32fast::hash(&page[STORE_AT..]);
    put_u32(page, CRC_AT, crc);
}

/// A bitmap page has room for half a store's id only.
const fn fold(store: StoreId) -> u64 {
    (store.0 >> 64) as u64 ^ store.0 as u64
}

/// What a page of a bitmap turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// As it should be; the words are valid.
    Good,
    /// Every byte is zero: never written.
    Blank,
    /// Intact, but of an earlier use of the slot (another replica, or another absence).
    Stale,
    /// Torn or rotten, or not of this bitmap: nothing in it can be trusted.
    Bad,
}

/// Decodes a page of the dirty bitmap of `replica` since `since` into `words`, which are left
/// alone unless the page is good. A blank or stale page means "no bit set": a bitmap begins
/// without its pages being cleared. A bad page must be taken as all ones.
pub fn decode_dirty(
    store: StoreId,
    replica: NodeId,
    since: Index,
    page_index: u32,
    page: &PageBytes,
    words: &mut [u64],
) -> PageState {
    match check(store, DIRTY_MAGIC, page_index, page) {
        PageState::Good if page[REPLICA_AT] != replica.0 || u64_at(page, SINCE_AT) != since.0 => {
            PageState::Stale
        }
        PageState::Good => {
            take(page, words);
            PageState::Good
        }
        state => state,
    }
}

/// Decodes a page of the written-regions bitmap into `words`, which are left alone unless the page
/// is good. Formatting writes every page, so one that is not good must be taken as all ones.
pub fn decode_written(
    store: StoreId,
    page_index: u32,
    page: &PageBytes,
    words: &mut [u64],
) -> PageState {
    let state = check(store, WRITTEN_MAGIC, page_index, page);
    if state == PageState::Good {
        take(page, words);
    }
    state
}

fn check(store: StoreId, magic: u32, page_index: u32, page: &PageBytes) -> PageState {
    let good = u32_at(page, 0) == magic
        && u32_at(page, CRC_AT) == crc32fast::hash(&page[STORE_AT..])
        && u32::from(page[VERSION_AT]) == VERSION
        && usize::from(u16_at(page, LENGTH_AT)) == WORDS_PER_PAGE * 8
        && u64_at(page, STORE_AT) == fold(store)
        && u32_at(page, INDEX_AT) == page_index;
    if good {
        PageState::Good
    } else if is_zero(page) {
        PageState::Blank
    } else {
        PageState::Bad
    }
}

fn take(page: &PageBytes, words: &mut [u64]) {
    assert!(words.len() <= WORDS_PER_PAGE);
    for (index, word) in words.iter_mut().enumerate() {
        *word = u64_at(page, HEADER + index * 8);
    }
}
