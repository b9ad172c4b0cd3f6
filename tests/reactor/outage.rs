//! A replica that is away for a while, with real links and stores.

use std::time::{Duration, Instant};

use steadfast::engine::io::Note;
use steadfast::record::ReplicaState;
use steadfast::types::NodeId;

use crate::paper::Nodes;
use crate::raw::Raw;
use crate::tool::fio_verify;
use crate::{MIB, dir, rest, same_data};

/// Waits until the log says this of node 1.
fn wait(nodes: &Nodes, what: &str, is: impl Fn(ReplicaState) -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !nodes
        .record()
        .replica(NodeId(1))
        .is_some_and(|replica| is(replica.state))
    {
        assert!(Instant::now() < until, "{what}: {:?}", nodes.record());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_replica_that_is_not_heard_leaves_comes_back_and_gets_what_it_missed() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 2, 48 * MIB);
    fio_verify(&nodes.uri(0), 48, &[]);
    assert!(
        nodes
            .record()
            .replica(NodeId(1))
            .unwrap()
            .state
            .is_in_sync()
    );

    let (mut raw, _) = Raw::open(nodes.socket(0));
    raw.send(&Raw::header(3, 0, 1, 0, 0));
    assert_eq!(raw.reply().errno, 0);
    drop(raw);

    nodes.hear(0, 1, false);
    wait(&nodes, "leaves", |state| {
        matches!(state, ReplicaState::Behind { .. })
    });
    // Written without it: the first block of every other MiB.
    let (mut raw, _) = Raw::open(nodes.socket(0));
    for cookie in 0..24 {
        let mut bytes = Raw::header(1, 0, cookie, cookie * 2 * MIB + 512, 4096);
        bytes.resize(28 + 4096, 0xee);
        raw.send(&bytes);
        assert_eq!(raw.reply().errno, 0);
    }
    drop(raw);

    nodes.hear(0, 1, true);
    wait(&nodes, "comes back", ReplicaState::is_in_sync);
    let copied = nodes.notes().iter().find_map(|(_, note)| match note {
        Note::ResyncDone { copied, .. } => Some(*copied),
        _ => None,
    });
    // Two blocks for each change.
    assert_eq!(copied, Some(48));
    fio_verify(&nodes.uri(2), 8, &["--offset=40m"]);
    (0..3).for_each(|node| rest(&nodes, node));
    nodes.stop();
    same_data(dir.path(), 48 * MIB);
}
