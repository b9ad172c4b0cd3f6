//! What the primary asks of the log, repeated while it is wanted. One thing at a time: each entry
//! names the volume's newest one, so a second one would be void.

use super::{Cx, Phase, Primary};
use crate::engine::config::Canaries;
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

    fn wanted(&self, canaries: &Canaries) -> Option<VolumeChange> {
        let term = self.term;
        if self.phase != Phase::Serving && !self.failing {
            return None;
        }
        if self.failing {
            return Some(self.pending_grow().unwrap_or_else(|| self.hand_over()));
        }
        if let Some(mut leaving) = self.leaving() {
            if canaries.shrink_one_by_one {
                leaving &= leaving.wrapping_neg();
            }
            let leaves = |at: usize| leaving & 1 << at != 0;
            // One that counts already is to be in sync by the log first.
            return Some(self.first_grow(leaves).unwrap_or_else(|| {
                let peers = self.peers.iter().enumerate();
                let replicas = peers
                    .filter(|(at, _)| leaves(*at))
                    .map(|(_, peer)| peer.node);
                VolumeChange::Shrink {
                    term,
                    replicas: replicas.collect(),
                }
            }));
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
        self.first_grow(|at| self.peers[at].configures == 0)
    }

    /// The first of these that counts and is not in sync by the log.
    fn first_grow(&self, among: impl Fn(usize) -> bool) -> Option<VolumeChange> {
        let peers = self.peers.iter().enumerate();
        let mut waiting = peers.filter(|(at, peer)| among(*at) && !peer.state.is_in_sync());
        waiting.find_map(|(_, peer)| {
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
        if let Some(change) = self.wanted(&cx.config.canaries) {
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
        let propose = if self.wanted(&config.canaries).is_some() {
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
