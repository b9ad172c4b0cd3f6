//! What must hold of the cluster at every moment, looked at as it goes.

use std::collections::BTreeMap;

use steadfast::member::io::View;
use steadfast::meta;
use steadfast::meta::recovered::{Bits, Recovered};
use steadfast::record::{Grant, ReplicaRecord, ReplicaState, VolumeRecord};
use steadfast::types::{Index, NodeId, REGION, Term, Time};

use super::World;
use super::event::Event;
use crate::disk::PAGE;
use crate::queue::{Instant, MILLI};

/// What the oracles know of the cluster.
#[derive(Debug, Default)]
pub struct Known {
    /// Views, by number.
    pub views: BTreeMap<u64, View>,
    /// Checksums of the log's entries that have taken effect anywhere.
    pub entries: BTreeMap<Index, u32>,
    /// The volume's records, by their newest entry.
    pub records: BTreeMap<Index, VolumeRecord>,
    /// Who was granted each term.
    pub grants: BTreeMap<Term, Grant>,
    /// Of each node that may answer clients: in which term, and until when.
    pub able: Vec<Option<(Term, Instant)>>,
    /// When a replica was last seen to leave the in-sync set.
    pub shrunk: Instant,
    /// How many blocks have been compared.
    pub compared: u64,
}

impl Known {
    /// The newest record that any node has been told of.
    #[must_use]
    pub fn record(&self) -> Option<&VolumeRecord> {
        self.records.last_key_value().map(|(_, record)| record)
    }
}

fn bit(bits: &Bits, at: u64) -> bool {
    bits.words
        .get((at / 64) as usize)
        .is_some_and(|word| word >> (at % 64) & 1 == 1)
}

impl World {
    /// Whether the node may answer clients now, and nobody else.
    pub(super) fn check_able(&mut self, node: NodeId) {
        let now = self.now();
        let this = &self.nodes[node.0 as usize];
        let able = this.run.as_ref().and_then(|run| {
            let term = run.volume.serving()?;
            let grant = self.known.grants.get(&term)?;
            if grant.node != node || !run.lease.covers(grant.incarnation, this.clock.at(now)) {
                return None;
            }
            Some((term, this.clock.when(run.lease.until, now)))
        });
        self.known.able[node.0 as usize] = able;
        let Some((term, _)) = able else { return };
        for other in 0..self.nodes.len() {
            if other == node.0 as usize {
                continue;
            }
            if let Some((others, until)) = self.known.able[other]
                && until > now
            {
                return self.fail(
                    "one primary",
                    format!(
                        "n{} may answer in term {term}, and n{other} in term {others} until {until}",
                        node.0
                    ),
                );
            }
        }
    }

    pub(super) fn plan_checkpoints(&mut self) {
        let wait = self.random.within(5 * MILLI, 80 * MILLI);
        self.queue.after(wait, Event::Checkpoint);
    }

    pub(super) fn checkpoint(&mut self) {
        self.check_stores();
        self.plan_checkpoints();
    }

    /// The write-intent invariant, from what is on the disks.
    pub fn check_stores(&mut self) {
        let Some(record) = self.known.record().cloned() else {
            return;
        };
        let mut stores = Vec::new();
        for replica in &record.replicas {
            let Some(disk) = &self.node(replica.node).disk else {
                continue;
            };
            let mut read = |offset, into: &mut [u8]| disk.read_at(offset, into);
            match meta::recover(&mut read, disk.len()) {
                // Another store than the log knows is nobody's replica yet.
                Ok(store) if store.store == replica.store => stores.push((replica, store)),
                Ok(_) => {}
                Err(e) => return self.fail("store", format!("n{}: {e}", replica.node.0)),
            }
        }
        let stores: Vec<Store<'_>> = stores
            .into_iter()
            .map(|(replica, recovered)| Store::new(replica.node, replica.state, recovered, self))
            .collect();
        let mut found = None;
        let mut compared = 0;
        for (at, a) in stores.iter().enumerate() {
            found = found.or_else(|| a.unwritten());
            for b in &stores[at + 1..] {
                found = found.or_else(|| compare(a, b, &mut compared));
            }
        }
        drop(stores);
        self.known.compared += compared;
        if let Some(text) = found {
            self.fail("write intent", format!("{text}; {record:?}"));
        }
    }

    /// All in-sync replicas hold the same, in every block.
    pub fn check_equal(&mut self) {
        let Some(record) = self.known.record().cloned() else {
            return;
        };
        let known = |replica: &&ReplicaRecord| self.node(replica.node).store == Some(replica.store);
        let in_sync: Vec<NodeId> = record.in_sync().filter(known).map(|r| r.node).collect();
        let wrong = self.difference(&in_sync);
        if let Some((a, b, block)) = wrong {
            let text = format!("block {block} differs between n{} and n{}", a.0, b.0);
            self.fail("equal at rest", text);
        }
    }

    /// Two of these nodes whose disks differ, and in which block.
    pub(super) fn difference(&self, nodes: &[NodeId]) -> Option<(NodeId, NodeId, u32)> {
        let first = (self.layout.data / PAGE as u64) as u32;
        nodes.windows(2).find_map(|pair| {
            let a = self.node(pair[0]).disk.as_ref()?;
            let b = self.node(pair[1]).disk.as_ref()?;
            let mut touched = a.touched().chain(b.touched());
            let page = touched.find(|&page| page >= first && !a.same(b, page))?;
            Some((pair[0], pair[1], page - first))
        })
    }

    /// The node that clients' requests go to, as far as it shows.
    #[must_use]
    pub fn primary(&self) -> Option<NodeId> {
        let now = self.now();
        self.nodes.iter().find_map(|node| {
            let run = node.run.as_ref()?;
            let term = run.volume.serving()?;
            let grant = self.known.grants.get(&term)?;
            let shown: Time = node.clock.at(now);
            (grant.node == node.id && run.lease.covers(grant.incarnation, shown)).then_some(node.id)
        })
    }
}

/// A replica's store, as it would be found after a crash now.
struct Store<'a> {
    node: NodeId,
    state: ReplicaState,
    recovered: Recovered,
    active: Bits,
    disk: &'a crate::disk::Disk,
    first: u32,
}

impl<'a> Store<'a> {
    fn new(node: NodeId, state: ReplicaState, recovered: Recovered, world: &'a World) -> Self {
        let regions = recovered.size.div_ceil(REGION);
        let mut active = Bits {
            words: vec![0; regions.div_ceil(64) as usize],
            len: regions,
        };
        for region in recovered.active.iter().flatten() {
            active.words[*region as usize / 64] |= 1 << (region % 64);
        }
        Self {
            node,
            state,
            active,
            disk: world.node(node).disk.as_ref().expect("recovered from it"),
            first: (recovered.layout.data / PAGE as u64) as u32,
            recovered,
        }
    }

    /// Data where nothing was ever written, by the store's own word.
    fn unwritten(&self) -> Option<String> {
        let page = self.disk.touched().find(|page| {
            let Some(block) = page.checked_sub(self.first) else {
                return false;
            };
            let region = u64::from(block) * PAGE as u64 / REGION;
            !bit(&self.recovered.written, region) && self.disk.page(*page).iter().any(|b| *b != 0)
        })?;
        let block = page - self.first;
        Some(format!(
            "n{} says that block {block} was never written",
            self.node.0
        ))
    }

    /// Whether this in-sync store accounts for a difference to one that is out.
    fn tells(&self, out: &Self, block: u64) -> bool {
        let ReplicaState::Behind { since } = out.state else {
            return true;
        };
        let slot = self
            .recovered
            .dirty
            .iter()
            .flatten()
            .find(|slot| slot.replica == out.node && slot.since == since);
        // Without a bitmap since then everything will be copied.
        slot.is_none_or(|slot| bit(&slot.bits, block))
    }
}

/// A difference that nothing accounts for.
fn compare(a: &Store<'_>, b: &Store<'_>, compared: &mut u64) -> Option<String> {
    let (a_in, b_in) = (a.state.is_in_sync(), b.state.is_in_sync());
    if !a_in && !b_in {
        return None;
    }
    let pages = a.disk.touched().chain(b.disk.touched());
    for page in pages.filter(|page| *page >= a.first) {
        *compared += 1;
        if a.disk.same(b.disk, page) {
            continue;
        }
        let block = u64::from(page - a.first);
        let region = block * PAGE as u64 / REGION;
        if bit(&a.active, region) || bit(&b.active, region) {
            continue;
        }
        let told = match (a_in, b_in) {
            (true, false) => a.tells(b, block),
            (false, true) => b.tells(a, block),
            _ => false,
        };
        if !told {
            return Some(format!(
                "block {block} differs between n{} and n{}, and nothing says so",
                a.node.0, b.node.0
            ));
        }
    }
    None
}
