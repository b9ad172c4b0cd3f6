//! What other nodes' datagrams mean: heartbeats, acknowledgements, notices of death.

use super::Pulse;
use crate::member::io::{Acknowledgement, DeathNotice, Heartbeat, PulseEffect, PulseSignal};
use crate::types::{INCARNATION_MAX, NodeId, NodeSet, Time};

impl Pulse {
    pub(super) fn heartbeat_came(
        &mut self,
        now: Time,
        heartbeat: &Heartbeat,
        out: &mut Vec<PulseEffect>,
    ) {
        let node = heartbeat.from;
        let sane = heartbeat.incarnation <= INCARNATION_MAX;
        if node == self.config.me || node.0 >= self.config.nodes || !sane {
            return;
        }
        let before = *self.peer(node);
        if !before.is_news(heartbeat) {
            return;
        }
        self.learn_of_myself(heartbeat, out);
        let newer = heartbeat.incarnation > before.incarnation;
        if newer && before.incarnation.0 > 0 {
            let incarnation = before.incarnation;
            out.push(PulseEffect::Signal(PulseSignal::Dead { node, incarnation }));
        }
        let reach = self.reach_of(heartbeat);
        let own = heartbeat.heard[usize::from(self.config.me.0)];
        let incarnation = self.config.incarnation;
        let peer = self.peer_mut(node);
        peer.incarnation = heartbeat.incarnation;
        peer.sequence = heartbeat.sequence;
        peer.heard_at = now;
        peer.hears_us = own.incarnation == incarnation && !own.suspected && !own.refused;
        // Before the new incarnation is acknowledged, which would put off what is due for the old.
        self.pay(now, node, out);
        let peer = self.peer_mut(node);
        if peer.reach != reach {
            peer.reach = reach;
            out.push(PulseEffect::Signal(PulseSignal::Reach { node, reach }));
        }
        let refused = heartbeat.incarnation <= peer.over();
        if heartbeat.silent {
            if !before.suspected || newer {
                self.suspect(node, out);
            }
            return;
        }
        peer.suspected = false;
        if (!before.is_heard() || newer) && !refused {
            out.push(PulseEffect::Signal(PulseSignal::Heard {
                node,
                incarnation: heartbeat.incarnation,
                boot: heartbeat.boot,
            }));
        }
        self.tell_hearing(node, out);
        if self.acknowledges() && !refused {
            self.acknowledge(now, heartbeat, out);
        }
    }

    fn acknowledge(&mut self, now: Time, heartbeat: &Heartbeat, out: &mut Vec<PulseEffect>) {
        let to = heartbeat.from;
        self.peer_mut(to).acknowledged_at = Some(now);
        out.push(PulseEffect::SendAcknowledgement {
            to,
            acknowledgement: Acknowledgement {
                from: self.config.me,
                incarnation: self.config.incarnation,
                to,
                to_incarnation: heartbeat.incarnation,
                sequence: heartbeat.sequence,
                configuration: self.config.configuration,
            },
        });
    }

    /// The other nodes that the sender hears.
    fn reach_of(&self, heartbeat: &Heartbeat) -> NodeSet {
        let nodes = self.config.nodes.min(heartbeat.nodes);
        let hears = |node: &NodeId| {
            let heard = heartbeat.heard[usize::from(node.0)];
            heard.incarnation.0 > 0 && !heard.suspected && !heard.refused
        };
        let others = (0..nodes).map(NodeId).filter(hears);
        others
            .filter(|&node| node != heartbeat.from && node != self.config.me)
            .collect()
    }

    /// Somebody may refuse our incarnation: it was excluded while we were paused or cut off.
    fn learn_of_myself(&mut self, heartbeat: &Heartbeat, out: &mut Vec<PulseEffect>) {
        if heartbeat.nodes <= self.config.me.0 {
            return;
        }
        let own = heartbeat.heard[usize::from(self.config.me.0)];
        let mine = self.config.incarnation;
        // What leaves no larger one is not true.
        let sane = own.incarnation < INCARNATION_MAX;
        let taken = own.incarnation > mine && sane || (own.refused && own.incarnation == mine);
        if taken && self.obsolete.is_none_or(|told| told < own.incarnation) {
            self.obsolete = Some(own.incarnation);
            let above = own.incarnation;
            out.push(PulseEffect::Signal(PulseSignal::Obsolete { above }));
        }
    }

    pub(super) fn acknowledgement_came(
        &mut self,
        told: Acknowledgement,
        out: &mut Vec<PulseEffect>,
    ) {
        let counts = told.to == self.config.me
            && told.from != self.config.me
            && told.to_incarnation == self.config.incarnation
            && told.configuration == self.config.configuration;
        if counts && let Some(lease) = self.lease.acknowledge(told.from, told.sequence) {
            out.push(PulseEffect::Lease(lease));
        }
    }

    pub(super) fn death_notice_came(&mut self, notice: DeathNotice, out: &mut Vec<PulseEffect>) {
        let DeathNotice { node, incarnation } = notice;
        // What leaves no larger one is not true.
        let sane = incarnation < INCARNATION_MAX;
        if node == self.config.me || node.0 >= self.config.nodes || !sane {
            return;
        }
        let peer = self.peer_mut(node);
        // What was sent before the death may still come; it is no sign of life.
        let news = peer.dead < incarnation && peer.incarnation <= incarnation;
        peer.dead = peer.dead.max(incarnation);
        if news {
            if !peer.suspected {
                self.suspect(node, out);
            }
            out.push(PulseEffect::Signal(PulseSignal::Dead { node, incarnation }));
        }
    }
}
