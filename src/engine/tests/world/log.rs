//! The cluster's log, as far as a volume can tell.

use super::{Item, World};
use crate::record::*;
use crate::types::*;

impl World {
    pub fn promote(&mut self, node: usize) {
        let grant = Grant {
            node: NodeId(node as u8),
            incarnation: Incarnation(self.nodes[node].incarnation),
            boot: BootId(self.nodes[node].boot),
        };
        let prev = self.record.last_entry;
        self.commit(
            prev,
            VolumeChange::Promote {
                grant,
                after_power_loss: false,
            },
        );
        self.run();
    }

    pub fn promote_after_power_loss(&mut self, node: usize) {
        let grant = Grant {
            node: NodeId(node as u8),
            incarnation: Incarnation(self.nodes[node].incarnation),
            boot: BootId(self.nodes[node].boot),
        };
        let prev = self.record.last_entry;
        let change = VolumeChange::Promote {
            grant,
            after_power_loss: true,
        };
        self.commit(prev, change);
        self.run();
    }

    pub fn commit(&mut self, prev: Index, change: VolumeChange) {
        if prev != self.record.last_entry {
            return;
        }
        let record = &mut self.record;
        let entry = Index(record.last_entry.0 + 1);
        let boot_of = |n: NodeId| BootId(self.nodes[usize::from(n.0)].boot);
        let state = |record: &mut VolumeRecord, node: NodeId, state| {
            for replica in &mut record.replicas {
                if replica.node == node {
                    replica.state = state;
                }
            }
        };
        match change {
            VolumeChange::Promote {
                grant,
                after_power_loss,
            } => {
                record.term = Term(record.term.0 + 1);
                record.primary = Some(grant);
                if after_power_loss {
                    for replica in &mut record.replicas {
                        replica.state = if replica.node == grant.node {
                            ReplicaState::InSync {
                                boot: boot_of(grant.node),
                            }
                        } else {
                            ReplicaState::Behind { since: entry }
                        };
                    }
                    record.sessions.clear();
                    record.losses += 1;
                }
            }
            VolumeChange::Demote { .. } => record.primary = None,
            VolumeChange::Shrink { term, replicas } => {
                if term != record.term || record.in_sync().count() <= replicas.len() {
                    return;
                }
                for replica in replicas.iter() {
                    state(record, replica, ReplicaState::Behind { since: entry });
                }
            }
            VolumeChange::Grow {
                term,
                replica,
                boot,
                ..
            } => {
                if term != record.term {
                    return;
                }
                state(record, replica, ReplicaState::InSync { boot });
            }
            VolumeChange::Replace { replica, store } => {
                for r in &mut record.replicas {
                    if r.node == replica {
                        r.store = store;
                        r.state = ReplicaState::New;
                    }
                }
            }
            VolumeChange::OpenSession { session } => {
                let shared = record.shared;
                record
                    .sessions
                    .retain(|s| shared && s.gateway != session.gateway);
                record.sessions.push(session);
                record.openings += 1;
            }
        }
        record.last_entry = entry;
        for at in 0..self.nodes.len() {
            self.queue.push_back(Item::Record(at, self.record.clone()));
        }
    }

    pub fn release_log(&mut self) {
        self.hold_log = false;
        for (prev, change) in std::mem::take(&mut self.held_log) {
            self.commit(prev, change);
        }
        self.run();
    }
}
