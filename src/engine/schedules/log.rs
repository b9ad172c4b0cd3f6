//! Agreement, done by one hand: who is a member, and the volume's record.

use std::collections::BTreeMap;

use crate::record::{Grant, ReplicaState, VolumeChange, VolumeRecord};
use crate::types::{BootId, Incarnation, Index, NodeId, NodeSet, SessionId};

pub struct Log {
    pub record: VolumeRecord,
    pub members: BTreeMap<NodeId, (Incarnation, BootId)>,
    /// Every entry so far, of whatever kind.
    pub index: Index,
    pub view: u64,
}

impl Log {
    pub fn admit(&mut self, node: NodeId, incarnation: Incarnation, boot: BootId) {
        self.index.0 += 1;
        self.view += 1;
        self.members.insert(node, (incarnation, boot));
    }

    pub fn exclude(&mut self, node: NodeId) {
        self.index.0 += 1;
        self.view += 1;
        self.members.remove(&node);
    }

    /// Whether somebody may be serving.
    pub fn primary_lives(&self) -> bool {
        self.record.primary.is_some_and(|grant| {
            self.members
                .get(&grant.node)
                .is_some_and(|member| member.0 == grant.incarnation)
        })
    }

    /// Applies a proposal, unless it is void.
    pub fn apply(&mut self, prev: Index, change: VolumeChange) -> bool {
        if prev != self.record.last_entry || !self.holds(&change) {
            return false;
        }
        self.index.0 += 1;
        let entry = self.index;
        self.record.last_entry = entry;
        let record = &mut self.record;
        match change {
            VolumeChange::Promote {
                grant,
                after_power_loss,
            } => {
                record.term.0 += 1;
                record.primary = Some(grant);
                if after_power_loss {
                    record.losses += 1;
                    record.sessions.clear();
                    for replica in &mut record.replicas {
                        if replica.node == grant.node {
                            replica.state = ReplicaState::InSync { boot: grant.boot };
                        } else if replica.state.is_in_sync() {
                            replica.state = ReplicaState::Behind { since: entry };
                        }
                    }
                }
            }
            VolumeChange::Demote { .. } => record.primary = None,
            VolumeChange::Shrink { replicas, .. } => {
                for replica in replicas.iter() {
                    self.set(replica, ReplicaState::Behind { since: entry });
                }
            }
            VolumeChange::Grow { replica, boot, .. } => {
                self.set(replica, ReplicaState::InSync { boot });
            }
            VolumeChange::Replace { replica, store } => {
                for one in &mut record.replicas {
                    if one.node == replica {
                        one.store = store;
                        one.state = ReplicaState::New;
                    }
                }
            }
            VolumeChange::OpenSession { session } => {
                let shared = record.shared;
                record
                    .sessions
                    .retain(|old| shared && old.gateway != session.gateway);
                record.sessions.push(session);
                record.openings += 1;
            }
        }
        true
    }

    /// Whether the change's own condition holds.
    fn holds(&self, change: &VolumeChange) -> bool {
        let record = &self.record;
        match *change {
            VolumeChange::Promote {
                grant,
                after_power_loss,
            } => self.may_promote(grant, after_power_loss),
            VolumeChange::Demote { term, .. } => record.primary.is_some() && record.term == term,
            VolumeChange::Shrink { term, replicas } => {
                let in_sync: NodeSet = record.in_sync().map(|one| one.node).collect();
                record.term == term
                    && record
                        .primary
                        .is_some_and(|grant| !replicas.contains(grant.node))
                    && replicas.and(in_sync) == replicas
                    && !replicas.is_empty()
            }
            VolumeChange::Grow {
                term,
                replica,
                store,
                ..
            } => {
                record.term == term
                    && record.primary.is_some()
                    && record
                        .replica(replica)
                        .is_some_and(|one| !one.state.is_in_sync() && one.store == store)
            }
            VolumeChange::Replace { replica, store } => record
                .replica(replica)
                .is_some_and(|one| one.store != store && !one.state.is_in_sync()),
            VolumeChange::OpenSession { session } => session.id != SessionId(0),
        }
    }

    fn may_promote(&self, grant: Grant, after_power_loss: bool) -> bool {
        let member = self.members.get(&grant.node);
        let state = self.record.replica(grant.node).map(|one| one.state);
        let Some(ReplicaState::InSync { boot }) = state else {
            return false;
        };
        !self.primary_lives()
            && member == Some(&(grant.incarnation, grant.boot))
            && (after_power_loss || boot == grant.boot)
    }

    fn set(&mut self, node: NodeId, state: ReplicaState) {
        for replica in &mut self.record.replicas {
            if replica.node == node {
                replica.state = state;
            }
        }
    }
}
