//! The schedules that broke earlier wordings of the design, by name: each must hold.
//!
//! Some take a handful of moments for the decisive fault, because the exact one depends on how many
//! microseconds each message takes.

mod logs;
mod losses;
mod shrinks;
mod takeovers;
mod votes;
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
    /// The planted bug that breaks the row's rule.
    bug: &'static str,
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
    /// Plays it with these planted bugs, printing what happens if asked to. A message that is a few
    /// microseconds earlier may make another schedule of one: it has to come about at three moments
    /// of four.
    ///
    /// # Errors
    /// The rule that did not hold, or what did not come about.
    pub fn play(&self, planted: Planted, tracing: bool) -> Result<(), String> {
        let mut never = 0;
        for moment in 0..self.moments {
            let stage = Stage {
                planted,
                tracing,
                moment,
            };
            if let Err(wrong) = (self.script)(stage) {
                never += 1;
                if !wrong.contains(NEVER) || never * 4 > self.moments {
                    return Err(format!("moment {moment}: {wrong}"));
                }
            }
        }
        Ok(())
    }

    /// Whether an oracle notices these planted bugs in one of its moments.
    #[must_use]
    pub fn is_broken_by(&self, planted: Planted) -> bool {
        (0..self.moments).any(|moment| {
            let stage = Stage {
                planted,
                tracing: false,
                moment,
            };
            let played = catch_unwind(AssertUnwindSafe(|| (self.script)(stage)));
            // That the schedule did not come about proves nothing.
            played.map_or(true, |said| said.is_err_and(|wrong| !wrong.contains(NEVER)))
        })
    }

    /// The planted bug that breaks the row's rule.
    #[must_use]
    pub fn bug(&self) -> Planted {
        let canary = crate::canaries::ALL
            .iter()
            .find(|canary| canary.name == self.bug);
        canary.expect("a planted bug's name").planted()
    }
}

macro_rules! scenarios {
    ($($row:literal $file:ident::$name:ident $moments:literal $bug:ident)*) => {
        /// All of them.
        pub const ALL: &[Scenario] = &[
            $(Scenario {
                row: $row,
                name: stringify!($name),
                moments: $moments,
                script: $file::$name,
                bug: stringify!($bug),
            },)*
        ];

        #[cfg(test)]
        mod tests {
            $(#[test]
            fn $name() {
                let scenario = super::ALL.iter().find(|s| s.name == stringify!($name));
                let scenario = scenario.expect("it is in the list");
                assert_eq!(scenario.play(Default::default(), false), Ok(()));
                assert!(scenario.is_broken_by(scenario.bug()), "also with the bug planted");
            })*
        }
    };
}

scenarios! {
    "3" shrinks::shrink_overtakes_power_loss 12 shrink_without_flush
    "3b" shrinks::who_leaves_hears_no_watermark 12 shrink_moves_watermark
    "4" shrinks::late_proposal 1 ignore_prev
    "5" shrinks::bitmap_gap_at_shrink 8 skip_mark_before_ack
    "6" shrinks::bitmap_gap_at_grow 1 skip_grow_bitmaps
    "6b" shrinks::grown_with_changes_owed 4 grow_unacknowledged
    "7" losses::resync_bit_cleared_before_the_flush 12 clear_bit_before_flush
    "8" losses::unheard_is_not_lost 1 unheard_counts_as_lost
    "9" losses::different_losses 6 both_in_sync_after_loss
    "10" losses::a_dead_daemon_writes 6 ignore_lock
    "11" losses::old_connection 6 keep_old_link_frames
    "12a" windows::window_pruned_at_stable 6 prune_window_at_stable
    "12b" windows::window_lost_in_a_restart 6 trust_lost_windows
    "12c" windows::window_not_handed_over_in_grow 4 skip_window_handover
    "13" takeovers::unacknowledged_write_read_in_a_pair 12 skip_reconcile
    "14a" takeovers::new_primary_leaves_its_own_window_out 6 reconcile_without_own_window
    "14b" takeovers::survivor_restarted 6 restarted_replica_reports_nothing
    "15" takeovers::forgotten_promise 12 forget_promise_at_restart
    "17" takeovers::a_write_on_the_primary_only 1 restarted_replica_reports_nothing
    "18" losses::one_that_lost_power_stays 8 shrink_one_by_one
    "19" windows::overwritten_counts_as_applied 6 trust_overwritten
    "20" windows::a_piece_brings_a_newer_change 6 oldest_piece_first
    "21" losses::flush_failed_unheard 6 forget_failed_store
    "22a" logs::a_lost_log_votes_again 6 trust_any_log
    "22b" logs::a_lost_log_keeps_an_old_lease 24 acknowledge_unenrolled
    "23a" votes::a_vote_is_forgotten 12 vote_before_durable
    "23b" votes::a_vote_for_the_run_before 12 vote_for_any_run
}

/// The first scenario in which an oracle notices these planted bugs.
#[must_use]
pub fn that_finds(planted: Planted) -> Option<&'static str> {
    let found = ALL.iter().find(|scenario| scenario.is_broken_by(planted));
    found.map(|scenario| scenario.name)
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

/// Whether two nodes' disks hold the same in this block.
fn same(world: &World, one: NodeId, other: NodeId, block: u64) -> bool {
    let at = (world.layout.data / steadfast::types::BLOCK + block) as u32;
    let page = |node| world.node(node).disk.as_ref().map(|disk| disk.page(at));
    page(one) == page(other)
}

/// Whether the node's disk holds in this block what another one's does, and it is not zero.
fn holds(world: &World, node: NodeId, block: u64) -> bool {
    let first = world.layout.data / steadfast::types::BLOCK;
    let disk = world.node(node).disk.as_ref();
    disk.is_some_and(|disk| disk.page((first + block) as u32).iter().any(|b| *b != 0))
}
