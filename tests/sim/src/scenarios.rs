//! The schedules that broke earlier wordings of the design, by name: each must hold.
//!
//! Some take a handful of moments for the decisive fault, because the exact one depends on how many
//! microseconds each message takes.

mod losses;
mod shrinks;
mod takeovers;
mod windows;

use std::panic::{AssertUnwindSafe, catch_unwind};

use steadfast::record::ReplicaState;
use steadfast::types::NodeId;

use crate::options::Options;
use crate::queue::Instant;
use crate::script::{NEVER, Script};
use crate::world::{Planted, World};

/// A named schedule.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its row in the list of counter-examples.
    pub row: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How many moments it tries.
    moments: u64,
    script: fn(Stage) -> Result<(), String>,
}

/// What a script is given.
#[derive(Clone, Copy)]
struct Stage {
    planted: Planted,
    tracing: bool,
    /// Which of the moments.
    moment: u64,
}

impl Stage {
    fn set(self, storage: usize) -> Result<Script, String> {
        self.set_with(Options {
            storage,
            ..Options::quiet(0x5ce + self.moment)
        })
    }

    fn set_with(self, options: Options) -> Result<Script, String> {
        Script::new(options, self.planted, self.tracing)
    }

    /// The decisive moment: this many times the step.
    const fn after(self, step: Instant) -> Instant {
        self.moment * step
    }
}

impl Scenario {
    /// Plays it with these planted bugs, printing what happens if asked to.
    ///
    /// # Errors
    /// The rule that did not hold, or what did not come about.
    pub fn play(&self, planted: Planted, tracing: bool) -> Result<(), String> {
        for moment in 0..self.moments {
            let stage = Stage {
                planted,
                tracing,
                moment,
            };
            (self.script)(stage).map_err(|e| format!("moment {moment}: {e}"))?;
        }
        Ok(())
    }
}

macro_rules! scenarios {
    ($($row:literal $file:ident::$name:ident $moments:literal)*) => {
        /// All of them.
        pub const ALL: &[Scenario] = &[
            $(Scenario {
                row: $row,
                name: stringify!($name),
                moments: $moments,
                script: $file::$name,
            },)*
        ];

        #[cfg(test)]
        mod tests {
            $(#[test]
            fn $name() {
                let scenario = super::ALL.iter().find(|s| s.name == stringify!($name));
                let said = scenario.expect("it is in the list").play(Default::default(), false);
                assert_eq!(said, Ok(()));
            })*
        }
    };
}

scenarios! {
    "3" shrinks::shrink_overtakes_power_loss 12
    "4" shrinks::late_proposal 1
    "5" shrinks::bitmap_gap_at_shrink 8
    "6" shrinks::bitmap_gap_at_grow 1
    "7" losses::resync_bit_cleared_before_the_flush 12
    "8" losses::unheard_is_not_lost 1
    "9" losses::different_losses 6
    "10" losses::a_dead_daemon_writes 6
    "11" losses::old_connection 6
    "12a" windows::window_pruned_at_stable 6
    "12b" windows::window_lost_in_a_restart 6
    "12c" windows::window_not_handed_over_in_grow 4
    "13" takeovers::unacknowledged_write_read_in_a_pair 12
    "14a" takeovers::new_primary_leaves_its_own_window_out 6
    "14b" takeovers::survivor_restarted 6
    "15" takeovers::forgotten_promise 12
    "17" takeovers::a_write_on_the_primary_only 1
    "3b" shrinks::who_leaves_hears_no_watermark 12
    "6b" shrinks::grown_with_changes_owed 4
    "18" losses::one_that_lost_power_stays 8
}

/// The first scenario in which an oracle notices these planted bugs.
#[must_use]
pub fn that_finds(planted: Planted) -> Option<&'static str> {
    let fails = |scenario: &&Scenario| {
        let played = catch_unwind(AssertUnwindSafe(|| scenario.play(planted, false)));
        match played {
            Ok(said) => said.is_err_and(|wrong| !wrong.contains(NEVER)),
            Err(_) => true,
        }
    };
    ALL.iter().find(fails).map(|scenario| scenario.name)
}

/// What a world says at the end.
///
/// # Errors
/// The rule that did not hold.
pub fn verdict(world: &World) -> Result<(), String> {
    match &world.failed {
        None => Ok(()),
        Some(violation) => Err(format!("{}: {}", violation.oracle, violation.text)),
    }
}

/// The storage nodes that are not primary.
fn others(script: &Script) -> Result<(NodeId, Vec<NodeId>), String> {
    let primary = script.primary()?;
    let storage = 0..script.world.options.storage as u8;
    let others = storage.map(NodeId).filter(|node| *node != primary);
    Ok((primary, others.collect()))
}

/// The node without a store.
fn witness(script: &Script) -> NodeId {
    NodeId(script.world.options.storage as u8)
}

fn is_out(world: &World, node: NodeId) -> bool {
    let record = world.known.record();
    let replica = record.and_then(|record| record.replica(node));
    replica.is_some_and(|replica| matches!(replica.state, ReplicaState::Behind { .. }))
}

fn is_in(world: &World, node: NodeId) -> bool {
    let record = world.known.record();
    let replica = record.and_then(|record| record.replica(node));
    let boot = world.node(node).boot;
    replica.is_some_and(|replica| replica.state == ReplicaState::InSync { boot })
}

/// Whether the node's disk holds in this block what another one's does, and it is not zero.
fn holds(world: &World, node: NodeId, block: u64) -> bool {
    let first = world.layout.data / steadfast::types::BLOCK;
    let disk = world.node(node).disk.as_ref();
    disk.is_some_and(|disk| disk.page((first + block) as u32).iter().any(|b| *b != 0))
}
