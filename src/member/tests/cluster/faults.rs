//! What befalls a cluster.

use std::time::Duration;

use super::{Cluster, Happening, new_log, put};
use crate::member::io::{DeathNotice, PulseDatagram};
use crate::types::{Incarnation, NodeId};

impl Cluster {
    /// `kill -9`: what was submitted to the disk still lands.
    pub(in crate::member::tests) fn kill(&mut self, node: usize) {
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
    pub(in crate::member::tests) fn power_off(&mut self, node: usize) {
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

    /// The daemon dies, and its log is lost: an empty one takes its place.
    pub(in crate::member::tests) fn lose_log(&mut self, node: usize) {
        self.kill(node);
        self.nodes[node].lost += 1;
        self.nodes[node].disk.fill(0);
        for page in new_log(node, self.nodes[node].lost) {
            put(&mut self.nodes[node].disk, &page);
        }
    }

    /// What the parent sends when the daemon has died.
    pub(in crate::member::tests) fn death_notice(&mut self, node: usize, incarnation: Incarnation) {
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

    pub(in crate::member::tests) fn pause(&mut self, node: usize, span: Duration) {
        self.nodes[node].paused = self.now.after(span);
    }

    pub(in crate::member::tests) fn cut(&mut self, a: usize, b: usize) {
        self.network.cut.extend([(a, b), (b, a)]);
    }

    pub(in crate::member::tests) fn heal(&mut self) {
        self.network.cut.clear();
    }
}
