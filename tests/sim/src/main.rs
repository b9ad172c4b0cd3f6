//! The simulator's command line.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use sim::canaries;
use sim::random::mix;
use sim::runner::{self, Outcome, Plan, Summary};
use sim::scenarios;
use sim::world::Planted;

/// Runs whole clusters in simulated time and judges what they do. One seed is one run.
#[derive(Parser)]
#[command(name = "sim", version)]
struct Command {
    #[command(subcommand)]
    what: What,
}

/// Random schedules for a planted bug that a named one finds.
const NAMED_MAX: u64 = 3000;

#[derive(Subcommand)]
enum What {
    /// Run many seeds, stop at the first that breaks a rule.
    Run {
        /// First seed of the row, hexadecimal (default: from the time of day).
        #[arg(long, value_parser = hexadecimal)]
        seed: Option<u64>,
        /// How many runs (default: 1000, or as many as fit in --minutes).
        #[arg(long)]
        schedules: Option<u64>,
        /// For so long.
        #[arg(long, conflicts_with = "schedules")]
        minutes: Option<f64>,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Go on after a run that breaks a rule.
        #[arg(long)]
        keep_going: bool,
    },
    /// Run one seed and print what happens.
    Replay {
        /// The seed that `run` printed.
        #[arg(value_parser = hexadecimal)]
        seed: u64,
        /// Only say how it ends.
        #[arg(long)]
        brief: bool,
        /// With this planted bug.
        #[arg(long)]
        canary: Option<String>,
    },
    /// Plant one bug after the other and see that an oracle finds each.
    Canaries {
        /// First seed of the row, hexadecimal (default: from the time of day).
        #[arg(long, value_parser = hexadecimal)]
        seed: Option<u64>,
        /// Give up on a bug after so many runs.
        #[arg(long, default_value_t = 20_000)]
        schedules: u64,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Only this one.
        #[arg(long)]
        only: Option<String>,
    },
    /// Run the named schedules of the design's counter-examples.
    Scenarios {
        /// Only this one, with everything that happens.
        name: Option<String>,
        /// With this planted bug.
        #[arg(long)]
        canary: Option<String>,
    },
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    let digits = text.trim_start_matches("0x");
    u64::from_str_radix(digits, 16).map_err(|e| format!("{text} is no hexadecimal number: {e}"))
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    mix(now.map_or(0, |now| now.as_nanos() as u64)) >> 16
}

fn main() -> ExitCode {
    runner::catch_panics();
    let good = match Command::parse().what {
        What::Run {
            seed,
            schedules,
            minutes,
            jobs,
            keep_going,
        } => run(Plan {
            base: seed.unwrap_or_else(fresh_seed),
            runs: match (schedules, minutes) {
                (Some(schedules), _) => schedules,
                (None, Some(_)) => u64::MAX,
                (None, None) => 1000,
            },
            time: minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
            jobs,
            keep_going,
        }),
        What::Replay {
            seed,
            brief,
            canary,
        } => replay(seed, brief, canary.as_deref()),
        What::Canaries {
            seed,
            schedules,
            jobs,
            only,
        } => find_canaries(
            seed.unwrap_or_else(fresh_seed),
            schedules,
            jobs,
            only.as_deref(),
        ),
        What::Scenarios { name, canary } => play_scenarios(name.as_deref(), canary.as_deref()),
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(plan: Plan) -> bool {
    println!("seeds from {:x}", plan.base);
    let summary = runner::run_many(plan, Planted::default(), progress);
    progress(&summary);
    println!("\nseen:");
    for (name, count) in summary.marks.iter() {
        println!("  {count:>10}  {name}");
    }
    println!(
        "\n{} operations judged, {} blocks compared, {} events, {:.0} s simulated, {} runs done twice",
        summary.operations,
        summary.compared,
        summary.events,
        summary.simulated.as_secs_f64(),
        summary.twice,
    );
    for outcome in summary.failed.iter().take(20) {
        print_failure(outcome);
    }
    if summary.failed.is_empty() {
        println!(
            "no rule was broken (seeds from {:x}, {} runs)",
            plan.base, summary.runs
        );
    }
    summary.failed.is_empty()
}

fn progress(summary: &Summary) {
    let seconds = summary.took.as_secs_f64().max(0.001);
    println!(
        "{:>9} schedules in {seconds:.0} s, {:.1} a second, {} broke a rule{}",
        summary.runs,
        summary.runs as f64 / seconds,
        summary.failed.len(),
        newest(summary)
    );
}

/// The newest failure in a few words: the rest is told at the end.
fn newest(summary: &Summary) -> String {
    let Some(outcome) = summary.failed.last() else {
        return String::new();
    };
    let oracle = outcome.violation.as_ref().map_or("", |v| v.oracle);
    format!(", the newest is seed {:x}: {oracle}", outcome.seed)
}

fn print_failure(outcome: &Outcome) {
    if let Some(violation) = &outcome.violation {
        println!(
            "\nseed {:x} at {} ns: {}\n  {}\n  cargo run --release -p sim -- replay {:x}",
            outcome.seed, violation.at, violation.oracle, violation.text, outcome.seed
        );
    }
}

/// The bug of this name, or none.
fn plant(canary: Option<&str>) -> Option<Planted> {
    let Some(name) = canary else {
        return Some(Planted::default());
    };
    let known = canaries::ALL.iter().find(|canary| canary.name == name);
    if known.is_none() {
        println!("no planted bug is called {name}");
    }
    known.map(canaries::Canary::planted)
}

fn replay(seed: u64, brief: bool, canary: Option<&str>) -> bool {
    let Some(planted) = plant(canary) else {
        return false;
    };
    println!("{:#?}", sim::options::Options::new(seed));
    let outcome = runner::run(seed, planted, !brief);
    println!(
        "seed {seed:x}: {} events, {} operations, {} ns simulated, hash {:016x}",
        outcome.events, outcome.operations, outcome.simulated, outcome.hash
    );
    print_failure(&outcome);
    outcome.violation.is_none()
}

fn find_canaries(base: u64, schedules: u64, jobs: usize, only: Option<&str>) -> bool {
    println!("seeds from {base:x}");
    println!(
        "{:<34} {:>9}  {:<14} {:<17} {:<42} found by",
        "planted bug", "schedules", "found by", "seed", "named schedule"
    );
    let mut good = true;
    let mut oracles: BTreeMap<String, u32> = BTreeMap::new();
    for canary in canaries::ALL {
        if only.is_some_and(|only| only != canary.name) {
            continue;
        }
        let named = scenarios::that_finds(canary.planted());
        let plan = Plan {
            base,
            // What a named schedule finds is looked for in random ones, but not for ever.
            runs: if named.is_some() {
                schedules.min(NAMED_MAX)
            } else {
                schedules
            },
            time: None,
            jobs,
            keep_going: false,
        };
        let summary = runner::run_many(plan, canary.planted(), |_| {});
        let found = summary.failed.first();
        let oracle = found.and_then(|outcome| outcome.violation.as_ref());
        let (name, by) = named.unwrap_or(("-", "-".to_owned()));
        println!(
            "{:<34} {:>9}  {:<14} {:<17} {:<42} {}",
            canary.name,
            if found.is_some() {
                summary.runs.to_string()
            } else {
                format!(">{}", summary.runs)
            },
            oracle.map_or("-", |v| v.oracle),
            found.map_or_else(|| "-".to_owned(), |outcome| format!("{:x}", outcome.seed)),
            name,
            by,
        );
        if found.is_none() && name == "-" {
            good = false;
            println!("{:<34} NOT FOUND", "");
        }
        for oracle in oracle.map(|v| v.oracle).into_iter().chain([by.as_str()]) {
            *oracles.entry(oracle.to_owned()).or_default() += 1;
        }
    }
    println!();
    for oracle in runner::ORACLES {
        let found = oracles.get(*oracle).copied().unwrap_or(0);
        println!("{found:>4} finds by oracle: {oracle}");
        good &= found > 0 || only.is_some();
    }
    good
}

fn play_scenarios(only: Option<&str>, canary: Option<&str>) -> bool {
    let Some(planted) = plant(canary) else {
        return false;
    };
    let mut good = true;
    for scenario in scenarios::ALL {
        if only.is_some_and(|only| only != scenario.name) {
            continue;
        }
        let result = scenario.play(planted, only.is_some());
        let said = result
            .as_ref()
            .map_or_else(Clone::clone, |()| "holds".to_owned());
        println!("row {:<3} {:<44} {said}", scenario.row, scenario.name);
        good &= result.is_ok();
    }
    good
}
