//! `steadfast meta`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{FAILED, fail};

#[derive(Debug, Subcommand)]
pub(super) enum Args {
    /// Show everything but the data of a store
    Dump {
        /// The file or device
        store: PathBuf,
    },
    /// Check a store; exit code 0 if it is right
    Check {
        /// The file or device
        store: PathBuf,
    },
}

pub(super) fn run(args: &Args) -> ExitCode {
    let (Args::Dump { store } | Args::Check { store }) = args;
    fail(FAILED, format!("{}: not in this build", store.display()))
}
