//! A table without a free slot: what waits for one, and what is dropped meanwhile.

use super::*;

/// A store of more regions than one page of the written regions has; its table is full.
fn full_table() -> Disk {
    let mut disk = Disk::new(Recovered {
        size: WIDE * REGION,
        layout: crate::meta::layout(WIDE * REGION),
        written: Bits::zeroes(WIDE),
        ..recovered()
    });
    for region in 0..ring::SLOTS as u64 {
        disk.change(region, 0);
        disk.run();
    }
    disk
}

const WIDE: u64 = 40_000;
const FAR: u64 = 39_000;

/// Whether a restart would know that the far region has been written.
fn is_known_as_written(disk: &Disk) -> bool {
    let layout = crate::meta::layout(WIDE * REGION);
    let mut records: Vec<_> = (0..ring::PAGES as u64)
        .filter_map(|page| disk.pages.get(&layout.ring_page(page)))
        .map(|page| ring::decode(StoreId(3), page).unwrap())
        .collect();
    records.sort_by_key(|record| record.number);
    let mut table = vec![None; ring::SLOTS];
    for record in records {
        record.apply(&mut table);
    }
    let mut words = vec![0; crate::meta::bitmap::WORDS_PER_PAGE];
    if let Some(page) = disk.pages.get(&layout.written_page(1)) {
        crate::meta::bitmap::decode_written(StoreId(3), 1, page, &mut words);
    }
    let bit = FAR as usize - crate::meta::bitmap::BITS_PER_PAGE as usize;
    table.contains(&Some(FAR as u32)) || words[bit / 64] >> (bit % 64) & 1 != 0
}

#[test]
fn a_region_whose_first_change_was_dropped_for_want_of_a_slot_is_known_as_written() {
    let mut disk = full_table();
    disk.change(FAR, 0);
    disk.run();
    assert!(disk.store.starved);
    // The link breaks, or the term ends; then the change is sent again and acknowledged.
    disk.store.cancel_waiting(&mut disk.out);
    disk.all_flushed();
    let before = disk.applied;
    disk.change(FAR, 0);
    disk.run();
    assert_eq!(disk.applied, before + 1);
    assert!(is_known_as_written(&disk));
    // Flushed by all: its intent may go.
    disk.all_flushed();
    disk.store.clear_idle(&mut disk.out);
    disk.run();
    assert!(!disk.store.is_active(FAR as u32));
    assert!(
        is_known_as_written(&disk),
        "it reads as zeroes after a restart"
    );
}

#[test]
fn a_dropped_changes_bit_is_on_disk_before_a_later_ones_intent_is_cleared() {
    let mut disk = full_table();
    disk.store
        .begin_absent(PEER, Index(9), Begin::Unstable, &mut disk.out);
    disk.run();
    let kinds = disk.store.kinds([PEER].into_iter());
    disk.change(FAR, kinds);
    disk.store.cancel_waiting(&mut disk.out);
    disk.all_flushed();
    disk.change(FAR, kinds);
    disk.all_flushed();
    disk.store.clear_idle(&mut disk.out);
    disk.run();
    assert!(!disk.store.is_active(FAR as u32));
    let layout = crate::meta::layout(WIDE * REGION);
    let page = crate::meta::bitmap::dirty_page_of(FAR as u32);
    assert!(
        disk.pages.contains_key(&layout.dirty_page(0, page)),
        "the intent is cleared and the bit is nowhere on disk"
    );
}

#[test]
fn a_copy_waits_while_its_region_waits_for_a_slot() {
    let mut disk = full_table();
    disk.change(FAR, 0);
    disk.run();
    assert!(disk.store.starved);
    for cancelled in [false, true] {
        if cancelled {
            disk.store.cancel_waiting(&mut disk.out);
        }
        let before = disk.applied;
        let job = Job {
            owner: Owner::Copy {
                link: LinkId(1),
                resync: 1,
                id: 1,
            },
            seq: Seq(0),
            change: Change::Write,
            extent: Extent {
                offset: FAR * REGION + 8 * BLOCK,
                len: BLOCK as u32,
            },
            buf: Buf::NONE,
            release: false,
            origin: Origin::default(),
            kinds: 0,
        };
        disk.store.apply(job, &mut disk.out);
        disk.run();
        let stored = disk.applied > before;
        assert!(
            !stored || is_known_as_written(&disk),
            "stored where a restart reads zeroes (cancelled: {cancelled})"
        );
    }
}

/// A store whose table was full when its daemon or its power went.
fn full_after_a_restart() -> Disk {
    // As full as a run can make it.
    let mut run = Disk::new(recovered());
    for region in 0..ring::SLOTS as u64 {
        run.change(region, 0);
        run.run();
    }
    Disk::new(Recovered {
        term: Term(1),
        seq: Seq(5),
        active: run.table(),
        ..recovered()
    })
}

#[test]
fn a_primary_whose_table_was_full_takes_changes_of_other_regions() {
    let mut disk = full_after_a_restart();
    disk.change(5000, 0);
    disk.run();
    assert!(!disk.store.starved);
}

#[test]
fn a_resynced_replica_whose_table_was_full_takes_changes_of_other_regions() {
    let mut disk = full_after_a_restart();
    disk.store.set_behind();
    disk.store.take_stock(Seq(1 << 40), true);
    for region in 5000..6000 {
        disk.change(region, 0);
        let stable = Seq(disk.seq - 1);
        disk.store.set_watermarks(stable, stable, &mut disk.out);
        disk.store.clear_idle(&mut disk.out);
        disk.run();
        assert!(!disk.store.starved, "region {region}");
    }
}
