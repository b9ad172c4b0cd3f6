//! Clients that others wrote.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;

use crate::paper::Nodes;
use crate::tool::{fio_verify, run};
use crate::{MIB, dir, rest, same_data};

#[test]
fn nbdinfo_is_told_what_is_offered() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let told = run("nbdinfo", &[&nodes.uri(0)]);
    for expected in [
        "using structured packets",
        "export=\"vol\"",
        "export-size: 33554432",
        "can_flush: true",
        "can_fua: true",
        "can_trim: true",
        "can_zero: true",
        "can_multi_conn: true",
        "is_read_only: false",
        "block_size_maximum: 33554432",
    ] {
        assert!(told.contains(expected), "{expected} is missing:\n{told}");
    }
    run("qemu-nbd", &["-L", "-k", nodes.socket(0).to_str().unwrap()]);
    nodes.stop();
}

#[test]
fn what_nbdcopy_writes_over_four_connections_is_read_back() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 64 * MIB);
    let (source, back) = (dir.path().join("source"), dir.path().join("back"));
    // Not all of it has data: holes become zeroes.
    let mut bytes = vec![0; 64 << 20];
    for (index, chunk) in bytes.chunks_mut(4096).enumerate() {
        if index % 64 < 48 {
            let seed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk[..8].copy_from_slice(&seed.to_le_bytes());
            chunk[4088..].copy_from_slice(&seed.to_be_bytes());
        }
    }
    fs::write(&source, &bytes).unwrap();
    let (source, back_path) = (source.to_str().unwrap(), back.to_str().unwrap());
    let uri = nodes.uri(0);
    run("nbdcopy", &["--flush", "--connections=4", source, &uri]);
    run("nbdcopy", &[&uri, back_path]);
    assert!(fs::read(&back).unwrap() == bytes, "what came back differs");
    rest(&nodes, 0);
    nodes.stop();
}

#[test]
fn qemu_io_finds_its_patterns() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let uri = nodes.uri(0);
    let commands = [
        "write -f -P 0x5a 64k 4k",
        "read -P 0x5a 64k 4k",
        "write -P 0x11 1021k 3077k",
        "read -P 0x11 1021k 3077k",
        "write -P 0x22 100000 1",
        "read -P 0x22 100000 1",
        "read -P 0x00 99999 1",
        "write -P 0x33 1048575 2",
        "read -P 0x33 1048575 2",
        "read -P 0x11 1048577 1000",
        "write -z -u 192k 64k",
        "write -z 2m 1m",
        "discard 3m 64k",
        "flush",
        "read -P 0 192k 64k",
        "read -P 0 2m 1m",
        "read -P 0 3m 64k",
        "aio_write -P 0x44 8m 1m",
        "aio_write -P 0x55 9m 1m",
        "aio_flush",
        "read -P 0x44 8m 1m",
        "read -P 0x55 9m 1m",
    ];
    let mut arguments = vec!["-f", "raw"];
    for command in commands {
        arguments.extend(["-c", command]);
    }
    arguments.push(&uri);
    let output = run("qemu-io", &arguments);
    assert!(!output.contains("failed"), "{output}");
    rest(&nodes, 0);
    nodes.stop();
}

#[test]
fn qemu_img_bench_does_not_stall() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let began = std::time::Instant::now();
    let uri = nodes.uri(0);
    run(
        "qemu-img",
        &[
            "bench", "-c", "2000", "-d", "8", "-s", "4k", "-f", "raw", "-t", "none", &uri,
        ],
    );
    // A stalled connection takes 11 s; the rest is room for a busy machine.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    nodes.stop();
}

#[test]
fn fio_finds_what_it_wrote_on_one_replica() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 48 * MIB);
    fio_verify(&nodes.uri(0), 48, &[]);
    rest(&nodes, 0);
    nodes.stop();
}

#[test]
fn fio_finds_what_it_wrote_through_a_gateway_and_replicas_are_equal() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 2, 48 * MIB);
    // Node 2 has no store: everything passes over links.
    fio_verify(&nodes.uri(2), 48, &["--fsync=64"]);
    let read = |node| {
        let copy = dir.path().join(format!("copy-{node}"));
        run("nbdcopy", &[&nodes.uri(node), copy.to_str().unwrap()]);
        fs::read(copy).unwrap()
    };
    assert!(read(0) == read(1), "two gateways read different data");
    (0..3).for_each(|node| rest(&nodes, node));
    nodes.stop();
    same_data(dir.path(), 48 * MIB);
}

#[test]
fn the_nbd_crates_client_is_served() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let mut stream = UnixStream::connect(nodes.socket(0)).unwrap();
    let export = nbd::client::handshake(&mut stream, b"vol").unwrap();
    assert_eq!(export.size, 32 * MIB);
    let mut client = nbd::client::NbdClient::new(&mut stream, &export);
    client.seek(SeekFrom::Start(12345)).unwrap();
    client.write_all(b"exactly here").unwrap();
    client.seek(SeekFrom::Start(12344)).unwrap();
    let mut back = [9; 14];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"\0exactly here\0");
    nodes.stop();
}
