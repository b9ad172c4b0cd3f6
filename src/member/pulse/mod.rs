//! The pulse: heartbeats, failure detector, lease (design, section 4).
//!
//! Safety rests on two rules that are kept here and nowhere else. A voter never acknowledges a
//! heartbeat of an incarnation once it was told to forbid it, and says `Forbidden` only when D has
//! passed since it last did, and since its own start. A lease runs from the *send* time of a
//! heartbeat that a majority has acknowledged. Every majority that keeps a lease alive shares a
//! voter with every majority that forbids: the lease has ended before the exclusion commits.

mod datagram;
mod lease;
mod peer;
mod promise;
#[cfg(test)]
mod tests;

use lease::LeaseKeeper;
use peer::Peer;

use super::Canaries;
use super::io::{Heard, Heartbeat, PulseDatagram, PulseEffect, PulseEvent, PulseSignal, Timing};
use crate::types::{BootId, Incarnation, Lease, NODES_MAX, NodeId, NodeSet, Time};

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
    /// What earlier runs have promised: kept from the first heartbeat on (`Core::promises`).
    pub forbidden: Vec<(NodeId, Incarnation)>,
    /// This node's log is the one that counts.
    pub enrolled: bool,
    /// All off in a product.
    pub canaries: Canaries,
}

/// The pulse of one node.
#[derive(Clone, Debug)]
pub struct Pulse {
    config: PulseConfig,
    started: Time,
    /// When the next heartbeat is due.
    next: Time,
    view: u64,
    stalled: bool,
    /// What the newest heartbeat says: this node counts as silent.
    silent: bool,
    /// What the core was last told to rise above.
    obsolete: Option<Incarnation>,
    lease: LeaseKeeper,
    peers: [Peer; NODES_MAX],
}

impl Pulse {
    /// A pulse that begins to beat at once.
    #[must_use]
    pub fn new(config: PulseConfig, now: Time) -> Self {
        assert!(usize::from(config.nodes) <= NODES_MAX && config.me.0 < config.nodes);
        assert!(config.timing.is_safe(), "a lease that outlives its silence");
        // Whoever is not heard within D of our start is suspected then.
        let mut peers = [Peer::unheard(now); NODES_MAX];
        peers[usize::from(config.me.0)].incarnation = config.incarnation;
        for &(node, incarnation) in &config.forbidden {
            let peer = &mut peers[usize::from(node.0)];
            peer.forbidden = peer.forbidden.max(incarnation);
        }
        let span = if config.canaries.long_lease {
            config.timing.suspicion() * 2
        } else {
            config.timing.lease
        };
        Self {
            lease: LeaseKeeper::new(config.voters, span, config.incarnation),
            config,
            started: now,
            next: now,
            view: 0,
            stalled: false,
            silent: false,
            obsolete: None,
            peers,
        }
    }

    /// When `Tick` is due: the next heartbeat, the end of somebody's silence, a promise.
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
            let over = peer.over();
            heard[usize::from(node.0)] = Heard {
                incarnation: peer.incarnation.max(over),
                sequence: peer.sequence,
                suspected: node != self.config.me && !peer.is_heard(),
                refused: over.0 > 0 && over >= peer.incarnation,
            };
        }
        Heartbeat {
            from: self.config.me,
            incarnation: self.config.incarnation,
            boot: self.config.boot,
            sequence: self.lease.sequence(),
            silent: self.silent,
            view: self.view,
            nodes: self.config.nodes,
            heard,
        }
    }

    /// The lease as last published.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        self.lease.lease()
    }

    /// Advances the machine. `now` never goes back.
    pub fn step(&mut self, now: Time, event: PulseEvent<'_>, out: &mut Vec<PulseEffect>) {
        match event {
            PulseEvent::Tick => self.tick(now, out),
            PulseEvent::Datagram(PulseDatagram::Heartbeat(heartbeat)) => {
                self.heartbeat_came(now, heartbeat, out);
            }
            PulseEvent::Datagram(PulseDatagram::Acknowledgement(told)) => {
                self.acknowledgement_came(*told, out);
            }
            PulseEvent::Datagram(PulseDatagram::DeathNotice(notice)) => {
                self.death_notice_came(*notice, out);
            }
            PulseEvent::Forbid {
                node,
                incarnation,
                certificate,
            } => self.forbid(now, node, incarnation, certificate, out),
            PulseEvent::Adopt { incarnation } => self.adopt(now, incarnation, out),
            PulseEvent::Enrolled(enrolled) => self.config.enrolled = enrolled,
            PulseEvent::View { number } => self.view = number,
            PulseEvent::Stalled(stalled) => self.stalled = stalled,
        }
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.config.nodes).map(NodeId)
    }

    fn others(&self) -> impl Iterator<Item = NodeId> + use<> {
        let me = self.config.me;
        self.nodes().filter(move |&node| node != me)
    }

    fn peer(&self, node: NodeId) -> &Peer {
        &self.peers[usize::from(node.0)]
    }

    fn peer_mut(&mut self, node: NodeId) -> &mut Peer {
        &mut self.peers[usize::from(node.0)]
    }

    /// Whether this node's acknowledgements extend leases.
    fn acknowledges(&self) -> bool {
        let enrolled = self.config.enrolled || self.config.canaries.acknowledge_unenrolled;
        enrolled && self.config.voters.contains(self.config.me)
    }

    fn tick(&mut self, now: Time, out: &mut Vec<PulseEffect>) {
        if self.next <= now {
            self.excuse_own_lateness(now);
            self.beat(now, out);
        }
        let suspicion = self.config.timing.suspicion();
        for node in self.nodes() {
            let peer = *self.peer(node);
            let silent = peer.heard_at.after(suspicion) <= now;
            if node != self.config.me && !peer.suspected && silent {
                self.suspect(node, out);
            }
            self.pay(now, node, out);
        }
    }

    /// After a pause of our own, what was sent to us may still wait in the socket: one interval more
    /// for all before anybody is taken for dead. Our own lease is as short as it was.
    fn excuse_own_lateness(&mut self, now: Time) {
        let timing = self.config.timing;
        if now.since(self.next) <= timing.interval {
            return;
        }
        let grace = timing.suspicion().saturating_sub(timing.interval);
        let heard_at = Time(now.0.saturating_sub(grace.as_nanos() as u64));
        for node in self.nodes() {
            let peer = self.peer_mut(node);
            if !peer.suspected {
                peer.heard_at = peer.heard_at.max(heard_at);
            }
        }
    }

    fn beat(&mut self, now: Time, out: &mut Vec<PulseEffect>) {
        self.next = now.after(self.config.timing.interval);
        self.silent = self.counts_as_silent(now);
        let sequence = self.lease.send(now);
        let me = self.config.me;
        let own = self.peer_mut(me);
        own.sequence = sequence;
        // What holds for the others holds for ourselves: no acknowledgement once forbidden.
        let own_vote = own.over() < own.incarnation;
        if self.acknowledges() && own_vote {
            self.peer_mut(me).acknowledged_at = Some(now);
            if let Some(lease) = self.lease.acknowledge(me, sequence) {
                out.push(PulseEffect::Lease(lease));
            }
        }
        for to in self.others() {
            out.push(PulseEffect::SendHeartbeat { to });
        }
    }

    /// Whether this node has no business being leader or primary: its data path is stuck, or it
    /// hears too few voters to hold a lease. (Not "has no lease": nodes that find each other again
    /// would all be silent for ever, each waiting for the others' acknowledgements.)
    fn counts_as_silent(&self, now: Time) -> bool {
        let suspicion = self.config.timing.suspicion();
        // Whoever says that it counts as silent is heard all the same.
        let heard = |voter: &NodeId| {
            *voter == self.config.me || now < self.peer(*voter).heard_at.after(suspicion)
        };
        let heard = self.config.voters.iter().filter(heard).count();
        self.stalled || heard < self.config.voters.majority()
    }

    fn suspect(&mut self, node: NodeId, out: &mut Vec<PulseEffect>) {
        let peer = self.peer_mut(node);
        peer.suspected = true;
        let incarnation = peer.incarnation;
        let suspected = PulseSignal::Suspected { node, incarnation };
        out.push(PulseEffect::Signal(suspected));
        self.tell_hearing(node, out);
    }

    fn tell_hearing(&mut self, node: NodeId, out: &mut Vec<PulseEffect>) {
        let peer = self.peer_mut(node);
        let heard = peer.is_heard() && peer.hears_us;
        if heard != peer.hearing {
            peer.hearing = heard;
            out.push(PulseEffect::Signal(PulseSignal::Hearing { node, heard }));
        }
    }

    /// A new incarnation in place: its lease, none yet, is published before its first heartbeat.
    fn adopt(&mut self, now: Time, incarnation: Incarnation, out: &mut Vec<PulseEffect>) {
        if incarnation <= self.config.incarnation {
            return;
        }
        self.config.incarnation = incarnation;
        self.peer_mut(self.config.me).incarnation = incarnation;
        out.push(PulseEffect::Lease(self.lease.adopt(incarnation)));
        for node in self.others() {
            self.peer_mut(node).hears_us = false;
            self.tell_hearing(node, out);
        }
        self.beat(now, out);
    }
}
