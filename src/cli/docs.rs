//! `steadfast completion` and `steadfast man`

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, FAILED, fail};

#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Where to write them; must be there
    dir: PathBuf,
}

pub(super) fn completion(args: &CompletionArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "steadfast", &mut script);
    match std::io::stdout().write_all(&script) {
        // A reader that has gone (as `head` does) has what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(FAILED, format!("the standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

pub(super) fn man(args: &ManArgs) -> ExitCode {
    match clap_mangen::generate_to(Cli::command(), &args.dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format!("{}: {error}", args.dir.display())),
    }
}
