//! Why a volume is not served: one plain sentence.

use super::Core;
use crate::member::policy::{self, Incomplete};
use crate::record::{ReplicaRecord, VolumeRecord};
use crate::types::{NodeId, Time, VolumeId};

/// Why an in-sync replica is not promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// Nothing is heard of its node.
    Down,
    /// It is heard, and not admitted yet.
    Joining,
    /// It has not said anything about its store.
    Mute,
    /// Its store has failed, or is another one.
    NoStore,
    /// Its machine was restarted: what was not flushed is gone.
    LostPower,
}

/// The volumes that are not served, and why.
pub(super) fn waiting(core: &Core, now: Time) -> Vec<(VolumeId, String)> {
    let volumes = core.state.volumes.values().map(|volume| &volume.record);
    let existing = volumes.filter_map(|record| Some((record.id, unserved(core, now, record)?)));
    let wanted = core
        .creates
        .values()
        .map(|record| (record.id, uncreated(core, record)));
    existing.chain(wanted).collect()
}

fn unserved(core: &Core, now: Time, record: &VolumeRecord) -> Option<String> {
    if !core.has_quorum() {
        return Some(no_quorum(core));
    }
    if let Some(primary) = record.primary.map(|grant| grant.node)
        && core.state.has_primary(record)
    {
        let silent = core.liveness.is_suspected(primary);
        return silent.then(|| format!("{} is primary and silent", name(core, primary)));
    }
    if core.is_leaderless(now) {
        return Some("the voters are electing a leader".into());
    }
    let held = record.in_sync();
    let held: Vec<_> = held
        .map(|replica| (replica.node, obstacle(core, record, replica)))
        .collect();
    Some(sentence(core, &held))
}

fn no_quorum(core: &Core) -> String {
    let heard = core.liveness.voters_hearing();
    let voters = core.config.voters.len();
    let deaf = core.config.voters.iter();
    let deaf: Vec<NodeId> = deaf
        .filter(|&voter| !core.liveness.is_hearing(voter))
        .collect();
    format!(
        "no quorum: {heard} of {voters} voters heard; waiting for {}",
        names(core, &deaf, "or")
    )
}

fn obstacle(core: &Core, record: &VolumeRecord, replica: &ReplicaRecord) -> Option<Obstacle> {
    let node = replica.node;
    if core.state.member(node).is_none() {
        let heard = core.liveness.is_heard(node);
        return Some(if heard {
            Obstacle::Joining
        } else {
            Obstacle::Down
        });
    }
    let Some(report) = policy::report(&core.state, &core.reports, record.id, node) else {
        return Some(Obstacle::Mute);
    };
    if report.failed || report.store != replica.store {
        return Some(Obstacle::NoStore);
    }
    let lost = core.state.kept_power(replica) == Some(false);
    lost.then_some(Obstacle::LostPower)
}

fn sentence(core: &Core, held: &[(NodeId, Option<Obstacle>)]) -> String {
    let with = |obstacle: Obstacle| -> Vec<NodeId> {
        let nodes = held.iter().filter(|(_, known)| *known == Some(obstacle));
        nodes.map(|(node, _)| *node).collect()
    };
    if held.iter().any(|(_, obstacle)| obstacle.is_none()) {
        return "a new primary is being promoted".into();
    }
    let (down, joining) = (with(Obstacle::Down), with(Obstacle::Joining));
    let (mute, failed) = (with(Obstacle::Mute), with(Obstacle::NoStore));
    let lost = with(Obstacle::LostPower);
    if !joining.is_empty() || !mute.is_empty() {
        let coming: Vec<NodeId> = joining.into_iter().chain(mute).collect();
        return format!("{} is joining", names(core, &coming, "and"));
    }
    if !down.is_empty() {
        let them = if down.len() == 1 { "it" } else { "one of them" };
        let (who, are) = (names(core, &down, "and"), are(&down));
        return if lost.is_empty() && down.len() == 1 && failed.is_empty() {
            format!("{who} holds the only in-sync copy and is down; waiting for it")
        } else if lost.is_empty() {
            format!("{who} {are} down, and no other in-sync copy can be used; waiting for {them}")
        } else {
            format!(
                "{} lost its unflushed writes when its machine went down; {who}, which may still \
                 have them, {are} down; waiting for {them}",
                names(core, &lost, "and")
            )
        };
    }
    if !failed.is_empty() {
        return format!(
            "the store of {} has failed, and no other copy is in sync",
            names(core, &failed, "and")
        );
    }
    "every in-sync copy lost its power; the newest is being promoted".into()
}

fn uncreated(core: &Core, record: &VolumeRecord) -> String {
    if !core.has_quorum() {
        return no_quorum(core);
    }
    match policy::complete(&core.state, &core.reports, record) {
        Ok(_) => "it is being created".into(),
        Err(Incomplete::Absent(node)) => {
            format!("it is created when {} has joined", name(core, node))
        }
        Err(Incomplete::Used(node)) => format!(
            "{} has a store of it that failed, or was used before, although the cluster does not \
             know the volume",
            name(core, node)
        ),
    }
}

const fn are(nodes: &[NodeId]) -> &'static str {
    if nodes.len() == 1 { "is" } else { "are" }
}

fn name(core: &Core, node: NodeId) -> &str {
    core.config
        .names
        .get(usize::from(node.0))
        .map_or("?", String::as_str)
}

/// "n1", "n1 and n2", "n1, n2 and n3".
fn names(core: &Core, nodes: &[NodeId], last: &str) -> String {
    let names: Vec<&str> = nodes.iter().map(|&node| name(core, node)).collect();
    match names.split_last() {
        None => "nobody".into(),
        Some((only, [])) => (*only).into(),
        Some((end, others)) => format!("{} {last} {end}", others.join(", ")),
    }
}
