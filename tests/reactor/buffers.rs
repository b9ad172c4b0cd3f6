//! Nodes that are primary of different volumes have no buffers for which they wait in a circle.
//!
//! Node 0 is primary of `vol`, node 1 of `vol1`. Something keeps all that is asked of node 0 from
//! ending, and clients ask for all that they can; with node 0 full of that, `vol1` has to be served
//! as before: its changes need buffers of node 0 too.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::paper::Nodes;
use crate::raw::Raw;
use crate::{MIB, dir, rest};

const SIZE: u64 = 96 * MIB;
/// Large requests of one client: as many as a client may have read before it takes the data.
const EACH: u64 = 16;
/// More clients on a node than it has large buffers for.
const CLIENTS: u64 = 6;

/// Clients of a node's `vol` that ask for all that they can, each in places of its own, and whose
/// answers nobody takes yet.
struct Crowd(Vec<Raw>);

impl Crowd {
    fn write(nodes: &Nodes, node: usize) -> Self {
        let clients = (0..CLIENTS).map(|client| {
            let (raw, _) = Raw::open(nodes.socket(node));
            let mut writer = Raw(raw.0.try_clone().expect("a socket"));
            // Most of it is not read before the others go on; ends with the connection, at last.
            std::thread::spawn(move || {
                for at in 0..EACH {
                    let offset = (client * EACH + at) * MIB;
                    let mut bytes = Raw::header(1, 0, at, offset, MIB as u32);
                    bytes.resize(28 + MIB as usize, client as u8 + 1);
                    if writer.0.write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
            raw
        });
        Self(clients.collect())
    }

    fn read(nodes: &Nodes, node: usize) -> Self {
        let clients = (0..CLIENTS).map(|client| {
            let (mut raw, _) = Raw::open(nodes.socket(node));
            for at in 0..EACH {
                let offset = (client * EACH + at) * MIB;
                raw.send(&Raw::header(0, 0, at, offset, MIB as u32));
            }
            raw
        });
        Self(clients.collect())
    }

    /// Takes every answer; each has `data` bytes of data.
    fn take(self, data: usize) {
        for mut raw in self.0 {
            raw.0
                .set_read_timeout(Some(Duration::from_secs(60)))
                .expect("a socket");
            for _ in 0..EACH {
                answered(&mut raw, data);
            }
        }
    }
}

/// Takes an answer, with so much data.
fn answered(raw: &mut Raw, data: usize) {
    assert_eq!(raw.reply().errno, 0);
    let mut bytes = vec![0; data];
    raw.0.read_exact(&mut bytes).expect("data");
}

/// Waits until a node has taken up all that it can for now: nothing has moved for a while.
fn fill(nodes: &Nodes, node: usize) {
    let mut seen = VecDeque::new();
    wait("it is full", || {
        let figures = nodes.figures(node);
        seen.push_back((figures.buffers, figures.requests, figures.disk));
        if seen.len() > 25 {
            seen.pop_front();
        }
        let still = seen.len() == 25 && seen.iter().all(|then| *then == seen[0]);
        still && figures.disk == 0 && figures.buffers >= 64
    });
}

fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < until, "waited until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A client of the primary of `vol1` writes and reads, and is answered long before the primary
/// would give up the other replica.
fn other_volume_is_served(nodes: &Nodes) {
    let (mut raw, _) = Raw::open_export(nodes.socket(1), "vol1");
    raw.0
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a socket");
    for cookie in 0..16 {
        let mut bytes = Raw::header(1, 0, cookie, cookie * MIB, MIB as u32);
        bytes.resize(28 + MIB as usize, 9);
        raw.send(&bytes);
        answered(&mut raw, 0);
        raw.send(&Raw::header(0, 0, cookie, cookie * MIB, MIB as u32));
        answered(&mut raw, MIB as usize);
    }
}

#[test]
fn requests_that_do_not_end_leave_room_for_changes_and_answers() {
    let dir = dir();
    let nodes = Nodes::start_volumes(dir.path(), 2, SIZE, &[0, 1]);
    // Reads of `vol1` that have been begun before anything else, and are answered at last.
    nodes.lease(1, false);
    let (mut reader, _) = Raw::open_export(nodes.socket(0), "vol1");
    for cookie in 0..8 {
        reader.send(&Raw::header(0, 0, cookie, cookie * MIB, MIB as u32));
    }
    wait("they are on their way", || nodes.figures(0).requests == 8);

    // Whatever is asked of node 0 waits for a shrink that does not come.
    nodes.refuse_shrinks(true);
    nodes.tell_hearing(0, 1, false);
    wait("all stands still", || nodes.refused_shrinks() > 0);
    let crowds = [Crowd::write(&nodes, 2), Crowd::write(&nodes, 0)];
    fill(&nodes, 0);

    nodes.lease(1, true);
    for _ in 0..8 {
        answered(&mut reader, MIB as usize);
    }
    other_volume_is_served(&nodes);

    nodes.refuse_shrinks(false);
    crowds.into_iter().for_each(|crowd| crowd.take(0));
    drop(reader);
    (0..3).for_each(|node| rest(&nodes, node));
    nodes.stop();
}

#[test]
fn reads_that_nobody_takes_leave_room_for_changes() {
    let dir = dir();
    let nodes = Nodes::start_volumes(dir.path(), 2, SIZE, &[0, 1]);
    nodes.lease(0, false);
    let crowds = [Crowd::read(&nodes, 2), Crowd::read(&nodes, 0)];
    fill(&nodes, 0);

    other_volume_is_served(&nodes);

    nodes.lease(0, true);
    crowds
        .into_iter()
        .for_each(|crowd| crowd.take(MIB as usize));
    (0..3).for_each(|node| rest(&nodes, node));
    nodes.stop();
}
