//! Changes of a volume, and when they are void.

use super::{State, VolumeState, in_sync_boot};
use crate::member::Canaries;
use crate::record::{
    Grant, ReplicaRecord, ReplicaState, SessionRecord, VolumeChange, VolumeRecord,
};
use crate::types::{Index, NodeId, NodeSet, StoreId, Term, VolumeId};

impl State {
    /// Makes the change; none if it is void.
    pub(super) fn change(
        &mut self,
        index: Index,
        volume: VolumeId,
        prev: Index,
        change: &VolumeChange,
        canaries: &Canaries,
    ) -> Option<()> {
        let mut state = self.volumes.get(&volume)?.clone();
        if state.record.last_entry != prev && !canaries.ignore_prev {
            return None;
        }
        match *change {
            VolumeChange::Promote {
                grant,
                after_power_loss,
            } => self.promote(index, &mut state, grant, after_power_loss, canaries)?,
            VolumeChange::Demote { term, prefer } => {
                self.asked_by_primary(&state.record, term)?;
                state.record.primary = None;
                state.prefer = prefer;
            }
            VolumeChange::Shrink { term, replicas } => {
                self.asked_by_primary(&state.record, term)?;
                shrink(index, &mut state.record, replicas)?;
            }
            VolumeChange::Grow {
                term,
                replica,
                boot,
                store,
            } => {
                self.asked_by_primary(&state.record, term)?;
                let grown = find(&mut state.record, replica)?;
                if grown.state.is_in_sync() {
                    return None;
                }
                grown.state = ReplicaState::InSync { boot };
                grown.store = store;
            }
            VolumeChange::Replace { replica, store } => {
                replace(&mut state.record, replica, store)?;
            }
            VolumeChange::OpenSession { session } => open_session(&mut state.record, session)?,
        }
        assert!(
            state.record.in_sync().next().is_some(),
            "the in-sync set is never empty"
        );
        state.record.last_entry = index;
        self.volumes.insert(volume, state);
        Some(())
    }

    /// Whether the grant may be given, as far as the replica is concerned. The policy asks the same.
    pub(in crate::member) fn may_promote(
        &self,
        record: &VolumeRecord,
        grant: &Grant,
        after_power_loss: bool,
        canaries: &Canaries,
    ) -> bool {
        let Some(replica) = record.replica(grant.node) else {
            return false;
        };
        let granted = (grant.incarnation, grant.boot);
        let member = self.member(grant.node);
        if member.is_none_or(|member| (member.incarnation, member.boot) != granted) {
            return false;
        }
        if !replica.state.is_in_sync() && canaries.promote_behind_replica {
            return true;
        }
        let kept_power = in_sync_boot(replica).map(|boot| boot == grant.boot);
        if after_power_loss {
            kept_power.is_some() && self.all_lost_power(record, canaries)
        } else {
            kept_power == Some(true)
        }
    }

    fn promote(
        &self,
        index: Index,
        state: &mut VolumeState,
        grant: Grant,
        after_power_loss: bool,
        canaries: &Canaries,
    ) -> Option<()> {
        let may = self.may_promote(&state.record, &grant, after_power_loss, canaries);
        if !may || self.has_primary(&state.record) {
            return None;
        }
        let record = &mut state.record;
        record.term = Term(record.term.0 + 1);
        record.primary = Some(grant);
        state.last_primary = Some(grant.node);
        state.prefer = None;
        if after_power_loss {
            let view = &self.view;
            for replica in &mut record.replicas {
                let member = view.members.iter().find(|m| m.node == replica.node);
                replica.state = match (replica.state, member) {
                    _ if replica.node == grant.node => ReplicaState::InSync { boot: grant.boot },
                    // Each may have lost something else than the others.
                    (ReplicaState::InSync { .. }, Some(member))
                        if canaries.both_in_sync_after_loss =>
                    {
                        ReplicaState::InSync { boot: member.boot }
                    }
                    (ReplicaState::InSync { .. }, _) => ReplicaState::Behind { since: index },
                    (other, _) => other,
                };
            }
            record.sessions.clear();
            record.losses += 1;
        } else {
            // It is so already, but for a planted bug.
            find(record, grant.node)?.state = ReplicaState::InSync { boot: grant.boot };
        }
        Some(())
    }

    /// Only a primary that is still a member, in the volume's term, is heard.
    fn asked_by_primary(&self, record: &VolumeRecord, term: Term) -> Option<()> {
        (record.term == term && self.has_primary(record)).then_some(())
    }
}

fn find(record: &mut VolumeRecord, node: NodeId) -> Option<&mut ReplicaRecord> {
    record
        .replicas
        .iter_mut()
        .find(|replica| replica.node == node)
}

fn shrink(index: Index, record: &mut VolumeRecord, nodes: NodeSet) -> Option<()> {
    let primary = record.primary?.node;
    let in_sync: NodeSet = record.in_sync().map(|replica| replica.node).collect();
    let leave = nodes.and(in_sync) == nodes && !nodes.is_empty();
    // The primary is in sync but for a planted bug.
    if !leave || nodes.contains(primary) || nodes == in_sync {
        return None;
    }
    for replica in &mut record.replicas {
        if nodes.contains(replica.node) {
            replica.state = ReplicaState::Behind { since: index };
        }
    }
    Some(())
}

fn replace(record: &mut VolumeRecord, node: NodeId, store: StoreId) -> Option<()> {
    let others = record.in_sync().filter(|replica| replica.node != node);
    let others = others.count();
    let replica = find(record, node)?;
    let last = replica.state.is_in_sync() && others == 0;
    if replica.store == store || last {
        return None;
    }
    replica.store = store;
    replica.state = ReplicaState::New;
    Some(())
}

fn open_session(record: &mut VolumeRecord, session: SessionRecord) -> Option<()> {
    if record.sessions.iter().any(|known| known.id == session.id) {
        return None;
    }
    let shared = record.shared;
    record
        .sessions
        .retain(|known| shared && known.gateway != session.gateway);
    record.sessions.push(session);
    record.openings += 1;
    Some(())
}
