//! `steadfast meta`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{fail, output};
use crate::meta::report::{self, Report, Verdict};

/// Exit code: 0 if everything is as it should be, 1 if something is as a loss of power may leave
/// it, 2 if something is damaged, this is no store, or nothing can be told.
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
    // Whoever looks at the code alone must not take what nobody has read for a sound store.
    let failed = Verdict::Damaged.exit_code();
    let report = match report::inspect(store) {
        Ok(report) => report,
        Err(error) => return fail(failed, error),
    };
    let text = if json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => text,
            Err(error) => return fail(failed, error),
        }
    } else {
        text(&report)
    };
    output::finish(text.trim_end(), report.verdict.exit_code(), failed)
}
