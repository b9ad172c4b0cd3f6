//! What the core was promised: an incarnation is not acknowledged any more, and the core is told when
//! no acknowledgement can keep its lease alive.

use super::Pulse;
use crate::member::io::{PulseEffect, PulseSignal};
use crate::types::{Incarnation, NodeId, Time};

impl Pulse {
    /// Says `Forbidden` if it is owed and the incarnation has certainly no lease from us any more.
    pub(super) fn pay(&mut self, now: Time, node: NodeId, out: &mut Vec<PulseEffect>) {
        if let Some(incarnation) = self.peer(node).owed
            && (self.peer(node).has_ended(incarnation) || self.promise_due(node) <= now)
        {
            self.peer_mut(node).owed = None;
            let forbidden = PulseSignal::Forbidden { node, incarnation };
            out.push(PulseEffect::Signal(forbidden));
        }
    }

    pub(super) fn forbid(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: Incarnation,
        certificate: bool,
        out: &mut Vec<PulseEffect>,
    ) {
        let peer = self.peer_mut(node);
        peer.forbidden = peer.forbidden.max(incarnation);
        let certificate = certificate || peer.has_ended(incarnation);
        if certificate || self.promise_due(node) <= now {
            let peer = self.peer_mut(node);
            peer.owed = peer.owed.filter(|&owed| owed > incarnation);
            let forbidden = PulseSignal::Forbidden { node, incarnation };
            out.push(PulseEffect::Signal(forbidden));
        } else {
            let peer = self.peer_mut(node);
            peer.owed = peer.owed.max(Some(incarnation));
        }
    }

    /// D after our last acknowledgement of the node, and after our own start: what an earlier run
    /// of this daemon acknowledged is forgotten, but was before that.
    pub(super) fn promise_due(&self, node: NodeId) -> Time {
        let acknowledged = self.peer(node).acknowledged_at;
        let last = if self.config.canaries.forget_promise_at_restart {
            acknowledged
        } else {
            acknowledged.max(Some(self.started))
        };
        last.map_or(Time::ZERO, |last| {
            last.after(self.config.timing.suspicion())
        })
    }
}
