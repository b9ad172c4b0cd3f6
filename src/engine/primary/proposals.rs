//! What the primary asks of the log, repeated while it is wanted. One thing at a time: each entry
//! names the volume's newest one, so a second one would be void.

use super::{Cx, Phase, Primary};
use crate::engine::io::Effect;
use crate::record::VolumeChange;
use crate::types::{NodeId, Time};

impl Primary {
    /// A person asks for another primary.
    pub fn demote(&mut self, prefer: Option<NodeId>, cx: &mut Cx<'_>) {
        self.demote = Some(prefer);
        self.propose_at = cx.now;
        self.pump(cx);
    }

    fn wanted(&self) -> Option<VolumeChange> {
        let term = self.term;
        if self.phase != Phase::Serving && !self.failing {
            return None;
        }
        if self.failing {
            return Some(self.pending_grow().unwrap_or_else(|| self.hand_over()));
        }
        if let Some(at) = self.leaving() {
            let peer = &self.peers[at];
            return match peer.grow {
                // It counts already, so this is to be decided first.
                Some(grow) if !peer.state.is_in_sync() => Some(VolumeChange::Grow {
                    term,
                    replica: peer.node,
                    boot: grow.boot,
                    store: grow.store,
                }),
                _ => Some(VolumeChange::Shrink {
                    term,
                    replica: peer.node,
                }),
            };
        }
        if self.shrink.is_some() {
            return None;
        }
        if let Some(grow) = self.pending_grow() {
            return Some(grow);
        }
        if let Some(prefer) = self.demote
            && self.is_quiet()
        {
            return Some(VolumeChange::Demote { term, prefer });
        }
        None
    }

    /// A replica that counts already is to be in sync by the log.
    fn pending_grow(&self) -> Option<VolumeChange> {
        let waits = |peer: &&super::peer::Peer| !peer.state.is_in_sync() && peer.configures == 0;
        self.peers.iter().filter(waits).find_map(|peer| {
            peer.grow.map(|grow| VolumeChange::Grow {
                term: self.term,
                replica: peer.node,
                boot: grow.boot,
                store: grow.store,
            })
        })
    }

    /// Whether everything that was begun for clients has been answered.
    pub(super) fn is_quiet(&self) -> bool {
        let begun = |id: u32| !self.held.contains(&id);
        self.answers.is_empty()
            && self
                .ops
                .iter()
                .all(|(id, op)| !begun(id) || matches!(op.kind, super::op::Kind::Copy { .. }))
    }

    pub(super) fn advance_proposals(&mut self, cx: &mut Cx<'_>) {
        if cx.now < self.propose_at {
            return;
        }
        if let Some(change) = self.wanted() {
            self.propose_at = cx.now.after(cx.config.timing.propose_every);
            cx.out.push(Effect::Propose {
                prev: cx.record.last_entry,
                change,
            });
        }
    }

    /// When something is to be proposed, or looked at, again.
    pub fn deadline(
        &self,
        hearing: crate::types::NodeSet,
        config: &crate::engine::VolumeConfig,
    ) -> Time {
        let propose = if self.wanted().is_some() {
            self.propose_at
        } else {
            Time::MAX
        };
        propose
            .min(self.faults_at)
            .min(self.retry_deadline(hearing))
            .min(self.rounds_deadline(config.timing.idle_flush))
    }
}
