use super::{Image, SIZE, superblock};
use crate::meta::bitmap::{
    self, PageState, WORDS_PER_PAGE, decode_dirty, decode_written, dirty_page_of, encode_dirty,
    encode_written, page_words, region_words, written_page_of,
};
use crate::meta::recovered::Recovered;
use crate::meta::superblock::Superblock;
use crate::meta::{PAGE, PageBytes, Severity};
use crate::types::{BLOCK, Index, NodeId, REGION, StoreId};

const REPLICA: NodeId = NodeId(2);
const SINCE: Index = Index(99);
const SLOT: u32 = 3;

/// A store whose slot 3 is in use.
fn image() -> Image {
    let mut image = Image::fresh();
    let mut superblock = Superblock {
        generation: 2,
        ..superblock()
    };
    superblock.dirty[SLOT as usize] = Some((REPLICA, SINCE));
    let mut page = [0; PAGE];
    superblock.encode(&mut page);
    image.write(0, &page);
    image
}

fn dirty(page_index: u32, words: &[u64]) -> PageBytes {
    let mut page = [0; PAGE];
    encode_dirty(
        superblock().store,
        REPLICA,
        SINCE,
        page_index,
        words,
        &mut page,
    );
    page
}

fn dirty_words(recovered: &Recovered) -> &[u64] {
    &recovered.dirty[SLOT as usize].as_ref().unwrap().bits.words
}

#[test]
fn places_of_regions() {
    assert_eq!(dirty_page_of(126), 0);
    assert_eq!(dirty_page_of(127), 1);
    assert_eq!(region_words(127), 508..512);
    assert_eq!(page_words(1, 10_000), 508..1016);
    assert_eq!(page_words(1, 600), 508..600);
    assert_eq!(written_page_of(32_511), 0);
    assert_eq!(written_page_of(32_512), 1);
    assert_eq!(bitmap::written_pages(16 << 40), 517);
    assert_eq!(bitmap::dirty_pages(16 << 40), 132_105);
}

#[test]
fn bits_come_back() {
    let mut image = image();
    let words: Vec<u64> = (0..WORDS_PER_PAGE as u64)
        .map(|n| n * 0x9e37_79b9)
        .collect();
    let layout = superblock().layout;
    for page in 0..3 {
        image.write(layout.dirty_page(SLOT, page), &dirty(page, &words));
    }
    let mut page = [0; PAGE];
    encode_written(superblock().store, 0, &[0b101, 1 << 63], &mut page);
    image.write(layout.written_page(0), &page);
    let recovered = image.recover().unwrap();
    assert_eq!(recovered.findings, vec![]);
    let slot = recovered.dirty[SLOT as usize].as_ref().unwrap();
    assert_eq!((slot.replica, slot.since), (REPLICA, SINCE));
    assert_eq!(slot.bits.len, SIZE / BLOCK);
    assert_eq!(&slot.bits.words[..508], &words[..]);
    assert_eq!(&slot.bits.words[508..1016], &words[..]);
    assert_eq!(&slot.bits.words[1016..], &words[..184]);
    assert_eq!(recovered.written.words, vec![0b101, 1 << 63, 0, 0, 0]);
}

/// What an earlier absence left in a slot, and what was never written there, are no bits.
#[test]
fn stale_and_blank_pages_are_clean() {
    let mut image = image();
    let layout = superblock().layout;
    let ones = [u64::MAX; WORDS_PER_PAGE];
    let mut page = [0; PAGE];
    encode_dirty(superblock().store, REPLICA, Index(98), 0, &ones, &mut page);
    image.write(layout.dirty_page(SLOT, 0), &page);
    encode_dirty(superblock().store, NodeId(4), SINCE, 1, &ones, &mut page);
    image.write(layout.dirty_page(SLOT, 1), &page);
    let recovered = image.recover().unwrap();
    assert_eq!(recovered.findings, vec![]);
    assert!(dirty_words(&recovered).iter().all(|&word| word == 0));
}

/// Every way in which some sectors of a write arrive and others do not.
#[test]
fn a_torn_page_loses_no_bit() {
    let old: Vec<u64> = (0..WORDS_PER_PAGE as u64).map(|n| 1 << (n % 64)).collect();
    let new: Vec<u64> = (0..WORDS_PER_PAGE as u64).map(|n| 3 << (n % 63)).collect();
    let layout = superblock().layout;
    for sectors in 0..=u8::MAX {
        let mut image = image();
        let offset = layout.dirty_page(SLOT, 1);
        image.write(offset, &dirty(1, &old));
        image.write_torn(offset, &dirty(1, &new), sectors);
        let recovered = image.recover().unwrap();
        let words = &dirty_words(&recovered)[508..1016];
        let whole = image.page(offset) == &dirty(1, &new) || image.page(offset) == &dirty(1, &old);
        for (word, (old, new)) in words.iter().zip(old.iter().zip(&new)) {
            assert!(if whole {
                word == old || word == new
            } else {
                *word == u64::MAX
            });
        }
        assert_eq!(recovered.findings.is_empty(), whole);

        let mut image = self::image();
        let offset = layout.written_page(0);
        let mut page = [0; PAGE];
        encode_written(superblock().store, 0, &old[..5], &mut page);
        image.write_torn(offset, &page, sectors);
        let recovered = image.recover().unwrap();
        for (word, old) in recovered.written.words.iter().zip(&old) {
            assert!(*word & old == *old || image.page(offset) == Image::fresh().page(offset));
        }
    }
}

/// A bad page counts as all ones, but not beyond the end of the volume.
#[test]
fn a_bad_page_is_all_ones_and_told() {
    let layout = superblock().layout;
    for byte in (0..PAGE).step_by(7) {
        let mut image = image();
        let offset = layout.dirty_page(SLOT, 2);
        image.write(offset, &dirty(2, &[1; 100]));
        image.bytes[offset as usize + byte] ^= 0x40;
        let written = layout.written_page(0);
        image.bytes[written as usize + byte] ^= 0x40;
        let recovered = image.recover().unwrap();
        assert_eq!(recovered.findings.len(), 2);
        assert_eq!(recovered.findings[0].offset, written);
        assert_eq!(recovered.findings[0].severity, Severity::Damaged);
        assert_eq!(recovered.findings[1].offset, offset);
        let ones: u32 = dirty_words(&recovered).iter().map(|w| w.count_ones()).sum();
        assert_eq!(u64::from(ones), (SIZE / REGION - 2 * 127) * 256);
        let ones: u32 = recovered.written.words.iter().map(|w| w.count_ones()).sum();
        assert_eq!(u64::from(ones), SIZE / REGION);
    }
}

#[test]
fn a_page_at_the_wrong_place_is_bad() {
    let mut words = [0; WORDS_PER_PAGE];
    let page = dirty(1, &[7]);
    let store = superblock().store;
    let mut decode =
        |store, index, page| decode_dirty(store, REPLICA, SINCE, index, page, &mut words);
    assert_eq!(decode(store, 1, &page), PageState::Good);
    assert_eq!(decode(store, 2, &page), PageState::Bad);
    assert_eq!(decode(StoreId(1), 1, &page), PageState::Bad);
    assert_eq!(decode(store, 1, &[0; PAGE]), PageState::Blank);
    assert_eq!(decode_written(store, 1, &page, &mut words), PageState::Bad);
}

/// Active regions are written ones, whatever the bitmap says: the record that activates a region
/// is what makes its first write durable.
#[test]
fn active_regions_count_as_written() {
    use crate::meta::ring::{self, Record, SLOTS};
    let mut image = image();
    let mut table = vec![None; SLOTS];
    table[9] = Some(70);
    let mut page = [0; PAGE];
    let changes = [(9, Some(70))];
    let record = Record::new(17, crate::types::Seq(1), &changes, &table);
    ring::encode(superblock().store, &record, &mut page);
    image.write(superblock().layout.ring_page(17), &page);
    assert_eq!(
        image.recover().unwrap().written.words,
        vec![0, 1 << 6, 0, 0, 0]
    );
}
