use super::{Image, superblock};
use crate::meta::superblock::{Fault, Superblock};
use crate::meta::{PAGE, PageBytes, Refused, Report, Severity, Verdict};
use crate::types::{Index, NodeId, StoreId, Term};

fn next() -> (Superblock, PageBytes) {
    let mut next = Superblock {
        generation: 2,
        term: Term(7),
        ..superblock()
    };
    next.dirty[3] = Some((NodeId(2), Index(99)));
    next.failed = Some(5);
    let mut page = [0; PAGE];
    next.encode(&mut page);
    (next, page)
}

/// With the checksum made right again.
fn forged(change: impl FnOnce(&mut PageBytes)) -> PageBytes {
    let (_, mut page) = next();
    change(&mut page);
    page[16..20].fill(0);
    let crc = crc32fast::hash(&page);
    page[16..20].copy_from_slice(&crc.to_le_bytes());
    page
}

#[test]
fn a_superblock_comes_back() {
    let (next, page) = next();
    assert_eq!(Superblock::decode(&page), Ok(next));
}

/// Every way in which some sectors of a write arrive and others do not.
#[test]
fn a_torn_superblock_is_the_old_one_or_the_new_one() {
    let (next, page) = next();
    let offset = next.layout.superblock(next.generation);
    for sectors in 0..=u8::MAX {
        let mut image = Image::fresh();
        image.write_torn(offset, &page, sectors);
        let recovered = image.recover().unwrap();
        let new = sectors & 1 == 1;
        assert_eq!(recovered.failed, new.then_some(5));
        assert_eq!(recovered.findings.len(), usize::from(new));
        assert_eq!(recovered.term, Term(if new { 7 } else { 0 }));
        assert_eq!(recovered.generation, if new { 2 } else { 1 });
        assert_eq!(recovered.dirty[3].is_some(), new);
    }
}

#[test]
fn every_flipped_bit_is_damage_and_refused() {
    let (next, page) = next();
    let offset = next.layout.superblock(next.generation) as usize;
    for byte in 0..PAGE {
        let mut image = Image::fresh();
        image.write(offset as u64, &page);
        image.bytes[offset + byte] ^= 0x04;
        let refused = image.recover().unwrap_err();
        assert!(
            matches!(refused, Refused::SuperblockDamaged { offset: at, .. } if at == offset as u64)
                || matches!(refused, Refused::NewerVersion { .. }) && (8..12).contains(&byte),
            "{byte}: {refused}"
        );
    }
}

#[test]
fn what_cannot_be_is_damage_although_the_checksum_is_right() {
    let damaged = |at: usize, value: &[u8]| {
        let page = forged(|page| page[at..at + value.len()].copy_from_slice(value));
        match Superblock::decode(&page) {
            Err(Fault::Damaged(what)) => what,
            other => panic!("{at}: {other:?}"),
        }
    };
    assert_eq!(damaged(8, &[0]), "version 0");
    assert_eq!(damaged(12, &[0; 4]), "wrong length");
    assert_eq!(damaged(20, &[128]), "impossible node number");
    assert_eq!(damaged(80, &[0; 8]), "impossible volume size");
    assert_eq!(damaged(80, &[1]), "impossible volume size");
    assert_eq!(damaged(80, &[0xff; 8]), "impossible volume size");
    assert_eq!(damaged(96, &[1]), "impossible layout");
    assert_eq!(damaged(144, &[0xff; 8]), "impossible layout");
    assert_eq!(damaged(144, &[0; 8]), "impossible layout");
    assert_eq!(damaged(192, &[2]), "unknown content");
    assert_eq!(damaged(4095, &[1]), "unknown content");
    let newer = forged(|page| page[8] = 9);
    assert_eq!(Superblock::decode(&newer), Err(Fault::Newer(9)));
}

#[test]
fn superblocks_that_do_not_belong_together_are_refused() {
    let mut image = Image::fresh();
    let mut page = [0; PAGE];
    Superblock {
        store: StoreId(1),
        generation: 2,
        ..superblock()
    }
    .encode(&mut page);
    image.write(0, &page);
    assert_eq!(image.recover(), Err(Refused::SuperblocksDisagree));
    // One at the other's place, as after a copy of the wrong range.
    let mut image = Image::fresh();
    let first = *image.page(0);
    image.write(64 << 10, &first);
    let refused = image.recover().unwrap_err();
    assert!(matches!(refused, Refused::SuperblockDamaged { offset, .. } if offset == 64 << 10));
}

#[test]
fn a_skipped_generation_is_told() {
    let mut image = Image::fresh();
    let mut page = [0; PAGE];
    Superblock {
        generation: 4,
        ..superblock()
    }
    .encode(&mut page);
    image.write(0, &page);
    let recovered = image.recover().unwrap();
    assert_eq!(recovered.generation, 4);
    assert_eq!(recovered.findings[0].severity, Severity::Suspicious);
}

#[test]
fn a_failed_store_is_told() {
    let (next, page) = next();
    let mut image = Image::fresh();
    let offset = next.layout.superblock(next.generation);
    image.write(offset, &page);
    let read = &mut |offset, buf: &mut [u8]| image.read(offset, buf);
    let report = Report::of("image", read, image.store_bytes, false);
    assert_eq!(
        (report.verdict, report.refused.clone()),
        (Verdict::Damaged, None)
    );
    assert!(report.check().contains("has failed with error 5"));
    assert!(report.dump().contains("  failed with error 5\n"));
}
