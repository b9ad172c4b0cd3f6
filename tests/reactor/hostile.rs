//! Clients and peers that mean harm, or are cut off: only their own connection suffers.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::paper::Nodes;
use crate::raw::{Raw, Reply};
use crate::{MIB, dir, rest, said};

/// The server serves a good client, and holds nothing for the bad ones.
pub fn is_well(nodes: &Nodes) {
    let (mut raw, size) = Raw::open(nodes.socket(0));
    raw.send(&Raw::header(0, 0, 77, size - 512, 512));
    assert_eq!(
        raw.reply(),
        Reply {
            errno: 0,
            cookie: 77
        }
    );
    raw.take::<512>();
    drop(raw);
    rest(nodes, 0);
}

/// Whether the other end closes the connection, with an error or without, before a read times out.
pub fn closes(stream: &mut TcpStream) -> bool {
    let patience = Some(Duration::from_secs(8));
    stream.set_read_timeout(patience).expect("a socket");
    let read = stream.read_to_end(&mut Vec::new());
    read.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true)
}

/// Bytes that look random, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

#[test]
fn noise_instead_of_a_handshake_closes_that_connection() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    for seed in 0..32 {
        let mut raw = Raw::connect(nodes.socket(0));
        let bytes = noise(seed, 1 + seed as usize * 97);
        // The server may close while we send.
        let _ = raw.0.write_all(&bytes);
        let _ = raw.0.shutdown(std::net::Shutdown::Write);
        let _ = raw.0.read_to_end(&mut Vec::new());
    }
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn noise_instead_of_a_request_closes_that_connection() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    for seed in 0..8 {
        let (mut raw, _) = Raw::open(nodes.socket(0));
        raw.send(&noise(seed, 28));
        assert!(raw.is_closed());
    }
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn a_client_that_goes_in_the_middle_leaves_nothing_behind() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    for cut in [0, 27, 28, 29, 28 + 4096, 28 + 100_000, 28 + (2 << 20)] {
        let (mut raw, _) = Raw::open(nodes.socket(0));
        let mut bytes = Raw::header(1, 0, 1, 5, 3 << 20);
        bytes.resize(28 + (3 << 20), 9);
        raw.send(&bytes[..cut]);
    }
    // Requests without anybody who waits for the answers.
    for _ in 0..8 {
        let (mut raw, _) = Raw::open(nodes.socket(0));
        let mut bytes = Vec::new();
        for cookie in 0..16 {
            bytes.extend(Raw::header(0, 0, cookie, cookie << 20, 1 << 20));
        }
        bytes.extend(Raw::header(4, 0, 99, 0, 32 << 20));
        raw.send(&bytes);
    }
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn a_client_that_takes_no_answers_does_not_stop_others() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let (mut greedy, _) = Raw::open(nodes.socket(0));
    greedy.0.set_nonblocking(true).unwrap();
    let request = Raw::header(0, 0, 1, 0, 1 << 20);
    for _ in 0..500 {
        if greedy.0.write(&request).unwrap_or(0) < request.len() {
            break;
        }
    }
    let (mut raw, _) = Raw::open(nodes.socket(0));
    for cookie in 0..100 {
        let mut bytes = Raw::header(1, 0, cookie, cookie * 4096, 4096);
        bytes.resize(28 + 4096, 1);
        raw.send(&bytes);
        assert_eq!(raw.reply(), Reply { errno: 0, cookie });
    }
    drop(greedy);
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn what_is_out_of_range_or_unknown_is_refused_and_the_connection_goes_on() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let (mut raw, size) = Raw::open(nodes.socket(0));
    let mut refused = |command, flags, offset, len: u32, payload: usize, errno| {
        let mut bytes = Raw::header(command, flags, 5, offset, len);
        bytes.resize(28 + payload, 0);
        raw.send(&bytes);
        assert_eq!(raw.reply(), Reply { errno, cookie: 5 });
    };
    refused(0, 0, size, 1, 0, 22);
    refused(0, 0, u64::MAX, 4096, 0, 22);
    refused(1, 0, size - 1, 2, 2, 28);
    refused(1, 0, 0, 65 << 20, 65 << 20, 22);
    refused(4, 0, size, 1, 0, 22);
    refused(6, 0, size, 1, 0, 28);
    refused(99, 0, 0, 0, 0, 22);
    refused(0, 1 << 9, 0, 512, 0, 22);
    refused(5, 0, 0, 4096, 0, 0);
    refused(4, 0, 0, 32 << 20, 0, 0);
    refused(3, 0, 0, 0, 0, 0);
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn a_short_request_overtakes_a_long_one() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 256 * MIB);
    let (mut raw, size) = Raw::open(nodes.socket(0));
    // 255 pieces, some of which wait for the others, and a flush.
    let mut bytes = Raw::header(6, 1 | 2, 1, 0, 255 << 20);
    bytes.extend(Raw::header(0, 0, 2, size - 512, 512));
    raw.send(&bytes);
    let order = [2, 1].map(|_| {
        let reply = raw.reply();
        if reply.cookie == 2 {
            raw.take::<512>();
        }
        (reply.cookie, reply.errno)
    });
    assert_eq!(order, [(2, 0), (1, 0)]);
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn a_polite_client_gets_all_its_answers_before_the_end() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let (mut raw, _) = Raw::open(nodes.socket(0));
    let mut bytes = Vec::new();
    for cookie in 0..20 {
        bytes.extend(Raw::header(1, 1, cookie, cookie * 8192, 8192));
        bytes.resize(bytes.len() + 8192, 3);
    }
    bytes.extend(Raw::header(2, 0, 0, 0, 0));
    raw.send(&bytes);
    let mut answers = Vec::new();
    raw.0.read_to_end(&mut answers).unwrap();
    assert_eq!(answers.len(), 20 * 16);
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let mut slow = Raw::connect(nodes.socket(0));
    slow.take::<18>();
    let began = Instant::now();
    assert!(slow.is_closed());
    assert!(began.elapsed() < Duration::from_secs(8));
    let mut silent = TcpStream::connect(nodes.data(0)).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(8)))
        .unwrap();
    assert!(matches!(silent.read(&mut [0; 1]), Ok(0)));
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn more_connections_than_allowed_are_closed_at_once() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let held: Vec<_> = (0..128).map(|_| Raw::open(nodes.socket(0))).collect();
    let mut extra = Raw::connect(nodes.socket(0));
    assert!(extra.is_closed());
    drop(held);
    // As soon as their ends have been noticed there is room again.
    let began = Instant::now();
    while Raw::connect(nodes.socket(0)).is_closed() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "there is no room"
        );
        std::thread::yield_now();
    }
    is_well(&nodes);
    nodes.stop();
}

#[test]
fn noise_on_the_data_port_is_refused() {
    let dir = dir();
    said::listen();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let mut strangers = Vec::new();
    let mut speak = |bytes: &[u8]| {
        let mut peer = TcpStream::connect(nodes.data(0)).unwrap();
        strangers.push(peer.local_addr().unwrap());
        let _ = peer.write_all(bytes);
        // We have not ended, and what it logs says that it has not waited for us either.
        assert!(closes(&mut peer));
    };
    speak(b"GET / HTTP/1.1\r\n\r\n");
    for seed in 1..32 {
        speak(&noise(seed, 1 + seed as usize * 31));
    }
    // The same of one address: said once, of the first.
    let said = said::of(&strangers);
    let line = said.first().expect("it was said");
    let words = format!(
        "WARN steadfast::uring::complaints: data link from {} closed: what connected does not \
         speak Steadfast's protocol: keep other programs away from this port",
        strangers[0]
    );
    assert!(line.ends_with(&words), "{line}");
    assert_eq!(said.len(), 1, "{said:#?}");
    is_well(&nodes);
    assert_eq!(nodes.figures(0).links, 0);
    nodes.stop();
}
