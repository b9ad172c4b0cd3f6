//! The daemon of one node: threads, sockets and files around the state machines.

pub mod exit;
pub mod init;
pub mod parent;
pub mod supervisor;

use std::process::ExitCode;

use config::Config;

/// What the daemon is given beside its configuration.
#[derive(Debug)]
pub struct DaemonOptions {
    /// Told every incarnation before it is used.
    pub parent: parent::Parent,
}

/// Runs until it is told to stop.
#[must_use]
pub fn run(config: &Config, options: DaemonOptions) -> ExitCode {
    tracing::error!(node = config.node.name, "no daemon in this build");
    drop(options);
    ExitCode::from(exit::CONFIG)
}
