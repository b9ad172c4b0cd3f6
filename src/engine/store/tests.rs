//! The store by itself, on a disk that does what it is told when it is told.

mod failed;
mod slots;

use super::*;
use crate::engine::io::Effect;
use crate::meta::recovered::{Bits, DirtySlot};
use crate::meta::ring;
use crate::types::{BLOCK, REGION};
use crate::wire::frame::{Change, Origin};

const REGIONS: u64 = 6000;
const PEER: NodeId = NodeId(1);

/// An empty store of many regions.
fn recovered() -> Recovered {
    let size = REGIONS * REGION;
    Recovered {
        cluster: 1,
        volume: VolumeId(2),
        store: StoreId(3),
        node: NodeId(0),
        size,
        layout: crate::meta::layout(size),
        term: Term(0),
        seq: Seq(0),
        generation: 1,
        record: ring::PAGES as u64,
        active: vec![None; ring::SLOTS],
        written: Bits::zeroes(REGIONS),
        dirty: vec![None; 7],
        failed: None,
        findings: Vec::new(),
    }
}

struct Disk {
    store: Store,
    out: Effects,
    /// Begun operations, oldest first.
    begun: Vec<(crate::engine::io::DiskId, DiskOp)>,
    /// Metadata pages as they are on disk.
    pages: std::collections::BTreeMap<u64, PageBytes>,
    seq: u64,
    applied: u64,
    released: Vec<Buf>,
}

impl Disk {
    fn new(recovered: Recovered) -> Self {
        let mut store = Store::new(recovered, Canaries::default());
        store.take_stock(Seq(1 << 40), false);
        store.set_in_sync();
        Self {
            store,
            out: Effects::new(),
            begun: Vec::new(),
            pages: Default::default(),
            seq: 1 << 40,
            applied: 0,
            released: Vec::new(),
        }
    }

    fn collect(&mut self) {
        for effect in self.out.drain(..) {
            match effect {
                Effect::Disk { id, op } => self.begun.push((id, op)),
                Effect::Release { buf } => self.released.push(buf),
                _ => {}
            }
        }
        self.applied += self.store.done.drain(..).count() as u64;
    }

    /// Everything that was begun ends, and what follows from it.
    fn run(&mut self) {
        self.collect();
        while !self.begun.is_empty() {
            for (id, op) in std::mem::take(&mut self.begun) {
                if let DiskOp::Meta { offset, page } = op {
                    self.pages.insert(offset, *self.store.page(page));
                }
                let what = self.store.disk.end(id);
                self.store.disk_ended(what, 0, &mut self.out);
                self.collect();
            }
        }
    }

    fn change(&mut self, region: u64, kinds: u16) {
        self.change_with(region, kinds, Buf::NONE);
    }

    /// As `change`, with a buffer that is the store's to give back.
    fn change_with(&mut self, region: u64, kinds: u16, buf: Buf) {
        self.seq += 1;
        let job = Job {
            owner: Owner::Primary { epoch: 1, op: 0 },
            seq: Seq(self.seq),
            change: Change::Write,
            extent: Extent {
                offset: region * REGION,
                len: BLOCK as u32,
            },
            buf,
            release: buf.is_some(),
            origin: Origin::default(),
            kinds,
        };
        self.store.apply(job, &mut self.out);
        self.collect();
    }

    /// All replicas have everything, durably.
    fn all_flushed(&mut self) {
        let seq = Seq(self.seq);
        self.store.set_watermarks(seq, seq, &mut self.out);
        self.run();
    }

    /// The slot table as the last records tell it.
    fn table(&self) -> Vec<Option<u32>> {
        let layout = crate::meta::layout(REGIONS * REGION);
        let mut records: Vec<_> = (0..ring::PAGES as u64)
            .filter_map(|page| self.pages.get(&layout.ring_page(page)))
            .map(|page| ring::decode(StoreId(3), page).unwrap())
            .collect();
        records.sort_by_key(|record| record.number);
        let mut table = vec![None; ring::SLOTS];
        for record in records {
            record.apply(&mut table);
        }
        table
    }
}

fn extent_of(region: u64) -> Extent {
    Extent {
        offset: region * REGION,
        len: BLOCK as u32,
    }
}

#[test]
fn a_change_reaches_the_disk_after_its_regions_intent() {
    let mut disk = Disk::new(recovered());
    disk.change(7, 0);
    assert!(matches!(disk.begun[..], [(_, DiskOp::Meta { .. })]));
    // Others join the next record while this one is written.
    disk.change(8, 0);
    disk.change(9, 0);
    assert_eq!(disk.begun.len(), 1);
    disk.run();
    assert_eq!(disk.applied, 3);
    let table = disk.table();
    for region in [7, 8, 9] {
        assert!(table.contains(&Some(region)));
    }
    disk.change(7, 0);
    assert!(matches!(disk.begun[..], [(_, DiskOp::Write { .. })]));
}

/// Regions that have slots in normal running.
const FULL: u64 = ring::SLOTS as u64 / 8 * 7;

#[test]
fn more_regions_than_slots_wait_for_a_flush_and_not_for_ever() {
    let mut disk = Disk::new(recovered());
    for region in 0..FULL {
        disk.change(region, 0);
        disk.run();
    }
    assert!(disk.store.wants_flush());
    disk.change(5000, 0);
    disk.run();
    assert_eq!(disk.applied, FULL, "an intent was cleared without a flush");
    assert!(disk.store.starved);
    // Stable is not enough.
    let before = Seq(disk.seq - 1);
    disk.store.set_watermarks(before, Seq(0), &mut disk.out);
    disk.run();
    assert!(disk.store.starved);
    disk.store.set_watermarks(before, before, &mut disk.out);
    disk.run();
    assert_eq!(disk.applied, FULL + 1);
    assert!(disk.store.is_active(5000) && !disk.store.starved);
    // What the ring says is what is in memory.
    let table = disk.table();
    let active: std::collections::BTreeSet<u32> = table.into_iter().flatten().collect();
    assert!(active.contains(&5000));
    for &region in &active {
        assert!(disk.store.is_active(region));
    }
    assert_eq!(active.len(), disk.store.active());
    // And the regions that were cleared are known as written, durably.
    let page = disk.pages[&crate::meta::layout(REGIONS * REGION).written_page(0)];
    let mut words = vec![0; REGIONS.div_ceil(64) as usize];
    crate::meta::bitmap::decode_written(StoreId(3), 0, &page, &mut words);
    let known: u32 = words.iter().map(|word| word.count_ones()).sum();
    assert_eq!(u64::from(known), FULL + 1);
}

#[test]
fn an_intent_is_cleared_after_the_bits_that_it_stands_for_are_on_disk() {
    let mut disk = Disk::new(recovered());
    disk.store
        .begin_absent(PEER, Index(9), Begin::Unstable, &mut disk.out);
    disk.run();
    assert!(disk.store.is_marked(PEER, Index(9)));
    let kinds = disk.store.kinds([PEER].into_iter());
    disk.change(3, kinds);
    disk.run();
    let seq = Seq(disk.seq);
    disk.store.set_watermarks(seq, seq, &mut disk.out);
    disk.store.clear_idle(&mut disk.out);
    disk.collect();
    let pages = disk
        .begun
        .iter()
        .filter(|(_, op)| matches!(op, DiskOp::Meta { .. }));
    assert_eq!(
        pages.count(),
        2,
        "the dirty page and the written page, and no record"
    );
    assert!(disk.store.is_active(3));
    disk.run();
    assert!(!disk.store.is_active(3));
    let (_, bits) = disk.store.dirty(PEER).unwrap();
    assert!(bits.get(3 * 256));
}

#[test]
fn after_a_restart_active_regions_are_missing_as_a_whole() {
    let mut recovered = recovered();
    recovered.active[5] = Some(11);
    recovered.written.set(11);
    recovered.term = Term(4);
    recovered.dirty[0] = Some(DirtySlot {
        replica: PEER,
        since: Index(3),
        bits: Bits::zeroes(REGIONS * 256),
    });
    let store = Store::new(recovered, Canaries::default());
    let (since, bits) = store.dirty(PEER).unwrap();
    assert_eq!((since, bits.count()), (Index(3), 256));
    assert!(bits.get(11 * 256));
    assert!(!store.unstable.is_exact() && !store.windows.is_complete());
}

#[test]
fn what_was_brought_along_is_not_cleared_before_it_is_reconciled() {
    let mut recovered = recovered();
    recovered.active[5] = Some(11);
    recovered.written.set(11);
    recovered.term = Term(4);
    let mut disk = Disk::new(recovered);
    disk.change(1, 0);
    disk.run();
    disk.all_flushed();
    disk.store.clear_idle(&mut disk.out);
    disk.run();
    assert!(disk.store.is_active(11) && !disk.store.is_active(1));
    disk.store.reconcile_through(Seq(disk.seq));
    // Not before a flush that is later than the reconciling.
    disk.change(2, 0);
    disk.run();
    disk.store.clear_idle(&mut disk.out);
    disk.run();
    assert!(disk.store.is_active(2));
    disk.all_flushed();
    disk.store.clear_idle(&mut disk.out);
    disk.run();
    assert!(!disk.store.is_active(11));
}

#[test]
fn a_bitmap_of_everything_is_named_after_its_pages() {
    let mut disk = Disk::new(recovered());
    for region in [1, 500] {
        disk.change(region, 0);
    }
    disk.run();
    disk.store
        .begin_absent(PEER, Index(0), Begin::Written, &mut disk.out);
    disk.collect();
    let layout = crate::meta::layout(REGIONS * REGION);
    let superblocks = |disk: &Disk| {
        let is = |op: &DiskOp| matches!(op, DiskOp::Meta { offset, .. } if layout.superblocks.contains(offset));
        disk.begun.iter().filter(|(_, op)| is(op)).count()
    };
    assert_eq!((disk.begun.len(), superblocks(&disk)), (2, 0));
    assert!(!disk.store.all_marked());
    disk.run();
    assert!(disk.store.is_marked(PEER, Index(0)) && disk.store.all_marked());
    assert_eq!(disk.store.dirty(PEER).unwrap().1.count(), 2 * 256);
}

#[test]
fn changes_that_were_dropped_while_they_waited_leave_no_trace() {
    let mut disk = Disk::new(recovered());
    disk.change(7, 0);
    disk.store.cancel_waiting(&mut disk.out);
    assert!(disk.store.is_drained());
    assert_eq!(disk.store.unstable.iter().count(), 0);
    disk.run();
    assert_eq!(disk.applied, 0);
    // The intent that was under way stays, without harm.
    disk.all_flushed();
    disk.store.clear_idle(&mut disk.out);
    disk.run();
    assert!(!disk.store.is_active(7) && disk.store.at_rest());
}

#[test]
fn marks_are_made_for_changes_above_stable_only() {
    let mut disk = Disk::new(recovered());
    for region in 0..4 {
        disk.change(region, 0);
    }
    disk.run();
    let stable = Seq(disk.seq - 2);
    disk.store.set_watermarks(stable, Seq(0), &mut disk.out);
    disk.store
        .begin_absent(PEER, Index(9), Begin::Unstable, &mut disk.out);
    let (_, bits) = disk.store.dirty(PEER).unwrap();
    assert_eq!(bits.count(), 2);
    for region in 2..4 {
        assert!(bits.get(extent_of(region).offset / BLOCK));
    }
}
