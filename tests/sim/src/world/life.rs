//! Nodes are made, start, die, lose power, stop and go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use steadfast::engine::config::{Timing as EngineTiming, VolumeConfig};
use steadfast::engine::volume::Volume;
use steadfast::member::io::{CoreEvent, DeathNotice, Timing};
use steadfast::meta;
use steadfast::meta::superblock::Superblock;
use steadfast::types::{BootId, Index, NodeId, StoreId, Term};

use super::event::{Event, Part, Place};
use super::node::{Health, Node, Run};
use super::{CLUSTER, VOLUME, World};
use crate::clock::Clock;
use crate::disk::{Disk, PAGE};
use crate::logfile::LogFile;
use crate::queue::{Instant, MICRO, MILLI};

/// A data path that makes no progress for so long counts as stuck. Far shorter than in a product,
/// so that it happens within a run.
pub const STALL: Instant = 250 * MILLI;

/// The fastest profile.
#[must_use]
pub fn timing() -> Timing {
    Timing {
        stall: Duration::from_nanos(STALL),
        ..Timing::every(Duration::from_millis(10))
    }
}

impl World {
    /// All machines, formatted and about to start for the first time.
    pub(super) fn make_nodes(&mut self) {
        for id in 0..self.options.nodes() {
            let id = NodeId(id as u8);
            let storage = (id.0 as usize) < self.options.storage;
            let store = storage.then_some(StoreId(0x57 + u128::from(id.0)));
            let disk = store.map(|store| self.make_store(id, store));
            let mut node = Node {
                id,
                store,
                boot: BootId(0),
                powered: true,
                clock: Clock::new(0, 0, 0),
                disk,
                shelf: Vec::new(),
                health: Health::Well,
                log: LogFile::default(),
                lost_logs: 0,
                opening: None,
                run: None,
                runs: 0,
                life: 0,
                forsaken: false,
                lost: Vec::new(),
                random: self.random.fork(),
            };
            node.boot(0, self.options.drift);
            node.log = LogFile::new(super::member::format(id, 0));
            self.nodes.push(node);
            let at = self.random.below(5 * MILLI);
            self.queue.push(at, Event::Start { node: id, life: 0 });
        }
    }

    fn make_store(&self, node: NodeId, store: StoreId) -> Disk {
        let layout = self.layout;
        let bytes = layout.store_bytes(self.options.size);
        let mut disk = Disk::new((bytes / PAGE as u64) as usize);
        let superblock = Superblock {
            cluster: CLUSTER,
            volume: VOLUME,
            store,
            node,
            size: self.options.size,
            layout,
            term: Term(0),
            generation: 1,
            dirty: [None; meta::layout::DIRTY_SLOTS],
            failed: None,
        };
        for (offset, page) in meta::format(&superblock) {
            disk.write_at((offset / PAGE as u64) as u32, &page);
        }
        disk
    }

    /// Plans a start of the daemon.
    pub fn plan_start(&mut self, node: NodeId, wait: Instant) {
        let this = &mut self.nodes[node.0 as usize];
        this.life += 1;
        let life = this.life;
        self.queue.after(wait, Event::Start { node, life });
    }

    pub(super) fn starts(&mut self, node: NodeId, life: u64) {
        let truth = self.now();
        let ignore_lock = self.planted.ignore_lock;
        let this = &mut self.nodes[node.0 as usize];
        if this.life != life || this.run.is_some() || this.opening.is_some() {
            return;
        }
        if !this.powered {
            this.boot(truth, self.options.drift);
        }
        let locked = this.log.locked() || this.disk.as_ref().is_some_and(Disk::locked);
        if locked && !ignore_lock {
            self.marks
                .count("starts that waited for the old run's writes");
            return self.queue.after(MILLI, Event::Start { node, life });
        }
        let now = this.clock.at(truth);
        let opened = super::member::open(this, &self.options, self.planted.member, now);
        let (opening, ticket, pages) = match opened {
            Ok(opened) => opened,
            Err(text) => return self.fail("log file", format!("n{}: {text}", node.0)),
        };
        this.opening = Some(Box::new(opening));
        let number = this.log.submit(pages);
        let took = 5 * MICRO + this.random.around(self.options.disk.page);
        let opened = Event::Opened {
            node,
            life,
            number,
            ticket,
        };
        self.queue.after(took, opened);
    }

    pub(super) fn opened(&mut self, node: NodeId, life: u64, number: u64, ticket: u64) {
        let truth = self.now();
        let this = &mut self.nodes[node.0 as usize];
        if this.life != life || !this.log.finish(number) {
            return;
        }
        let Some(opening) = this.opening.take() else {
            return;
        };
        let super::member::Opening { core, then } = *opening;
        let now = this.clock.at(truth);
        let incarnation = core.incarnation();
        let pulse = super::member::pulse(this, &self.options, self.planted.member, &core, now);
        let mut unknown = false;
        let store = match &this.disk {
            None => None,
            Some(disk) => {
                let dropped = disk.has_dropped();
                let mut read = |offset, into: &mut [u8]| disk.read_at(offset, into);
                match meta::recover(&mut read, disk.len()) {
                    Ok(store) => {
                        unknown = dropped && store.failed.is_none();
                        Some(store)
                    }
                    Err(e) => return self.fail("store", format!("n{}: {e}", node.0)),
                }
            }
        };
        if unknown && let Some(disk) = &mut this.disk {
            // The disk did not take the mark either. That such a store counts as good is known and
            // written down; that it has lost something besides is not provoked.
            disk.take_up_dropped();
            self.marks.count("failed stores that no mark tells of");
        }
        let config = VolumeConfig {
            me: node,
            boot: this.boot,
            incarnation,
            id: VOLUME,
            name: "volume".to_owned(),
            size: self.options.size,
            shared: self.options.shared,
            timing: EngineTiming {
                idle_flush: Duration::from_nanos(self.options.idle),
                stall: Duration::from_millis(400),
                ..EngineTiming::for_suspicion(timing().suspicion())
            },
            canaries: self.planted.engine,
        };
        let volume = Volume::new(config, store, now);
        this.runs += 1;
        this.life += 1;
        let number = this.runs;
        this.run = Some(Box::new(Run {
            number,
            pulse,
            core,
            volume,
            incarnation,
            lease: steadfast::types::Lease::default(),
            slab: crate::slab::Slab::default(),
            links: BTreeMap::new(),
            next_link: 0,
            jobs: BTreeMap::new(),
            pending: Vec::new(),
            tags: Vec::new(),
            backlog: VecDeque::new(),
            connections: BTreeSet::new(),
            wake: [Instant::MAX; 3],
            stopped: [0; 3],
            stopped_since: 0,
            inbox: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            signals: [[0; 3]; 3],
            settling: false,
            answered: None,
            told: steadfast::node::Told::default(),
            told_at: 0,
            stalled: false,
            applied: Index(0),
            newest: (0, 0),
            log_free: 0,
        }));
        self.trace(node, || format!("starts, incarnation {incarnation}"));
        for effect in then {
            self.core_effect(node, effect);
        }
        self.step_core(node, CoreEvent::Persisted { ticket });
        for part in Part::ALL {
            self.rewake(node, part);
        }
        self.step_volume(node, steadfast::engine::io::Event::Tick);
    }

    /// The daemon is killed. Its parent may tell everyone. Writes that it submitted land within
    /// `late`.
    pub fn crash(&mut self, node: NodeId, notice: bool) {
        let late = self.options.disk.late;
        let Some(run) = self.take_run(node) else {
            return self.crash_opening(node);
        };
        self.trace(node, || "the daemon is killed".to_owned());
        let this = &mut self.nodes[node.0 as usize];
        if let Some(disk) = &mut this.disk {
            for number in disk.orphan() {
                let wait = this.random.below(late + 1);
                self.queue.after(wait, Event::DiskOrphan { node, number });
            }
        }
        self.orphan_log(node);
        self.end_links(node, run.number, (0, MILLI));
        if notice {
            self.death_notice(DeathNotice {
                node,
                incarnation: run.incarnation,
            });
        }
    }

    /// As `crash`, of a daemon that has not got further than its log.
    fn crash_opening(&mut self, node: NodeId) {
        let this = &mut self.nodes[node.0 as usize];
        if this.opening.take().is_none() {
            return;
        }
        this.life += 1;
        self.trace(node, || "the daemon is killed while it starts".to_owned());
        self.marks.count("daemons killed while they started");
        self.orphan_log(node);
    }

    fn orphan_log(&mut self, node: NodeId) {
        let late = self.options.disk.late;
        let this = &mut self.nodes[node.0 as usize];
        this.log.orphan(&mut this.random);
        if this.log.locked() {
            let wait = this.random.below(late + 1);
            self.queue.after(wait, Event::LogOrphan(node));
        }
    }

    /// The daemon is killed, its cluster log is lost, and an empty one takes its place.
    pub fn lose_log(&mut self, node: NodeId) {
        self.crash(node, false);
        self.trace(node, || "its cluster log is lost".to_owned());
        let this = &mut self.nodes[node.0 as usize];
        this.lost_logs += 1;
        this.log = LogFile::new(super::member::format(node, this.lost_logs));
    }

    /// The machine goes down, its disk is taken out, and a new, empty one comes in its place.
    pub fn replace_disk(&mut self, node: NodeId) {
        let this = self.node(node);
        let known = this.shelf.iter().map(|(store, _)| *store).chain(this.store);
        let Some(newest) = known.max() else { return };
        let store = StoreId(newest.0 + 0x100);
        let disk = self.make_store(node, store);
        self.change_disk(node, store, disk);
    }

    /// The machine goes down, and a disk that was taken out comes back, with what was on it then.
    /// Says whether there is one.
    pub fn put_disk_back(&mut self, node: NodeId) -> bool {
        let shelf = self.node(node).shelf.len();
        if shelf == 0 {
            return false;
        }
        let at = self.random.index(shelf);
        let (store, disk) = self.nodes[node.0 as usize].shelf.swap_remove(at);
        self.change_disk(node, store, disk);
        true
    }

    fn change_disk(&mut self, node: NodeId, store: StoreId, disk: Disk) {
        self.power_off(node);
        self.trace(node, || format!("another disk, with store {}", store.0));
        let this = &mut self.nodes[node.0 as usize];
        let old = (this.store.replace(store), this.disk.replace(disk));
        if let (Some(store), Some(disk)) = old {
            this.shelf.push((store, disk));
        }
    }

    /// The machine loses its power.
    pub fn power_off(&mut self, node: NodeId) {
        let now = self.now();
        if !self.node(node).powered {
            return;
        }
        self.trace(node, || "the machine loses its power".to_owned());
        let run = self.take_run(node);
        let this = &mut self.nodes[node.0 as usize];
        this.opening = None;
        this.life += 1;
        this.powered = false;
        let boot = this.boot;
        this.lost.push((boot, now));
        if let Some(disk) = &mut this.disk {
            disk.power_loss(&mut this.random);
        }
        this.log.power_loss(&mut this.random);
        if let Some(run) = run {
            // Nobody is told but by silence.
            self.end_links(node, run.number, (20 * MILLI, 500 * MILLI));
        }
    }

    fn take_run(&mut self, node: NodeId) -> Option<Box<Run>> {
        let this = &mut self.nodes[node.0 as usize];
        let run = this.run.take()?;
        this.life += 1;
        self.known.able[node.0 as usize] = None;
        for piece in run.pending.iter().flatten().chain(&run.backlog) {
            self.unanswered(piece);
        }
        for client in 0..self.clients.len() {
            let client_run = self.clients[client].run;
            if self.clients[client].node == node && client_run == Some(run.number) {
                self.client_dropped(client, false);
            }
        }
        Some(run)
    }

    /// Threads of a node do nothing for a while.
    pub fn stop(&mut self, node: NodeId, parts: &[Part], span: Instant) {
        let now = self.now();
        let Some(run) = self.nodes[node.0 as usize].run.as_mut() else {
            return;
        };
        let number = run.number;
        for &part in parts {
            let until = run.stopped[part as usize].max(now + span);
            run.stopped[part as usize] = until;
            if part == Part::Reactor {
                run.stopped_since = now;
            }
            let place = Place {
                node,
                run: number,
                part,
            };
            self.queue.push(until, Event::Resume(place));
        }
        self.trace(node, || {
            format!("{parts:?} stopped for {} us", span / MICRO)
        });
    }
}
