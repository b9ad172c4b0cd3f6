//! Speed side by side with named peers: one command, one table.
//!
//! Every system serves a volume of the same size from preallocated files, written once in full
//! before anything is measured, with O_DIRECT, by NBD over a Unix socket. Within each repeat the
//! systems take turns, case by case. Medians of the repeats are shown.

mod case;
mod cpu;
mod fio;
mod peer;
mod report;
mod sandbox;
mod serving;
mod size;
mod system;
mod tools;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::case::CASES;
use crate::report::{Report, Sample};
use crate::serving::Serving;
use crate::size::Size;
use crate::system::System;

/// What went wrong, for people.
type Fault = String;

/// Measures Steadfast beside qemu-nbd and QEMU's quorum, and prints a table.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Args {
    /// How often each case is measured with each system
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=3600))]
    runtime: u32,
    /// Bytes of each volume, as in 2GiB or 512MiB
    #[arg(long, default_value = "2GiB")]
    size: Size,
    /// Only these systems and cases, separated by commas [see --list]
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the volumes lie: needs room for up to six of them, on a file system with O_DIRECT
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// The program to measure [default: built now, release profile]
    #[arg(long, value_name = "FILE")]
    steadfast: Option<PathBuf>,
    /// Print JSON (with every single measurement) in place of the table
    #[arg(long)]
    json: bool,
    /// List systems and cases, and end
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        let systems: Vec<_> = System::ALL.iter().map(|system| system.name()).collect();
        let cases: Vec<_> = CASES.iter().map(|case| case.name).collect();
        println!(
            "systems: {}\ncases:   {}",
            systems.join(", "),
            cases.join(", ")
        );
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(report) if args.json => println!("{}", report.json()),
        Ok(report) => println!("{}", report.table()),
        Err(fault) => {
            eprintln!("bench: {fault}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(args: &Args) -> Result<Report, Fault> {
    let (systems, cases) = select(&args.only)?;
    tools::check(&systems)?;
    let steadfast = match &args.steadfast {
        _ if !systems.iter().any(|system| system.is_ours()) => PathBuf::new(),
        Some(file) => file
            .canonicalize()
            .map_err(|error| format!("{}: {error}", file.display()))?,
        None => tools::build()?,
    };
    let dir = work_dir(&args.dir)?;
    warn_if_busy();

    let mut servings = Vec::new();
    for system in systems {
        say(&format!(
            "starting {}, writing its volume in full",
            system.name()
        ));
        let serving = system
            .start(dir.path(), args.size, &steadfast)
            .map_err(|fault| format!("{}: {fault}", system.name()))?;
        fio::fill(serving.uri(), args.size)
            .map_err(|fault| format!("{}: {fault}", system.name()))?;
        serving
            .settle()
            .map_err(|fault| format!("{}: {fault}", system.name()))?;
        servings.push(serving);
    }
    let mut report = Report::new(args.size, args.runtime);
    for repeat in 0..args.repeats as usize {
        for case in &cases {
            // Another one begins each time, so that none always follows the same one.
            for turn in 0..servings.len() {
                let serving = &servings[(turn + repeat) % servings.len()];
                let name = serving.system().name();
                say(&format!(
                    "repeat {} of {}: {} on {name}",
                    repeat + 1,
                    args.repeats,
                    case.name
                ));
                let sample = measure(serving, case, args)
                    .map_err(|fault| format!("{} on {name}: {fault}", case.name))?;
                report.add(case, serving.system(), sample);
            }
        }
    }
    Ok(report)
}

/// One case once.
fn measure(serving: &Serving, case: &case::Case, args: &Args) -> Result<Sample, Fault> {
    // What the run before left behind (intents being cleared, flushes) is not this run's.
    std::thread::sleep(Duration::from_millis(1500));
    let before = cpu::Usage::of_trees(&serving.pids())?;
    let speed = fio::run(serving.uri(), case, args.size, args.runtime)?;
    let after = cpu::Usage::of_trees(&serving.pids())?;
    serving.check()?;
    Ok(Sample {
        speed,
        cpu_seconds: after.since(&before)?,
    })
}

/// The systems and cases that are wanted: all of a kind if none of it is named.
fn select(only: &[String]) -> Result<(Vec<System>, Vec<case::Case>), Fault> {
    let named = |name: &str| only.iter().any(|wanted| wanted == name);
    let mut systems: Vec<_> = System::ALL
        .iter()
        .copied()
        .filter(|s| named(s.name()))
        .collect();
    let mut cases: Vec<_> = CASES
        .iter()
        .copied()
        .filter(|case| named(case.name))
        .collect();
    let known = |name: &String| {
        systems.iter().any(|system| system.name() == name)
            || cases.iter().any(|case| case.name == name)
    };
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        return Err(format!(
            "there is no system or case \"{unknown}\"; see --list"
        ));
    }
    if systems.is_empty() {
        systems = System::ALL.to_vec();
    }
    if cases.is_empty() {
        cases = CASES.to_vec();
    }
    Ok((systems, cases))
}

/// A directory of our own, removed at the end.
fn work_dir(parent: &Path) -> Result<tempfile::TempDir, Fault> {
    let fault = |error| format!("{}: {error}", parent.display());
    std::fs::create_dir_all(parent).map_err(fault)?;
    let parent = parent.canonicalize().map_err(fault)?;
    tempfile::Builder::new()
        .prefix("bench")
        .tempdir_in(&parent)
        .map_err(fault)
}

/// Other work on the machine makes every number worthless: said before, not after.
fn warn_if_busy() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load
        .split(' ')
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > 0.5) {
        eprintln!("bench: the machine is busy (load {load}): the numbers will be worth little");
    }
}

/// Progress, where somebody looks.
fn say(what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("bench: {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_selects_by_kind() {
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            select(&only).map(|(systems, cases)| (systems.len(), cases.len()))
        };
        assert_eq!(names(&[]), Ok((4, 5)));
        assert_eq!(names(&["ours-2", "quorum"]), Ok((2, 5)));
        assert_eq!(names(&["randwrite-qd1"]), Ok((4, 1)));
        assert_eq!(names(&["ours-1", "randread-qd32"]), Ok((1, 1)));
        assert!(names(&["ours-3"]).is_err());
    }
}
