//! Full copies to a store that holds something: what it has is compared, not sent.

use super::world::*;
use crate::engine::Canaries;
use crate::engine::io::Note;
use crate::meta;
use crate::record::VolumeChange;
use crate::types::*;
use crate::wire::frame::Change;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 16 * MIB;

fn block(seed: u8) -> Vec<u8> {
    vec![seed; 4096]
}

/// Two replicas with four full regions; the second is down, and new for the log, as after a forced
/// promotion or where a disk is put back that was replaced.
fn new_with_content(canaries: Canaries) -> World {
    let mut w = World::with(2, 2, SIZE, false, canaries);
    w.promote(0);
    for region in 0..4 {
        w.write(0, region * MIB, &vec![region as u8 + 1; 1 << 20]);
    }
    w.kill(1);
    w.pass(D * 2);
    let store = w.record.replicas[1].store;
    let change = VolumeChange::Replace {
        replica: NodeId(1),
        store,
    };
    w.commit(w.record.last_entry, change);
    w.run();
    w
}

/// Changes bytes on a disk behind the engine's back.
fn spoil(w: &mut World, node: usize, offset: u64, len: usize) {
    let at = (meta::layout(SIZE).data + offset) as usize;
    w.nodes[node].store[at..at + len].fill(0xee);
}

/// Blocks that were sent, and that were the same.
fn done(w: &World) -> (u64, u64) {
    let done = w.notes.iter().rev().find_map(|&(_, note)| match note {
        Note::ResyncDone { copied, equal, .. } => Some((copied, equal)),
        _ => None,
    });
    done.expect("no resync was done")
}

fn is_back(w: &World) -> bool {
    w.record.replicas[1].state.is_in_sync()
}

/// The replica is asked to compare, and its disk does not answer.
fn comparing() -> World {
    let mut w = new_with_content(Canaries::default());
    w.nodes[1].hold_disk = true;
    w.start(1);
    w.pass(D);
    assert!(w.compares > 0 && w.copied == 0);
    assert_eq!(w.nodes[0].bufs_in_use() as u64, w.compares);
    w
}

fn assert_all_is_well(w: &mut World) {
    w.pass(D * 20);
    assert!(is_back(w));
    w.assert_equal(&[0, 1]);
    w.pass(D * 20);
    for node in 0..2 {
        assert_eq!(w.nodes[node].bufs_in_use(), 0, "node {node}");
        assert!(w.volume(node).at_rest(), "node {node}");
    }
}

#[test]
fn what_the_replica_has_already_is_not_sent() {
    let mut w = new_with_content(Canaries::default());
    w.write(0, 2 * MIB + 5 * 4096, &block(9));
    w.start(1);
    assert_all_is_well(&mut w);
    // One piece of 64 blocks, of 16.
    assert_eq!((w.copied, w.compares), (64 * 4096, 16));
    assert_eq!(done(&w), (64, 4 * 256 - 64));
    assert_eq!(w.volume(0).dirty(NodeId(1)), None);
}

#[test]
fn what_the_replica_has_in_another_way_is_overwritten() {
    let mut w = new_with_content(Canaries::default());
    // A byte, a block, a region; and what is zero by now.
    spoil(&mut w, 1, 77_777, 1);
    spoil(&mut w, 1, MIB + 1_000_000, 4096);
    spoil(&mut w, 1, 2 * MIB, 1 << 20);
    w.change(0, Change::Trim, 3 * MIB, 1 << 20);
    w.start(1);
    assert_all_is_well(&mut w);
    assert_eq!(w.data(1, 3 * MIB, 1 << 20), vec![0; 1 << 20]);
    // Zeroes are sent without a comparison, and carry nothing.
    assert_eq!((w.copied, w.compares), ((1 + 1 + 4) * 64 * 4096, 12));
    assert_eq!(done(&w), ((1 + 1 + 4 + 4) * 64, (3 + 3) * 64));
}

#[test]
fn a_region_that_only_the_source_has_is_sent_at_once() {
    let mut w = new_with_content(Canaries::default());
    w.write(0, 8 * MIB, &vec![7; 1 << 20]);
    w.start(1);
    assert_all_is_well(&mut w);
    assert_eq!((w.copied, w.compares), (MIB, 16));
}

#[test]
fn a_write_waits_until_what_it_overlaps_has_been_compared() {
    let mut w = comparing();
    let over = w.write_begin(0, 4096, &block(9));
    let beside = w.write_begin(0, 12 * MIB, &block(8));
    w.run();
    assert_eq!(w.result(0, over), None);
    // The replica does not count: its disk stands in nobody's way elsewhere.
    assert_eq!(w.result(0, beside), Some(0));
    w.release_disk(1);
    assert_eq!(w.result(0, over), Some(0));
    assert_all_is_well(&mut w);
    assert_eq!(w.data(1, 4096, 4096), block(9));
    assert_eq!(w.copied, 0, "the write itself brought what is new");
}

#[test]
fn a_link_that_breaks_before_the_answer_leaves_nothing_behind() {
    let mut w = comparing();
    w.break_links(0, 1);
    w.run();
    assert_eq!(w.nodes[0].bufs_in_use(), 0);
    let tag = w.write_begin(0, 4096, &block(9));
    w.run();
    assert_eq!(w.result(0, tag), Some(0));
    w.release_disk(1);
    assert_all_is_well(&mut w);
}

#[test]
fn a_primary_that_ends_before_the_answer_leaves_nothing_behind() {
    let mut w = comparing();
    let prev = w.record.last_entry;
    let change = VolumeChange::Demote {
        term: w.record.term,
        prefer: None,
    };
    w.commit(prev, change);
    w.run();
    assert_eq!(w.nodes[0].bufs_in_use(), 0);
    w.release_disk(1);
    w.promote(0);
    assert_all_is_well(&mut w);
}

#[test]
fn a_replica_that_cannot_read_what_is_to_be_compared_has_failed() {
    let mut w = comparing();
    w.nodes[1].fail_disk = Some(5);
    w.release_disk(1);
    w.pass(D * 5);
    let failed = |w: &World| w.volume(1).report().is_some_and(|report| report.failed);
    assert!(failed(&w) && !is_back(&w));
    assert_eq!((w.nodes[0].bufs_in_use(), w.copied), (0, 0));
    w.write(0, 0, &block(9));
    // With another disk controller.
    w.kill(1);
    w.nodes[1].fail_disk = None;
    w.start(1);
    w.pass(std::time::Duration::from_secs(5));
    assert_all_is_well(&mut w);
}

#[test]
fn what_is_the_same_stays_marked_until_it_is_flushed() {
    let mut w = comparing();
    while w.compares < 16 {
        w.release_reads(1);
    }
    w.release_reads(1);
    // All is the same, and the flush is on its way; what was compared was never flushed before.
    let marked = |w: &World| w.volume(0).dirty(NodeId(1)).map(|dirty| dirty.1.count());
    assert_eq!((w.nodes[0].bufs_in_use(), w.copied), (0, 0));
    assert_eq!(marked(&w), Some(4 * 256));
    w.power_off(1);
    assert_eq!(w.data(1, 0, 4096), block(0));
    w.start(1);
    assert_all_is_well(&mut w);
    assert_eq!((w.copied, marked(&w)), (4 * MIB, None));
    w.power_off(1);
    w.assert_equal(&[0, 1]);
}

#[test]
fn the_canary_that_trusts_every_digest_leaves_differences() {
    let canaries = Canaries {
        trust_digest_blindly: true,
        ..Canaries::default()
    };
    let mut w = new_with_content(canaries);
    spoil(&mut w, 1, 77_777, 1);
    w.start(1);
    w.pass(D * 20);
    assert!(is_back(&w));
    assert_ne!(w.data(0, 0, 1 << 20), w.data(1, 0, 1 << 20));
}
