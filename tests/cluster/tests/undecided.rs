//! Heartbeats pass, and the messages by which the nodes agree do not: what a packet filter with a rule
//! too few does.

use std::time::Duration;

use cluster_tests::client::Client;
use cluster_tests::cut::Cut;
use cluster_tests::image::scratch;
use cluster_tests::sandbox::Sandbox;
use cluster_tests::wait_for;

/// Of every node's `core`, as the sandbox configures it.
const CORE_PORT: u16 = 7412;

#[test]
fn nodes_that_cannot_agree_say_so_although_all_are_alive() {
    let dir = scratch().join("undecided");
    drop(std::fs::remove_dir_all(&dir));
    let mut sandbox = Sandbox::start(&dir, &["--size", "8MiB", "--profile", "fast"]);
    sandbox.wait_healthy(Duration::from_secs(60));
    let nodes = sandbox.nodes();
    let (primary, _) = sandbox.pair();
    let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
    let mut client = Client::connect(primary.nbd_address(), &sandbox.volume()).expect("connect");
    client.write(0, &[7; 4096]).expect("write");
    let cut = Cut::of_port(&addresses, CORE_PORT);
    for node in &nodes {
        let status = wait_for("trouble to be told of", Duration::from_secs(30), || {
            let status = sandbox.status(node)?;
            (status["health"] == "degraded").then_some(status)
        });
        let volume = &status["volumes"][0];
        assert_eq!(volume["failures_survivable"], 0, "{status}");
        let sentence = volume["redundancy"].as_str().expect("a sentence");
        assert!(
            sentence.contains("nothing can be agreed on") && sentence.contains("`core`"),
            "{sentence}"
        );
        let alive = |node: &serde_json::Value| node["alive"] == true;
        assert!(status["nodes"].as_array().expect("nodes").iter().all(alive));
    }
    // Nothing has failed yet: who has the volume goes on.
    client.write(4096, &[7; 4096]).expect("write");
    drop(cut);
    sandbox.wait_healthy(Duration::from_secs(60));
    let mut data = [0; 4096];
    client.read(0, &mut data).expect("read");
    assert_eq!(data, [7; 4096]);
    sandbox.stop();
    drop(std::fs::remove_dir_all(&dir));
}
