//! A new primary takes over: what it finds, and whom it waits for.

use super::world::*;
use crate::engine::Canaries;
use crate::engine::io::{Event, Note};
use crate::record::ReplicaState;
use crate::types::*;
use crate::wire::frame::Ask;

const MIB: u64 = 1 << 20;

fn block(seed: u8) -> Vec<u8> {
    vec![seed; 4096]
}

fn behind(w: &World, node: usize) -> bool {
    matches!(w.record.replicas[node].state, ReplicaState::Behind { .. })
}

#[test]
fn the_standby_takes_over_and_resent_writes_take_effect_once() {
    let mut w = World::serving(3, 2, 16 * MIB);
    w.write(2, 0, &block(1));
    // Answers of the primary are lost.
    w.hold.push((0, 2));
    let tag = w.write_begin(2, 4096, &block(2));
    let zero = w.write_begin(2, 8192, &block(3));
    w.run();
    assert_eq!(w.result(2, tag), None);
    w.kill(0);
    w.hold.clear();
    w.promote(1);
    w.pass(D * 5);
    assert_eq!((w.result(2, tag), w.result(2, zero)), (Some(0), Some(0)));
    assert_eq!(w.read(2, 4096, 4096), block(2));
    assert_eq!(w.nodes[2].disconnected, 0);
    // The old primary comes back and resyncs what differs.
    w.write(2, 12288, &block(4));
    w.start(0);
    w.pass(D * 20);
    assert!(w.record.replicas[0].state.is_in_sync());
    w.assert_equal(&[0, 1]);
    let copied: u64 = w
        .notes
        .iter()
        .filter_map(|&(_, note)| match note {
            Note::ResyncDone { copied, .. } => Some(copied),
            _ => None,
        })
        .sum();
    assert!((1..=256 * 2).contains(&copied), "copied {copied}");
}

#[test]
fn a_write_that_only_the_new_primary_has_is_brought_to_all_before_it_is_read() {
    // Row 13 with three: w is on node 1 only, node 1 is promoted, w is read; then node 2 is.
    let mut w = World::serving(3, 3, 16 * MIB);
    w.write(0, 0, &block(1));
    w.hold.push((0, 2));
    w.write_begin(0, 4096, &block(2));
    w.run();
    w.kill(0);
    w.hold.clear();
    // While node 2 cannot be reached the block is not to be seen.
    w.hold.push((1, 2));
    w.promote(1);
    let read = w.ask(1, Ask::Read, 4096, &[], 4096);
    w.run();
    assert_eq!(w.result(1, read), None);
    w.release_frames();
    w.pass(D * 3);
    assert_eq!(w.nodes[1].replies[&read].1, block(2));
    assert_eq!(w.data(2, 4096, 4096), block(2));
    w.kill(1);
    w.promote(2);
    w.pass(D * 3);
    assert_eq!(w.read(2, 4096, 4096), block(2));
}

#[test]
fn a_write_that_the_new_primary_misses_is_overwritten_on_the_others() {
    let mut w = World::serving(3, 3, 16 * MIB);
    w.write(0, 0, &block(1));
    w.hold.push((0, 1));
    w.write_begin(0, 0, &block(2));
    w.run();
    assert_eq!(w.data(2, 0, 4096), block(2));
    w.kill(0);
    w.hold.clear();
    w.promote(1);
    w.pass(D * 3);
    assert_eq!(w.read(1, 0, 4096), block(1));
    assert_eq!(w.data(2, 0, 4096), block(1));
}

/// A write that nodes 0 and 2 have is overwritten on node 2, and the primary that did so dies before
/// it can say that all is reconciled: then node 2 is promoted. What its client is told, and reads.
fn overwritten(canaries: Canaries) -> (Option<u16>, Vec<u8>) {
    let mut w = World::with(4, 3, 16 * MIB, false, canaries);
    w.promote(0);
    w.run();
    w.write(3, 4096, &block(1));
    w.hold.push((0, 1));
    let tag = w.write_begin(3, 4096, &block(2));
    w.run();
    w.kill(0);
    w.hold.clear();
    assert_eq!(w.data(2, 4096, 4096), block(2));
    w.cut(1, 3);
    w.hold_reconciled = true;
    w.promote(1);
    w.pass(D * 3);
    assert_eq!(w.data(2, 4096, 4096), block(1));
    w.kill(1);
    w.start(1);
    w.hold_reconciled = false;
    w.promote(2);
    w.pass(D * 3);
    (w.result(3, tag), w.read(3, 4096, 4096))
}

#[test]
fn a_change_that_was_overwritten_does_not_count_as_applied() {
    assert_eq!(overwritten(Canaries::default()), (Some(0), block(2)));
    let broken = Canaries {
        trust_overwritten: true,
        ..Canaries::default()
    };
    assert_eq!(overwritten(broken), (Some(0), block(1)));
}

#[test]
fn a_restarted_replica_reports_its_active_regions() {
    // Row 14: a survivor restarted, its list is empty.
    let mut w = World::serving(3, 3, 16 * MIB);
    w.write(0, 0, &block(1));
    w.hold.push((0, 1));
    w.write_begin(0, 0, &block(2));
    w.run();
    assert_eq!(w.data(2, 0, 4096), block(2));
    w.hold_log = true;
    w.kill(0);
    w.kill(2);
    w.hold.clear();
    w.start(2);
    w.hold_log = false;
    w.promote(1);
    w.pass(D * 3);
    assert_eq!(w.data(2, 0, 4096), block(1));
    w.assert_equal(&[1, 2]);
}

#[test]
fn a_replica_that_restarts_keeps_its_place() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    // The restart is not seen by the detector: no view without it.
    w.break_links(0, 1);
    w.run();
    let tag = w.write_begin(0, 4096, &block(2));
    w.run();
    assert_eq!(w.result(0, tag), None);
    w.pass(D / 2);
    assert_eq!(w.result(0, tag), Some(0));
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
    w.flush(0);
}

#[test]
fn a_replica_that_is_heard_a_little_later_keeps_its_place() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    // Everything starts at once, and the new primary hears of the other one last.
    w.kill(0);
    w.kill(1);
    w.start(0);
    w.start(1);
    w.deafen(1, 0);
    w.run();
    let entry = w.record.last_entry;
    w.promote(1);
    assert!(w.record.last_entry > entry);
    let entry = w.record.last_entry;
    w.pass(D / 2);
    let node = NodeId(0);
    w.inject(1, Event::Hearing { node, heard: true });
    w.run();
    assert_eq!(w.record.last_entry, entry, "it left");
    w.write(1, 4096, &block(2));
    w.assert_equal(&[0, 1]);
    // One that stays unheard leaves.
    w.deafen(0, 1);
    w.run();
    w.promote(0);
    w.pass(D * 2);
    assert!(behind(&w, 1));
}

#[test]
fn a_replica_that_is_admitted_again_at_a_start_keeps_its_place() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    w.kill(0);
    w.kill(1);
    w.start(0);
    w.start(1);
    // Its report is on the way.
    w.hold.push((0, 1));
    w.promote(1);
    let entry = w.record.last_entry;
    w.readmit(0);
    w.run();
    w.release_frames();
    assert_eq!(w.record.last_entry, entry, "it left");
    w.write(1, 4096, &block(2));
    w.assert_equal(&[0, 1]);
}

/// O2 is on S1, not on S2, where an older change O1 of the same place is held as well. S1 takes over
/// and dies as soon as its first piece of that place is on S2; S2 takes over, a client sees O2 and
/// overwrites it, and O2 is sent again. What is read then: 6 is right.
fn older_piece(canaries: Canaries) -> u8 {
    let mut w = World::with(5, 3, 16 * MIB, true, canaries);
    w.promote(0);
    w.run();
    w.write(3, 4096, &block(1));
    w.write(4, 8192, &block(1));
    // One write is slow on node 0's disk: nothing after it is stable.
    w.nodes[0].hold_disk = true;
    w.write_begin(3, 40960, &block(9));
    w.run();
    w.nodes[0].hold_disk = false;
    w.write(3, 4096, &block(2));
    w.hold.push((0, 2));
    let o2 = w.write_begin(4, 4096, &block(5));
    w.run();
    assert_eq!(w.data(1, 4096, 4096), block(5));
    assert_eq!(w.data(2, 4096, 4096), block(2));
    w.kill(0);
    w.hold.clear();
    w.cut(4, 1);
    w.cut(4, 2);
    w.hold_changed = true;
    w.promote(1);
    w.pass(D * 3);
    assert_eq!(w.data(2, 4096, 4096), block(5));
    w.kill(1);
    w.hold_changed = false;
    w.promote(2);
    w.pass(D * 6);
    assert_eq!(w.read(2, 4096, 4096), block(5));
    w.write(2, 4096, &block(6));
    assert_eq!(w.result(4, o2), None);
    w.heal();
    w.pass(D * 6);
    assert_eq!(w.result(4, o2), Some(0));
    w.read(3, 4096, 4096)[0]
}

#[test]
fn a_piece_brings_no_newer_change_without_its_origin() {
    assert_eq!(older_piece(Canaries::default()), 6);
    let broken = Canaries {
        oldest_piece_first: true,
        ..Canaries::default()
    };
    assert_eq!(older_piece(broken), 5);
}

#[test]
fn a_write_that_fails_after_its_term_is_not_applied() {
    for stores in [1, 2] {
        let mut w = World::with(4, stores, 16 * MIB, true, Canaries::default());
        w.promote(0);
        w.run();
        w.write(3, 4096, &block(1));
        w.flush(3);
        w.nodes[0].hold_disk = true;
        let tag = w.write_begin(3, 4096, &block(2));
        w.run();
        assert_eq!(w.result(3, tag), None);
        // The term ends, the same run of the daemon has the next one, and then the write fails.
        w.promote(0);
        w.run();
        w.fail_first(0);
        w.release_disk(0);
        w.pass(D * 6);
        assert_eq!(w.result(3, tag), Some(0));
        assert_eq!(w.read(3, 4096, 4096), block(2));
    }
}

#[test]
fn a_full_table_does_not_keep_a_new_primary_from_reconciling() {
    let mut w = World::serving(2, 2, 16 * MIB);
    for region in 0..4 {
        w.write(0, region * MIB, &block(1));
    }
    w.kill(0);
    w.kill(1);
    w.start(0);
    w.start(1);
    // The pieces are on their way while a client asks for another region.
    w.hold_changed = true;
    w.promote(1);
    assert!(w.volume(1).serving().is_some());
    w.nodes[1].volume.as_mut().unwrap().narrow(4);
    let tag = w.write_begin(1, 9 * MIB, &block(2));
    w.run();
    assert_eq!(w.result(1, tag), None);
    w.hold_changed = false;
    w.release_frames();
    w.pass(D * 40);
    assert_eq!(w.result(1, tag), Some(0));
    w.pass(D * 10);
    w.assert_equal(&[0, 1]);
}
