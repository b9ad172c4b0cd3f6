//! `steadfast completion` and `steadfast man`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, FAILED, fail, output};

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
    // Names of commands must last as long as the program, which ends after this.
    let all = Box::leak(Box::new(Cli::command()));
    let mut shown = shown(all).version(env!("CARGO_PKG_VERSION"));
    clap_complete::generate(args.shell, &mut shown, "steadfast", &mut script);
    output::finish(String::from_utf8_lossy(&script).trim_end(), 0, FAILED)
}

/// What completion needs of a command, without what is hidden from people: it would be offered like
/// the rest.
fn shown(command: &'static Command) -> Command {
    let arguments = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let about = command.get_about().cloned().unwrap_or_default();
    Command::new(command.get_name())
        .about(about)
        .propagate_version(command.is_propagate_version_set())
        .args(arguments.cloned())
        .subcommands(subcommands.map(shown))
}

pub(super) fn man(args: &ManArgs) -> ExitCode {
    match clap_mangen::generate_to(Cli::command(), &args.dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format!("{}: {error}", args.dir.display())),
    }
}
