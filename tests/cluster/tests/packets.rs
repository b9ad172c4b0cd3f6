//! Datagrams of strangers, damaged ones and old ones, on the ports of a node that runs: dropped,
//! said by name, and without any effect. And a stranger on the data port.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use cluster_tests::solo::{PORTS, Solo};
use cluster_tests::{tool, wait_for};
use rustix::process::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

fn status(solo: &Solo) -> Value {
    let config = solo.config();
    let args = [
        "status",
        "--json",
        "--config",
        config.to_str().expect("path"),
    ];
    let output = tool::output(tool::steadfast().to_str().expect("path"), &args);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Bytes that look random, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.take(len).collect()
}

#[test]
fn datagrams_of_strangers_are_dropped_and_named() {
    let solo = Solo::planned("packets");
    // The other node is this test.
    let net = solo.address.rsplit_once('.').expect("an address").0;
    let peer = format!("{net}.2");
    let [nbd, data, pulse, core] = PORTS;
    let second = format!(
        "[[nodes]]\nname = \"n2\"\naddress = \"{peer}\"\nrole = \"witness\"\n\
         ports = {{ nbd = {nbd}, data = {data}, pulse = {pulse}, core = {core} }}\n\n[[volumes]]"
    );
    solo.edit("[[volumes]]", &second);
    solo.initialise();
    let socket = UdpSocket::bind((peer.as_str(), pulse)).expect("bind");
    socket.set_read_timeout(Some(SOON)).expect("socket");
    let mut running = solo.run();
    wait_for("the node to answer", SOON, || {
        (solo.status_code() == Some(2)).then_some(())
    });
    let mut heard = vec![0; 65536];
    let len = socket.recv(&mut heard).expect("a heartbeat");
    heard.truncate(len);

    let mut changed = heard.clone();
    changed[20] ^= 1;
    let mut newer = heard.clone();
    newer[4] += 1;
    let mut long = heard.clone();
    long.resize(60_000, 7);
    let noise_long = noise(1, 60_000);
    let bad: [&[u8]; 7] = [
        &heard[..len - 1],
        &changed,
        &newer,
        &long,
        &noise_long,
        b"",
        b"GET / HTTP/1.1\r\nHost: somewhere.example\r\n",
    ];
    let sender = format!("dropped from n2 ({peer}:{pulse})");
    let ports = ["pulse", "core"].map(|port| format!("port {port}: {sender}"));
    let words = [
        ports[0].as_str(),
        ports[1].as_str(),
        "wrong seal",
        "cut off",
        "of version 2",
        "not Steadfast's",
        // A heartbeat, on the core's port.
        "kind 1 on this port",
    ];
    let send = |bytes: &[u8]| {
        for port in [pulse, core] {
            // What is too long for a datagram is refused here already.
            let _sent = socket.send_to(bytes, (solo.address.as_str(), port));
        }
    };
    let until = Instant::now() + SOON;
    while !words.iter().all(|word| running.said().contains(word)) {
        assert!(
            Instant::now() < until,
            "not all of {words:?}: {}",
            running.said()
        );
        bad.iter().for_each(|bytes| send(bytes));
        // What the node has said itself comes back, too.
        send(&heard);
        std::thread::sleep(Duration::from_millis(50));
    }
    for seed in 0..2000 {
        send(&noise(seed, seed as usize % 200));
        send(&heard);
    }

    let status = wait_for("the node to answer", SOON, || {
        let status = status(&solo);
        status["nodes"].is_array().then_some(status)
    });
    assert_eq!(status["quorum"], false, "{status}");
    assert_eq!(status["nodes"][1]["alive"], false, "{status}");
    let said = running.said();
    assert!(said.matches("dropped from").count() <= 32, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    running.signal(Signal::TERM);
    assert_eq!(running.end(SOON).code(), Some(0), "{}", running.said());
    drop(running);
    solo.remove();
}

#[test]
fn a_stranger_on_the_data_port_is_sent_away_and_named_once() {
    let solo = Solo::new("data-port");
    let running = solo.serve();
    let mut strangers = Vec::new();
    for _ in 0..3 {
        let mut stranger = TcpStream::connect((solo.address.as_str(), PORTS[1])).expect("connect");
        strangers.push(stranger.local_addr().expect("an address"));
        stranger.set_read_timeout(Some(SOON)).expect("socket");
        stranger
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .expect("a connection");
        // A reset is an end too.
        let read = stranger.read(&mut [0; 1]);
        let waited = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!matches!(read, Ok(1..)) && !read.as_ref().is_err_and(waited));
    }
    let from = format!("data link from {} closed: ", strangers[0]);
    running.wait_for(&[&from, "keep other programs away from this port"], SOON);
    let said = running.said();
    assert_eq!(said.matches("data link from").count(), 1, "{said}");
    assert_eq!(solo.status_code(), Some(0));
    drop(running);
    solo.remove();
}
