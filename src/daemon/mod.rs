//! The daemon of one node: threads, sockets and files around the state machines.
//!
//! May not know: policy. It starts the parts in the order that is safe, carries what they say to
//! each other, and does their I/O.

pub mod clock;
pub mod core_thread;
mod datagram;
pub mod exit;
pub mod init;
pub mod log_file;
mod open;
pub mod parent;
mod parts;
mod priority;
pub mod pulse_thread;
mod serve;
mod sockets;
mod start;
pub mod stop;
mod stopped;
pub mod strangers;
pub mod supervisor;
pub mod wake;

use std::process::ExitCode;

use config::Config;

/// What the daemon is given beside its configuration.
#[derive(Debug)]
pub struct DaemonOptions {
    /// Told every incarnation before it is used.
    pub parent: parent::Parent,
}

/// Runs until it is told to stop (SIGTERM, SIGINT) or cannot go on.
#[must_use]
pub fn run(config: &Config, options: DaemonOptions) -> ExitCode {
    match start::run(config, options) {
        Ok(()) => ExitCode::from(exit::STOPPED),
        Err(stopped) => {
            tracing::error!("{}", stopped.why);
            ExitCode::from(stopped.code)
        }
    }
}
