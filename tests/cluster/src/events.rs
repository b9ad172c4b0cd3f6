//! What the daemons say happened, with their own timestamps.

use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::sandbox::{Node, Sandbox};
use crate::tool;

/// One event of a daemon.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// `CLOCK_BOOTTIME` nanoseconds when the daemon saw it.
    pub boottime_ns: u64,
    /// Which daemon.
    pub node: String,
    /// What kind.
    pub kind: String,
    /// One sentence.
    pub text: String,
    /// Particulars.
    pub fields: Map<String, Value>,
}

/// Everything the daemon of `node` remembers of its current run; empty while it is down.
#[must_use]
pub fn of(node: &Node) -> Vec<Event> {
    let output = Command::new(tool::steadfast())
        .args(["events", "--json", "--api"])
        .arg(node.dir.join("api.sock"))
        .stdin(Stdio::null())
        .output()
        .expect("steadfast events");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The events of all nodes that are not before `from` (`CLOCK_BOOTTIME`), in order of time.
#[must_use]
pub fn since(sandbox: &Sandbox, from: u64) -> Vec<Event> {
    let mut events: Vec<_> = sandbox
        .nodes()
        .iter()
        .flat_map(of)
        .filter(|event| event.boottime_ns >= from)
        .collect();
    events.sort_by_key(|event| event.boottime_ns);
    events
}
