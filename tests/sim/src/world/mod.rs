//! A whole cluster in one thread: machines, network and clients, driven by one queue of events.
//!
//! The nodes are the real pulse, core and volume, stepped as a daemon would step them: each in its
//! own thread, with clocks of their own, carrying signals in order with random delays. One seed is
//! one run.

mod agreed;
mod ambush;
mod answers;
pub mod checks;
pub mod clients;
mod connections;
mod core;
mod disks;
pub mod ending;
pub mod event;
mod failures;
pub mod faults;
pub mod life;
pub mod links;
pub mod marks;
pub mod member;
pub mod node;
mod pulse;
mod requests;
mod tell;
mod threads;
mod volume;

use std::collections::{BTreeMap, VecDeque};

use steadfast::engine::config::Canaries;
use steadfast::engine::io::Effects;
use steadfast::member::Canaries as MemberCanaries;
use steadfast::meta;
use steadfast::meta::recovered::Layout;
use steadfast::record::VolumeChange;
use steadfast::types::{Index, NodeId, StoreId, VolumeId};

use self::checks::Known;
use self::clients::Client;
use self::event::{Event, Part, Place};
use self::marks::Marks;
use self::node::Node;
use crate::net::Network;
use crate::options::Options;
use crate::oracle::grid::Grid;
use crate::oracle::history::History;
use crate::queue::{Instant, MILLI, Queue};
use crate::random::{Random, mix};

/// The volume of every run.
pub const VOLUME: VolumeId = VolumeId(0x5eed);
/// The cluster of every run.
pub const CLUSTER: u128 = 0xc1;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which oracle says so.
    pub oracle: &'static str,
    /// What happened.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// Bugs to plant: each must make an oracle speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// In the engine.
    pub engine: Canaries,
    /// In the core and the pulse.
    pub member: MemberCanaries,
    /// A daemon does not wait for the store's lock.
    pub ignore_lock: bool,
}

/// A whole cluster.
pub struct World {
    /// What the seed decided.
    pub options: Options,
    /// Planted bugs.
    pub planted: Planted,
    /// What happens next.
    pub queue: Queue<Event>,
    /// Chances of what belongs to nobody else.
    pub random: Random,
    /// Where the parts of every store are.
    pub layout: Layout,
    /// The machines.
    pub nodes: Vec<Node>,
    /// The network.
    pub net: Network,
    /// The clients.
    pub clients: Vec<Client>,
    /// Number of client connections so far.
    pub connections: u32,
    spots: Vec<u64>,
    grid: Grid,
    /// What clients saw.
    pub history: History,
    own_writes: u64,
    own_operations: u64,
    /// Some disk has failed an operation.
    disks_failed: bool,
    /// Clients ask for nothing more.
    pub stopping: bool,
    /// Faults happen.
    pub faulty: bool,
    /// What the oracles know of the cluster.
    pub known: Known,
    /// What a volume asked of the log last.
    pub proposed: Option<(NodeId, Index, VolumeChange)>,
    /// What volumes asked of the log lately, oldest first.
    asked: VecDeque<(Index, VolumeChange)>,
    /// Whom a fault strikes rather than others.
    focus: Option<NodeId>,
    /// Replicas whose leaving has been proposed, and after which entry.
    leaving: Vec<(Index, NodeId)>,
    /// Replicas whose joining has been proposed, with which store, and after which entry.
    joining: Vec<(Index, NodeId, StoreId)>,
    /// What has been seen to happen.
    pub marks: Marks,
    /// The first rule that did not hold.
    pub failed: Option<Violation>,
    tracing: bool,
    hash: u64,
    effects: Effects,
    pulse_effects: Vec<steadfast::member::io::PulseEffect>,
    core_effects: Vec<steadfast::member::io::CoreEffect>,
    /// Operator's records of cuts, so that each is mended once: direction to how many hold it.
    cuts: BTreeMap<(NodeId, NodeId), u32>,
}

impl World {
    /// A cluster at its first start.
    #[must_use]
    pub fn new(options: Options, planted: Planted, tracing: bool) -> Self {
        let mut random = Random::new(mix(options.seed ^ 0x5eed_5eed));
        let net = Network::new(options.nodes(), options.weather, random.fork());
        let grid = Grid {
            shift: options.load.shift,
        };
        let mut world = Self {
            layout: meta::layout::layout(options.size),
            planted,
            queue: Queue::default(),
            nodes: Vec::new(),
            net,
            clients: Vec::new(),
            connections: 0,
            spots: Vec::new(),
            grid,
            history: History::new(grid, options.size),
            own_writes: 0,
            own_operations: 0,
            disks_failed: false,
            stopping: false,
            faulty: true,
            known: Known::default(),
            proposed: None,
            asked: VecDeque::new(),
            focus: None,
            leaving: Vec::new(),
            joining: Vec::new(),
            marks: Marks::default(),
            failed: None,
            tracing,
            hash: options.seed,
            effects: Effects::new(),
            pulse_effects: Vec::new(),
            core_effects: Vec::new(),
            cuts: BTreeMap::new(),
            random,
            options,
        };
        world.make_nodes();
        world.known.able = vec![None; world.nodes.len()];
        world.make_clients();
        world.queue.push(10 * MILLI, Event::Create);
        world.plan_faults();
        world
    }

    /// True time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.queue.now()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0 as usize]
    }

    /// A thread.
    #[must_use]
    pub const fn place(&self, node: NodeId, run: u64, part: Part) -> Place {
        Place { node, run, part }
    }

    /// Everything that happened, in one number: equal seeds have equal ones.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Operations that oracles have judged.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.history.operations() + self.own_operations
    }

    /// A rule did not hold. Only the first counts.
    pub fn fail(&mut self, oracle: &'static str, text: String) {
        if self.failed.is_none() {
            let at = self.now();
            if self.tracing {
                println!("{:>14} FAILED {oracle}: {text}", Stamp(at));
            }
            self.failed = Some(Violation { oracle, text, at });
        }
    }

    /// Says what happens at a node, if anybody reads it.
    pub fn trace(&self, node: NodeId, text: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>14} n{} {}", Stamp(self.now()), node.0, text());
        }
    }

    /// As `trace`, of the world.
    pub fn trace_world(&self, text: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>14} -- {}", Stamp(self.now()), text());
        }
    }

    /// Takes one event. False when there is none, or a rule did not hold.
    pub fn step(&mut self) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let Some((at, event)) = self.queue.pop() else {
            return false;
        };
        self.hash = mix(self.hash ^ at);
        self.happen(event);
        self.failed.is_none()
    }

    /// Goes on until `limit`, or until `done` says so (looked at after each event). Whether it did.
    pub fn run_until(&mut self, limit: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            if self.queue.peek().is_none_or(|at| at > limit) || !self.step() {
                return false;
            }
        }
    }

    /// Something that tells this run from others.
    pub(crate) const fn mix(&mut self, what: u64) {
        self.hash = mix(self.hash ^ what);
    }

    /// Goes on for so long.
    pub fn run_for(&mut self, span: Instant) {
        let limit = self.now() + span;
        self.run_until(limit, |_| false);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::At(place, happening) => self.happen_at(place, happening),
            Event::Datagram {
                to,
                part,
                happening,
            } => {
                if let Some(run) = self.node(to).run.as_ref() {
                    let place = self.place(to, run.number, part);
                    self.happen_at(place, happening);
                }
            }
            Event::Link(arm) => self.link_looked_at(arm),
            Event::LinkTimeout(link) => self.link_timed_out(link),
            Event::Connect { from, run, to } => self.connects(from, run, to),
            Event::DiskOrphan { node, number } => {
                let node = &mut self.nodes[node.0 as usize];
                if let Some(disk) = &mut node.disk {
                    disk.land(number, &mut node.random);
                }
            }
            Event::LogOrphan(node) => {
                // A loss of power may have taken them, and a new daemon may write by now.
                let log = &mut self.nodes[node.0 as usize].log;
                if log.locked() {
                    log.land();
                }
            }
            Event::Start { node, life } => self.starts(node, life),
            Event::Opened {
                node,
                life,
                number,
                ticket,
            } => self.opened(node, life, number, ticket),
            Event::Create => self.creates(),
            Event::Resume(place) => self.resumes(place),
            Event::ClientConnects(client) => self.client_connects(client),
            Event::ClientTurn { client, connection } => self.client_turn(client, connection),
            Event::Fault(kind) => self.fault(kind),
            Event::Strike { kind, at } => self.strike_at(kind, at),
            Event::Heal(healing) => self.heals(healing),
            Event::Checkpoint => self.checkpoint(),
        }
    }
}

/// A time for people: milliseconds and what follows.
pub struct Stamp(pub Instant);

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.pad(&text)
    }
}
