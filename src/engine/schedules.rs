//! Small schedules over whole volumes: every answered write is there, nothing is applied twice,
//! replicas are equal at rest.

mod history;
mod image;
mod log;
mod random;
mod world;

use world::{Options, World};

use crate::engine::Canaries;

/// Ordinary options: two replicas, a node without one, everything may happen.
fn options(seed: u64) -> Options {
    let mut rng = random::Rng::new(seed ^ 0x5eed);
    let storage = [1, 2, 2, 3, 3][rng.below(5) as usize];
    Options {
        seed,
        storage,
        diskless: u8::from(storage == 1 || rng.once_in(2)),
        shared: rng.once_in(2),
        canaries: Canaries::default(),
        steps: 3_000 + rng.below(6_000),
        fault_every: [100, 300, 1000][rng.below(3) as usize],
        power: rng.once_in(2),
        disk_errors: rng.once_in(4),
        bursts: rng.once_in(2),
        clients: 1 + rng.below(3),
        blocks: 1 + rng.below(4),
        trace: false,
    }
}

/// A number from the environment, for longer runs and for one seed again.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    let parsed = digits.map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    Some(parsed.unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Runs one schedule; says what went wrong with what was asked for.
fn run(options: Options) -> (u64, Result<(), String>) {
    let mut world = World::new(options);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let result = match caught {
        Ok(result) => result,
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default()),
    };
    (world.answered, result)
}

#[test]
fn any_schedule() {
    if let Some(seed) = number("STEADFAST_SEED") {
        let mut one = options(seed);
        one.trace = std::env::var("STEADFAST_TRACE").is_ok();
        let result = World::new(one).run();
        assert_eq!(result, Ok(()), "{one:?}");
        return;
    }
    let first = number("STEADFAST_FIRST").unwrap_or(1);
    let count = number("STEADFAST_SCHEDULES").unwrap_or(150);
    let (mut answered, mut failed) = (0, 0);
    for seed in first..first + count {
        let one = options(seed);
        let (done, result) = run(one);
        answered += done;
        if let Err(why) = result {
            failed += 1;
            println!("seed {seed}: {why}\n{one:?}");
        }
    }
    println!("{count} schedules, {answered} requests answered");
    assert_eq!(failed, 0, "of {count} schedules");
    assert!(answered > count * 10);
}
