//! What the leader proposes of its own accord: whom to exclude, whom to admit, whom to promote. A
//! pure function of the state and of what is known of everybody.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Canaries;
use super::entry::Command;
use super::io::{Member, ReplicaReport};
use super::liveness::Liveness;
use super::state::{State, VolumeState};
use crate::record::{Grant, ReplicaRecord, VolumeChange, VolumeRecord};
use crate::types::{Incarnation, Index, NodeId, Time, VolumeId};

/// What nodes said last of their replicas, and in which incarnation.
pub(super) type Reports = BTreeMap<(VolumeId, NodeId), (Incarnation, ReplicaReport)>;

/// What a decision depends on beside the state.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The time.
    pub(super) now: Time,
    /// Who is alive.
    pub(super) liveness: &'a Liveness,
    /// The replicas.
    pub(super) reports: &'a Reports,
    /// Since when each node has been a member, as far as this leader has seen it; before it became
    /// leader otherwise.
    pub(super) settled: &'a dyn Fn(NodeId) -> bool,
    /// All off in a product.
    pub(super) canaries: &'a Canaries,
}

/// The next entry that should be appended to a log that adds up to `state`; none if all is as it
/// should be. Asked again with what that entry makes of the state.
pub(super) fn next(state: &State, facts: &Facts<'_>) -> Option<Command> {
    admit_self(state, facts)
        .or_else(|| exclude(state, facts))
        .or_else(|| admit(state, facts))
        .or_else(|| enroll(state, facts))
        .or_else(|| volumes(state, facts))
}

fn admit_self(state: &State, facts: &Facts<'_>) -> Option<Command> {
    let me = facts.liveness.me();
    state.is_admissible(&me).then_some(Command::Admit(me))
}

fn exclude(state: &State, facts: &Facts<'_>) -> Option<Command> {
    let others = state.view.members.iter();
    let mut others = others.filter(|member| member.node != facts.liveness.me().node);
    others.find_map(|member| {
        let certificate = facts.liveness.is_dead(member);
        let settled = (facts.settled)(member.node);
        let given_up = facts.liveness.is_given_up(facts.now, member, settled);
        (certificate || given_up).then_some(Command::Exclude {
            node: member.node,
            incarnation: member.incarnation,
            certificate,
        })
    })
}

fn admit(state: &State, facts: &Facts<'_>) -> Option<Command> {
    let arrivals = facts.liveness.arrivals(state);
    // Who would be excluded at once is not let in.
    let mut arrivals = arrivals
        .into_iter()
        .filter(|member| !facts.liveness.is_given_up(facts.now, member, true));
    arrivals.next().map(Command::Admit)
}

/// A voter that came back with another log than the one that counts. It says so itself, in the run
/// in which it is a member: what an earlier run has said is void.
fn enroll(state: &State, facts: &Facts<'_>) -> Option<Command> {
    state.roster.iter().find_map(|(&node, &(known, _))| {
        let member = state.member(node)?;
        let told = facts.liveness.told(node)?;
        let other = told.incarnation == member.incarnation && told.log != known;
        other.then_some(Command::Enroll {
            node,
            log: told.log,
        })
    })
}

fn volumes(state: &State, facts: &Facts<'_>) -> Option<Command> {
    state.volumes.values().find_map(|volume| {
        let change = replace(state, &volume.record, facts).or_else(|| {
            let change = promote(state, volume, facts);
            change.map(|(grant, after_power_loss)| VolumeChange::Promote {
                grant,
                after_power_loss,
            })
        })?;
        Some(Command::Volume {
            volume: volume.record.id,
            prev: volume.record.last_entry,
            change,
        })
    })
}

/// What a member says of its replica, in its present incarnation.
pub(super) fn report<'a>(
    state: &State,
    reports: &'a Reports,
    volume: VolumeId,
    node: NodeId,
) -> Option<&'a ReplicaReport> {
    let (incarnation, report) = reports.get(&(volume, node))?;
    let member = state.member(node)?;
    (member.incarnation == *incarnation).then_some(report)
}

/// A replica that is not in sync anyway has another store.
fn replace(state: &State, record: &VolumeRecord, facts: &Facts<'_>) -> Option<VolumeChange> {
    record.replicas.iter().find_map(|replica| {
        let report = report(state, facts.reports, record.id, replica.node)?;
        let other = report.store != replica.store && !replica.state.is_in_sync();
        (other && !report.failed).then_some(VolumeChange::Replace {
            replica: replica.node,
            store: report.store,
        })
    })
}

/// Whom to promote, and whether after a loss of power of all.
fn promote(state: &State, volume: &VolumeState, facts: &Facts<'_>) -> Option<(Grant, bool)> {
    let record = &volume.record;
    if state.has_primary(record) {
        return None;
    }
    let members = state.view.members.iter();
    let candidates: Vec<(&Member, &ReplicaReport)> = members
        .filter_map(|member| {
            let report = report(state, facts.reports, record.id, member.node)?;
            let store = record.replica(member.node)?.store;
            (report.store == store && !report.failed).then_some((member, report))
        })
        .collect();
    let grant = |member: &Member| Grant {
        node: member.node,
        incarnation: member.incarnation,
        boot: member.boot,
    };
    let may = |member: &Member, after_power_loss| {
        state.may_promote(record, &grant(member), after_power_loss, facts.canaries)
    };
    let best = candidates
        .iter()
        .filter(|(member, _)| may(member, false))
        .min_by_key(|(member, _)| {
            (
                volume.prefer != Some(member.node),
                !facts.liveness.is_heard(member.node),
                volume.last_primary == Some(member.node),
                member.node,
            )
        });
    if let Some((member, _)) = best {
        return Some((grant(member), false));
    }
    // Each lost what it had not flushed: the one that kept most goes on. All must have said how
    // much that is.
    // One that has failed cannot be used; what was flushed, the others have flushed too.
    let lost = candidates.iter().filter(|(member, _)| may(member, true));
    let has_said = |replica: &ReplicaRecord| {
        let report = report(state, facts.reports, record.id, replica.node);
        report.is_some_and(|report| report.store == replica.store)
    };
    let all_said = record.in_sync().all(has_said) || facts.canaries.unheard_counts_as_lost;
    let best = lost.max_by_key(|(member, report)| (report.term, report.seq, Reverse(member.node)));
    best.filter(|_| all_said)
        .map(|(member, _)| (grant(member), true))
}

/// The record as it is to be created, once every replica's node is a member and has a fresh store
/// for it: in sync from the start, for fresh stores are all zero.
pub(super) fn complete(
    state: &State,
    reports: &Reports,
    record: &VolumeRecord,
) -> Result<VolumeRecord, Incomplete> {
    let mut record = record.clone();
    record.replicas.sort_by_key(|replica| replica.node);
    for replica in &mut record.replicas {
        let node = replica.node;
        let member = state.member(node).ok_or(Incomplete::Absent(node))?;
        let report = report(state, reports, record.id, node).ok_or(Incomplete::Absent(node))?;
        if report.failed || (report.term.0, report.seq.0) != (0, 0) {
            return Err(Incomplete::Used(node));
        }
        replica.store = report.store;
        replica.state = crate::record::ReplicaState::InSync { boot: member.boot };
    }
    record.last_entry = Index(0);
    Ok(record)
}

/// Why a volume cannot be created yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incomplete {
    /// The node has not joined, or has not said anything about its store.
    Absent(NodeId),
    /// The node's store has failed, or has been used already.
    Used(NodeId),
}
