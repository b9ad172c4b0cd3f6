//! A cluster of real pulses and cores in virtual time.

mod effects;
mod faults;
mod look;

use std::collections::BTreeMap;
use std::time::Duration;

use super::network::Network;
use crate::member::Canaries;
use crate::member::core::{Core, CoreConfig};
use crate::member::io::{
    CoreEffect, CoreEvent, CoreNote, Page, Proposal, PulseDatagram, PulseEvent, ReplicaReport,
    Timing, View,
};
use crate::member::log::{self, Birth, Geometry};
use crate::member::pulse::{Pulse, PulseConfig};
use crate::node::ToPulse;
use crate::record::{ReplicaRecord, ReplicaState, VolumeRecord};
use crate::types::{
    BootId, Incarnation, Index, Lease, LogId, NodeId, NodeSet, Seq, StoreId, Term, Time, VolumeId,
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
    /// How many of its logs were lost.
    lost: u64,
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
            for page in new_log(node, 0) {
                put(&mut disk, &page);
            }
            cluster.nodes.push(Node {
                run: None,
                paused: Time::ZERO,
                runs: 0,
                boot: BootId(100 + node as u128),
                disk,
                lost: 0,
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
                enrolled: core.is_enrolled(),
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
}

const fn log_id(node: usize, lost: u64) -> LogId {
    LogId(1000 * (lost + 1) + node as u64)
}

/// The log that a node has at first, or in the place of its lost one.
fn new_log(node: usize, lost: u64) -> Vec<Page> {
    let birth = Birth {
        id: log_id(node, lost),
        used: Incarnation(100_000 * lost),
    };
    log::format(CLUSTER, NodeId(node as u8), Geometry::SMALL, birth)
}

fn put(disk: &mut [u8], page: &Page) {
    let at = page.number as usize * 4096;
    disk[at..at + 4096].copy_from_slice(&page.bytes[..]);
}
