//! The pulse: heartbeats, failure detector, lease (design, section 4).
//!
//! Safety rests on two rules that are kept here and nowhere else. A voter never acknowledges a
//! heartbeat of an incarnation once it was told to forbid it, and says `Forbidden` only when D has
//! passed since it last did, and since its own start. A lease runs from the *send* time of a
//! heartbeat that a majority has acknowledged. Every majority that keeps a lease alive shares a
//! voter with every majority that forbids: the lease has ended before the exclusion commits.

use super::Canaries;
use super::io::{
    Acknowledgement, DeathNotice, Heard, Heartbeat, PulseDatagram, PulseEffect, PulseEvent,
    PulseSignal, Timing,
};
use crate::types::{BootId, Incarnation, Lease, NODES_MAX, NodeId, NodeSet, Time};

/// Send times that are remembered: acknowledgements of older heartbeats extend no lease anyway.
const SENT_MAX: usize = 64;

/// What a pulse is made from.
#[derive(Clone, Debug)]
pub struct PulseConfig {
    /// This node.
    pub me: NodeId,
    /// Number of nodes of the cluster.
    pub nodes: u8,
    /// Nodes that vote.
    pub voters: NodeSet,
    /// Number of that configuration: acknowledgements of another one do not count.
    pub configuration: u64,
    /// Heartbeats, detector, lease.
    pub timing: Timing,
    /// This boot.
    pub boot: BootId,
    /// This run's incarnation, durable.
    pub incarnation: Incarnation,
    /// All off in a product.
    pub canaries: Canaries,
}

/// What is known of one node.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    incarnation: Incarnation,
    boot: BootId,
    /// Newest heartbeat of this incarnation.
    sequence: u64,
    heard_at: Time,
    /// It says that it counts as silent.
    silent: bool,
    suspected: bool,
    /// It hears us, by its newest heartbeat.
    hears_us: bool,
    reach: NodeSet,
    /// Told with `Hearing`.
    hearing: bool,
    /// Newest of our heartbeats that it has acknowledged.
    acknowledged: u64,
    /// When we last acknowledged a heartbeat of its.
    acknowledged_at: Time,
    /// No incarnation up to this one is acknowledged.
    forbidden: Incarnation,
    /// `Forbidden` is owed for this incarnation.
    owed: Option<Incarnation>,
}

/// The pulse of one node.
#[derive(Clone, Debug)]
pub struct Pulse {
    config: PulseConfig,
    started: Time,
    sequence: u64,
    sent: [Time; SENT_MAX],
    next: Time,
    view: u64,
    stalled: bool,
    lease: Lease,
    peers: [Peer; NODES_MAX],
}

impl Pulse {
    /// A pulse that begins to beat at once.
    #[must_use]
    pub fn new(config: PulseConfig, now: Time) -> Self {
        assert!(usize::from(config.nodes) <= NODES_MAX && config.me.0 < config.nodes);
        let lease = Lease {
            incarnation: config.incarnation,
            until: Time::ZERO,
        };
        let mut peers = [Peer {
            suspected: true,
            ..Peer::default()
        }; NODES_MAX];
        peers[usize::from(config.me.0)] = Peer {
            incarnation: config.incarnation,
            boot: config.boot,
            ..Peer::default()
        };
        Self {
            config,
            started: now,
            sequence: 0,
            sent: [Time::ZERO; SENT_MAX],
            next: now,
            view: 0,
            stalled: false,
            lease,
            peers,
        }
    }

    /// When `Tick` is due: the next heartbeat, or the end of somebody's silence.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let suspicion = self.config.timing.suspicion();
        let mut deadline = self.next;
        for node in self.nodes() {
            let peer = self.peer(node);
            if node != self.config.me && !peer.suspected {
                deadline = deadline.min(peer.heard_at.after(suspicion));
            }
            if peer.owed.is_some() {
                deadline = deadline.min(self.promise_due(node));
            }
        }
        deadline
    }

    /// The heartbeat as it is now; the same for every node.
    #[must_use]
    pub fn heartbeat(&self, _to: NodeId) -> Heartbeat {
        let mut heard = [Heard::default(); NODES_MAX];
        for node in self.nodes() {
            let peer = self.peer(node);
            let refused = peer.forbidden >= peer.incarnation && peer.forbidden.0 > 0;
            heard[usize::from(node.0)] = Heard {
                incarnation: peer.incarnation.max(peer.forbidden),
                sequence: peer.sequence,
                suspected: node != self.config.me && peer.suspected,
                refused,
            };
        }
        Heartbeat {
            from: self.config.me,
            incarnation: self.config.incarnation,
            boot: self.config.boot,
            sequence: self.sequence,
            silent: self.counts_as_silent(),
            view: self.view,
            nodes: self.config.nodes,
            heard,
        }
    }

    /// The lease as last published.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        self.lease
    }

    /// Advances the machine. `now` never goes back.
    pub fn step(&mut self, now: Time, event: PulseEvent<'_>, out: &mut Vec<PulseEffect>) {
        match event {
            PulseEvent::Tick => self.tick(now, out),
            PulseEvent::Datagram(PulseDatagram::Heartbeat(heartbeat)) => {
                self.heartbeat_came(now, heartbeat, out);
            }
            PulseEvent::Datagram(PulseDatagram::Acknowledgement(acknowledgement)) => {
                self.acknowledgement_came(*acknowledgement, out);
            }
            PulseEvent::Datagram(PulseDatagram::DeathNotice(DeathNotice { node, incarnation })) => {
                self.death_notice_came(*node, *incarnation, out);
            }
            PulseEvent::Forbid {
                node,
                incarnation,
                certificate,
            } => {
                self.forbid(now, node, incarnation, certificate, out);
            }
            PulseEvent::Adopt { incarnation } => self.adopt(incarnation, out),
            PulseEvent::View { number } => self.view = number,
            PulseEvent::Stalled(stalled) => self.stalled = stalled,
        }
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.config.nodes).map(NodeId)
    }

    fn peer(&self, node: NodeId) -> &Peer {
        &self.peers[usize::from(node.0)]
    }

    fn peer_mut(&mut self, node: NodeId) -> &mut Peer {
        &mut self.peers[usize::from(node.0)]
    }

    fn is_voter(&self) -> bool {
        self.config.voters.contains(self.config.me)
    }

    /// Whether this node has no business being primary: its data path is stuck, or it does not hear
    /// enough voters to hold a lease. (Not "has no lease": two nodes that find each other again
    /// would both be silent for ever, each waiting for the other's acknowledgement.)
    fn counts_as_silent(&self) -> bool {
        let heard = self
            .config
            .voters
            .iter()
            .filter(|&voter| voter == self.config.me || !self.silent_for_d(voter))
            .count();
        self.stalled || heard < self.config.voters.majority()
    }

    fn silent_for_d(&self, node: NodeId) -> bool {
        let peer = self.peer(node);
        // A silent-flagged node is heard all the same.
        peer.suspected && !peer.silent
    }

    fn tick(&mut self, now: Time, out: &mut Vec<PulseEffect>) {
        if self.next <= now {
            self.beat(now, out);
        }
        let suspicion = self.config.timing.suspicion();
        for node in self.nodes() {
            let peer = *self.peer(node);
            if node != self.config.me && !peer.suspected && peer.heard_at.after(suspicion) <= now {
                self.suspect(node, out);
            }
            if let Some(incarnation) = peer.owed
                && self.promise_due(node) <= now
            {
                self.peer_mut(node).owed = None;
                out.push(PulseEffect::Signal(PulseSignal::Forbidden {
                    node,
                    incarnation,
                }));
            }
        }
    }

    fn beat(&mut self, now: Time, out: &mut Vec<PulseEffect>) {
        let interval = self.config.timing.interval;
        if now.since(self.next) > interval {
            // We were late ourselves: datagrams may wait in the socket. One more interval for all,
            // before anybody is taken for dead. Our own lease is as short as it was.
            let grace = now.after(interval);
            let suspicion = self.config.timing.suspicion();
            for node in self.nodes() {
                let peer = self.peer_mut(node);
                if !peer.suspected && peer.heard_at.after(suspicion) < grace {
                    peer.heard_at = Time(grace.0.saturating_sub(suspicion.as_nanos() as u64));
                }
            }
        }
        self.next = now.after(interval);
        self.sequence += 1;
        self.sent[self.sequence as usize % SENT_MAX] = now;
        let (sequence, incarnation) = (self.sequence, self.config.incarnation);
        let me = self.config.me;
        if self.is_voter() {
            let own = self.peer_mut(me);
            own.sequence = sequence;
            if own.forbidden < incarnation {
                own.acknowledged = sequence;
                own.acknowledged_at = now;
            }
        }
        for node in self.nodes() {
            if node != me {
                out.push(PulseEffect::SendHeartbeat { to: node });
            }
        }
        self.renew(out);
    }

    /// The lease from what has been acknowledged; published when it changes.
    fn renew(&mut self, out: &mut Vec<PulseEffect>) {
        let majority = self.config.voters.majority();
        // The newest heartbeat that a majority has acknowledged: few voters, so no sorting.
        let newest = self
            .config
            .voters
            .iter()
            .map(|voter| self.peer(voter).acknowledged)
            .filter(|&sequence| {
                let reached = |voter: &NodeId| self.peer(*voter).acknowledged >= sequence;
                self.config.voters.iter().filter(reached).count() >= majority
            })
            .max()
            .unwrap_or(0);
        if newest == 0 || self.sequence - newest >= SENT_MAX as u64 {
            return;
        }
        let until = self.sent[newest as usize % SENT_MAX].after(self.config.timing.lease);
        if until > self.lease.until {
            self.lease = Lease {
                incarnation: self.config.incarnation,
                until,
            };
            out.push(PulseEffect::Lease(self.lease));
        }
    }

    fn heartbeat_came(&mut self, now: Time, heartbeat: &Heartbeat, out: &mut Vec<PulseEffect>) {
        let node = heartbeat.from;
        if node == self.config.me || node.0 >= self.config.nodes {
            return;
        }
        let before = *self.peer(node);
        if heartbeat.incarnation < before.incarnation
            || (heartbeat.incarnation == before.incarnation
                && heartbeat.sequence <= before.sequence)
        {
            return;
        }
        self.learn_of_myself(heartbeat, out);
        let newer = heartbeat.incarnation > before.incarnation;
        if newer && before.incarnation.0 > 0 {
            let incarnation = before.incarnation;
            out.push(PulseEffect::Signal(PulseSignal::Dead { node, incarnation }));
        }
        let me = self.config.me;
        let own = heartbeat.heard[usize::from(me.0)];
        let reach = (0..heartbeat.nodes.min(self.config.nodes))
            .map(NodeId)
            .filter(|&other| other != node && other != me)
            .filter(|other| {
                let heard = heartbeat.heard[usize::from(other.0)];
                heard.incarnation.0 > 0 && !heard.suspected && !heard.refused
            })
            .collect();
        let incarnation = self.config.incarnation;
        let peer = self.peer_mut(node);
        peer.incarnation = heartbeat.incarnation;
        peer.boot = heartbeat.boot;
        peer.sequence = heartbeat.sequence;
        peer.heard_at = now;
        peer.silent = heartbeat.silent;
        peer.hears_us = own.incarnation == incarnation && !own.suspected && !own.refused;
        if newer {
            peer.acknowledged = 0;
        }
        if peer.reach != reach {
            peer.reach = reach;
            out.push(PulseEffect::Signal(PulseSignal::Reach { node, reach }));
        }
        let refused = heartbeat.incarnation <= self.peer(node).forbidden;
        if heartbeat.silent {
            if !before.suspected || newer {
                self.suspect(node, out);
            }
        } else if before.suspected || newer {
            self.peer_mut(node).suspected = false;
            if !refused {
                out.push(PulseEffect::Signal(PulseSignal::Heard {
                    node,
                    incarnation: heartbeat.incarnation,
                    boot: heartbeat.boot,
                }));
            }
        }
        self.tell_hearing(node, out);
        if self.is_voter() && !refused && !heartbeat.silent {
            self.peer_mut(node).acknowledged_at = now;
            out.push(PulseEffect::SendAcknowledgement {
                to: node,
                acknowledgement: Acknowledgement {
                    from: me,
                    incarnation,
                    to: node,
                    to_incarnation: heartbeat.incarnation,
                    sequence: heartbeat.sequence,
                    configuration: self.config.configuration,
                },
            });
        }
    }

    /// Somebody may refuse our incarnation: it was excluded while we were paused or cut off.
    fn learn_of_myself(&self, heartbeat: &Heartbeat, out: &mut Vec<PulseEffect>) {
        let own = heartbeat.heard[usize::from(self.config.me.0)];
        let taken = own.refused && own.incarnation >= self.config.incarnation
            || own.incarnation > self.config.incarnation;
        if taken {
            let above = own.incarnation;
            out.push(PulseEffect::Signal(PulseSignal::Obsolete { above }));
        }
    }

    fn acknowledgement_came(&mut self, told: Acknowledgement, out: &mut Vec<PulseEffect>) {
        let counts = told.to == self.config.me
            && told.to_incarnation == self.config.incarnation
            && told.configuration == self.config.configuration
            && told.sequence <= self.sequence
            && self.config.voters.contains(told.from);
        if !counts {
            return;
        }
        let peer = self.peer_mut(told.from);
        peer.acknowledged = peer.acknowledged.max(told.sequence);
        self.renew(out);
    }

    fn death_notice_came(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        out: &mut Vec<PulseEffect>,
    ) {
        if node == self.config.me || node.0 >= self.config.nodes {
            return;
        }
        let peer = *self.peer(node);
        if incarnation >= peer.incarnation {
            if !peer.suspected {
                self.suspect(node, out);
            }
            out.push(PulseEffect::Signal(PulseSignal::Dead { node, incarnation }));
        }
    }

    fn suspect(&mut self, node: NodeId, out: &mut Vec<PulseEffect>) {
        let peer = self.peer_mut(node);
        peer.suspected = true;
        let incarnation = peer.incarnation;
        out.push(PulseEffect::Signal(PulseSignal::Suspected {
            node,
            incarnation,
        }));
        self.tell_hearing(node, out);
    }

    fn tell_hearing(&mut self, node: NodeId, out: &mut Vec<PulseEffect>) {
        let peer = self.peer_mut(node);
        let heard = !peer.suspected && peer.hears_us;
        if heard != peer.hearing {
            peer.hearing = heard;
            out.push(PulseEffect::Signal(PulseSignal::Hearing { node, heard }));
        }
    }

    fn forbid(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: Incarnation,
        certificate: bool,
        out: &mut Vec<PulseEffect>,
    ) {
        let peer = self.peer_mut(node);
        peer.forbidden = peer.forbidden.max(incarnation);
        if certificate || self.promise_due(node) <= now {
            self.peer_mut(node).owed = None;
            out.push(PulseEffect::Signal(PulseSignal::Forbidden {
                node,
                incarnation,
            }));
        } else {
            self.peer_mut(node).owed = Some(incarnation);
        }
    }

    /// D after our last acknowledgement of the node, and after our own start: what an earlier run
    /// of this daemon acknowledged is forgotten, but cannot be younger than that.
    fn promise_due(&self, node: NodeId) -> Time {
        let last = self.peer(node).acknowledged_at.max(self.started);
        last.after(self.config.timing.suspicion())
    }

    fn adopt(&mut self, incarnation: Incarnation, out: &mut Vec<PulseEffect>) {
        if incarnation <= self.config.incarnation {
            return;
        }
        self.config.incarnation = incarnation;
        for node in self.nodes() {
            self.peer_mut(node).acknowledged = 0;
        }
        self.peer_mut(self.config.me).incarnation = incarnation;
        // Heartbeats of the new incarnation count from here; none of the old one earns a lease.
        self.sent = [Time::ZERO; SENT_MAX];
        self.lease = Lease {
            incarnation,
            until: Time::ZERO,
        };
        out.push(PulseEffect::Lease(self.lease));
        for node in self.nodes() {
            self.peer_mut(node).hears_us = false;
            if node != self.config.me {
                self.tell_hearing(node, out);
            }
        }
    }
}
