//! `steadfast config`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::output::finish;
use super::{FAILED, fail};

#[derive(Debug, Subcommand)]
pub(super) enum Args {
    /// Check a configuration file whole; exit code 0 if it is right
    Check {
        /// The file
        file: PathBuf,
    },
    /// Write an example to the standard output
    Example,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match args {
        Args::Check { file } => match ::config::Config::load(file) {
            Ok(config) => {
                let right = format!(
                    "{}: right; cluster {} of {} nodes and {} volumes, this is {}",
                    file.display(),
                    config.cluster.name,
                    config.nodes.len(),
                    config.volumes.len(),
                    config.node.name
                );
                finish(right, 0, FAILED)
            }
            Err(error) => {
                complain!("{error}");
                ExitCode::from(FAILED)
            }
        },
        Args::Example => finish(::config::EXAMPLE.trim_end(), 0, FAILED),
    }
}

/// Loads a configuration, or says everything that is wrong with it.
pub(super) fn load(file: &std::path::Path) -> Result<::config::Config, ExitCode> {
    ::config::Config::load(file).map_err(|error| {
        fail(
            crate::daemon::exit::CONFIG,
            format!("bad configuration\n{error}"),
        )
    })
}
