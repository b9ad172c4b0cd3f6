//! A node that was away gets exactly what was written meanwhile.

use std::time::Duration;

use cluster_tests::client::Client;
use cluster_tests::events::{self, Event};
use cluster_tests::image::scratch;
use cluster_tests::latency::boot_nanos;
use cluster_tests::sandbox::{Node, Sandbox, signal};
use cluster_tests::{replicas, tool, wait_for};
use rustix::process::Signal;

const SIZE: u64 = 64 << 20;
const BLOCK: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(60);
/// Blocks that are written while a node is away: all over the volume, and others in each round.
const MISSED: u64 = 100;
const STEP: u64 = 151;

/// Waits until no region is active on any of these nodes.
fn settle(sandbox: &Sandbox, nodes: &[&Node]) {
    for node in nodes {
        let store = sandbox.store(node);
        wait_for("the intents to be cleared", PATIENCE, || {
            let dump = ["meta", "dump", store.to_str().expect("path")];
            let dump = tool::output(tool::steadfast().to_str().expect("path"), &dump);
            let said = String::from_utf8_lossy(&dump.stdout).into_owned();
            said.contains(" 0 of 4096 slots").then_some(())
        });
    }
}

/// The first event of this kind that `node` tells of after `from`.
fn told(node: &Node, kind: &str, from: u64) -> Event {
    wait_for(kind, PATIENCE, || {
        let mut all = events::of(node).into_iter();
        all.find(|event| event.kind == kind && event.boottime_ns >= from)
    })
}

#[test]
fn nothing_else_is_copied() {
    let dir = scratch().join("resync-exact");
    drop(std::fs::remove_dir_all(&dir));
    let mut sandbox = Sandbox::start(&dir, &["--size", "64MiB"]);
    let (primary, _) = sandbox.pair();
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    let mebibyte = vec![1; 1 << 20];
    for offset in (0..SIZE).step_by(1 << 20) {
        client.write(offset, &mebibyte).expect("write");
    }
    // One that was only stopped, and one that has to read everything anew.
    for (round, end) in [(0, Signal::CONT), (1, Signal::KILL)] {
        let (_, standby) = sandbox.pair();
        settle(&sandbox, &[&primary, &standby]);
        let from = boot_nanos();
        signal(&standby, Signal::STOP);
        told(&primary, "shrunk", from);
        for place in 0..MISSED {
            let data = [2 + round as u8; BLOCK as usize];
            let block = place * STEP + round;
            client.write(block * BLOCK, &data).expect("write");
        }
        signal(&standby, end);
        let began = told(&primary, "resync-began", from);
        assert_eq!(began.fields["replica"], standby.name, "{}", began.text);
        assert_eq!(began.fields["full"], false, "{}", began.text);
        assert_eq!(began.fields["blocks"], MISSED, "{}", began.text);
        let done = told(&primary, "resync-done", from);
        assert_eq!(done.fields["copied"], MISSED, "{}", done.text);
        sandbox.wait_healthy(PATIENCE);
        assert_eq!(
            sandbox.node(&standby.name).pid == standby.pid,
            end == Signal::CONT
        );
    }
    drop(client);
    sandbox.stop();
    let stores = replicas::of(&sandbox);
    assert_eq!(stores.len(), 2);
    replicas::assert_equal(&stores, SIZE);
    drop(std::fs::remove_dir_all(&dir));
}
