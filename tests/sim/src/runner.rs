//! Runs seeds: one, many, or until a planted bug is found.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::queue;
use crate::random::mix;
use crate::world::marks::Marks;
use crate::world::{Planted, Violation, World};

/// One of so many runs is run twice, to see that it is the same run.
const TWICE: u64 = 100;

/// The oracles that planted bugs have to be noticed by, each at least once.
pub const ORACLES: &[&str] = &[
    "linearizable",
    "write intent",
    "equal at rest",
    "one primary",
    "views",
    "log",
    "power",
    "progress",
];

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What went wrong, if anything did.
    pub violation: Option<Violation>,
    /// What tells it from other runs.
    pub hash: u64,
    /// Operations judged.
    pub operations: u64,
    /// Blocks compared between replicas.
    pub compared: u64,
    /// Simulated time.
    pub simulated: queue::Instant,
    /// Events.
    pub events: u64,
    /// What was seen.
    pub marks: Marks,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of runs are kept for their outcome and not printed.
pub fn catch_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, |at| format!("{}:{}: ", at.file(), at.line()));
        let text = info
            .payload_as_str()
            .unwrap_or("a panic without words")
            .to_owned();
        PANIC.with_borrow_mut(|panic| *panic = Some(place + &text));
    }));
}

/// The world of a seed.
#[must_use]
pub fn world(seed: u64, planted: Planted, tracing: bool) -> World {
    World::new(Options::new(seed), planted, tracing)
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, planted: Planted, tracing: bool) -> Outcome {
    run_world(seed, || world(seed, planted, tracing))
}

/// Runs a world to its end; a panic in it is a violation.
pub fn run_world(seed: u64, make: impl FnOnce() -> World) -> Outcome {
    // The world outlives a panic, so that what it knows can be told.
    let mut made = None;
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        let world = made.insert(make());
        world.run();
    }));
    let panicked = result.err().map(|_| {
        let words = PANIC.with_borrow_mut(Option::take);
        words.unwrap_or_else(|| "a panic".to_owned())
    });
    let Some(world) = made else {
        return Outcome {
            seed,
            violation: Some(Violation {
                oracle: "no panic",
                text: panicked.unwrap_or_default(),
                at: 0,
            }),
            hash: 0,
            operations: 0,
            compared: 0,
            simulated: 0,
            events: 0,
            marks: Marks::default(),
        };
    };
    let violation = panicked.map_or_else(
        || world.failed.clone(),
        |text| {
            Some(Violation {
                oracle: "no panic",
                text,
                at: world.now(),
            })
        },
    );
    Outcome {
        seed,
        violation,
        hash: world.hash(),
        operations: world.operations(),
        compared: world.known.compared,
        simulated: world.now(),
        events: world.queue.counted(),
        marks: world.marks,
    }
}

/// The seed of the `index`-th run.
#[must_use]
pub const fn seed_of(base: u64, index: u64) -> u64 {
    mix(base.wrapping_add(index))
}

/// How much to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// First seed of the row.
    pub base: u64,
    /// At most so many runs.
    pub runs: u64,
    /// At most so long.
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: usize,
    /// Go on after a violation.
    pub keep_going: bool,
}

/// What many runs gave.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many.
    pub runs: u64,
    /// How many were run twice.
    pub twice: u64,
    /// Runs that broke a rule.
    pub failed: Vec<Outcome>,
    /// See `Outcome`.
    pub operations: u64,
    /// See `Outcome`.
    pub compared: u64,
    /// See `Outcome`.
    pub events: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// What was seen, in all.
    pub marks: Marks,
    /// How long it took.
    pub took: Duration,
}

/// Runs many seeds; `told` hears now and then how far it is.
pub fn run_many(plan: Plan, planted: Planted, told: impl Fn(&Summary) + Sync) -> Summary {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let summary = Mutex::new((Summary::default(), began));
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let late = plan.time.is_some_and(|time| began.elapsed() >= time);
                    if index >= plan.runs || late || over.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = run_checked(seed_of(plan.base, index), index, planted);
                    let mut guard = summary.lock().expect("no panic while it is held");
                    let (sum, told_at) = &mut *guard;
                    sum.add(outcome, index);
                    sum.took = began.elapsed();
                    if !sum.failed.is_empty() && !plan.keep_going {
                        over.store(true, Ordering::Relaxed);
                    }
                    if told_at.elapsed() > Duration::from_secs(10) {
                        *told_at = Instant::now();
                        told(sum);
                    }
                }
            });
        }
    });
    summary.into_inner().expect("no panic while it is held").0
}

/// Runs a seed; every so often twice.
fn run_checked(seed: u64, index: u64, planted: Planted) -> Outcome {
    let mut outcome = run(seed, planted, false);
    if index.is_multiple_of(TWICE) && outcome.violation.is_none() {
        let again = run(seed, planted, false);
        if again.hash != outcome.hash {
            outcome.violation = Some(Violation {
                oracle: "one seed is one run",
                text: format!("{:#x} and then {:#x}", outcome.hash, again.hash),
                at: 0,
            });
        }
    }
    outcome
}

impl Summary {
    fn add(&mut self, outcome: Outcome, index: u64) {
        self.runs += 1;
        self.twice += u64::from(index.is_multiple_of(TWICE));
        self.operations += outcome.operations;
        self.compared += outcome.compared;
        self.events += outcome.events;
        self.simulated += Duration::from_nanos(outcome.simulated);
        self.marks.add(&outcome.marks);
        if outcome.violation.is_some() {
            self.failed.push(outcome);
        }
    }
}
