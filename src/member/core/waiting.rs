//! Why a volume is not served: one plain sentence.

use super::Core;
use crate::member::io::{ReplicaReport, StoreFault};
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
    /// Its store cannot be used.
    Store(StoreFault),
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

/// Why there is no quorum.
pub(super) fn no_quorum(core: &Core) -> String {
    let voters = core.config.voters;
    let hearing = |voter: &NodeId| core.liveness.is_hearing(*voter);
    let (heard, deaf): (Vec<NodeId>, Vec<NodeId>) = voters.iter().partition(hearing);
    if core.is_voter()
        && core.is_blank()
        && !heard.iter().any(|&voter| knows_a_cluster(core, voter))
    {
        let missing = core.missing_founders();
        return if missing.is_empty() {
            "the cluster is being founded".into()
        } else {
            let all = "a new cluster begins when all its voters are there";
            format!("{all}; waiting for {}", names(core, &missing, "and"))
        };
    }
    if core.is_new(core.config.me) {
        return "this node has a new cluster log and votes again when the others have brought it up \
                to date"
            .into();
    }
    let new: Vec<NodeId> = heard
        .iter()
        .copied()
        .filter(|&it| core.is_new(it))
        .collect();
    let count = heard.len() - new.len();
    let sum = format!("no quorum: {count} of {} voters heard", voters.len());
    let alone = deaf.is_empty();
    let deaf = names(core, &deaf, "or");
    if new.is_empty() {
        return format!("{sum}; waiting for {deaf}");
    }
    let (who, have) = (
        names(core, &new, "and"),
        if new.len() == 1 { "has" } else { "have" },
    );
    if alone {
        return format!(
            "{sum}; {who} {have} a new cluster log, and without the one that was lost nothing can be \
             decided: put it back"
        );
    }
    format!("{sum}; {who} {have} a new cluster log and cannot vote before; waiting for {deaf}")
}

fn knows_a_cluster(core: &Core, voter: NodeId) -> bool {
    let told = core.liveness.told(voter);
    told.is_some_and(|told| !told.blank)
}

/// The replicas whose stores cannot be used, and why. One that is not in sync may have another
/// store than it had: the log is about to take that in.
pub(super) fn store_faults(core: &Core) -> Vec<(VolumeId, NodeId, StoreFault)> {
    let records = core.state.volumes.values().map(|volume| &volume.record);
    let replicas = records.flat_map(|record| record.replicas.iter().map(|it| (record.id, it)));
    let faulty = replicas.filter_map(|(volume, replica)| {
        let report = policy::report(&core.state, &core.reports, volume, replica.node)?;
        let fault = store_fault(report, replica)?;
        let known = fault == StoreFault::Failed || replica.state.is_in_sync();
        known.then_some((volume, replica.node, fault))
    });
    faulty.collect()
}

fn store_fault(report: &ReplicaReport, replica: &ReplicaRecord) -> Option<StoreFault> {
    if report.failed {
        Some(StoreFault::Failed)
    } else {
        (report.store != replica.store).then_some(StoreFault::Another)
    }
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
    if let Some(fault) = store_fault(report, replica) {
        return Some(Obstacle::Store(fault));
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
    let failed = with(Obstacle::Store(StoreFault::Failed));
    let another = with(Obstacle::Store(StoreFault::Another));
    let (mute, lost) = (with(Obstacle::Mute), with(Obstacle::LostPower));
    if !joining.is_empty() || !mute.is_empty() {
        let coming: Vec<NodeId> = joining.into_iter().chain(mute).collect();
        let are = are(&coming);
        return format!("{} {are} joining", names(core, &coming, "and"));
    }
    let reasons = unusable(core, &another, &failed, &lost);
    if !down.is_empty() {
        let them = if down.len() == 1 { "it" } else { "one of them" };
        let (who, are) = (names(core, &down, "and"), are(&down));
        return if reasons.is_empty() && down.len() == 1 {
            format!("{who} holds the only in-sync copy and is down; waiting for it")
        } else if reasons.is_empty() {
            format!("{who} hold the only in-sync copies and are down; waiting for {them}")
        } else if lost.is_empty() {
            format!("{reasons}; {who} {are} down; waiting for {them}")
        } else {
            format!("{reasons}; {who}, which may still have them, {are} down; waiting for {them}")
        };
    }
    if another.is_empty() && failed.is_empty() {
        return "every in-sync copy lost its power; the newest is being promoted".into();
    }
    format!("no in-sync copy can be used: {reasons}")
}

/// Why copies on nodes that are up cannot be used.
fn unusable(core: &Core, another: &[NodeId], failed: &[NodeId], lost: &[NodeId]) -> String {
    let mut reasons = Vec::new();
    if !another.is_empty() {
        reasons.push(format!(
            "{} now {} another store; the one that was in sync has to be put back",
            names(core, another, "and"),
            if another.len() == 1 { "has" } else { "have" }
        ));
    }
    if !failed.is_empty() {
        reasons.push(format!(
            "the store of {} has failed",
            names(core, failed, "and")
        ));
    }
    if !lost.is_empty() {
        reasons.push(format!(
            "{} lost its unflushed writes when its machine went down",
            names(core, lost, "and")
        ));
    }
    reasons.join("; ")
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
