//! `steadfast sandbox`: a whole cluster on this machine, as separate processes.

mod advice;
mod crew;
pub(in crate::cli) mod describe;
mod ending;
mod ground;
mod plan;
mod reason;
mod subnet;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args as ClapArgs;
use config::Profile;

use self::crew::{Crew, Report};
use self::ground::{Ground, Layout};
use self::watch::Look;
pub(in crate::cli) use self::watch::kind;
use super::progress::Progress;
use super::style::Paint;
use super::{FAILED, fail, target};
use crate::daemon::stop::Stop;

/// A small cluster on this machine: every node is a process of its own with a loopback address of
/// its own and files as disks. Ctrl-C stops it; the next start on the same directory finds the
/// data again.
#[derive(Clone, Debug, ClapArgs)]
pub(in crate::cli) struct Args {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = target::SANDBOX)]
    dir: PathBuf,
    /// Size of the volume [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,
    /// How many nodes keep a copy [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=6))]
    storage_nodes: Option<u8>,
    /// No witness: a dead node then leaves the volume waiting for it
    #[arg(long)]
    no_witness: bool,
    /// Serve clients of all nodes at once
    #[arg(long)]
    shared: bool,
    /// Timing: fast (10 ms x 3), lan (100 ms x 3) or wan (500 ms x 3) [default: lan]
    #[arg(long, value_name = "PROFILE", value_parser = parse_profile)]
    profile: Option<Profile>,
    /// Name of the volume [default: data]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    volume: Option<String>,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size = config::unit::parse_size(text)?;
    if size == 0 || size > config::VOLUME_SIZE_MAX || !size.is_multiple_of(4096) {
        return Err(format!(
            "use a multiple of 4096 bytes up to {}, as in \"1GiB\"",
            config::unit::format_size(config::VOLUME_SIZE_MAX)
        ));
    }
    Ok(size)
}

fn parse_profile(text: &str) -> Result<Profile, String> {
    Profile::named(text).ok_or_else(|| "use fast, lan or wan".into())
}

fn parse_name(text: &str) -> Result<String, String> {
    config::is_name(text)
        .then(|| text.to_owned())
        .ok_or_else(|| {
            "use 1 to 63 letters, digits, '.', '_' and '-', not beginning with '.' or '-'".into()
        })
}

pub(in crate::cli) fn run(args: &Args) -> ExitCode {
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, error),
    };
    match runtime.block_on(host(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, error),
    }
}

/// Everything, from the directory to the last process that has ended.
async fn host(args: &Args) -> Result<(), String> {
    let mut stop = Stop::new().map_err(|error| format!("signals: {error}"))?;
    let ground = prepare(args)?;
    let mut crew = Crew::start(&ground, &mut stop).await?;
    let outcome = attend(&ground, &mut crew, &mut stop).await;
    say!("stopping");
    crew.stop(&mut stop).await;
    outcome
}

/// The directory with everything in it, locked: a new one, or the one of an earlier start.
fn prepare(args: &Args) -> Result<Ground, String> {
    let mut ground = Ground::enter(&args.dir)?;
    match ground.layout() {
        Some(layout) => {
            agree(args, layout, &args.dir)?;
            say!("found a sandbox in {}", ground.dir().display());
        }
        None => {
            let layout = Layout {
                volume: args.volume.clone().unwrap_or_else(|| "data".into()),
                size: args.size.unwrap_or(1 << 30),
                storage_nodes: args.storage_nodes.unwrap_or(2),
                // One copy needs no second vote: it would only add a way to stop.
                witness: !args.no_witness && args.storage_nodes != Some(1),
                shared: args.shared,
                profile: args.profile.unwrap_or(Profile::Lan).name().into(),
            };
            say!("making a sandbox in {}", ground.dir().display());
            ground.make(layout, &Progress::new())?;
        }
    }
    Ok(ground)
}

/// What a later start asks for must be what is there.
fn agree(args: &Args, layout: &Layout, dir: &Path) -> Result<(), String> {
    let size = config::unit::format_size(layout.size);
    let asked = args.size.map(config::unit::format_size);
    let nodes = layout.storage_nodes.to_string();
    let different = |option: &str, there: &str| {
        Err(format!(
            "the sandbox in {} was made with {option} {there}: leave {option} away, or make \
             another with --dir",
            dir.display()
        ))
    };
    if asked.is_some_and(|asked| asked != size) {
        return different("--size", &size);
    }
    if args
        .storage_nodes
        .is_some_and(|n| n != layout.storage_nodes)
    {
        return different("--storage-nodes", &nodes);
    }
    if args
        .profile
        .is_some_and(|profile| profile.name() != layout.profile)
    {
        return different("--profile", &layout.profile);
    }
    if args
        .volume
        .as_ref()
        .is_some_and(|name| *name != layout.volume)
    {
        return different("--volume", &layout.volume);
    }
    for (option, asked, there) in [
        ("--no-witness", args.no_witness, !layout.witness),
        ("--shared", args.shared, layout.shared),
    ] {
        if asked && !there {
            return Err(format!(
                "the sandbox in {} was made without {option}: leave it away, or make another with \
                 --dir",
                dir.display()
            ));
        }
    }
    Ok(())
}

/// Until a person stops it, or it cannot go on.
async fn attend(ground: &Ground, crew: &mut Crew, stop: &mut Stop) -> Result<(), String> {
    let progress = Progress::new();
    let mut looks = watch::start(ground);
    let mut ready = false;
    let mut told = String::new();
    loop {
        let seen = tokio::select! {
            () = stop.asked() => {
                progress.clear();
                return Ok(());
            }
            report = crew.next() => {
                progress.clear();
                tell(report?, ready)?;
                continue;
            }
            seen = looks.recv() => seen.ok_or("nobody looks after the nodes any more")?,
        };
        if !ready {
            match &seen {
                Look::Ready(status) => {
                    progress.clear();
                    ready = true;
                    told = watch::sentence(status);
                    say!(
                        "{}",
                        advice::text(Paint::stdout(), ground, status, crew.description())
                    );
                }
                Look::Waiting(why) => progress.waiting(why),
                Look::Syncing {
                    sentence,
                    percent,
                    seconds_left,
                } => progress.syncing(sentence, *percent, *seconds_left),
            }
        } else if let Some(sentence) = seen.sentence()
            && sentence != told
        {
            // A percentage that moves is no news.
            if watch::kind(&sentence) != watch::kind(&told) {
                say!("{sentence}");
            }
            told = sentence;
        }
    }
}

/// Says what became of a node. One that cannot run ends a start, but not a sandbox that ran.
fn tell(report: Report, ready: bool) -> Result<(), String> {
    match report {
        Report::Started { name, pid } => say!("{name}: started again, process {pid}"),
        Report::Died { name, pid } => {
            say!("{name}: process {pid} has ended; a new one starts in 1 s");
        }
        Report::GaveUp { name, log, .. } if !ready => {
            let end = ground::tail(&log);
            return Err(format!(
                "{name} cannot run; the end of {}:\n{end}",
                log.display()
            ));
        }
        Report::GaveUp { name, log, why } => say!(
            "{name} does not run any more: {why}\nthe sandbox goes on without it; put right what is \
             wrong (more is in {}), stop the sandbox with Ctrl-C and start it again",
            log.display()
        ),
    }
    Ok(())
}
