//! Stores that have failed: what a restart of the daemon must not undo.

use super::world::*;
use crate::engine::Canaries;
use crate::record::ReplicaState;
use crate::wire::frame::Ask;

const MIB: u64 = 1 << 20;

fn block(seed: u8) -> Vec<u8> {
    vec![seed; 4096]
}

fn failed(w: &World, node: usize) -> bool {
    w.volume(node).report().is_some_and(|report| report.failed)
}

/// A flush fails on node 1, which is in sync, and both daemons are killed before anybody hears of it.
fn flush_failed_unheard(canaries: Canaries) -> World {
    let mut w = World::with(2, 2, 16 * MIB, false, canaries);
    w.promote(0);
    w.write(0, 0, &block(1));
    w.hold.push((1, 0));
    w.nodes[1].hold_disk = true;
    let flush = w.ask(0, Ask::Flush, 0, &[], 0);
    w.run();
    w.fail_first(1);
    assert!(failed(&w, 1));
    assert_eq!(w.result(0, flush), None);
    w.kill(0);
    w.kill(1);
    w.hold.clear();
    assert!(w.record.replicas[1].state.is_in_sync());
    w
}

#[test]
fn a_store_that_failed_unheard_is_not_good_after_a_restart() {
    let mut w = flush_failed_unheard(Canaries::default());
    w.start(0);
    w.start(1);
    assert!(failed(&w, 1), "nobody would promote it");
    w.promote(0);
    w.pass(D * 5);
    let state = w.record.replicas[1].state;
    assert!(matches!(state, ReplicaState::Behind { .. }));
    // Nor is it filled again.
    w.write(0, 4096, &block(2));
    w.pass(D * 50);
    assert!(failed(&w, 1) && w.record.replicas[1].state == state);
    assert_eq!(w.read(0, 0, 4096), block(1));
}

#[test]
fn a_bug_that_forgets_failed_stores_shows() {
    let mut w = flush_failed_unheard(Canaries {
        forget_failed_store: true,
        ..Canaries::default()
    });
    w.start(0);
    w.start(1);
    assert!(!failed(&w, 1), "not planted");
}

#[test]
fn the_last_copy_is_not_good_after_a_restart_either() {
    let mut w = World::serving(1, 1, 16 * MIB);
    w.write(0, 0, &block(1));
    w.nodes[0].hold_disk = true;
    let flush = w.ask(0, Ask::Flush, 0, &[], 0);
    w.run();
    w.fail_first(0);
    assert_eq!(w.result(0, flush), Some(5));
    w.kill(0);
    w.start(0);
    assert!(failed(&w, 0));
}

/// A disk that takes nothing at all does not take the mark either: then the failure is forgotten with
/// the daemon that saw it.
#[test]
fn a_failure_that_the_disk_refuses_to_keep_is_known_to_one_run() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.nodes[1].fail_disk = Some(5);
    w.write(0, 0, &block(1));
    w.pass(D * 20);
    assert!(failed(&w, 1));
    w.kill(1);
    w.nodes[1].fail_disk = None;
    w.start(1);
    assert!(!failed(&w, 1));
    // It was out: it is resynced like any other.
    w.pass(D * 50);
    assert!(w.record.replicas[1].state.is_in_sync());
    w.assert_equal(&[0, 1]);
}
