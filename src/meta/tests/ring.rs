use proptest::prelude::*;

use super::{Image, SIZE, superblock};
use crate::meta::recovered::Layout;
use crate::meta::ring::{self, CHANGES_MAX, PAGES, ROTATION, Record, SLOTS};
use crate::meta::{PAGE, PageBytes, Refused, Severity};
use crate::types::{REGION, Seq};

/// A store and what its ring should say.
#[derive(Clone)]
struct Model {
    image: Image,
    layout: Layout,
    table: Vec<Option<u32>>,
    number: u64,
    seq: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            image: Image::fresh(),
            layout: superblock().layout,
            table: vec![None; SLOTS],
            number: PAGES as u64,
            seq: 0,
        }
    }

    /// The page of the next record, and the model after it.
    fn next(&self, changes: &[(u16, Option<u32>)]) -> (u64, PageBytes, Self) {
        let mut after = self.clone();
        after.number += 1;
        after.seq += changes.len() as u64;
        for &(slot, region) in changes {
            after.table[usize::from(slot)] = region;
        }
        let record = Record::new(after.number, Seq(after.seq), changes, &after.table);
        let mut page = [0; PAGE];
        ring::encode(superblock().store, &record, &mut page);
        (self.layout.ring_page(after.number), page, after)
    }

    fn write(&mut self, changes: &[(u16, Option<u32>)]) {
        let (offset, page, mut after) = self.next(changes);
        after.image.write(offset, &page);
        *self = after;
    }

    fn check(&self, image: &Image) {
        let recovered = image.recover().unwrap();
        assert_eq!(recovered.active, self.table);
        assert_eq!(recovered.record, self.number);
        assert_eq!(recovered.seq, Seq(self.seq));
    }

    /// After so many records, each with a few changes.
    fn after(records: u64) -> Self {
        let mut model = Self::new();
        for n in 0..records {
            let changes: Vec<_> = (0..5)
                .map(|i| {
                    let slot = (n * 977 + i * 131) % SLOTS as u64;
                    let region = (n * 5 + i) % (SIZE / REGION);
                    (slot as u16, (i != 4).then_some(region as u32))
                })
                .collect();
            model.write(&changes);
        }
        model
    }
}

fn changes() -> impl Strategy<Value = Vec<(u16, Option<u32>)>> {
    let change = (0..SLOTS as u16, prop::option::of(0..(SIZE / REGION) as u32));
    prop::collection::vec(change, 0..=CHANGES_MAX)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_rotation_of_records_reproduces_the_table(records in prop::collection::vec(changes(), 1..40)) {
        let mut model = Model::new();
        let mut last = Vec::new();
        for changes in &records {
            model.write(changes);
            let page = model.image.page(model.layout.ring_page(model.number));
            last.push(ring::decode(superblock().store, page).unwrap());
            if last.len() >= ROTATION {
                // From a table that is all wrong.
                let mut table = vec![Some(7); SLOTS];
                for record in &last[last.len() - ROTATION..] {
                    record.apply(&mut table);
                }
                prop_assert_eq!(&table, &model.table);
            }
        }
        model.check(&model.image);
        prop_assert!(model.image.recover().unwrap().findings.is_empty());
    }
}

/// Every way in which some sectors of a write arrive and others do not.
#[test]
fn a_torn_record_never_was() {
    for records in [0, 1, 15, 16, 17, 100] {
        let before = Model::after(records);
        let changes = [(5, Some(3)), (4095, Some(4)), (1, None)];
        let (offset, page, after) = before.next(&changes);
        for sectors in 0..=u8::MAX {
            let mut image = before.image.clone();
            image.write_torn(offset, &page, sectors);
            // A record may be whole before its last, unchanged sector is there.
            if image.page(offset) == &page {
                after.check(&image);
            } else {
                before.check(&image);
                let findings = image.recover().unwrap().findings;
                let torn = image.page(offset) != before.image.page(offset);
                assert_eq!(findings.len(), usize::from(torn));
                assert!(
                    findings
                        .iter()
                        .all(|finding| finding.severity == Severity::Suspicious)
                );
            }
        }
    }
}

/// The second attempt has the same number: sectors of the first may show through.
#[test]
fn a_record_torn_over_a_torn_one_never_was() {
    let before = Model::after(20);
    let (offset, first, _) = before.next(&[(5, Some(3)), (300, Some(9))]);
    let (_, second, after) = before.next(&[(6, Some(4)), (400, Some(8))]);
    for first_sectors in [0b1, 0b1000_0000, 0b1010_1010, 0b0111_1111, 0xff] {
        for sectors in 0..u8::MAX {
            let mut image = before.image.clone();
            image.write_torn(offset, &first, first_sectors);
            image.write_torn(offset, &second, sectors);
            if image.page(offset) == &second {
                after.check(&image);
            } else if image.page(offset) != &first {
                before.check(&image);
            }
        }
    }
}

#[test]
fn rot_in_the_newest_record_is_not_taken_for_a_torn_write() {
    let model = Model::after(20);
    let offset = model.layout.ring_page(model.number);
    for byte in 0..PAGE {
        let mut image = model.image.clone();
        image.bytes[offset as usize + byte] ^= 0x10;
        assert!(
            matches!(image.recover(), Err(Refused::RingDamaged { .. })),
            "byte {byte}"
        );
    }
    let mut image = model.image.clone();
    image.write(offset, &[0; PAGE]);
    assert!(matches!(image.recover(), Err(Refused::RingDamaged { .. })));
}

#[test]
fn rot_in_an_old_record_costs_nothing_in_a_needed_one_the_store() {
    let model = Model::after(20);
    for back in 0..PAGES as u64 {
        let mut image = model.image.clone();
        let offset = model.layout.ring_page(model.number - back);
        image.bytes[offset as usize + 1000] ^= 1;
        if back < ROTATION as u64 {
            assert!(matches!(image.recover(), Err(Refused::RingDamaged { .. })));
        } else {
            model.check(&image);
            let findings = image.recover().unwrap().findings;
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].severity, Severity::Damaged);
            assert_eq!(findings[0].offset, offset);
        }
    }
}

#[test]
fn a_lost_write_in_the_middle_is_told() {
    let before = Model::after(20);
    let (offset, _, mut after) = before.next(&[(5, Some(3))]);
    // The record never arrives, later ones do.
    for n in 0..ROTATION as u16 {
        after.write(&[(n, Some(1))]);
        if n + 1 < ROTATION as u16 {
            assert!(matches!(
                after.image.recover(),
                Err(Refused::RingDamaged { .. })
            ));
        }
    }
    after.check(&after.image);
    assert_eq!(after.image.recover().unwrap().findings[0].offset, offset);
}

#[test]
fn a_ring_that_cannot_be_is_refused() {
    let refused = |image: &Image| matches!(image.recover(), Err(Refused::RingDamaged { .. }));
    // Another store's.
    let mut image = Image::fresh();
    let layout = superblock().layout;
    let table = vec![None; SLOTS];
    for number in 1..=PAGES as u64 {
        let mut page = [0; PAGE];
        let record = Record::new(number, Seq(0), &[], &table);
        ring::encode(crate::types::StoreId(1), &record, &mut page);
        image.write(layout.ring_page(number), &page);
    }
    assert!(refused(&image));
    // Never written.
    let mut image = Image::fresh();
    image.write(layout.ring, &[0; PAGES * PAGE]);
    assert!(refused(&image));
    // A region that the volume does not have.
    let mut model = Model::new();
    model.write(&[(0, Some((SIZE / REGION) as u32))]);
    assert!(refused(&model.image));
}

/// What this version does not write is not read over: its checksums are right.
#[test]
fn unknown_content_of_a_record_is_refused() {
    let model = Model::after(20);
    let offset = model.layout.ring_page(model.number) as usize;
    // Behind a field of the head, in a change that does not count, and behind the context.
    for (sector, at) in [(0, 54), (0, 60), (1, 40), (7, 122), (7, 503)] {
        let mut image = model.image.clone();
        let page = &mut image.bytes[offset..offset + PAGE];
        page[sector * 512 + at] ^= 0x10;
        page[56..60].fill(0);
        let body: Vec<u8> = page
            .chunks(512)
            .flat_map(|sector| sector[..504].to_vec())
            .collect();
        page[56..60].copy_from_slice(&crc32fast::hash(&body).to_le_bytes());
        for sector in page.chunks_mut(512) {
            let crc = crc32fast::hash(&sector[..508]);
            sector[508..].copy_from_slice(&crc.to_le_bytes());
        }
        let refused = image.recover();
        assert!(
            matches!(refused, Err(Refused::RingDamaged { .. })),
            "sector {sector} byte {at}"
        );
    }
}
