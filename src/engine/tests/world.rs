//! A few volumes, instant disks, links that keep order, and a log that says yes.

mod clients;
mod effects;
mod log;
mod machines;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use machines::blank_store;

use crate::engine::io::*;
use crate::engine::{Canaries, Volume};
use crate::meta::PAGE;
use crate::record::*;
use crate::types::*;
use crate::wire::frame::{Ask, Frame};

pub(super) const VOLUME: VolumeId = VolumeId(7);
pub(super) const D: Duration = Duration::from_millis(90);

pub(super) struct Node {
    pub volume: Option<Volume>,
    pub store: Vec<u8>,
    durable: Vec<u8>,
    pub boot: u128,
    pub incarnation: u64,
    bufs: Vec<Option<Vec<u8>>>,
    pub replies: BTreeMap<u32, (u16, Vec<u8>)>,
    asked: BTreeMap<u32, (Ask, Extent)>,
    pub hold_disk: bool,
    held_disk: Vec<(DiskId, DiskOp)>,
    /// Metadata does not reach the disk any more.
    pub hold_meta: bool,
    pub fail_disk: Option<u16>,
    pub lease: bool,
    pub disconnected: u32,
    client: Option<ClientId>,
}

#[derive(Clone, Copy)]
struct Link {
    opener: usize,
    other: usize,
}

enum Item {
    Event(usize, Event),
    Frame(usize, LinkId, Frame, Option<Vec<u8>>),
    Record(usize, VolumeRecord),
}

pub(super) struct World {
    pub nodes: Vec<Node>,
    pub record: VolumeRecord,
    pub now: Time,
    links: BTreeMap<u32, Link>,
    next_link: u32,
    queue: VecDeque<Item>,
    /// Cut pairs.
    cut: Vec<(usize, usize)>,
    /// Frames of this direction wait.
    pub hold: Vec<(usize, usize)>,
    held: Vec<Item>,
    /// The word that all has been reconciled waits.
    pub hold_reconciled: bool,
    /// Acknowledgements of changes wait.
    pub hold_changed: bool,
    pub hold_log: bool,
    pub held_log: Vec<(Index, VolumeChange)>,
    pub notes: Vec<(usize, Note)>,
    pub canaries: Canaries,
    pub size: u64,
    pub shared: bool,
    view: u64,
    next_tag: u32,
    pub sent: u64,
    /// Bytes that copies carried, and comparisons that were asked for.
    pub copied: u64,
    pub compares: u64,
}

impl World {
    pub fn new(nodes: usize, stores: usize, size: u64) -> Self {
        Self::with(nodes, stores, size, false, Canaries::default())
    }

    pub fn with(nodes: usize, stores: usize, size: u64, shared: bool, canaries: Canaries) -> Self {
        let record = VolumeRecord {
            id: VOLUME,
            name: String::from("v"),
            size,
            shared,
            last_entry: Index(1),
            term: Term(0),
            primary: None,
            replicas: (0..stores)
                .map(|at| ReplicaRecord {
                    node: NodeId(at as u8),
                    store: StoreId(100 + at as u128),
                    state: ReplicaState::InSync {
                        boot: BootId(1000 + at as u128),
                    },
                })
                .collect(),
            sessions: Vec::new(),
            losses: 0,
            openings: 0,
        };
        let mut world = Self {
            nodes: Vec::new(),
            record,
            now: Time(1_000_000_000),
            links: BTreeMap::new(),
            next_link: 0,
            queue: VecDeque::new(),
            cut: Vec::new(),
            hold: Vec::new(),
            held: Vec::new(),
            hold_reconciled: false,
            hold_changed: false,
            hold_log: false,
            held_log: Vec::new(),
            notes: Vec::new(),
            canaries,
            size,
            shared,
            view: 0,
            next_tag: 0,
            sent: 0,
            copied: 0,
            compares: 0,
        };
        for at in 0..nodes {
            let store = if at < stores {
                blank_store(at, 100 + at as u128, size)
            } else {
                Vec::new()
            };
            world.nodes.push(Node {
                volume: None,
                durable: store.clone(),
                store,
                boot: 1000 + at as u128,
                incarnation: 0,
                bufs: Vec::new(),
                replies: BTreeMap::new(),
                asked: BTreeMap::new(),
                hold_disk: false,
                held_disk: Vec::new(),
                hold_meta: false,
                fail_disk: None,
                lease: true,
                disconnected: 0,
                client: None,
            });
        }
        for at in 0..nodes {
            world.start(at);
        }
        world.run();
        world
    }

    /// A cluster whose node 0 is primary and serves.
    pub fn serving(nodes: usize, stores: usize, size: u64) -> Self {
        let mut world = Self::new(nodes, stores, size);
        world.promote(0);
        assert_eq!(world.volume(0).serving(), Some(Term(1)));
        world
    }

    pub fn volume(&self, node: usize) -> &Volume {
        self.nodes[node].volume.as_ref().unwrap()
    }

    // Time and order.

    /// As if it had come from outside.
    pub fn inject(&mut self, node: usize, event: Event) {
        self.queue.push_back(Item::Event(node, event));
        self.run();
    }

    /// Lets time pass, in steps, and everything that comes due happen.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        self.run();
        while self.now < end {
            self.now = end.min(self.now.after(Duration::from_millis(1)));
            for at in 0..self.nodes.len() {
                let due = |v: &Volume| v.deadline() <= self.now;
                if self.nodes[at].volume.as_ref().is_some_and(due) {
                    self.queue.push_back(Item::Event(at, Event::Tick));
                }
            }
            self.run();
        }
    }

    pub fn release_frames(&mut self) {
        self.hold.clear();
        let held = std::mem::take(&mut self.held);
        self.queue.extend(held);
        self.run();
    }

    pub fn release_disk(&mut self, node: usize) {
        self.nodes[node].hold_disk = false;
        for (id, op) in std::mem::take(&mut self.nodes[node].held_disk) {
            self.disk_done(node, id, op);
        }
        self.run();
    }

    /// The oldest operation that is held fails, without an effect.
    pub fn fail_first(&mut self, node: usize) {
        let (id, op) = self.nodes[node].held_disk.remove(0);
        if let DiskOp::Write { extent, .. } = op {
            let at = (crate::meta::layout(self.size).data + extent.offset) as usize;
            let n = &mut self.nodes[node];
            n.store[at..at + extent.len as usize]
                .copy_from_slice(&n.durable[at..at + extent.len as usize]);
        }
        self.nodes[node].fail_disk = Some(5);
        self.disk_done(node, id, op);
        self.nodes[node].fail_disk = None;
        self.run();
    }

    /// As `release_disk`, but of reads only, and what comes next is held again.
    pub fn release_reads(&mut self, node: usize) {
        let held = std::mem::take(&mut self.nodes[node].held_disk);
        let reads = |(_, op): &(DiskId, DiskOp)| matches!(op, DiskOp::Read { .. });
        let (ended, held) = held.into_iter().partition(reads);
        self.nodes[node].held_disk = held;
        let ended: Vec<(DiskId, DiskOp)> = ended;
        for (id, op) in ended {
            self.disk_done(node, id, op);
        }
        self.run();
    }

    pub fn run(&mut self) {
        while let Some(item) = self.queue.pop_front() {
            match item {
                Item::Event(node, event) => {
                    self.act(node, |volume, now, out| volume.step(now, event, out));
                }
                Item::Record(node, record) => {
                    self.act(node, |volume, now, out| {
                        volume.set_record(now, &record, out);
                    });
                }
                Item::Frame(to, link, frame, payload) => {
                    let Some(known) = self.links.get(&link.0) else {
                        continue;
                    };
                    let from = if known.opener == to {
                        known.other
                    } else {
                        known.opener
                    };
                    let waits = match frame {
                        Frame::Reconciled { .. } => self.hold_reconciled,
                        Frame::Changed { .. } => self.hold_changed,
                        _ => false,
                    };
                    if waits
                        || self.hold.contains(&(from, to))
                        || self.cut.contains(&(from.min(to), from.max(to)))
                    {
                        self.held.push(Item::Frame(to, link, frame, payload));
                        continue;
                    }
                    let buf = match payload {
                        None => Buf::NONE,
                        Some(payload) => {
                            let skip = frame.payload_skip() as usize;
                            let mut bytes =
                                vec![0xdd; (skip + payload.len()).next_multiple_of(PAGE)];
                            bytes[skip..skip + payload.len()].copy_from_slice(&payload);
                            self.nodes[to].buf(bytes)
                        }
                    };
                    let event = Event::Frame { link, frame, buf };
                    self.act(to, |volume, now, out| volume.step(now, event, out));
                }
            }
        }
    }

    fn act(&mut self, node: usize, act: impl FnOnce(&mut Volume, Time, &mut Effects)) {
        let mut out = Effects::new();
        let now = self.now;
        let n = &mut self.nodes[node];
        let Some(volume) = &mut n.volume else { return };
        act(volume, now, &mut out);
        let lease = Lease {
            incarnation: Incarnation(n.incarnation),
            until: if n.lease { Time::MAX } else { Time::ZERO },
        };
        volume.settle(now, lease, &mut out);
        for effect in out {
            self.effect(node, effect);
        }
    }
}

impl Node {
    fn buf(&mut self, bytes: Vec<u8>) -> Buf {
        self.bufs.push(Some(bytes));
        Buf((self.bufs.len() - 1) as u32)
    }

    /// Buffers that the engine has not released.
    pub fn bufs_in_use(&self) -> usize {
        self.bufs.iter().flatten().count()
    }
}
