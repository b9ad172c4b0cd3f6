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
    // A slow machine takes nobody for dead so soon.
    let mut sandbox = Sandbox::start(&dir, &["--size", "64MiB", "--profile", "wan"]);
    let (primary, _) = sandbox.pair();
    let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
    let mebibyte = vec![1; 1 << 20];
    for offset in (0..SIZE).step_by(1 << 20) {
        client.write(offset, &mebibyte).expect("write");
    }
    drop(client);
    // One that was only stopped, and one that has to read everything anew.
    for (round, end) in [(0, Signal::CONT), (1, Signal::KILL)] {
        let (primary, standby) = sandbox.pair();
        let mut client = Client::connect(primary.nbd_address(), "data").expect("connect");
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
        let done = told(&primary, "resync-done", from);
        let mut began = events::of(&primary);
        began.retain(|event| {
            let when = from..=done.boottime_ns;
            event.kind == "resync-began" && when.contains(&event.boottime_ns)
        });
        assert_eq!(began[0].fields["blocks"], MISSED, "{}", began[0].text);
        for one in &began {
            assert_eq!(one.fields["replica"], standby.name, "{}", one.text);
            assert_eq!(one.fields["full"], false, "{}", one.text);
        }
        // One that breaks off, as where the node joins anew meanwhile, leaves no more than it had.
        let blocks = |event: &Event| event.fields["blocks"].as_u64();
        assert!(began.is_sorted_by(|one, next| blocks(one) >= blocks(next)));
        let last = began.last().and_then(blocks);
        assert_eq!(done.fields["copied"].as_u64(), last, "{}", done.text);
        sandbox.wait_healthy(PATIENCE);
        let is_other = || sandbox.node(&standby.name).pid != standby.pid;
        if end == Signal::KILL {
            // The daemon may be ready before `sandbox.json` says so.
            wait_for("another daemon", PATIENCE, || is_other().then_some(()));
        } else {
            assert!(!is_other(), "it was restarted");
        }
    }
    sandbox.stop();
    let stores = replicas::of(&sandbox);
    assert_eq!(stores.len(), 2);
    replicas::assert_equal(&stores, SIZE);
    drop(std::fs::remove_dir_all(&dir));
}
