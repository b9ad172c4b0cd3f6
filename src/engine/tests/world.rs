//! A few volumes, instant disks, links that keep order, and a log that says yes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::engine::io::*;
use crate::engine::{Canaries, Timing, Volume, VolumeConfig};
use crate::member::io::{Member, View};
use crate::meta::superblock::Superblock;
use crate::meta::{self, PAGE};
use crate::record::*;
use crate::types::*;
use crate::wire::frame::{Ask, Change, Frame};

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

    // Machines.

    /// Starts a node's daemon.
    pub fn start(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        assert!(n.volume.is_none());
        n.incarnation += 10;
        n.bufs.clear();
        n.asked.clear();
        n.client = None;
        let store = &n.store;
        let recovered = (!store.is_empty()).then(|| {
            let mut read = |offset: u64, into: &mut [u8]| {
                let at = offset as usize;
                into.copy_from_slice(&store[at..at + into.len()]);
                Ok(())
            };
            meta::recover(&mut read, store.len() as u64).unwrap()
        });
        let config = VolumeConfig {
            me: NodeId(node as u8),
            boot: BootId(n.boot),
            incarnation: Incarnation(n.incarnation),
            id: VOLUME,
            name: String::from("v"),
            size: self.size,
            shared: self.shared,
            timing: Timing::for_suspicion(D),
            canaries: self.canaries,
        };
        n.volume = Some(Volume::new(config, recovered, self.now));
        self.tell_views();
        let record = self.record.clone();
        self.queue.push_back(Item::Record(node, record));
        self.tell_hearing();
        self.run();
    }

    /// Kills a node's daemon; its disk operations that were begun have ended.
    pub fn kill(&mut self, node: usize) {
        let held = std::mem::take(&mut self.nodes[node].held_disk);
        for (_, op) in held {
            self.disk_act(node, op);
        }
        self.nodes[node].hold_disk = false;
        self.nodes[node].hold_meta = false;
        self.nodes[node].volume = None;
        let links: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, link)| link.opener == node || link.other == node)
            .map(|(&id, _)| id)
            .collect();
        for id in links {
            self.break_link(id, Some(node));
        }
        let gone = |item: &Item| match item {
            Item::Event(n, _) | Item::Frame(n, ..) | Item::Record(n, _) => *n == node,
        };
        self.queue.retain(|item| !gone(item));
        self.held.retain(|item| !gone(item));
        self.tell_views();
        self.tell_hearing();
    }

    /// Takes a node's power: what was not flushed is gone, and its boot is another one.
    pub fn power_off(&mut self, node: usize) {
        self.nodes[node].held_disk.clear();
        self.kill(node);
        let n = &mut self.nodes[node];
        n.store.clone_from(&n.durable);
        n.boot += 100_000;
    }

    fn hears(&self, a: usize, b: usize) -> bool {
        self.nodes[a].volume.is_some()
            && self.nodes[b].volume.is_some()
            && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn tell_hearing(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..self.nodes.len() {
                if a != b && self.nodes[a].volume.is_some() {
                    let heard = self.hears(a, b);
                    let node = NodeId(b as u8);
                    self.queue
                        .push_back(Item::Event(a, Event::Hearing { node, heard }));
                }
            }
        }
    }

    fn tell_views(&mut self) {
        self.view += 1;
        let members = self.nodes.iter().enumerate();
        let members = members
            .filter(|(_, n)| n.volume.is_some())
            .map(|(at, n)| Member {
                node: NodeId(at as u8),
                incarnation: Incarnation(n.incarnation),
                boot: BootId(n.boot),
            });
        let view = View {
            number: self.view,
            members: members.collect(),
        };
        for at in 0..self.nodes.len() {
            self.act(at, |volume, now, out| volume.set_view(now, &view, out));
        }
    }

    pub fn cut(&mut self, a: usize, b: usize) {
        self.cut.push((a.min(b), a.max(b)));
        self.tell_hearing();
    }

    /// `at` no longer hears `node`, over links that still carry what it sends.
    pub fn deafen(&mut self, at: usize, node: usize) {
        let node = NodeId(node as u8);
        let event = Event::Hearing { node, heard: false };
        self.queue.push_back(Item::Event(at, event));
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        self.tell_hearing();
        self.run();
    }

    /// Breaks every link between two nodes.
    pub fn break_links(&mut self, a: usize, b: usize) {
        let links: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, l)| (l.opener, l.other) == (a, b) || (l.opener, l.other) == (b, a))
            .map(|(&id, _)| id)
            .collect();
        for id in links {
            self.break_link(id, None);
        }
    }

    /// Both ends learn it, but `silent`; what is under way to `silent`, or to both, is lost.
    fn break_link(&mut self, id: u32, silent: Option<usize>) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        let of = |item: &Item| matches!(item, Item::Frame(_, l, ..) if l.0 == id);
        self.queue.retain(|item| !of(item));
        self.held.retain(|item| !of(item));
        for (end, peer, direction) in [
            (link.opener, link.other, Direction::Out),
            (link.other, link.opener, Direction::In),
        ] {
            if Some(end) != silent {
                let event = Event::LinkDown {
                    link: Some(LinkId(id)),
                    peer: NodeId(peer as u8),
                    direction,
                };
                self.queue.push_back(Item::Event(end, event));
            }
        }
    }

    // The log.

    pub fn promote(&mut self, node: usize) {
        let grant = Grant {
            node: NodeId(node as u8),
            incarnation: Incarnation(self.nodes[node].incarnation),
            boot: BootId(self.nodes[node].boot),
        };
        let prev = self.record.last_entry;
        self.commit(
            prev,
            VolumeChange::Promote {
                grant,
                after_power_loss: false,
            },
        );
        self.run();
    }

    pub fn promote_after_power_loss(&mut self, node: usize) {
        let grant = Grant {
            node: NodeId(node as u8),
            incarnation: Incarnation(self.nodes[node].incarnation),
            boot: BootId(self.nodes[node].boot),
        };
        let prev = self.record.last_entry;
        let change = VolumeChange::Promote {
            grant,
            after_power_loss: true,
        };
        self.commit(prev, change);
        self.run();
    }

    pub fn commit(&mut self, prev: Index, change: VolumeChange) {
        if prev != self.record.last_entry {
            return;
        }
        let record = &mut self.record;
        let entry = Index(record.last_entry.0 + 1);
        let boot_of = |n: NodeId| BootId(self.nodes[usize::from(n.0)].boot);
        let state = |record: &mut VolumeRecord, node: NodeId, state| {
            for replica in &mut record.replicas {
                if replica.node == node {
                    replica.state = state;
                }
            }
        };
        match change {
            VolumeChange::Promote {
                grant,
                after_power_loss,
            } => {
                record.term = Term(record.term.0 + 1);
                record.primary = Some(grant);
                if after_power_loss {
                    for replica in &mut record.replicas {
                        replica.state = if replica.node == grant.node {
                            ReplicaState::InSync {
                                boot: boot_of(grant.node),
                            }
                        } else {
                            ReplicaState::Behind { since: entry }
                        };
                    }
                    record.sessions.clear();
                    record.losses += 1;
                }
            }
            VolumeChange::Demote { .. } => record.primary = None,
            VolumeChange::Shrink { term, replicas } => {
                if term != record.term || record.in_sync().count() <= replicas.len() {
                    return;
                }
                for replica in replicas.iter() {
                    state(record, replica, ReplicaState::Behind { since: entry });
                }
            }
            VolumeChange::Grow {
                term,
                replica,
                boot,
                ..
            } => {
                if term != record.term {
                    return;
                }
                state(record, replica, ReplicaState::InSync { boot });
            }
            VolumeChange::Replace { replica, store } => {
                for r in &mut record.replicas {
                    if r.node == replica {
                        r.store = store;
                        r.state = ReplicaState::New;
                    }
                }
            }
            VolumeChange::OpenSession { session } => {
                let shared = record.shared;
                record
                    .sessions
                    .retain(|s| shared && s.gateway != session.gateway);
                record.sessions.push(session);
                record.openings += 1;
            }
        }
        record.last_entry = entry;
        for at in 0..self.nodes.len() {
            self.queue.push_back(Item::Record(at, self.record.clone()));
        }
    }

    pub fn release_log(&mut self) {
        self.hold_log = false;
        for (prev, change) in std::mem::take(&mut self.held_log) {
            self.commit(prev, change);
        }
        self.run();
    }

    // Clients.

    pub fn ask(&mut self, node: usize, ask: Ask, offset: u64, data: &[u8], len: u32) -> u32 {
        self.next_tag += 1;
        let tag = self.next_tag;
        let extent = Extent { offset, len };
        let buf = if matches!(
            ask,
            Ask::Change {
                change: Change::Write,
                ..
            }
        ) {
            let mut bytes = vec![0xee; extent.blocks().len as usize];
            let skip = (offset % BLOCK) as usize;
            bytes[skip..skip + len as usize].copy_from_slice(data);
            self.nodes[node].buf(bytes)
        } else {
            Buf::NONE
        };
        let n = &mut self.nodes[node];
        if n.client.is_none() {
            self.client(node);
        }
        self.nodes[node].asked.insert(tag, (ask, extent));
        let event = Event::Request {
            tag: Tag(tag),
            ask,
            extent,
            buf,
        };
        self.queue.push_back(Item::Event(node, event));
        tag
    }

    fn client(&mut self, node: usize) {
        self.next_tag += 1;
        let client = ClientId(self.next_tag);
        self.nodes[node].client = Some(client);
        self.queue
            .push_back(Item::Event(node, Event::ClientCame { client }));
        self.run();
    }

    pub fn write_begin(&mut self, node: usize, offset: u64, data: &[u8]) -> u32 {
        let ask = Ask::Change {
            change: Change::Write,
            fua: false,
        };
        self.ask(node, ask, offset, data, data.len() as u32)
    }

    /// A write that must succeed.
    pub fn write(&mut self, node: usize, offset: u64, data: &[u8]) {
        let tag = self.write_begin(node, offset, data);
        self.run();
        assert_eq!(self.result(node, tag), Some(0), "write at {offset}");
    }

    pub fn change(&mut self, node: usize, change: Change, offset: u64, len: u32) {
        let tag = self.ask(node, Ask::Change { change, fua: false }, offset, &[], len);
        self.run();
        assert_eq!(self.result(node, tag), Some(0));
    }

    pub fn flush(&mut self, node: usize) {
        let tag = self.ask(node, Ask::Flush, 0, &[], 0);
        self.run();
        assert_eq!(self.result(node, tag), Some(0));
    }

    pub fn read(&mut self, node: usize, offset: u64, len: u32) -> Vec<u8> {
        let tag = self.ask(node, Ask::Read, offset, &[], len);
        self.run();
        let (errno, data) = self.nodes[node]
            .replies
            .get(&tag)
            .cloned()
            .expect("read was not answered");
        assert_eq!(errno, 0);
        data
    }

    pub fn result(&self, node: usize, tag: u32) -> Option<u16> {
        self.nodes[node].replies.get(&tag).map(|reply| reply.0)
    }

    /// What a replica's disk holds.
    pub fn data(&self, node: usize, offset: u64, len: usize) -> &[u8] {
        let at = meta::layout(self.size).data + offset;
        &self.nodes[node].store[at as usize..at as usize + len]
    }

    /// Every in-sync replica holds the same.
    pub fn assert_equal(&self, nodes: &[usize]) {
        for pair in nodes.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let size = self.size as usize;
            let block = self
                .data(a, 0, size)
                .chunks(BLOCK as usize)
                .zip(self.data(b, 0, size).chunks(BLOCK as usize))
                .position(|(x, y)| x != y);
            assert_eq!(block, None, "nodes {a} and {b} differ in this block");
        }
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
                    if self.hold.contains(&(from, to))
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

    fn effect(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Reply { tag, errno, buf } => {
                let n = &mut self.nodes[node];
                let (ask, extent) = n.asked.remove(&tag.0).expect("answered twice");
                let data = if ask == Ask::Read && errno == 0 {
                    let bytes = n.bufs[buf.0 as usize].as_ref().unwrap();
                    let skip = (extent.offset % BLOCK) as usize;
                    bytes[skip..skip + extent.len as usize].to_vec()
                } else {
                    Vec::new()
                };
                n.replies.insert(tag.0, (errno, data));
            }
            Effect::Disk { id, op } => {
                if self.nodes[node].hold_meta && matches!(op, DiskOp::Meta { .. }) {
                    return;
                }
                if self.nodes[node].hold_disk {
                    // Written from as it is now.
                    self.nodes[node].held_disk.push((id, op));
                    if let DiskOp::Write { .. } | DiskOp::Meta { .. } = op {
                        self.disk_act(node, op);
                    }
                } else {
                    self.disk_act(node, op);
                    self.disk_done(node, id, op);
                }
            }
            Effect::Send { link, frame, buf } => {
                self.sent += 1;
                match frame {
                    Frame::Copy { .. } => self.copied += u64::from(frame.payload_len()),
                    Frame::Compare { .. } => self.compares += 1,
                    _ => {}
                }
                let Some(known) = self.links.get(&link.0) else {
                    return;
                };
                let to = if known.opener == node {
                    known.other
                } else {
                    known.opener
                };
                let len = frame.payload_len() as usize;
                let payload = (len > 0).then(|| {
                    let bytes = self.nodes[node].bufs[buf.0 as usize].as_ref().unwrap();
                    let skip = frame.payload_skip() as usize;
                    bytes[skip..skip + len].to_vec()
                });
                self.queue.push_back(Item::Frame(to, link, frame, payload));
            }
            Effect::Connect { peer } => {
                let to = usize::from(peer.0);
                if self.hears(node, to) {
                    self.next_link += 1;
                    let link = LinkId(self.next_link);
                    self.links.insert(
                        self.next_link,
                        Link {
                            opener: node,
                            other: to,
                        },
                    );
                    for (at, peer, direction) in
                        [(to, node, Direction::In), (node, to, Direction::Out)]
                    {
                        let incarnation = Incarnation(self.nodes[peer].incarnation);
                        let event = Event::LinkUp {
                            link,
                            peer: NodeId(peer as u8),
                            incarnation,
                            direction,
                        };
                        self.queue.push_back(Item::Event(at, event));
                    }
                } else {
                    let event = Event::LinkDown {
                        link: None,
                        peer,
                        direction: Direction::Out,
                    };
                    self.queue.push_back(Item::Event(node, event));
                }
            }
            Effect::Close { link } => {
                let Some(known) = self.links.remove(&link.0) else {
                    return;
                };
                let (end, direction) = if known.opener == node {
                    (known.other, Direction::In)
                } else {
                    (known.opener, Direction::Out)
                };
                // Frames that were sent before arrive first; those to the closer do not.
                let mut kept = VecDeque::new();
                for item in std::mem::take(&mut self.queue) {
                    match item {
                        Item::Frame(to, l, frame, payload) if l == link => {
                            if to == end && payload.is_none() {
                                let buf = Buf::NONE;
                                kept.push_back(Item::Event(end, Event::Frame { link, frame, buf }));
                            }
                        }
                        other => kept.push_back(other),
                    }
                }
                self.queue = kept;
                let event = Event::LinkDown {
                    link: Some(link),
                    peer: NodeId(node as u8),
                    direction,
                };
                self.queue.push_back(Item::Event(end, event));
            }
            Effect::Patch {
                from,
                from_at,
                to,
                to_at,
                len,
            } => {
                let n = &mut self.nodes[node];
                let bytes = n.bufs[from.0 as usize].as_ref().unwrap()
                    [from_at as usize..(from_at + len) as usize]
                    .to_vec();
                n.bufs[to.0 as usize].as_mut().unwrap()[to_at as usize..(to_at + len) as usize]
                    .copy_from_slice(&bytes);
            }
            Effect::Clear { buf, at, len } => {
                let n = &mut self.nodes[node];
                n.bufs[buf.0 as usize].as_mut().unwrap()[at as usize..(at + len) as usize].fill(0);
            }
            Effect::Release { buf } => {
                let place = &mut self.nodes[node].bufs[buf.0 as usize];
                assert!(place.take().is_some(), "released twice");
            }
            Effect::DisconnectClients => {
                self.nodes[node].disconnected += 1;
                if let Some(client) = self.nodes[node].client.take() {
                    self.queue
                        .push_back(Item::Event(node, Event::ClientWent { client }));
                }
            }
            Effect::Propose { prev, change } => {
                if self.hold_log {
                    self.held_log.push((prev, change));
                } else {
                    self.commit(prev, change);
                }
            }
            Effect::Note(note) => self.notes.push((node, note)),
        }
    }

    fn disk_act(&mut self, node: usize, op: DiskOp) {
        let data = meta::layout(self.size).data;
        let n = &mut self.nodes[node];
        if n.fail_disk.is_some() {
            return;
        }
        match op {
            DiskOp::Read { .. } => {}
            DiskOp::Write { extent, buf } => {
                let at = (data + extent.offset) as usize;
                let len = extent.len as usize;
                let Some(bytes) = n.bufs[buf.0 as usize].as_ref() else {
                    return;
                };
                n.store[at..at + len].copy_from_slice(&bytes[..len]);
            }
            DiskOp::Zero { extent, .. } => {
                let at = (data + extent.offset) as usize;
                n.store[at..at + extent.len as usize].fill(0);
            }
            DiskOp::Flush => n.durable.clone_from(&n.store),
            DiskOp::Meta { offset, page } => {
                let Some(volume) = &n.volume else { return };
                let bytes = volume.page(page);
                let at = offset as usize;
                n.store[at..at + PAGE].copy_from_slice(bytes);
                n.durable[at..at + PAGE].copy_from_slice(bytes);
            }
        }
    }

    fn disk_done(&mut self, node: usize, id: DiskId, op: DiskOp) {
        let data = meta::layout(self.size).data;
        let n = &mut self.nodes[node];
        let errno = n.fail_disk.unwrap_or(0);
        let (mut buf, mut content) = (Buf::NONE, Content::Data);
        if let DiskOp::Read { extent, probe } = op
            && errno == 0
        {
            let at = (data + extent.offset) as usize;
            let bytes = n.store[at..at + extent.len as usize].to_vec();
            content = super::look(probe, &bytes);
            buf = n.buf(bytes);
        }
        if let DiskOp::Zero { .. } | DiskOp::Flush = op {
            self.disk_act(node, op);
        }
        let event = Event::Disk {
            id,
            errno,
            buf,
            content,
        };
        self.queue.push_back(Item::Event(node, event));
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

/// An empty store.
pub(super) fn blank_store(node: usize, store: u128, size: u64) -> Vec<u8> {
    let layout = meta::layout(size);
    let mut bytes = vec![0; layout.store_bytes(size) as usize];
    let superblock = Superblock {
        cluster: 1,
        volume: VOLUME,
        store: StoreId(store),
        node: NodeId(node as u8),
        size,
        layout,
        term: Term(0),
        generation: 1,
        dirty: [None; 7],
    };
    for (offset, page) in meta::format(&superblock) {
        let at = offset as usize;
        bytes[at..at + PAGE].copy_from_slice(&page[..]);
    }
    bytes
}

impl World {
    /// Replaces a node's store by an empty one. The daemon is not running.
    pub fn replace_store(&mut self, node: usize, store: u128) {
        let size = self.size;
        let n = &mut self.nodes[node];
        assert!(n.volume.is_none());
        n.store = blank_store(node, store, size);
        n.durable.clone_from(&n.store);
    }
}
