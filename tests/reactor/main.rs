//! The reactor with real sockets, stores and links, against clients that others wrote and clients
//! that mean harm. No membership core: see `paper`.

mod buffers;
mod drain;
mod foreign;
mod hostile;
mod lease;
mod outage;
mod paper;
mod peer;
mod raw;
mod said;
mod tool;

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use paper::Nodes;

const MIB: u64 = 1 << 20;

/// Room for stores, on a file system with `O_DIRECT`.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// Waits until a node holds no buffer, request or disk operation for anybody.
fn rest(nodes: &Nodes, node: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let figures = nodes.figures(node);
        if figures.requests == 0 && figures.disk == 0 && figures.buffers == 0 {
            return;
        }
        assert!(Instant::now() < until, "not at rest: {figures:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The data of the stores of nodes 0 and 1 has to be equal. It is the last `size` bytes of each.
fn same_data(dir: &Path, size: u64) {
    let data = |node| {
        let mut file = fs::File::open(dir.join(format!("{node}.store"))).expect("a store");
        let len = file.seek(SeekFrom::End(0)).expect("its length");
        file.seek(SeekFrom::Start(len - size)).expect("its data");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("its data");
        bytes
    };
    let (first, second) = (data(0), data(1));
    let differ = (0..first.len())
        .step_by(4096)
        .find(|&at| first[at..at + 4096] != second[at..at + 4096]);
    assert_eq!(differ, None, "the first byte of a block that differs");
}
