//! Seeds that nobody has run before: another row of them with each commit.

use std::process::Command;

use sim::random::mix;
use sim::runner::{self, Plan};
use sim::world::Planted;

/// Runs in the time that a test may take.
const RUNS: u64 = 300;

/// From `STEADFAST_SEED` (hexadecimal), or the commit.
fn base() -> u64 {
    if let Ok(seed) = std::env::var("STEADFAST_SEED") {
        let digits = seed.trim_start_matches("0x");
        return u64::from_str_radix(digits, 16).expect("STEADFAST_SEED is hexadecimal");
    }
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = commit.map(|output| output.stdout).unwrap_or_default();
    commit
        .iter()
        .fold(0, |seed, byte| mix(seed ^ u64::from(*byte)))
        >> 16
}

#[test]
fn no_rule_is_broken_under_fresh_seeds() {
    runner::catch_panics();
    let base = base();
    let plan = Plan {
        base,
        runs: RUNS,
        time: None,
        jobs: 2,
        keep_going: false,
    };
    let summary = runner::run_many(plan, Planted::default(), |_| {});
    println!(
        "{} runs from seed {base:x}, {} operations judged",
        summary.runs, summary.operations
    );
    if let Some(outcome) = summary.failed.first() {
        let violation = outcome.violation.as_ref().expect("it failed");
        panic!(
            "seed {:x}: {}: {}\ncargo run --release -p sim -- replay {:x}",
            outcome.seed, violation.oracle, violation.text, outcome.seed
        );
    }
    assert!(summary.operations > 10_000, "the runs did something");
}
