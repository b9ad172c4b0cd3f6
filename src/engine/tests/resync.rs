//! Coming back.

use super::world::*;
use crate::engine::Canaries;
use crate::engine::io::Note;
use crate::record::ReplicaState;
use crate::types::*;

const MIB: u64 = 1 << 20;

fn block(seed: u8) -> Vec<u8> {
    vec![seed; 4096]
}

fn copied(w: &World) -> Vec<u64> {
    w.notes
        .iter()
        .filter_map(|&(_, note)| match note {
            Note::ResyncDone { copied, .. } => Some(copied),
            _ => None,
        })
        .collect()
}

#[test]
fn a_cut_replica_gets_what_it_missed_and_nothing_else() {
    let mut w = World::serving(2, 2, 32 * MIB);
    for region in 0..8 {
        w.write(0, region * MIB, &block(1));
    }
    // Time to tell the replica what is stable.
    w.pass(D);
    w.cut(0, 1);
    w.pass(D * 3);
    for region in 4..6 {
        w.write(0, region * MIB + 4096, &block(2));
    }
    assert_eq!(w.data(1, 4 * MIB + 4096, 4096), block(0));
    w.heal();
    w.pass(D * 10);
    assert!(w.record.replicas[1].state.is_in_sync());
    assert_eq!(copied(&w), [2]);
    w.assert_equal(&[0, 1]);
    assert_eq!(w.volume(0).dirty(NodeId(1)), None);
    // It counts again.
    w.nodes[1].hold_disk = true;
    let tag = w.write_begin(0, 0, &block(3));
    w.run();
    assert_eq!(w.result(0, tag), None);
    w.release_disk(1);
    assert_eq!(w.result(0, tag), Some(0));
}

#[test]
fn a_replica_that_was_cut_off_learns_which_changes_it_missed() {
    let mut w = World::with(3, 2, 16 * MIB, true, Canaries::default());
    w.promote(0);
    w.write(2, 0, &block(1));
    w.cut(0, 1);
    w.pass(D * 3);
    assert!(!w.record.replicas[1].state.is_in_sync());
    // Takes effect while node 1 is away; its client does not hear of it.
    w.hold.push((0, 2));
    let tag = w.write_begin(2, 4096, &block(2));
    w.run();
    w.write(0, 4096, &block(3));
    w.heal();
    w.pass(D * 10);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.kill(0);
    w.hold.clear();
    w.promote(1);
    w.pass(D * 5);
    assert_eq!(w.result(2, tag), Some(0));
    assert_eq!(w.read(2, 4096, 4096), block(3), "it took effect twice");
}

#[test]
fn writes_go_on_during_a_resync() {
    let mut w = World::serving(2, 2, 32 * MIB);
    for region in 0..16 {
        w.write(0, region * MIB, &vec![1; 256 << 10]);
    }
    w.kill(1);
    w.pass(D * 2);
    for region in 0..16 {
        w.write(0, region * MIB, &vec![2; 256 << 10]);
    }
    w.start(1);
    // The link is slow: frames arrive in portions.
    for seed in 3..40_u8 {
        w.hold.push((1, 0));
        let at = u64::from(seed % 16) * MIB + u64::from(seed) * 4096;
        let tag = w.write_begin(0, at, &block(seed));
        w.run();
        w.release_frames();
        assert_eq!(w.result(0, tag), Some(0));
        w.pass(D / 8);
    }
    w.pass(D * 20);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
}

#[test]
fn a_resync_that_breaks_goes_on_where_it_was() {
    let mut w = World::serving(2, 2, 64 * MIB);
    w.cut(0, 1);
    w.pass(D * 3);
    for region in 0..32 {
        w.write(0, region * MIB, &vec![7; 1 << 20]);
    }
    w.heal();
    for _ in 0..20 {
        w.break_links(0, 1);
        w.run();
        w.pass(D / 3);
    }
    w.pass(D * 20);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
}

#[test]
fn a_blank_store_gets_a_full_copy() {
    let mut w = World::serving(2, 2, 32 * MIB);
    for region in [0, 3, 9] {
        w.write(0, region * MIB + 8192, &block(5));
    }
    w.kill(1);
    w.pass(D * 2);
    w.replace_store(1, 900);
    w.start(1);
    w.pass(D * 20);
    assert_eq!(w.record.replicas[1].store, StoreId(900));
    assert!(w.record.replicas[1].state.is_in_sync());
    // Regions that were never written are not copied.
    assert_eq!(copied(&w).last(), Some(&(3 * 256)));
    // There was nothing to compare with.
    assert_eq!(w.compares, 0);
    w.assert_equal(&[0, 1]);
    assert!(w.volume(1).is_written(3) && !w.volume(1).is_written(4));
}

#[test]
fn a_replica_that_grows_is_handed_the_bitmaps_of_the_absent() {
    // Row 6.
    let mut w = World::serving(3, 3, 32 * MIB);
    w.write(0, 0, &block(1));
    w.kill(1);
    w.pass(D * 2);
    w.write(0, 4096, &block(2));
    w.kill(2);
    w.pass(D * 2);
    w.write(0, 8192, &block(3));
    w.start(1);
    w.pass(D * 10);
    assert!(w.record.replicas[1].state.is_in_sync());
    let (since, bits) = w
        .volume(1)
        .dirty(NodeId(2))
        .expect("no bitmap was handed over");
    assert_eq!(ReplicaState::Behind { since }, w.record.replicas[2].state);
    assert!(bits.get(2));
    // The old primary is gone for good; the last one comes back to the one that grew.
    w.kill(0);
    w.promote(1);
    w.pass(D * 2);
    w.start(2);
    w.pass(D * 20);
    assert!(w.record.replicas[2].state.is_in_sync());
    w.assert_equal(&[1, 2]);
}

#[test]
fn a_target_that_loses_power_is_copied_again() {
    // Row 7: what it had not flushed stays marked.
    let mut w = World::serving(2, 2, 32 * MIB);
    w.cut(0, 1);
    w.pass(D * 3);
    for region in 0..8 {
        w.write(0, region * MIB, &vec![7; 1 << 20]);
    }
    w.heal();
    w.pass(std::time::Duration::from_millis(3));
    w.power_off(1);
    w.start(1);
    w.pass(D * 20);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.power_off(1);
    w.assert_equal(&[0, 1]);
}

/// Power is lost after a replica has grown, or should have, with a change on its way.
fn power_lost_after_grow(canaries: Canaries) -> World {
    let mut w = World::with(2, 2, 32 * MIB, false, canaries);
    w.promote(0);
    w.write(0, 0, &block(1));
    w.write(0, 3 * MIB, &block(1));
    // The intents are cleared.
    w.pass(std::time::Duration::from_secs(3));
    w.cut(0, 1);
    w.pass(D * 3);
    w.write(0, 0, &block(2));
    // The copy is held up, and a change meets an intent that is not durable yet.
    w.nodes[1].hold_disk = true;
    w.nodes[1].hold_meta = true;
    w.heal();
    w.pass(D / 2);
    w.write(0, 3 * MIB, &block(3));
    w.release_disk(1);
    w.pass(D);
    w.flush(0);
    w.pass(std::time::Duration::from_secs(3));
    w.power_off(1);
    w.start(1);
    w.pass(D * 20);
    assert!(w.record.replicas[1].state.is_in_sync());
    w
}

#[test]
fn grow_waits_for_the_changes_that_were_answered_before_the_replica_counted() {
    let w = power_lost_after_grow(Canaries::default());
    w.assert_equal(&[0, 1]);
    let canaries = Canaries {
        grow_unacknowledged: true,
        ..Canaries::default()
    };
    let w = power_lost_after_grow(canaries);
    assert_ne!(w.data(0, 3 * MIB, 4096), w.data(1, 3 * MIB, 4096));
}

/// A replica that is being resynced, and whose disk hangs with a copy of the first block under way.
fn hanging() -> World {
    let mut w = World::serving(2, 2, 32 * MIB);
    w.write(0, 0, &block(1));
    w.cut(0, 1);
    w.pass(D * 3);
    w.write(0, 0, &block(2));
    w.nodes[1].hold_disk = true;
    w.heal();
    w.pass(D / 2);
    w
}

/// Writes to this block, which somebody else may hold up for a while, but not for ever.
fn write_in_time(w: &mut World, at: u64) {
    let tag = w.write_begin(0, at * 4096, &block(3));
    w.run();
    if w.result(0, tag).is_none() {
        w.pass(std::time::Duration::from_secs(6));
    }
    assert_eq!(w.result(0, tag), Some(0), "write of block {at}");
}

#[test]
fn a_replica_that_owes_thousands_of_changes_is_let_go() {
    let mut w = hanging();
    for at in 0..5000 {
        write_in_time(&mut w, 256 + at);
    }
    w.release_disk(1);
    w.pass(D * 100);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
}

#[test]
fn a_copy_that_hangs_holds_up_nobody_for_long() {
    let mut w = hanging();
    write_in_time(&mut w, 0);
    w.release_disk(1);
    w.pass(D * 100);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
}

#[test]
fn a_primary_that_was_never_acknowledged_comes_back_clean() {
    // Row 17: the write is on the dead primary only; its own intent tells.
    let mut w = World::serving(2, 2, 32 * MIB);
    w.write(0, 0, &block(1));
    w.hold.push((0, 1));
    w.write_begin(0, 0, &block(2));
    w.run();
    assert_eq!(w.data(0, 0, 4096), block(2));
    w.kill(0);
    w.hold.clear();
    w.promote(1);
    w.pass(D * 2);
    assert_eq!(w.read(1, 0, 4096), block(1));
    w.start(0);
    w.pass(D * 20);
    assert!(w.record.replicas[0].state.is_in_sync());
    assert_eq!(w.data(0, 0, 4096), block(1));
}

#[test]
fn grow_is_asked_again_when_the_log_has_moved_on() {
    let mut w = World::serving(2, 2, 32 * MIB);
    w.cut(0, 1);
    w.pass(D * 3);
    w.write(0, 0, &block(1));
    w.hold_log = true;
    w.heal();
    w.pass(D * 2);
    assert!(!w.held_log.is_empty());
    // It counts while this is undecided.
    w.nodes[1].hold_disk = true;
    let tag = w.write_begin(0, 4096, &block(2));
    w.run();
    assert_eq!(w.result(0, tag), None);
    w.release_disk(1);
    assert_eq!(w.result(0, tag), Some(0));
    w.held_log.clear();
    w.release_log();
    w.pass(D * 4);
    assert!(w.record.replicas[1].state.is_in_sync());
}

#[test]
fn a_bitmap_survives_a_restart_of_the_primary() {
    let mut w = World::serving(2, 2, 32 * MIB);
    w.write(0, 0, &block(1));
    w.kill(1);
    w.pass(D * 2);
    w.write(0, 3 * MIB, &block(2));
    w.flush(0);
    w.pass(std::time::Duration::from_secs(3));
    assert!(!w.volume(0).is_active(3));
    w.kill(0);
    w.start(0);
    let (_, bits) = w.volume(0).dirty(NodeId(1)).unwrap();
    assert!(bits.get(3 * 256));
    assert_eq!(bits.count(), 1);
    w.promote(0);
    w.start(1);
    w.pass(D * 20);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
}

#[test]
fn canaries_break_what_they_say() {
    let canaries = Canaries {
        forget_dirty_bit: true,
        ..Canaries::default()
    };
    let mut w = World::with(2, 2, 32 * MIB, false, canaries);
    w.promote(0);
    w.write(0, 0, &block(1));
    w.cut(0, 1);
    w.pass(D * 3);
    for at in 0..8 {
        w.write(0, at * 4096, &block(9));
    }
    w.heal();
    w.pass(D * 10);
    assert_ne!(w.data(0, 0, 8 * 4096), w.data(1, 0, 8 * 4096));
}

#[test]
fn a_change_that_fails_here_after_the_replica_flushed_it_is_brought_in_line() {
    let mut w = World::serving(2, 2, 32 * MIB);
    for region in 0..4 {
        w.write(0, region * MIB, &vec![1; 1 << 20]);
    }
    w.pass(D);
    w.cut(0, 1);
    w.pass(D * 3);
    assert!(!w.record.replicas[1].state.is_in_sync());
    // Many small differences.
    for at in 0..256 {
        w.write(0, MIB + at * 8192, &block(2));
    }
    let place = MIB + 4096;
    assert!(w.volume(0).is_active(1));
    w.nodes[0].hold_disk = true;
    w.heal();
    w.pass(D / 2);
    // The disk of the primary, the only copy, is slow with this one and will fail it.
    w.nodes[0].fail_disk = Some(5);
    let tag = w.write_begin(0, place, &block(3));
    w.run();
    w.nodes[0].fail_disk = None;
    assert_eq!(w.data(0, place, 4096), block(1));
    assert_eq!(w.data(1, place, 4096), block(3));
    let dirty = |w: &World| w.volume(0).dirty(NodeId(1)).unwrap().1.get(place / 4096);
    assert!(dirty(&w));
    for _ in 0..90 {
        w.release_reads(0);
    }
    assert!(!dirty(&w), "not flushed yet");
    assert!(!w.record.replicas[1].state.is_in_sync());
    assert_eq!(w.result(0, tag), None);
    w.fail_first(0);
    w.release_disk(0);
    w.pass(D * 30);
    assert_eq!(w.result(0, tag), Some(5));
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
}
