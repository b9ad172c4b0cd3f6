//! What lies on the replicas' disks, looked at without the product's help where possible.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::Sandbox;
use crate::tool;

/// One replica's store of a stopped sandbox.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its file.
    pub path: PathBuf,
    /// Where the volume's data begins.
    pub data: u64,
}

/// The stores of all storage nodes. The sandbox must have been stopped.
///
/// # Panics
///
/// `steadfast meta dump` does not understand them.
#[must_use]
pub fn of(sandbox: &Sandbox) -> Vec<Replica> {
    let storage = sandbox
        .nodes()
        .into_iter()
        .filter(|node| node.role == "storage");
    storage
        .map(|node| {
            let path = sandbox.store(&node);
            let program = tool::steadfast();
            let text = tool::run(
                program.to_str().expect("path"),
                &["meta", "dump", "--json", path.to_str().expect("path")],
            );
            let dump: Value = serde_json::from_str(&text).expect("JSON");
            let data = dump["superblocks"][0]["content"]["data"]
                .as_u64()
                .expect("superblocks[].content.data");
            Replica { path, data }
        })
        .collect()
}

/// Panics unless the first `size` bytes of data are equal on all replicas.
///
/// # Panics
///
/// They differ.
pub fn assert_equal(replicas: &[Replica], size: u64) {
    for pair in replicas.windows(2) {
        tool::run(
            "cmp",
            &[
                "-i",
                &format!("{}:{}", pair[0].data, pair[1].data),
                "-n",
                &size.to_string(),
                pair[0].path.to_str().expect("path"),
                pair[1].path.to_str().expect("path"),
            ],
        );
    }
}

/// Panics unless the replica's data is `image`, byte by byte.
///
/// # Panics
///
/// It differs.
pub fn assert_is(replica: &Replica, image: &Path, size: u64) {
    tool::run(
        "cmp",
        &[
            "-i",
            &format!("{}:0", replica.data),
            "-n",
            &size.to_string(),
            replica.path.to_str().expect("path"),
            image.to_str().expect("path"),
        ],
    );
}

/// Panics unless the replica holds a clean ext4 file system.
///
/// # Panics
///
/// `e2fsck -fn` finds something.
pub fn assert_clean(replica: &Replica) {
    let device = format!(
        "{}?offset={}",
        replica.path.to_str().expect("path"),
        replica.data
    );
    tool::run("e2fsck", &["-fn", &device]);
}
