//! From what the core, the pulse and the configuration say to a `Status`.

use config::Config;

use super::redundancy::{self, Copies, Votes};
use super::{Health, NodeStatus, ReplicaShown, ReplicaStatus, Status, VolumeStatus};
use crate::member::io::{CoreStatus, ResyncProgress, StoreFault, VolumeProgress};
use crate::record::{ReplicaRecord, ReplicaState, VolumeRecord};
use crate::types::{BLOCK, Lease, NodeId, NodeSet, Time, VolumeId};

/// The status of the cluster as this node sees it at `now`.
#[must_use]
pub fn build(config: &Config, core: &CoreStatus, lease: Lease, now: Time) -> Status {
    let picture = Picture { config, core };
    let nodes = picture.nodes();
    let mut volumes: Vec<_> = core
        .volumes
        .iter()
        .map(|(record, progress)| picture.volume(record, progress.as_ref()))
        .collect();
    let configured = config.volumes.iter();
    let unknown = configured.filter(|volume| volumes.iter().all(|known| known.name != volume.name));
    let unknown: Vec<_> = unknown.map(|volume| picture.unknown(volume)).collect();
    volumes.extend(unknown);
    let mut members: Vec<_> = core.view.members.iter().map(|member| member.node).collect();
    members.sort();
    Status {
        cluster: config.cluster.name.clone(),
        node: config.node.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        health: health(core, &nodes, &volumes),
        view: core.view.number,
        members: members.into_iter().map(|node| picture.name(node)).collect(),
        quorum: core.quorum,
        lease_ms_left: u64::try_from(lease.until.since(now).as_millis()).unwrap_or(u64::MAX),
        leader: core.leader.map(|node| picture.name(node)),
        log_term: core.term,
        log_committed: core.committed.0,
        log_last: core.last.0,
        nodes,
        volumes,
    }
}

fn health(core: &CoreStatus, nodes: &[NodeStatus], volumes: &[VolumeStatus]) -> Health {
    if !core.quorum || volumes.iter().any(|volume| volume.primary.is_none()) {
        return Health::Unavailable;
    }
    let whole = core.undecided.is_none()
        && core.silent == NodeSet::EMPTY
        && nodes.iter().all(|node| node.alive)
        && volumes.iter().all(|volume| {
            volume.serving
                && volume
                    .replicas
                    .iter()
                    .all(|replica| replica.state == ReplicaShown::InSync && !replica.store_failed)
        });
    if whole {
        Health::Healthy
    } else {
        Health::Degraded
    }
}

struct Picture<'a> {
    config: &'a Config,
    core: &'a CoreStatus,
}

impl Picture<'_> {
    /// A node's name; a number for one that the configuration does not have.
    fn name(&self, node: NodeId) -> String {
        match self.config.nodes.get(usize::from(node.0)) {
            Some(entry) => entry.name.clone(),
            None => format!("node {node}"),
        }
    }

    /// With quorum the view is the truth: a link that is cut here does not make its other end
    /// dead. Without, what this node hears is all there is.
    fn alive(&self, node: NodeId) -> bool {
        if self.core.quorum {
            self.core
                .view
                .members
                .iter()
                .any(|member| member.node == node)
        } else {
            self.core.alive.contains(node)
        }
    }

    fn nodes(&self) -> Vec<NodeStatus> {
        (0u8..)
            .map(NodeId)
            .zip(&self.config.nodes)
            .map(|(id, node)| NodeStatus {
                name: node.name.clone(),
                role: node.role.name().into(),
                address: node.address.to_string(),
                voter: self.core.voters.contains(id),
                alive: self.alive(id),
                heard: self.core.alive.contains(id),
                incarnation: self
                    .core
                    .incarnations
                    .iter()
                    .find(|(known, _)| *known == id)
                    .map(|(_, incarnation)| incarnation.0),
            })
            .collect()
    }

    fn volume(&self, record: &VolumeRecord, progress: Option<&VolumeProgress>) -> VolumeStatus {
        // What an older primary said does not count.
        let progress = progress.filter(|progress| progress.term == record.term);
        let replicas: Vec<_> = record
            .replicas
            .iter()
            .map(|replica| self.replica(record, replica, progress))
            .collect();
        let primary = record
            .primary
            .filter(|grant| {
                self.core.quorum
                    && self.core.view.members.iter().any(|member| {
                        member.node == grant.node && member.incarnation == grant.incarnation
                    })
            })
            .map(|grant| self.name(grant.node));
        let waiting = if primary.is_some() {
            None
        } else {
            Some(self.waiting(record))
        };
        let survivable = redundancy::judge(
            &Copies {
                replicas: &replicas,
                unserved: waiting.as_deref(),
                undecided: self.core.undecided.as_deref(),
            },
            &self.votes(),
        );
        VolumeStatus {
            name: record.name.clone(),
            id: uuid::Uuid::from_u128(record.id.0).to_string(),
            size: record.size,
            shared: record.shared,
            serving: primary.is_some() && progress.is_some_and(|progress| progress.serving),
            primary,
            term: record.term.0,
            replicas,
            failures_survivable: survivable.failures,
            redundancy: survivable.sentence,
            waiting,
            gateways: record
                .sessions
                .iter()
                .map(|session| self.name(session.gateway))
                .collect(),
            losses: record.losses,
        }
    }

    /// A volume that is configured, and that the log does not have yet, or not as far as this node
    /// knows: after a start, what is agreed is known once there is a leader.
    fn unknown(&self, volume: &config::Volume) -> VolumeStatus {
        let told = self.told(VolumeId(volume.id));
        let why = told.or_else(|| self.core.no_quorum.clone());
        let why = why.unwrap_or_else(|| "what is agreed about it is not known here yet".into());
        let survivable = redundancy::judge(
            &Copies {
                replicas: &[],
                unserved: Some(&why),
                undecided: None,
            },
            &self.votes(),
        );
        VolumeStatus {
            name: volume.name.clone(),
            id: uuid::Uuid::from_u128(volume.id).to_string(),
            size: volume.size,
            shared: volume.shared,
            serving: false,
            primary: None,
            term: 0,
            replicas: Vec::new(),
            failures_survivable: survivable.failures,
            redundancy: survivable.sentence,
            waiting: Some(why),
            gateways: Vec::new(),
            losses: 0,
        }
    }

    fn told(&self, volume: VolumeId) -> Option<String> {
        let mut waiting = self.core.waiting.iter();
        waiting
            .find(|(of, _)| *of == volume)
            .map(|(_, why)| why.clone())
    }

    fn waiting(&self, record: &VolumeRecord) -> String {
        let told = self.told(record.id).or_else(|| self.core.no_quorum.clone());
        told.unwrap_or_else(|| "a new primary is being chosen".into())
    }

    fn votes(&self) -> Votes {
        let (up, down): (Vec<_>, Vec<_>) =
            self.core.voters.iter().partition(|node| self.alive(*node));
        let (silent, up): (Vec<_>, Vec<_>) = up
            .into_iter()
            .partition(|node| self.core.silent.contains(*node));
        let names = |nodes: Vec<NodeId>| nodes.into_iter().map(|node| self.name(node)).collect();
        Votes {
            up: names(up),
            silent: names(silent),
            down: names(down),
        }
    }

    fn store_fault(&self, volume: VolumeId, node: NodeId) -> Option<StoreFault> {
        let mut faults = self.core.store_faults.iter();
        faults
            .find(|(at, of, _)| (*at, *of) == (volume, node))
            .map(|(_, _, fault)| *fault)
    }

    fn replica(
        &self,
        record: &VolumeRecord,
        replica: &ReplicaRecord,
        progress: Option<&VolumeProgress>,
    ) -> ReplicaStatus {
        let recorded = match replica.state {
            ReplicaState::InSync { .. } => ReplicaShown::InSync,
            ReplicaState::Behind { .. } => ReplicaShown::Behind,
            ReplicaState::New => ReplicaShown::New,
        };
        let resync = progress
            .and_then(|progress| {
                progress
                    .resyncs
                    .iter()
                    .find(|resync| resync.replica == replica.node)
            })
            .filter(|_| !replica.state.is_in_sync());
        let alive = self.alive(replica.node);
        let fault = self.store_fault(record.id, replica.node).filter(|_| alive);
        let serves = record
            .primary
            .is_some_and(|grant| grant.node == replica.node);
        let failed = fault == Some(StoreFault::Failed);
        let state = if !alive || (failed && !serves) {
            ReplicaShown::Offline
        } else if fault == Some(StoreFault::Another) {
            ReplicaShown::New
        } else if resync.is_some_and(|resync| resync.running) {
            ReplicaShown::Resyncing
        } else if self.lost_power(replica) {
            ReplicaShown::Behind
        } else {
            recorded
        };
        let shown = ReplicaStatus {
            node: self.name(replica.node),
            state,
            recorded,
            percent: None,
            seconds_left: None,
            bytes_per_second: None,
            bytes_left: None,
            store_failed: failed,
        };
        match (state, resync) {
            (ReplicaShown::InSync, _) => ReplicaStatus {
                percent: Some(100.0),
                ..shown
            },
            (ReplicaShown::Resyncing, Some(resync)) => ReplicaStatus {
                percent: Some(percent(resync)),
                seconds_left: (resync.rate > 0).then(|| resync.blocks_left.div_ceil(resync.rate)),
                bytes_per_second: Some(resync.rate.saturating_mul(BLOCK)),
                bytes_left: Some(resync.blocks_left.saturating_mul(BLOCK)),
                ..shown
            },
            _ => shown,
        }
    }

    /// In sync in a boot that is over: it does not count until it has been resynced.
    fn lost_power(&self, replica: &ReplicaRecord) -> bool {
        let ReplicaState::InSync { boot } = replica.state else {
            return false;
        };
        self.core
            .view
            .members
            .iter()
            .any(|member| member.node == replica.node && member.boot != boot)
    }
}

/// Cut to a tenth, and never 100 before the end.
fn percent(resync: &ResyncProgress) -> f64 {
    let done = resync.blocks_total.saturating_sub(resync.blocks_left);
    let tenths = match u128::from(resync.blocks_total) {
        0 => 999,
        total => (u128::from(done) * 1000 / total).min(999),
    };
    // At most 999: exact.
    tenths as f64 / 10.0
}

#[cfg(test)]
mod tests;
