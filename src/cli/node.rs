//! `steadfast node`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};
use tracing_subscriber::EnvFilter;

use super::progress::Progress;
use super::{FAILED, config, fail};
use crate::daemon::parent::{self, Parent};
use crate::daemon::{DaemonOptions, exit, init, supervisor};

#[derive(Debug, Subcommand)]
pub(super) enum Args {
    /// Run this machine's node until it is told to stop
    Run(RunArgs),
    /// Create the log and the stores of this machine's node, for a new cluster, or the stores that
    /// it has lost
    Init {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// The daemon itself, as its parent starts it
    #[command(hide = true)]
    Daemon {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Process id of the parent
        #[arg(long, value_name = "PID")]
        parent: i32,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct RunArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Say on the standard output when a daemon starts and ends
    #[arg(long, hide = true)]
    report: bool,
    /// Stop when this parent process ends
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<i32>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    log_to_stderr();
    match args {
        Args::Run(args) => supervise(args),
        Args::Init { config } => initialise(config),
        Args::Daemon { config, parent } => daemon(config, *parent),
    }
}

/// What happens goes to the standard error, where systemd or the sandbox picks it up.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("STEADFAST_LOG").unwrap_or_else(|_| "info".into());
    // Set once in a process; a second time changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that cannot be written, as on a disk that is full, is lost: to tell so on the
        // standard error, too, would end the thread.
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(false)
        .try_init();
}

fn supervise(args: &RunArgs) -> ExitCode {
    if let Some(pid) = args.parent
        && let Err(error) = parent::stop_with(pid, rustix::process::Signal::TERM)
    {
        return fail(FAILED, error);
    }
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let options = supervisor::Options {
        report: args.report,
    };
    match supervisor::run(&args.config, &loaded, options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(FAILED, error),
    }
}

fn initialise(file: &std::path::Path) -> ExitCode {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let progress = Progress::new();
    let made = init::init(&config, &mut |path, done, all| {
        progress.making(&path.display().to_string(), done, all);
    });
    progress.clear();
    match made {
        Ok(made) => {
            for path in made {
                say!("created {}", path.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(exit::CONFIG, error),
    }
}

fn daemon(file: &std::path::Path, pid: i32) -> ExitCode {
    let parent = match Parent::attach(pid) {
        Ok(parent) => parent,
        Err(error) => return fail(FAILED, error),
    };
    match config::load(file) {
        Ok(config) => crate::daemon::run(&config, DaemonOptions { parent }),
        Err(code) => code,
    }
}
