//! What the log adds up to: the view, who was excluded, the volumes. The same on every node.

mod change;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Canaries;
use super::entry::Command;
use super::io::{CoreNote, Member, View};
use crate::record::{ReplicaRecord, VolumeRecord};
use crate::types::{BootId, Incarnation, Index, LogId, NodeId, Term, VolumeId};

/// A volume, with what the policy remembers about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VolumeState {
    /// What everybody is told.
    pub(super) record: VolumeRecord,
    /// The last primary: another one is better, when it was excluded or has given the volume away.
    pub(super) last_primary: Option<NodeId>,
    /// Who should be promoted next, if it can be.
    pub(super) prefer: Option<NodeId>,
}

/// The agreed state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Live members, by node.
    pub(super) view: View,
    /// Of each node that ever left: it may only come back with a larger incarnation.
    pub(super) excluded: BTreeMap<NodeId, Incarnation>,
    /// The volumes.
    pub(super) volumes: BTreeMap<VolumeId, VolumeState>,
    /// Whose logs the cluster began with.
    pub(super) founders: BTreeMap<NodeId, LogId>,
    /// Which log of each voter counts, and the entry that said so.
    pub(super) roster: BTreeMap<NodeId, (LogId, Index)>,
}

/// What an entry did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// The view is another one.
    pub(super) view: bool,
    /// This volume's record is another one.
    pub(super) volume: Option<VolumeId>,
    /// For the event stream.
    pub(super) notes: Vec<CoreNote>,
}

/// Version of the encoding.
const VERSION: u8 = 2;

impl State {
    /// The state as bytes: a snapshot.
    pub(super) fn encode(&self) -> Vec<u8> {
        // The types serialize without errors.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// The state that a snapshot holds; no bytes are the state before the first entry. None if the
    /// bytes are no state.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            None => Some(Self::default()),
            Some((&VERSION, bytes)) => match postcard::take_from_bytes(bytes) {
                Ok((state, [])) => Some(state).filter(Self::is_possible),
                Ok(_) | Err(_) => None,
            },
            Some(_) => None,
        }
    }

    /// Whether every node has incarnations left.
    fn is_possible(&self) -> bool {
        let members = self.view.members.iter().map(|member| member.incarnation);
        let mut runs = members.chain(self.excluded.values().copied());
        runs.all(Incarnation::is_possible)
    }

    /// Applies the entry at `index`. An entry whose conditions do not hold is void: it does nothing.
    pub(super) fn apply(
        &mut self,
        index: Index,
        command: &Command,
        canaries: &Canaries,
    ) -> Applied {
        match command {
            Command::Noop => Applied::default(),
            Command::Exclude {
                node,
                incarnation,
                certificate,
            } => self.exclude(*node, *incarnation, *certificate),
            Command::Admit(member) => self.admit(*member),
            Command::Volume {
                volume,
                prev,
                change,
            } => {
                let took_effect = self.change(index, *volume, *prev, change, canaries);
                let note = if took_effect.is_some() {
                    CoreNote::Volume {
                        index,
                        volume: *volume,
                        change: *change,
                    }
                } else {
                    CoreNote::Void {
                        index,
                        volume: *volume,
                    }
                };
                Applied {
                    view: false,
                    volume: took_effect.map(|()| *volume),
                    notes: vec![note],
                }
            }
            Command::Create(record) => self.create(index, record),
            Command::Found(logs) => {
                self.founders.clone_from(logs);
                let logs = logs.iter();
                self.roster = logs.map(|(&node, &log)| (node, (log, index))).collect();
                Applied::default()
            }
            Command::Enroll { node, log } => self.enroll(index, *node, *log),
        }
    }

    /// The member on `node`.
    pub(super) fn member(&self, node: NodeId) -> Option<&Member> {
        self.view.members.iter().find(|member| member.node == node)
    }

    /// Incarnations of the node up to this one will never be members again.
    pub(super) fn over(&self, node: NodeId) -> Incarnation {
        self.excluded.get(&node).copied().unwrap_or_default()
    }

    /// Whether the member could be admitted: newer than all that the log has of the node.
    pub(super) fn is_admissible(&self, member: &Member) -> bool {
        let current = self.member(member.node).map(|known| known.incarnation);
        member.incarnation > self.over(member.node).max(current.unwrap_or_default())
    }

    /// Whether the volume's primary is one that may serve.
    pub(super) fn has_primary(&self, record: &VolumeRecord) -> bool {
        record.primary.is_some_and(|grant| {
            let member = self.member(grant.node);
            member.is_some_and(|member| member.incarnation == grant.incarnation)
        })
    }

    /// Whether the replica holds every acknowledged write, flushed or not: it is in sync and its
    /// machine has kept its power. None of a replica that is no member now.
    pub(super) fn kept_power(&self, replica: &ReplicaRecord) -> Option<bool> {
        let boot = in_sync_boot(replica)?;
        Some(self.member(replica.node)?.boot == boot)
    }

    /// Whether every in-sync replica was heard (is a member now) and none has kept its power. One
    /// that is not heard may have kept it.
    pub(super) fn all_lost_power(&self, record: &VolumeRecord, canaries: &Canaries) -> bool {
        record.in_sync().all(|replica| {
            let kept = self.kept_power(replica);
            kept == Some(false) || (kept.is_none() && canaries.unheard_counts_as_lost)
        })
    }

    fn exclude(&mut self, node: NodeId, incarnation: Incarnation, certificate: bool) -> Applied {
        let over = self.excluded.entry(node).or_default();
        *over = (*over).max(incarnation);
        let Some(member) = self.member(node).copied() else {
            return Applied::default();
        };
        if member.incarnation > incarnation {
            return Applied::default();
        }
        self.view.members.retain(|member| member.node != node);
        self.view.number += 1;
        Applied {
            view: true,
            volume: None,
            notes: vec![CoreNote::Excluded {
                node,
                incarnation: member.incarnation,
                certificate,
            }],
        }
    }

    fn admit(&mut self, member: Member) -> Applied {
        if !self.is_admissible(&member) {
            return Applied::default();
        }
        let node = member.node;
        let mut notes = Vec::new();
        if let Some(older) = self.member(node).map(|older| older.incarnation) {
            self.excluded.insert(node, older);
            self.view.members.retain(|member| member.node != node);
            notes.push(CoreNote::Excluded {
                node,
                incarnation: older,
                certificate: true,
            });
        }
        self.view.members.push(member);
        self.view.members.sort_by_key(|member| member.node);
        self.view.number += 1;
        notes.push(CoreNote::Admitted {
            node,
            incarnation: member.incarnation,
        });
        Applied {
            view: true,
            volume: None,
            notes,
        }
    }

    fn enroll(&mut self, index: Index, node: NodeId, log: LogId) -> Applied {
        let Some(known) = self.roster.get_mut(&node) else {
            return Applied::default();
        };
        *known = (log, index);
        Applied {
            notes: vec![CoreNote::Enrolled { node }],
            ..Applied::default()
        }
    }

    fn create(&mut self, index: Index, record: &VolumeRecord) -> Applied {
        let volume = record.id;
        let taken = self.volumes.contains_key(&volume)
            || self.volumes.values().any(|v| v.record.name == record.name);
        let nodes = record.replicas.iter().map(|replica| replica.node);
        let in_order = nodes.is_sorted_by(|a, b| a < b);
        if taken || !in_order || record.in_sync().next().is_none() {
            return Applied {
                notes: vec![CoreNote::Void { index, volume }],
                ..Applied::default()
            };
        }
        let record = VolumeRecord {
            last_entry: index,
            term: Term(0),
            primary: None,
            sessions: Vec::new(),
            openings: 0,
            losses: 0,
            ..record.clone()
        };
        let state = VolumeState {
            record,
            last_primary: None,
            prefer: None,
        };
        self.volumes.insert(volume, state);
        Applied {
            view: false,
            volume: Some(volume),
            notes: vec![CoreNote::Created { volume }],
        }
    }
}

/// The boot that an in-sync replica counts in; none of one that is not in sync.
pub(super) fn in_sync_boot(replica: &ReplicaRecord) -> Option<BootId> {
    match replica.state {
        crate::record::ReplicaState::InSync { boot } => Some(boot),
        crate::record::ReplicaState::Behind { .. } | crate::record::ReplicaState::New => None,
    }
}
