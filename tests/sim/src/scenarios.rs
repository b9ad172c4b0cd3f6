//! The schedules that broke earlier wordings of the design, by name: each must hold.
//!
//! Some take a handful of moments for the decisive fault, because the exact one depends on how many
//! microseconds each message takes.

mod logs;
mod losses;
mod rules;
mod shrinks;
mod takeovers;
mod votes;
mod windows;

use std::panic::{AssertUnwindSafe, catch_unwind};

use steadfast::member::io::CoreStatus;
use steadfast::record::ReplicaState;
use steadfast::types::NodeId;

use crate::options::Options;
use crate::queue::Instant;
use crate::script::{NEVER, Script};
use crate::world::{Planted, World};

/// A named schedule.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its row in the list of counter-examples, if it is one of those.
    pub row: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How many moments it tries.
    moments: u64,
    script: fn(Stage) -> Result<(), String>,
    /// The planted bugs that an oracle has to notice in it.
    pub bugs: &'static [&'static str],
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

    /// The oracle that notices these planted bugs in one of its moments.
    #[must_use]
    pub fn oracle_for(&self, planted: Planted) -> Option<String> {
        (0..self.moments).find_map(|moment| {
            let stage = Stage {
                planted,
                tracing: false,
                moment,
            };
            let played = catch_unwind(AssertUnwindSafe(|| (self.script)(stage)));
            // An assertion of the product is an oracle too. That the schedule did not come about
            // proves nothing.
            let Ok(said) = played else {
                return Some("no panic".to_owned());
            };
            let wrong = said.err().filter(|wrong| !wrong.contains(NEVER))?;
            let oracle = wrong.split(':').next().unwrap_or_default();
            Some(oracle.to_owned())
        })
    }
}

macro_rules! scenarios {
    ($($row:literal $file:ident::$name:ident $moments:literal [$($bug:ident)+])*) => {
        /// All of them.
        pub const ALL: &[Scenario] = &[
            $(Scenario {
                row: $row,
                name: stringify!($name),
                moments: $moments,
                script: $file::$name,
                bugs: &[$(stringify!($bug)),+],
            },)*
        ];

        #[cfg(test)]
        mod tests {
            $(#[test]
            fn $name() {
                super::proof::holds_and_finds(stringify!($name));
            })*
        }
    };
}

scenarios! {
    "3" shrinks::shrink_overtakes_power_loss 12 [shrink_without_flush]
    "3b" shrinks::who_leaves_hears_no_watermark 12 [shrink_moves_watermark clear_intent_early]
    "4" shrinks::late_proposal 1 [ignore_prev]
    "5" shrinks::bitmap_gap_at_shrink 8 [ack_before_peer skip_mark_before_ack]
    "6" shrinks::bitmap_gap_at_grow 1 [skip_grow_bitmaps forget_dirty_bit]
    "6b" shrinks::grown_with_changes_owed 4 [grow_unacknowledged]
    "7" losses::resync_bit_cleared_before_the_flush 12 [clear_bit_before_flush]
    "8" losses::unheard_is_not_lost 1 [unheard_counts_as_lost]
    "9" losses::different_losses 6 [both_in_sync_after_loss]
    "10" losses::a_dead_daemon_writes 6 [ignore_lock]
    "11" losses::old_connection 6 [keep_old_link_frames]
    "12a" windows::window_pruned_at_stable 6 [prune_window_at_stable reapply_resent]
    "12b" windows::window_lost_in_a_restart 6 [trust_lost_windows]
    "12c" windows::window_not_handed_over_in_grow 4 [skip_window_handover]
    "13" takeovers::unacknowledged_write_read_in_a_pair 12 [skip_reconcile]
    "14a" takeovers::new_primary_leaves_its_own_window_out 6 [reconcile_without_own_window]
    "14b" takeovers::survivor_restarted 6 [restarted_replica_reports_nothing]
    "15" takeovers::forgotten_promise 12 [forget_promise_at_restart]
    "17" takeovers::a_write_on_the_primary_only 1 [restarted_replica_reports_nothing]
    "18" losses::one_that_lost_power_stays 8 [shrink_one_by_one]
    "19" windows::overwritten_counts_as_applied 6 [trust_overwritten skip_interval_lock]
    "20" windows::a_piece_brings_a_newer_change 6 [oldest_piece_first]
    "21" losses::flush_failed_unheard 6 [forget_failed_store]
    "22a" logs::a_lost_log_votes_again 6 [trust_any_log]
    "22b" logs::a_lost_log_keeps_an_old_lease 24 [acknowledge_unenrolled]
    "23a" votes::a_vote_is_forgotten 12 [vote_before_durable]
    "23b" votes::a_vote_for_the_run_before 12 [vote_for_any_run]
    "-" rules::answers_without_a_lease 4 [answer_without_lease long_lease]
    "-" rules::a_voter_that_promised_hears_it_again 24 [vote_without_promise]
    "-" rules::a_replica_behind_is_not_promoted 1 [promote_behind_replica]
    "-" rules::a_read_of_what_only_the_primary_has 6 [read_unacknowledged]
    "-" rules::flushed_on_one_only 4 [skip_peer_flush]
    "-" rules::a_copy_that_is_needed 1 [trust_digest_blindly]
    "-" rules::overlapping_writes_are_held 6 [send_overlapping]
    "-" rules::an_attach_of_an_older_term 12 [accept_old_term]
    "-" rules::a_restarted_primary 6 [ignore_boot]
    "-" rules::a_gateway_loses_its_primary 1 [forget_unanswered]
    "-" votes::one_voter_two_candidates 12 [double_vote]
    "-" votes::agreed_and_not_durable 12 [acknowledge_before_durable]
}

/// The first scenario in which an oracle notices these planted bugs, and which oracle.
#[must_use]
pub fn that_finds(planted: Planted) -> Option<(&'static str, String)> {
    ALL.iter().find_map(|scenario| {
        let oracle = scenario.oracle_for(planted)?;
        Some((scenario.name, oracle))
    })
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

/// What a node's core says, if it runs.
fn status(world: &World, node: NodeId) -> Option<CoreStatus> {
    let now = world.now();
    let node = world.node(node);
    let run = node.run.as_ref()?;
    Some(run.core.status(node.now(now)))
}

/// Who leads, as it knows itself.
fn leader(script: &Script) -> Result<NodeId, String> {
    let leads = |node: &NodeId| {
        status(&script.world, *node).is_some_and(|status| status.leader == Some(*node))
    };
    let mut nodes = (0..script.world.options.nodes() as u8).map(NodeId);
    nodes.find(leads).ok_or_else(|| format!("{NEVER}a leader"))
}

/// Cuts two nodes apart.
fn part(world: &mut World, a: NodeId, b: NodeId) {
    world.cut(a, b);
    world.cut(b, a);
}

/// Mends that.
fn join(world: &mut World, a: NodeId, b: NodeId) {
    world.mend(a, b);
    world.mend(b, a);
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

#[cfg(test)]
mod proof {
    use super::ALL;
    use crate::canaries;

    /// The schedule holds, and with each of its bugs planted an oracle speaks.
    pub(super) fn holds_and_finds(name: &str) {
        let scenario = ALL.iter().find(|scenario| scenario.name == name);
        let scenario = scenario.expect("it is in the list");
        assert_eq!(scenario.play(Default::default(), false), Ok(()));
        for bug in scenario.bugs {
            let canary = canaries::ALL.iter().find(|canary| canary.name == *bug);
            let canary = canary.expect("a planted bug's name");
            assert!(
                scenario.oracle_for(canary.planted()).is_some(),
                "it holds with {bug} planted, too"
            );
        }
    }

    #[test]
    fn every_planted_bug_is_found_by_a_named_schedule() {
        let named: Vec<_> = ALL.iter().flat_map(|scenario| scenario.bugs).collect();
        for canary in canaries::ALL {
            assert!(named.contains(&&canary.name), "{}", canary.name);
        }
    }
}
