//! A reactor that is about to stop sees its clients off.

use std::time::{Duration, Instant};

use steadfast::uring::{Figures, Input};

use crate::paper::Nodes;
use crate::raw::Raw;
use crate::{MIB, dir, rest};

fn write(cookie: u64, offset: u64) -> Vec<u8> {
    let mut bytes = Raw::header(1, 0, cookie, offset, 4096);
    bytes.resize(28 + 4096, cookie as u8);
    bytes
}

fn wait_for(nodes: &Nodes, node: usize, is: impl Fn(Figures) -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !is(nodes.figures(node)) {
        assert!(Instant::now() < until, "{:?}", nodes.figures(node));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read_back(raw: &mut Raw, offset: u64) -> u8 {
    raw.send(&Raw::header(0, 0, 77, offset, 4096));
    assert_eq!(raw.reply().errno, 0);
    let data: [u8; 4096] = raw.take();
    assert!(data.iter().all(|byte| *byte == data[0]));
    data[0]
}

#[test]
fn what_was_asked_is_answered_and_nothing_more_is_taken() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 2, 16 * MIB);
    let (mut waiting, _) = Raw::open(nodes.socket(0));
    let (mut halfway, _) = Raw::open(nodes.socket(0));
    let (mut idle, _) = Raw::open(nodes.socket(0));
    let mut shaking = Raw::connect(nodes.socket(0));
    shaking.take::<18>();
    // Asked through the gateway of the standby: its own primary is not what counts.
    let (mut remote, _) = Raw::open(nodes.socket(1));
    remote.send(&write(5, 5 * MIB));
    assert_eq!(remote.reply().cookie, 5);

    nodes.lease(0, false);
    waiting.send(&write(1, MIB));
    let half = write(2, 2 * MIB);
    halfway.send(&half[..2000]);
    remote.send(&write(6, 6 * MIB));
    wait_for(&nodes, 0, |figures| figures.requests == 2);
    wait_for(&nodes, 1, |figures| figures.requests == 1);
    for node in 0..2 {
        nodes.tell(node, Input::Drain);
    }
    assert!(idle.is_closed() && shaking.is_closed());
    let mut late = Raw::connect(nodes.socket(0));
    assert!(late.is_closed(), "nobody is let in any more");
    waiting.send(&write(3, 3 * MIB));
    halfway.send(&half[2000..]);

    nodes.lease(0, true);
    assert_eq!(waiting.reply().cookie, 1);
    assert!(waiting.is_closed(), "3 was not taken");
    assert_eq!(halfway.reply().cookie, 2);
    assert!(halfway.is_closed());
    assert_eq!(remote.reply().cookie, 6);
    assert!(remote.is_closed());
    // Whoever closes its end, too, is gone.
    assert!(nodes.figures(0).clients > 0);
    drop((waiting, halfway, idle, remote));
    for node in 0..2 {
        wait_for(&nodes, node, |figures| figures.clients == 0);
    }

    // What was answered is there, what was not taken is not.
    let (mut reader, _) = Raw::open(nodes.socket(2));
    let bytes: Vec<u8> = [1, 2, 3, 5, 6]
        .map(|place| read_back(&mut reader, place * MIB))
        .into();
    assert_eq!(bytes, [1, 2, 0, 5, 6]);
    drop(reader);
    (0..3).for_each(|node| rest(&nodes, node));
    nodes.stop();
}
