//! Losing replicas and primaries.

use super::world::*;
use crate::engine::Canaries;
use crate::engine::io::{Buf, Direction, Event, LinkId};
use crate::record::ReplicaState;
use crate::types::*;
use crate::wire::frame::{Ask, Frame, Purpose};

const MIB: u64 = 1 << 20;

fn block(seed: u8) -> Vec<u8> {
    vec![seed; 4096]
}

fn behind(w: &World, node: usize) -> bool {
    matches!(w.record.replicas[node].state, ReplicaState::Behind { .. })
}

#[test]
fn a_dead_replica_is_shrunk_out_and_writes_go_on() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    w.kill(1);
    let tag = w.write_begin(0, 4096, &block(2));
    w.run();
    assert_eq!(w.result(0, tag), Some(0));
    assert!(behind(&w, 1));
    // Marked: what the dead one misses, and nothing else.
    let (since, bits) = w.volume(0).dirty(NodeId(1)).unwrap();
    assert_eq!(ReplicaState::Behind { since }, w.record.replicas[1].state);
    assert!(bits.get(1));
    assert_eq!(bits.count(), 1);
}

#[test]
fn nothing_is_acknowledged_while_a_shrink_is_undecided() {
    let mut w = World::serving(3, 3, 16 * MIB);
    w.write(0, 0, &block(1));
    w.hold_log = true;
    // Its acknowledgement is on the way when it is given up.
    w.hold.push((2, 0));
    let tag = w.write_begin(0, 4096, &block(2));
    w.run();
    w.cut(0, 2);
    w.pass(D * 3);
    assert!(!w.held_log.is_empty(), "no shrink was proposed");
    w.cut(0, 1);
    w.heal();
    w.release_frames();
    assert_eq!(w.result(0, tag), None, "acknowledged while undecided");
    w.release_log();
    w.pass(D * 3);
    assert_eq!(w.result(0, tag), Some(0));
    // The remaining replica has marked it, too.
    w.pass(D * 20);
    w.assert_equal(&[0, 1, 2]);
}

/// A replica that is heard no more, but still hears, is about to leave.
fn leaving(canaries: Canaries) -> World {
    let mut w = World::with(2, 2, 16 * MIB, false, canaries);
    w.promote(0);
    w.write(0, 0, &block(1));
    w.flush(0);
    w.write(0, 0, &block(2));
    w.hold.push((1, 0));
    w.hold_log = true;
    w.deafen(0, 1);
    w.pass(D * 20);
    assert!(!w.held_log.is_empty(), "no shrink was proposed");
    w
}

#[test]
fn the_flush_of_those_who_remain_clears_no_intent_of_the_one_that_leaves() {
    let mut w = leaving(Canaries::default());
    assert!(w.volume(1).is_active(0), "the intent was cleared");
    w.power_off(1);
    w.hold.clear();
    w.release_log();
    w.start(1);
    w.heal();
    w.pass(D * 20);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
    let planted = Canaries {
        shrink_moves_watermark: true,
        ..Canaries::default()
    };
    assert!(!leaving(planted).volume(1).is_active(0), "not planted");
}

#[test]
fn a_primary_that_cannot_flush_takes_nobody_out() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    w.cut(0, 1);
    w.nodes[0].fail_disk = Some(5);
    w.pass(D * 3);
    // The other one may hold what the failed disk has lost: it is to take over.
    assert!(w.record.replicas[1].state.is_in_sync());
    assert_eq!(w.record.primary, None);
    w.heal();
    w.promote(1);
    w.pass(D * 20);
    assert_eq!(w.read(1, 0, 4096), block(1));
    assert!(behind(&w, 0));
}

/// A write whose answer is lost is overwritten by another gateway; then every window is lost.
fn windows_lost(canaries: Canaries) -> World {
    let mut w = World::with(3, 2, 16 * MIB, true, canaries);
    w.promote(0);
    w.write(2, 0, &block(1));
    w.hold.push((0, 2));
    w.write_begin(2, 0, &block(2));
    w.run();
    w.write(1, 0, &block(3));
    w.kill(0);
    w.kill(1);
    w.hold.clear();
    w.start(0);
    w.start(1);
    w.promote(0);
    w.pass(D * 10);
    w
}

#[test]
fn a_session_whose_windows_are_lost_undoes_nothing() {
    let mut w = windows_lost(Canaries::default());
    assert_eq!(w.nodes[2].disconnected, 1);
    assert_eq!(w.read(0, 0, 4096), block(3));
    let canaries = Canaries {
        trust_lost_windows: true,
        ..Canaries::default()
    };
    let mut w = windows_lost(canaries);
    assert_eq!(w.read(0, 0, 4096), block(2));
}

#[test]
fn a_primary_asks_for_a_new_term_long_before_its_numbers_end() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    w.nodes[0].volume.as_mut().unwrap().give_out(1 << 39);
    w.write(0, 4096, &block(2));
    w.pass(D);
    assert_eq!(w.record.primary, None);
    w.promote(0);
    w.pass(D);
    w.write(0, 8192, &block(3));
    w.assert_equal(&[0, 1]);
}

#[test]
fn a_term_that_leaves_no_numbers_is_refused() {
    let mut w = World::serving(2, 2, 16 * MIB);
    for term in [Term(0), Term(1 << 24), Term(u64::MAX)] {
        let link = LinkId(900);
        let peer = NodeId(0);
        w.inject(
            1,
            Event::LinkUp {
                link,
                peer,
                incarnation: Incarnation(1),
                direction: Direction::In,
            },
        );
        let frame = Frame::Attach {
            term,
            entry: Index(1),
            purpose: Purpose::InSync,
            resync: 1,
        };
        let buf = Buf::NONE;
        w.inject(1, Event::Frame { link, frame, buf });
        let seq = Seq(5);
        let frame = Frame::Reconciled { through: seq };
        w.inject(1, Event::Frame { link, frame, buf });
    }
    // The real one goes on.
    w.write(0, 0, &block(1));
    assert!(w.record.replicas[1].state.is_in_sync());
}

#[test]
fn every_remaining_replica_marks_what_is_not_stable() {
    let mut w = World::serving(3, 3, 16 * MIB);
    w.write(0, 0, &block(1));
    // The write reaches nodes 0 and 1, not 2.
    w.hold.push((0, 2));
    let tag = w.write_begin(0, 4096, &block(2));
    w.run();
    w.kill(2);
    w.pass(D * 3);
    assert_eq!(w.result(0, tag), Some(0));
    for node in 0..2 {
        let (_, bits) = w.volume(node).dirty(NodeId(2)).unwrap();
        assert!(bits.get(1), "node {node}");
    }
    // The primary dies at once; the replica comes back to the other one.
    w.kill(0);
    w.promote(1);
    w.pass(D);
    w.start(2);
    w.pass(D * 20);
    assert!(w.record.replicas[2].state.is_in_sync());
    w.assert_equal(&[1, 2]);
}

#[test]
fn a_rebooted_replica_is_not_in_sync() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    w.flush(0);
    w.write(0, 4096, &block(2));
    w.power_off(1);
    assert_eq!(w.data(1, 4096, 4096), block(0));
    w.start(1);
    w.pass(D * 20);
    assert!(w.record.last_entry > Index(4), "it never left");
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
}

#[test]
fn after_a_loss_of_all_power_the_union_of_intents_is_resynced() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    w.flush(0);
    w.write(0, MIB, &block(2));
    w.write(0, 2 * MIB, &block(3));
    // They lose different writes.
    let at = crate::meta::layout(16 * MIB).data as usize;
    let keep: Vec<u8> = w.nodes[0].store[at + MIB as usize..][..4096].to_vec();
    w.power_off(0);
    w.power_off(1);
    w.nodes[0].store[at + MIB as usize..][..4096].copy_from_slice(&keep);
    w.nodes[1].store[at + 2 * MIB as usize..][..4096].copy_from_slice(&block(3));
    w.start(0);
    w.start(1);
    w.promote_after_power_loss(0);
    w.pass(D * 20);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
    assert_eq!(w.read(0, 0, 4096), block(1));
    assert_eq!(w.read(0, MIB, 4096), block(2));
    assert_eq!(w.read(0, 2 * MIB, 4096), block(0));
}

#[test]
fn a_demoted_primary_finishes_first() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(1, 0, &block(1));
    w.nodes[1].hold_disk = true;
    let tag = w.write_begin(1, 4096, &block(2));
    w.run();
    let now = w.now;
    let mut out = Vec::new();
    w.nodes[0]
        .volume
        .as_mut()
        .unwrap()
        .demote(now, Some(NodeId(1)), &mut out);
    assert!(out.is_empty());
    let late = w.write_begin(1, 8192, &block(3));
    w.run();
    w.release_disk(1);
    assert_eq!(w.result(1, tag), Some(0));
    w.pass(D * 2);
    assert_eq!(w.record.primary, None);
    assert_eq!(w.result(1, late), None);
    w.promote(1);
    w.pass(D);
    assert_eq!(w.result(1, late), Some(0));
    w.assert_equal(&[0, 1]);
}

#[test]
fn a_failed_disk_of_the_primary_hands_the_volume_over() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(1, 0, &block(1));
    w.nodes[0].fail_disk = Some(5);
    let tag = w.write_begin(1, 4096, &block(2));
    w.run();
    w.pass(D * 2);
    assert_eq!(w.record.primary, None);
    assert_eq!(w.result(1, tag), None);
    assert!(w.volume(0).report().unwrap().failed);
    w.promote(1);
    w.pass(D * 5);
    assert_eq!(w.result(1, tag), Some(0));
    assert!(behind(&w, 0));
    assert_eq!(w.read(1, 4096, 4096), block(2));
}

#[test]
fn a_failed_disk_of_a_replica_takes_it_out() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    w.nodes[1].fail_disk = Some(5);
    let tag = w.write_begin(0, 4096, &block(2));
    w.run();
    w.pass(D * 2);
    assert_eq!(w.result(0, tag), Some(0));
    assert!(behind(&w, 1));
}

#[test]
fn the_last_copy_answers_with_its_error() {
    let mut w = World::serving(1, 1, 16 * MIB);
    w.write(0, 0, &block(1));
    w.nodes[0].fail_disk = Some(5);
    let read = w.ask(0, Ask::Read, 0, &[], 4096);
    w.run();
    assert_eq!(w.result(0, read), Some(5));
    let write = w.write_begin(0, 0, &block(2));
    w.run();
    assert_eq!(w.result(0, write), Some(5));
    w.nodes[0].fail_disk = None;
    assert_eq!(w.read(0, 0, 4096), block(1));
}

#[test]
fn frames_of_an_older_term_have_no_effect() {
    let mut w = World::serving(3, 2, 16 * MIB);
    w.write(0, 0, &block(1));
    // The old primary is cut off from the witness's side only: it goes on sending.
    w.hold.push((0, 1));
    let tag = w.write_begin(0, 4096, &block(2));
    w.run();
    // The record of the promotion does not reach node 0.
    let volume = w.nodes[0].volume.take();
    w.promote(1);
    w.nodes[0].volume = volume;
    w.release_frames();
    w.pass(D);
    assert_eq!(w.result(0, tag), None);
    assert_eq!(w.data(1, 4096, 4096), block(0));
}
