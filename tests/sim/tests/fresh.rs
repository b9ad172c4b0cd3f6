//! Seeds that nobody has run before: another row of them with each commit.

use std::io::Write;
use std::process::Command;
use std::time::SystemTime;

use sim::random::mix;
use sim::runner::{self, Plan};
use sim::world::Planted;

/// Runs in the time that a test may take.
const RUNS: u64 = 300;

/// From `STEADFAST_SEED` (hexadecimal), or the commit, or the time where there is none.
fn base() -> u64 {
    if let Ok(seed) = std::env::var("STEADFAST_SEED") {
        let digits = seed.trim_start_matches("0x");
        return u64::from_str_radix(digits, 16).expect("STEADFAST_SEED is hexadecimal");
    }
    let fresh = commit().unwrap_or_else(time);
    fresh
        .iter()
        .fold(0, |seed, byte| mix(seed ^ u64::from(*byte)))
        >> 16
}

/// The commit's name; none where the sources are not in a repository, or git is not there.
fn commit() -> Option<Vec<u8>> {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let output = output.ok().filter(|output| output.status.success())?;
    (!output.stdout.is_empty()).then_some(output.stdout)
}

fn time() -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("a clock that is set").as_nanos();
    now.to_le_bytes().to_vec()
}

/// The harness keeps what a passing test prints to itself; the seeds of a run have to be known.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn no_rule_is_broken_under_fresh_seeds() {
    runner::catch_panics();
    let base = base();
    tell(&format!("{RUNS} runs from seed {base:x}"));
    let plan = Plan {
        base,
        runs: RUNS,
        time: None,
        jobs: 2,
        keep_going: false,
    };
    let summary = runner::run_many(plan, Planted::default(), |_| {});
    tell(&format!(
        "{} runs from seed {base:x}, {} operations judged",
        summary.runs, summary.operations
    ));
    if let Some(outcome) = summary.failed.first() {
        let violation = outcome.violation.as_ref().expect("it failed");
        panic!(
            "seed {:x}: {}: {}\ncargo run --release -p sim -- replay {:x}",
            outcome.seed, violation.oracle, violation.text, outcome.seed
        );
    }
    assert!(summary.operations > 10_000, "the runs did something");
}
