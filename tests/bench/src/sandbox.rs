//! Steadfast itself: a sandbox of real processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Fault;
use crate::serving::{Server, Serving};
use crate::size::Size;
use crate::system::System;

const VOLUME: &str = "bench";

/// Looks at a sandbox from time to time.
#[derive(Debug)]
pub struct Watch {
    steadfast: PathBuf,
    dir: PathBuf,
    /// The node that the client is connected to: the primary, or its requests go a longer way.
    primary: String,
    /// How many failures must be survivable.
    survivable: u64,
}

/// Starts a sandbox with this many storage nodes and a witness, and waits for its primary.
pub fn start(
    system: System,
    parent: &Path,
    size: Size,
    steadfast: &Path,
    replicas: u64,
) -> Result<Serving, Fault> {
    let dir = parent.join(system.name());
    let mut command = Command::new(steadfast);
    command
        .arg("sandbox")
        .arg("--dir")
        .arg(&dir)
        .arg("--size")
        .arg(size.argument());
    command.args(["--volume", VOLUME, "--storage-nodes", &replicas.to_string()]);
    let mut server = Server::start(command, &parent.join(format!("{}.log", system.name())))?;
    let primary = server.wait(|| {
        let volume = volume(steadfast, &dir)?;
        let primary = volume["primary"].as_str().map(str::to_owned);
        primary.ok_or_else(|| format!("no primary: {}", volume["redundancy"]))
    })?;
    let node_dir = node_dir(&dir, &primary)?;
    let socket = node_dir.join("nbd.sock");
    server.wait_for_socket(&socket)?;
    let uri = format!("nbd+unix:///{VOLUME}?socket={}", socket.display());
    let survivable = replicas - 1;
    let watch = Watch {
        steadfast: steadfast.to_owned(),
        dir,
        primary,
        survivable,
    };
    Ok(Serving::new(system, uri, vec![server], Some(watch)))
}

impl Watch {
    /// Says what is not as it was at the start: another primary, a copy that is not in sync.
    pub fn check(&self) -> Result<(), Fault> {
        let volume = volume(&self.steadfast, &self.dir)?;
        let primary = volume["primary"].as_str();
        if primary != Some(&self.primary) {
            return Err(format!(
                "the primary was {}, now it is {primary:?}",
                self.primary
            ));
        }
        let survivable = volume["failures_survivable"].as_u64();
        if survivable != Some(self.survivable) {
            return Err(format!(
                "not as redundant as it should be: {}",
                volume["redundancy"]
            ));
        }
        Ok(())
    }
}

/// The volume's part of the sandbox's status. (The exit code tells health; the text is judged.)
fn volume(steadfast: &Path, dir: &Path) -> Result<Value, Fault> {
    let output = Command::new(steadfast)
        .args(["status", "--json", "--dir"])
        .arg(dir)
        .output()
        .map_err(|error| format!("{}: {error}", steadfast.display()))?;
    let status: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        format!(
            "no status: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
    })?;
    let volumes = status["volumes"].as_array();
    let found = volumes.and_then(|all| all.iter().find(|volume| volume["name"] == VOLUME));
    found
        .cloned()
        .ok_or_else(|| "the status names no volume".to_owned())
}

/// Where the sandbox says that a node lives.
fn node_dir(dir: &Path, name: &str) -> Result<PathBuf, Fault> {
    let file = dir.join("sandbox.json");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let json: Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let nodes = json["nodes"].as_array();
    let node = nodes.and_then(|all| all.iter().find(|node| node["name"] == name));
    node.and_then(|node| node["dir"].as_str())
        .map(|found| dir.join(found))
        .ok_or_else(|| format!("{}: no directory of node {name}", file.display()))
}
