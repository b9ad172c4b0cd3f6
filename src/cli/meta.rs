//! `steadfast meta`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::fail;
use crate::meta::report::{self, Report, Verdict};

/// Exit code: 0 if everything is as it should be, 1 if something is as a loss of power may leave
/// it, 2 if something is damaged or this is no store.
#[derive(Debug, Subcommand)]
pub(super) enum Args {
    /// Show everything but the data of a store; changes nothing
    Dump {
        /// The file or device
        store: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a store; exit code 0 clean, 1 as a power loss may leave it, 2 damaged
    Check {
        /// The file or device
        store: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args) -> ExitCode {
    match args {
        Args::Dump { store, json } => show(store, *json, Report::dump),
        Args::Check { store, json } => show(store, *json, Report::check),
    }
}

fn show(store: &Path, json: bool, text: impl Fn(&Report) -> String) -> ExitCode {
    let report = match report::inspect(store) {
        Ok(report) => report,
        Err(error) => return fail(Verdict::Damaged.exit_code(), error),
    };
    if json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => say!("{text}"),
            Err(error) => return fail(Verdict::Damaged.exit_code(), error),
        }
    } else {
        say!("{}", text(&report).trim_end());
    }
    ExitCode::from(report.verdict.exit_code())
}
