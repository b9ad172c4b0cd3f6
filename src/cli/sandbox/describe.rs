//! `sandbox.json`: what runs where, for people's scripts and for the other commands.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ground::{Ground, replace};

const FILE: &str = "sandbox.json";

/// The sandbox, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct Description {
    /// Name of the volume.
    pub volume: String,
    /// Its bytes.
    pub size: u64,
    /// Process id of the sandbox itself.
    pub pid: u32,
    /// Every node.
    pub nodes: Vec<NodeDescription>,
}

/// A node of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct NodeDescription {
    /// Its name.
    pub name: String,
    /// `storage` or `witness`.
    pub role: String,
    /// Process id of the serving daemon; of the last one while `running` is false.
    pub pid: u32,
    /// Whether the daemon runs now.
    pub running: bool,
    /// URI of the volume on this node.
    pub nbd: String,
    /// Its loopback address.
    pub address: String,
    /// Its control socket.
    pub api: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its directory.
    pub dir: PathBuf,
}

impl Description {
    /// As it is before any daemon runs.
    pub(super) fn new(ground: &Ground) -> Self {
        let volume = ground.layout().map(|layout| layout.volume.clone());
        let volume = volume.unwrap_or_default();
        Self {
            size: ground.layout().map_or(0, |layout| layout.size),
            pid: std::process::id(),
            nodes: ground
                .nodes()
                .iter()
                .map(|config| NodeDescription {
                    name: config.node.name.clone(),
                    role: config.me().role.name().into(),
                    pid: 0,
                    running: false,
                    nbd: format!("nbd://{}/{volume}", config.me().nbd()),
                    address: config.me().address.to_string(),
                    api: config.api(),
                    config: ground.config_file(&config.node.name),
                    dir: config.node.dir.clone(),
                })
                .collect(),
            volume,
        }
    }

    /// Of the sandbox in this directory.
    pub(in crate::cli) fn load(dir: &Path) -> Result<Self, String> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("no sandbox has run in {}: {error}", dir.display()))?;
        serde_json::from_str(&text).map_err(|error| {
            format!(
                "{} is not a sandbox's: {error}; start one with `steadfast sandbox --dir DIR`",
                path.display()
            )
        })
    }

    /// Writes it in place of the older one.
    pub(super) fn store(&self, dir: &Path) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        replace(&dir.join(FILE), &text)
    }
}
