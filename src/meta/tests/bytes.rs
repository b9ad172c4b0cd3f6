//! Any bytes at all: refused or read, never a panic.

use std::io;

use proptest::prelude::*;

use super::{Image, superblock};
use crate::meta::recover::recover;
use crate::meta::superblock::Superblock;
use crate::meta::{PAGE, PageBytes, Refused, Report, Severity, Verdict, ring};

fn page() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), PAGE)
}

/// The first byte of each page that `recover` looks at.
fn places() -> Vec<u64> {
    let layout = superblock().layout;
    let ring = (0..u64::from(layout.ring_pages)).map(|number| layout.ring_page(number));
    layout
        .superblocks
        .into_iter()
        .chain(ring)
        .chain([layout.written_page(0), layout.dirty_page(0, 0)])
        .collect()
}

fn with_slot_in_use() -> Image {
    let mut image = Image::fresh();
    let mut superblock = Superblock {
        generation: 2,
        ..superblock()
    };
    superblock.dirty[0] = Some((crate::types::NodeId(2), crate::types::Index(5)));
    let mut page = [0; PAGE];
    superblock.encode(&mut page);
    image.write(0, &page);
    image
}

fn report(image: &Image) -> Report {
    Report::of(
        "image",
        &mut |offset, buf| image.read(offset, buf),
        image.store_bytes,
        false,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_pages_anywhere(random in page(), which in prop::collection::vec(any::<prop::sample::Index>(), 1..4), keep in 0..PAGE - 8) {
        let mut image = with_slot_in_use();
        let places = places();
        for index in &which {
            let place = places[index.index(places.len())];
            image.write(place + keep as u64, &random[keep..]);
        }
        // Recovers or is refused, and the report agrees with it.
        let recovered = image.recover();
        let report = report(&image);
        prop_assert_eq!(recovered.is_err(), report.refused.is_some());
        prop_assert!(report.verdict != Verdict::Clean);
        prop_assert!(!report.dump().is_empty() && !report.check().is_empty());
    }

    #[test]
    fn random_fields_under_a_right_checksum(random in page(), keep in 0_usize..300, end in 0_usize..400) {
        let mut image = Image::fresh();
        for place in superblock().layout.superblocks {
            let mut page: PageBytes = *image.page(place);
            let at = 20 + keep.min(end);
            let end = 20 + keep.max(end);
            page[at..end].copy_from_slice(&random[at..end]);
            page[16..20].fill(0);
            let crc = crc32fast::hash(&page);
            page[16..20].copy_from_slice(&crc.to_le_bytes());
            image.write(place, &page);
        }
        let recovered = image.recover();
        prop_assert_eq!(recovered.is_err(), report(&image).refused.is_some());
    }

    #[test]
    fn a_random_ring_page(random in page()) {
        let page: &PageBytes = random.first_chunk().unwrap();
        prop_assert!(ring::decode(superblock().store, page).is_err());
    }

    #[test]
    fn a_store_of_random_bytes_is_foreign(random in page(), bytes in 0_u64..300_000) {
        let read = &mut |offset: u64, buf: &mut [u8]| {
            for (index, byte) in buf.iter_mut().enumerate() {
                *byte = random[(offset as usize + index) % PAGE];
            }
            Ok(())
        };
        let refused = recover(read, bytes).unwrap_err();
        prop_assert!(matches!(refused, Refused::Foreign { .. }), "{}", refused);
    }
}

/// Each page in turn cannot be read from the medium.
#[test]
fn unreadable_pages_are_damage() {
    let image = with_slot_in_use();
    for place in places() {
        let read = &mut |offset: u64, buf: &mut [u8]| {
            if (offset..offset + buf.len() as u64).contains(&place) {
                return Err(io::Error::from_raw_os_error(5));
            }
            image.read(offset, buf)
        };
        let recovered = recover(read, image.store_bytes);
        let layout = superblock().layout;
        let ring = layout.ring..layout.written;
        match recovered {
            Ok(recovered) => {
                assert_eq!(recovered.findings.len(), 1, "{place}");
                assert_eq!(recovered.findings[0].offset, place);
                assert!(recovered.findings[0].severity >= Severity::Suspicious);
            }
            Err(refused) => {
                let expected = match refused {
                    Refused::RingDamaged { .. } => ring.contains(&place),
                    Refused::SuperblockDamaged { offset, .. } => offset == place,
                    _ => false,
                };
                assert!(expected, "{place}: {refused}");
            }
        }
    }
}
