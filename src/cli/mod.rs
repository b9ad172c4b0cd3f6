//! The command line: what it accepts, and how each command ends.
//!
//! May not know: the engine's, the pulse's or the core's state machines. A running node is asked
//! over its control socket; a daemon is started through `daemon`.

/// Writes a line on the standard output beside what a command does, whether or not it can be
/// written: a sandbox goes on. What a command was asked for goes through `output`.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = crate::cli::output::write(format_args!("{}\n", format_args!($($text)*)));
    }};
}

/// Writes a line on the standard error; like `say!`, whether or not anybody reads it.
macro_rules! complain {
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr().lock(),
            format_args!("{}\n", format_args!($($text)*)),
        );
    }};
}

mod config;
mod docs;
mod events;
mod meta;
mod node;
mod output;
mod progress;
mod sandbox;
mod status;
mod style;
mod target;
mod volume;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wrong arguments: not 2, which `status` uses. `EX_USAGE`
const USAGE: u8 = 64;
/// A command could not do what it was asked.
const FAILED: u8 = 1;

/// Synchronously mirrored block devices between Linux servers, with automatic failover.
#[derive(Debug, Parser)]
#[command(
    name = "steadfast",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole cluster on this machine, to try things out
    Sandbox(sandbox::Args),
    /// Show nodes, volumes and redundancy; exit code 0 healthy, 1 degraded, 2 no quorum or primary
    Status(status::Args),
    /// Move volumes between nodes, list them
    #[command(subcommand)]
    Volume(volume::Args),
    /// Show what happened, as it happens
    Events(events::Args),
    /// Run or prepare a node
    #[command(subcommand)]
    Node(node::Args),
    /// Check a configuration file, show an example
    #[command(subcommand)]
    Config(config::Args),
    /// Read or check a store while no daemon uses it
    #[command(subcommand)]
    Meta(meta::Args),
    /// Write shell completions to the standard output
    Completion(docs::CompletionArgs),
    /// Write man pages into a directory
    Man(docs::ManArgs),
}

/// Parses the arguments, does what they say, and returns how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            if error.use_stderr() {
                // Nothing can be done where the terminal is gone.
                return ExitCode::from(USAGE);
            }
            // Help or the version, which were asked for.
            return match output::judge(printed) {
                Ok(_) => ExitCode::SUCCESS,
                Err(error) => fail(FAILED, error),
            };
        }
    };
    match cli.command {
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Volume(args) => volume::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Meta(args) => meta::run(&args),
        Command::Completion(args) => docs::completion(&args),
        Command::Man(args) => docs::man(&args),
    }
}

/// Says on the standard error what went wrong, and ends with `code`.
fn fail(code: u8, what: impl Display) -> ExitCode {
    complain!("steadfast: {what}");
    ExitCode::from(code)
}

/// A runtime for commands that speak to a node.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_promised_commands_parse() {
        for line in [
            "sandbox",
            "sandbox --dir d --size 2GiB --storage-nodes 2 --no-witness --shared --profile fast \
             --volume v",
            "status --json --watch",
            "status --api /run/x",
            "status --config c.toml",
            "status --dir d --node n1",
            "volume promote n2 data",
            "volume promote n2",
            "volume demote data",
            "volume list --json",
            "events --follow --json",
            "node run --config c.toml",
            "node init --config c.toml",
            "config check c.toml",
            "config example",
            "meta dump /dev/x",
            "meta check /dev/x",
            "completion bash",
            "man dir",
        ] {
            let words = std::iter::once("steadfast").chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in [
            "sandbox --size 2GB",
            "sandbox --size 5000B",
            "sandbox --storage-nodes 0",
            "sandbox --storage-nodes 9",
            "sandbox --profile quick",
            "sandbox --volume a/b",
            "status --api a --dir b",
            "completion tcsh",
            "frobnicate",
        ] {
            let words = std::iter::once("steadfast").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
