//! Nodes that start, die and lose their power, stores that are replaced, and who hears whom.

use super::{Item, VOLUME, World};
use crate::engine::io::*;
use crate::engine::{Timing, Volume, VolumeConfig};
use crate::member::io::{Member, View};
use crate::meta::superblock::Superblock;
use crate::meta::{self, PAGE};
use crate::types::*;

impl World {
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
            timing: Timing::for_suspicion(super::D),
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

    pub(super) fn hears(&self, a: usize, b: usize) -> bool {
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
        self.tell_view(None);
    }

    /// The view loses a running node and has it again, as where its older run is excluded and the
    /// newer one admitted.
    pub fn readmit(&mut self, node: usize) {
        self.tell_view(Some(node));
        self.tell_views();
    }

    fn tell_view(&mut self, without: Option<usize>) {
        self.view += 1;
        let members = self.nodes.iter().enumerate();
        let members = members
            .filter(|(at, n)| n.volume.is_some() && Some(*at) != without)
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

    /// Replaces a node's store by an empty one. The daemon is not running.
    pub fn replace_store(&mut self, node: usize, store: u128) {
        let size = self.size;
        let n = &mut self.nodes[node];
        assert!(n.volume.is_none());
        n.store = blank_store(node, store, size);
        n.durable.clone_from(&n.store);
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
        failed: None,
    };
    for (offset, page) in meta::format(&superblock) {
        let at = offset as usize;
        bytes[at..at + PAGE].copy_from_slice(&page[..]);
    }
    bytes
}
