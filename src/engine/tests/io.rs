//! Reading, writing, flushing; through the primary and through another node.

use super::world::*;
use crate::wire::frame::{Ask, Change};

const MIB: u64 = 1 << 20;

fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| seed ^ (i as u8).wrapping_mul(31))
        .collect()
}

#[test]
fn writes_through_any_node_are_read_everywhere() {
    let mut w = World::serving(3, 2, 16 * MIB);
    w.write(0, 8192, &pattern(1, 8192));
    assert_eq!(w.read(0, 8192, 8192), pattern(1, 8192));
    // Another session displaces the first one: the volume is not shared.
    w.write(1, 3 * MIB, &pattern(2, 4096));
    w.write(2, 5 * MIB, &pattern(3, 4096));
    assert_eq!(w.read(2, 8192, 8192), pattern(1, 8192));
    assert_eq!(w.read(2, 3 * MIB, 4096), pattern(2, 4096));
    assert_eq!(w.data(1, 8192, 8192), pattern(1, 8192));
    assert_eq!(w.data(1, 5 * MIB, 4096), pattern(3, 4096));
    w.assert_equal(&[0, 1]);
    w.pass(D * 40);
    for node in 0..3 {
        assert!(w.volume(node).at_rest(), "node {node}");
        assert_eq!(w.nodes[node].bufs_in_use(), 0, "node {node}");
    }
}

#[test]
fn unaligned_writes_keep_their_surroundings() {
    let mut w = World::serving(2, 2, 16 * MIB);
    let mut model = vec![0_u8; 64 << 10];
    let cases = [
        (5, 10),
        (4000, 200),
        (4096, 1),
        (8191, 4098),
        (100, 4096),
        (12288, 8192),
        (20000, 30000),
    ];
    for (seed, (offset, len)) in cases.into_iter().enumerate() {
        let data = pattern(seed as u8 + 1, len);
        model[offset..offset + len].copy_from_slice(&data);
        w.write(seed % 2, offset as u64, &data);
        let node = seed % 2;
        assert_eq!(w.read(node, 0, 64 << 10), model, "case {seed}");
        assert_eq!(w.read(node, 4095, 5), model[4095..4100], "case {seed}");
    }
    w.assert_equal(&[0, 1]);
}

#[test]
fn zeroes_and_trims_read_as_zeroes_on_every_replica() {
    let mut w = World::serving(2, 2, 16 * MIB);
    let mut model = pattern(9, 64 << 10);
    w.write(1, 0, &model);
    for (change, offset, len) in [
        (Change::Zero, 4096, 8192),
        (Change::Zero, 20000, 100),
        (Change::ZeroAllocated, 30000, 9000),
        (Change::Trim, 49152, 4096),
    ] {
        model[offset..offset + len].fill(0);
        w.change(1, change, offset as u64, len as u32);
        assert_eq!(w.read(1, 0, 64 << 10), model);
    }
    // Of a trim, blocks that are not whole stay.
    w.change(1, Change::Trim, 61000, 100);
    assert_eq!(w.read(1, 0, 64 << 10), model);
    w.assert_equal(&[0, 1]);
}

#[test]
fn what_was_never_written_reads_as_zeroes_and_takes_no_intent() {
    let mut w = World::serving(2, 2, 16 * MIB);
    // Whatever an old device holds.
    for node in 0..2 {
        let at = crate::meta::layout(16 * MIB).data as usize + 4096;
        w.nodes[node].store[at] = 0x55;
    }
    assert_eq!(w.read(0, 4096, 10), [0; 10]);
    w.change(0, Change::Trim, 0, 1 << 20);
    w.change(0, Change::Zero, 4096, 100);
    assert!(!w.volume(0).is_active(0) && !w.volume(0).is_written(0));
    assert!(!w.volume(1).is_written(0));
    w.write(0, MIB, &pattern(1, 512));
    assert!(w.volume(0).is_active(1) && w.volume(1).is_active(1));
}

#[test]
fn overlapping_writes_reach_every_replica_in_one_order() {
    // The gateway itself holds back what overlaps; two gateways do not know of each other.
    let mut w = World::with(2, 2, 16 * MIB, true, crate::engine::Canaries::default());
    w.promote(0);
    w.write(0, 0, &pattern(1, 4096));
    w.write(1, 4096, &pattern(1, 4096));
    w.hold.push((1, 0));
    let a = w.write_begin(0, 0, &pattern(2, 8192));
    w.run();
    let read = w.ask(0, Ask::Read, 4096, &[], 4096);
    w.run();
    assert_eq!(w.result(0, a), None);
    assert_eq!(
        w.result(0, read),
        None,
        "a read overtook an unacknowledged write"
    );
    w.release_frames();
    assert_eq!(w.result(0, a), Some(0));
    assert_eq!(w.nodes[0].replies[&read].1, pattern(2, 8192)[4096..]);
    let first = w.write_begin(0, 0, &pattern(3, 8192));
    let second = w.write_begin(1, 4096, &pattern(4, 8192));
    w.run();
    assert_eq!(
        (w.result(0, first), w.result(1, second)),
        (Some(0), Some(0))
    );
    w.assert_equal(&[0, 1]);
}

#[test]
fn a_write_is_answered_after_every_replica_and_not_without_a_lease() {
    let mut w = World::serving(2, 2, 16 * MIB);
    w.write(0, 0, &pattern(1, 4096));
    w.nodes[1].hold_disk = true;
    let tag = w.write_begin(0, 4096, &pattern(2, 4096));
    w.run();
    assert_eq!(w.result(0, tag), None);
    w.nodes[0].lease = false;
    w.release_disk(1);
    assert_eq!(w.result(0, tag), None);
    w.nodes[0].lease = true;
    w.pass(D);
    assert_eq!(w.result(0, tag), Some(0));
}

#[test]
fn a_flush_waits_for_every_replica_and_clears_intents_later() {
    let mut w = World::serving(2, 2, 16 * MIB);
    for region in 0..5 {
        w.write(0, region * MIB, &pattern(1, 4096));
    }
    w.nodes[1].hold_disk = true;
    let tag = w.ask(0, Ask::Flush, 0, &[], 0);
    w.run();
    assert_eq!(w.result(0, tag), None);
    w.release_disk(1);
    assert_eq!(w.result(0, tag), Some(0));
    assert!(w.volume(0).is_active(3) && w.volume(1).is_active(3));
    w.pass(std::time::Duration::from_secs(3));
    for node in 0..2 {
        for region in 0..5 {
            assert!(!w.volume(node).is_active(region), "{node} {region}");
            assert!(w.volume(node).is_written(region));
        }
        assert!(w.volume(node).at_rest());
    }
    // What is known survives a restart.
    w.kill(1);
    w.start(1);
    assert!(w.volume(1).is_written(3) && !w.volume(1).is_written(7));
}

#[test]
fn fua_is_durable_when_answered() {
    let mut w = World::serving(2, 2, 16 * MIB);
    let ask = Ask::Change {
        change: Change::Write,
        fua: true,
    };
    let tag = w.ask(1, ask, 4096, &pattern(5, 4096), 4096);
    w.run();
    assert_eq!(w.result(1, tag), Some(0));
    w.power_off(0);
    w.power_off(1);
    assert_eq!(w.data(0, 4096, 4096), pattern(5, 4096));
    assert_eq!(w.data(1, 4096, 4096), pattern(5, 4096));
}
