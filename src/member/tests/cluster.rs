//! A cluster of real pulses and cores, and what must hold of it at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::network::Network;
use crate::member::Canaries;
use crate::member::core::{Core, CoreConfig};
use crate::member::io::{
    CoreEffect, CoreEvent, CoreNote, DeathNotice, Page, Proposal, PulseDatagram, PulseEvent,
    ReplicaReport, Timing, View,
};
use crate::member::log::{self, Geometry};
use crate::member::pulse::{Pulse, PulseConfig};
use crate::node::{CoreIo, PulseIo, Signal, ToPulse, route_core, route_pulse};
use crate::record::{ReplicaRecord, ReplicaState, VolumeRecord};
use crate::types::{
    BootId, Incarnation, Index, Lease, NodeId, NodeSet, Seq, StoreId, Term, Time, VolumeId,
};

pub(super) const CLUSTER: u128 = 7;
pub(super) const VOLUME: VolumeId = VolumeId(1);

/// What happens at some time.
enum Happening {
    Pulse(Box<PulseDatagram>),
    ToPulse(ToPulse),
    ToCore(CoreEvent),
    Written(u64, Vec<Page>),
}

/// The running daemon of a node.
struct Run {
    pulse: Pulse,
    core: Core,
    lease: Lease,
    record: Option<VolumeRecord>,
    /// It has stopped to serve this term.
    stopped: Term,
}

pub(super) struct Node {
    run: Option<Run>,
    /// Nothing of it moves before this time.
    paused: Time,
    /// Counts the runs: what belongs to an older one is dropped.
    runs: u64,
    pub(super) boot: BootId,
    disk: Vec<u8>,
    /// Its clock is fast by so many thousandths.
    pub(super) drift: i64,
    /// Its replica, if it has one.
    pub(super) report: Option<ReplicaReport>,
}

pub(super) struct Cluster {
    pub(super) now: Time,
    pub(super) network: Network,
    pub(super) nodes: Vec<Node>,
    pub(super) timing: Timing,
    voters: NodeSet,
    canaries: Canaries,
    pub(super) write_time: Duration,
    queue: BTreeMap<(Time, u64), (usize, u64, Happening)>,
    count: u64,
    /// When signals between threads last arrived, by node: they keep their order.
    signalled: BTreeMap<(usize, bool), Time>,
    views: BTreeMap<u64, View>,
    records: BTreeMap<Index, VolumeRecord>,
    leaders: BTreeMap<u64, usize>,
    pub(super) notes: Vec<(Time, usize, CoreNote)>,
    pub(super) violations: Vec<String>,
}

impl Cluster {
    /// `nodes` nodes, all of which vote; those below `replicas` have a store. Profile `fast`.
    pub(super) fn new(nodes: usize, replicas: usize, seed: u64) -> Self {
        Self::with(nodes, replicas, seed, Canaries::default())
    }

    pub(super) fn with(nodes: usize, replicas: usize, seed: u64, canaries: Canaries) -> Self {
        let mut cluster = Self {
            now: Time(1_000_000_000),
            network: Network::new(seed),
            nodes: Vec::new(),
            timing: Timing::every(Duration::from_millis(10)),
            voters: (0..nodes).map(|node| NodeId(node as u8)).collect(),
            canaries,
            write_time: Duration::from_micros(300),
            queue: BTreeMap::new(),
            count: 0,
            signalled: BTreeMap::new(),
            views: BTreeMap::new(),
            records: BTreeMap::new(),
            leaders: BTreeMap::new(),
            notes: Vec::new(),
            violations: Vec::new(),
        };
        for node in 0..nodes {
            let mut disk = vec![0; Geometry::SMALL.pages() as usize * 4096];
            for page in log::format(CLUSTER, NodeId(node as u8), Geometry::SMALL) {
                put(&mut disk, &page);
            }
            cluster.nodes.push(Node {
                run: None,
                paused: Time::ZERO,
                runs: 0,
                boot: BootId(100 + node as u128),
                disk,
                drift: 0,
                report: (node < replicas).then_some(ReplicaReport {
                    volume: VOLUME,
                    store: StoreId(node as u128),
                    term: Term(0),
                    seq: Seq(0),
                    failed: false,
                }),
            });
        }
        cluster
    }

    /// A cluster that serves its volume.
    pub(super) fn serving(nodes: usize, replicas: usize, seed: u64) -> Self {
        Self::serving_with(nodes, replicas, seed, Canaries::default())
    }

    pub(super) fn serving_with(
        nodes: usize,
        replicas: usize,
        seed: u64,
        canaries: Canaries,
    ) -> Self {
        let mut cluster = Self::with(nodes, replicas, seed, canaries);
        for node in 0..nodes {
            cluster.start(node);
        }
        let served = cluster.run_until(Duration::from_secs(2), |c| {
            c.primary().is_some_and(|node| c.may_answer(node))
                && c.running().all(|node| c.view(node).members.len() == nodes)
        });
        assert!(served, "a healthy cluster serves its volume");
        cluster
    }

    pub(super) fn start(&mut self, node: usize) {
        assert!(self.nodes[node].run.is_none());
        let (me, now) = (NodeId(node as u8), self.local(node));
        self.nodes[node].runs += 1;
        let recovered = log::recover(&self.nodes[node].disk, CLUSTER, me).unwrap();
        let mut effects = Vec::new();
        let config = CoreConfig {
            me,
            names: (1..=self.nodes.len()).map(|n| format!("n{n}")).collect(),
            voters: self.voters,
            timing: self.timing,
            boot: self.nodes[node].boot,
            canaries: self.canaries,
        };
        let mut core = Core::new(config, recovered, now, &mut effects);
        let mut rest = Vec::new();
        for effect in effects {
            if let CoreEffect::Persist { ticket, pages } = effect {
                for page in pages {
                    put(&mut self.nodes[node].disk, &page);
                }
                core.step(now, CoreEvent::Persisted { ticket }, &mut rest);
            } else {
                rest.push(effect);
            }
        }
        let pulse = Pulse::new(
            PulseConfig {
                me,
                nodes: self.nodes.len() as u8,
                voters: self.voters,
                configuration: 1,
                timing: self.timing,
                boot: self.nodes[node].boot,
                incarnation: core.incarnation(),
                forbidden: core.promises(),
                canaries: self.canaries,
            },
            now,
        );
        self.nodes[node].paused = Time::ZERO;
        self.nodes[node].run = Some(Run {
            pulse,
            core,
            lease: Lease::default(),
            record: None,
            stopped: Term(0),
        });
        self.perform(node, rest);
        if let Some(report) = self.nodes[node].report {
            self.core(node, CoreEvent::Report(report));
            self.core(node, CoreEvent::Propose(self.create()));
        }
    }

    fn create(&self) -> Proposal {
        let replicas = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.report.is_some());
        Proposal::Create {
            record: VolumeRecord {
                id: VOLUME,
                name: "vol".into(),
                size: 1 << 30,
                shared: false,
                last_entry: Index(0),
                term: Term(0),
                primary: None,
                replicas: replicas
                    .map(|(node, _)| ReplicaRecord {
                        node: NodeId(node as u8),
                        store: StoreId(0),
                        state: ReplicaState::New,
                    })
                    .collect(),
                sessions: Vec::new(),
                openings: 0,
                losses: 0,
            },
        }
    }

    /// `kill -9`: what was submitted to the disk still lands.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].run = None;
        let mine: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, (owner, _, h))| *owner == node && matches!(h, Happening::Written(..)))
            .map(|(key, _)| *key)
            .collect();
        for key in mine {
            if let Some((_, _, Happening::Written(_, pages))) = self.queue.remove(&key) {
                for page in pages {
                    put(&mut self.nodes[node].disk, &page);
                }
            }
        }
    }

    /// The machine goes down: writes under way are lost, or torn.
    pub(super) fn power_off(&mut self, node: usize) {
        self.nodes[node].run = None;
        self.nodes[node].boot.0 += 1000;
        let mine: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, (owner, _, h))| *owner == node && matches!(h, Happening::Written(..)))
            .map(|(key, _)| *key)
            .collect();
        for key in mine {
            let Some((_, _, Happening::Written(_, pages))) = self.queue.remove(&key) else {
                continue;
            };
            let whole = self.network.random.below(pages.len() as u64 + 1) as usize;
            for page in &pages[..whole] {
                put(&mut self.nodes[node].disk, page);
            }
            if let Some(page) = pages.get(whole) {
                let coins = self.network.random.next();
                for sector in (0..8).filter(|sector| coins >> sector & 1 == 1) {
                    let at = page.number as usize * 4096 + sector * 512;
                    let bytes = &page.bytes[sector * 512..sector * 512 + 512];
                    self.nodes[node].disk[at..at + 512].copy_from_slice(bytes);
                }
            }
        }
    }

    /// What the parent sends when the daemon has died.
    pub(super) fn death_notice(&mut self, node: usize, incarnation: Incarnation) {
        let node_id = NodeId(node as u8);
        let notice = DeathNotice {
            node: node_id,
            incarnation,
        };
        for to in 0..self.nodes.len() {
            if to != node {
                self.datagram(node, to, |_| {
                    Happening::Pulse(Box::new(PulseDatagram::DeathNotice(notice)))
                });
            }
        }
    }

    pub(super) fn pause(&mut self, node: usize, span: Duration) {
        self.nodes[node].paused = self.now.after(span);
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.network.cut.extend([(a, b), (b, a)]);
    }

    pub(super) fn heal(&mut self) {
        self.network.cut.clear();
    }

    pub(super) fn propose(&mut self, node: usize, proposal: Proposal) {
        self.core(node, CoreEvent::Propose(proposal));
    }

    /// The time on the node's clock.
    fn local(&self, node: usize) -> Time {
        let rate = (1000 + self.nodes[node].drift) as u64;
        Time(self.now.0 * rate / 1000)
    }

    /// When the node's clock will show `local`.
    fn global(&self, node: usize, local: Time) -> Time {
        let rate = (1000 + self.nodes[node].drift) as u64;
        local
            .0
            .checked_mul(1000)
            .map_or(Time::MAX, |time| Time(time.div_ceil(rate)))
    }

    fn datagram(&mut self, from: usize, to: usize, make: impl Fn(()) -> Happening) {
        for delay in self.network.deliver(from, to) {
            let at = self.now.after(delay);
            self.enqueue(at, to, make(()));
        }
    }

    fn enqueue(&mut self, at: Time, node: usize, happening: Happening) {
        self.count += 1;
        let run = self.nodes[node].runs;
        self.queue.insert((at, self.count), (node, run, happening));
    }

    /// Between threads of one node: in order, some time later.
    fn signal(&mut self, node: usize, pulse: bool, happening: Happening) {
        let delay = Duration::from_nanos(self.network.random.below(60_000));
        let last = self.signalled.entry((node, pulse)).or_default();
        let at = self.now.after(delay).max(*last);
        *last = at;
        self.enqueue(at, node, happening);
    }

    /// Advances by one happening, but not beyond `end`.
    fn step(&mut self, end: Time) {
        let timers = (0..self.nodes.len()).filter_map(|node| {
            let state = &self.nodes[node];
            let run = state.run.as_ref()?;
            let due = self.global(node, run.pulse.deadline().min(run.core.deadline()));
            Some((due.max(state.paused).max(self.now), node))
        });
        let timer = timers.min();
        let next = self.queue.first_key_value().map(|(key, _)| *key);
        let soonest = next
            .map(|key| key.0)
            .into_iter()
            .chain(timer.map(|timer| timer.0))
            .min();
        if soonest.is_none_or(|at| at > end) {
            self.now = end;
            return;
        }
        let queue_first = match (next, timer) {
            (Some(key), Some((at, _))) => key.0 <= at,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if let (true, Some(key)) = (queue_first, next) {
            let Some((node, run, happening)) = self.queue.remove(&key) else {
                return;
            };
            self.now = key.0;
            if let Happening::Written(_, pages) = &happening {
                for page in pages {
                    put(&mut self.nodes[node].disk, page);
                }
            }
            let datagram = matches!(
                happening,
                Happening::Pulse(_) | Happening::ToCore(CoreEvent::Message { .. })
            );
            let gone =
                self.nodes[node].run.is_none() || (self.nodes[node].runs != run && !datagram);
            if gone {
                return;
            }
            if self.nodes[node].paused > self.now {
                // Waits in the socket, or in the channel.
                self.count += 1;
                let at = (self.nodes[node].paused, self.count);
                self.queue.insert(at, (node, run, happening));
                return;
            }
            match happening {
                Happening::Pulse(datagram) => self.pulse(node, PulseEvent::Datagram(&datagram)),
                Happening::ToPulse(message) => self.pulse(node, message.event()),
                Happening::ToCore(event) => self.core(node, event),
                Happening::Written(ticket, _) => self.core(node, CoreEvent::Persisted { ticket }),
            }
        } else if let Some((at, node)) = timer {
            self.now = at;
            let Some(run) = &self.nodes[node].run else {
                return;
            };
            if run.pulse.deadline() <= self.local(node) {
                self.pulse(node, PulseEvent::Tick);
            } else {
                self.core(node, CoreEvent::Tick);
            }
        }
        self.check();
    }

    /// Runs until it holds; false if it does not within `span`.
    pub(super) fn run_until(&mut self, span: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.after(span);
        while self.now < end {
            if holds(self) {
                return true;
            }
            self.step(end);
        }
        holds(self)
    }

    pub(super) fn run(&mut self, span: Duration) {
        self.run_until(span, |_| false);
    }

    fn pulse(&mut self, node: usize, event: PulseEvent<'_>) {
        let now = self.local(node);
        let Some(run) = &mut self.nodes[node].run else {
            return;
        };
        let mut effects = Vec::new();
        run.pulse.step(now, event, &mut effects);
        for effect in effects {
            let (mut io, mut signals) = (None, Vec::new());
            route_pulse(
                effect,
                |wanted| io = Some(wanted),
                |signal| signals.push(signal),
            );
            match (io, &mut self.nodes[node].run) {
                (Some(PulseIo::Heartbeat { to }), Some(run)) => {
                    let heartbeat = run.pulse.heartbeat(to);
                    let to = usize::from(to.0);
                    self.datagram(node, to, |()| {
                        Happening::Pulse(Box::new(PulseDatagram::Heartbeat(heartbeat)))
                    });
                }
                (
                    Some(PulseIo::Acknowledgement {
                        to,
                        acknowledgement,
                    }),
                    _,
                ) => {
                    let to = usize::from(to.0);
                    self.datagram(node, to, |()| {
                        Happening::Pulse(Box::new(PulseDatagram::Acknowledgement(acknowledgement)))
                    });
                }
                (Some(PulseIo::Lease(lease)), Some(run)) => run.lease = lease,
                _ => {}
            }
            for signal in signals {
                if let Signal::Core(event) = signal {
                    self.signal(node, false, Happening::ToCore(event));
                }
            }
        }
    }

    fn core(&mut self, node: usize, event: CoreEvent) {
        let now = self.local(node);
        let Some(run) = &mut self.nodes[node].run else {
            return;
        };
        let mut effects = Vec::new();
        run.core.step(now, event, &mut effects);
        self.perform(node, effects);
    }

    fn perform(&mut self, node: usize, effects: Vec<CoreEffect>) {
        for effect in effects {
            let (mut ios, mut signals) = (Vec::new(), Vec::new());
            route_core(effect, |io| ios.push(io), |signal| signals.push(signal));
            for io in ios {
                self.perform_io(node, io);
            }
            for signal in signals {
                if let Signal::Pulse(message) = signal {
                    self.signal(node, true, Happening::ToPulse(message));
                }
            }
        }
    }

    fn perform_io(&mut self, node: usize, io: CoreIo) {
        match io {
            CoreIo::Send { to, bytes } => {
                let (from, to) = (NodeId(node as u8), usize::from(to.0));
                self.datagram(node, to, |()| {
                    Happening::ToCore(CoreEvent::Message {
                        from,
                        bytes: bytes.clone(),
                    })
                });
            }
            CoreIo::Persist { ticket, pages } => {
                let at = self.now.after(self.write_time);
                self.enqueue(at, node, Happening::Written(ticket, pages));
            }
            CoreIo::Record(record) => self.recorded(node, record),
            CoreIo::View(view) => {
                let known = self
                    .views
                    .entry(view.number)
                    .or_insert_with(|| view.clone());
                if *known != view {
                    let wrong = format!("view {} differs on node {node}", view.number);
                    self.violations.push(wrong);
                }
            }
            CoreIo::Note(note) => {
                if let CoreNote::Leader { term } = note {
                    let leader = *self.leaders.entry(term).or_insert(node);
                    if leader != node {
                        let wrong = format!("{leader} and {node} both lead term {term}");
                        self.violations.push(wrong);
                    }
                }
                self.notes.push((self.now, node, note));
            }
        }
    }

    fn recorded(&mut self, node: usize, record: VolumeRecord) {
        let known = self
            .records
            .entry(record.last_entry)
            .or_insert_with(|| record.clone());
        if *known != record {
            let wrong = format!("entry {} differs on node {node}", record.last_entry);
            self.violations.push(wrong);
        }
        // What a volume does: makes the term durable before it serves.
        let primary = record
            .primary
            .is_some_and(|grant| usize::from(grant.node.0) == node);
        if let (true, Some(report)) = (primary, &mut self.nodes[node].report)
            && report.term < record.term
        {
            report.term = record.term;
            let report = *report;
            self.signal(node, false, Happening::ToCore(CoreEvent::Report(report)));
        }
        if let Some(run) = &mut self.nodes[node].run {
            run.record = Some(record);
        }
    }

    /// What must hold at any time.
    fn check(&mut self) {
        let answering: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| self.may_answer(n))
            .collect();
        if answering.len() > 1 {
            let wrong = format!("{answering:?} may all answer at {:?}", self.now);
            self.violations.push(wrong);
        }
    }

    /// Whether the node holds the grant, as far as it knows, and the lease.
    pub(super) fn may_answer(&self, node: usize) -> bool {
        let Some(run) = &self.nodes[node].run else {
            return false;
        };
        let served = run
            .record
            .as_ref()
            .filter(|record| record.term > run.stopped);
        let grant = served.and_then(|record| record.primary);
        grant.is_some_and(|grant| {
            usize::from(grant.node.0) == node
                && grant.boot == self.nodes[node].boot
                && run.lease.covers(grant.incarnation, self.local(node))
        })
    }

    /// A primary stops to serve, before it says so.
    pub(super) fn stop_serving(&mut self, node: usize) {
        if let Some(run) = &mut self.nodes[node].run {
            run.stopped = run.record.as_ref().map_or(Term(0), |record| record.term);
        }
    }

    /// Whether the node is primary of a term that it has stopped to serve.
    pub(super) fn has_stopped(&self, node: usize) -> bool {
        let run = self.nodes[node].run.as_ref();
        run.is_some_and(|run| {
            let record = run.record.as_ref();
            record.is_some_and(|record| record.primary.is_some() && record.term == run.stopped)
        })
    }

    /// The volume as the node knows it.
    pub(super) fn known(&self, node: usize) -> Option<&VolumeRecord> {
        self.nodes[node].run.as_ref()?.record.as_ref()
    }

    pub(super) fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].run.is_some())
    }

    /// Whether the node's pulse acknowledges no heartbeat of what it has heard of `of` so far.
    pub(super) fn refuses(&self, node: usize, of: usize) -> bool {
        let run = self.nodes[node].run.as_ref().unwrap();
        run.pulse.heartbeat(NodeId(of as u8)).heard[of].refused
    }

    pub(super) fn incarnation(&self, node: usize) -> Incarnation {
        self.nodes[node].run.as_ref().unwrap().core.incarnation()
    }

    pub(super) fn status(&self, node: usize) -> crate::member::io::CoreStatus {
        self.nodes[node]
            .run
            .as_ref()
            .unwrap()
            .core
            .status(self.local(node))
    }

    pub(super) fn view(&self, node: usize) -> View {
        self.status(node).view
    }

    /// The leader of the newest term that still runs.
    pub(super) fn leader(&self) -> Option<usize> {
        let leaders = self.running().filter(|&node| {
            let status = self.status(node);
            status.leader == Some(NodeId(node as u8))
        });
        leaders.max_by_key(|&node| self.status(node).term)
    }

    /// The newest record that anybody knows.
    pub(super) fn record(&self) -> Option<&VolumeRecord> {
        self.records.last_key_value().map(|(_, record)| record)
    }

    /// The primary by the newest record, if it is running in that incarnation.
    pub(super) fn primary(&self) -> Option<usize> {
        let grant = self.record()?.primary?;
        let node = usize::from(grant.node.0);
        let runs = self.nodes[node].run.is_some();
        (runs && self.incarnation(node) == grant.incarnation).then_some(node)
    }

    /// Time of the newest note that fits.
    pub(super) fn noted(&self, fits: impl Fn(&CoreNote) -> bool) -> Option<Time> {
        let notes = self.notes.iter().rev();
        notes
            .clone()
            .find(|(_, _, note)| fits(note))
            .map(|(at, _, _)| *at)
    }

    /// The log of every running node, as its disk has it, agrees with every other up to what is
    /// committed.
    pub(super) fn assert_sound(&self) {
        assert_eq!(self.violations, Vec::<String>::new());
        let committed: Vec<_> = self
            .running()
            .map(|node| self.status(node).committed)
            .collect();
        assert!(!committed.is_empty());
    }
}

fn put(disk: &mut [u8], page: &Page) {
    let at = page.number as usize * 4096;
    disk[at..at + 4096].copy_from_slice(&page.bytes[..]);
}
