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
    /// A node's core has been stepped: what it has taken for agreed since is what all do.
    pub(super) fn saw_entries(&mut self, node: NodeId) {
        let this = &mut self.nodes[node.0 as usize];
        let Some(run) = this.run.as_mut() else { return };
        let applied = run.core.applied();
        let news = run.applied.0 + 1..=applied.0;
        run.applied = applied;
        let mut other = None;
        for index in news.map(Index) {
            if let Some(sum) = run.core.entry_checksum(index)
                && *self.known.entries.entry(index).or_insert(sum) != sum
            {
                other = other.or(Some(index));
            }
        }
        if let Some(index) = other {
            let text = format!("entry {index} of n{} is not the one that took effect elsewhere", node.0);
            self.fail("log", text);
        }
    }

    /// A node was told of a record.
    pub(super) fn saw_record(&mut self, node: NodeId, record: VolumeRecord) {
        let entry = record.last_entry;
        if let Some(run) = self.nodes[node.0 as usize].run.as_mut() {
            if entry.0 <= run.newest.0 {
                let before = run.newest.0;
                return self.fail(
                    "records",
                    format!("n{} was told of entry {entry} after entry {before}", node.0),
                );
            }
            run.newest.0 = entry.0;
        }
        if let Some(known) = self.known.records.get(&entry) {
            if *known != record {
                let text = format!("entry {entry} is {known:?} and, on n{}, {record:?}", node.0);
                self.fail("records", text);
            }
            return;
        }
        let before = self.known.records.range(..entry).next_back();
        let before = before.map(|(_, record)| record.clone());
        if record.in_sync().next().is_none() {
            self.fail("records", format!("nothing is in sync: {record:?}"));
        }
        if let Some(grant) = record.primary {
            let known = self.known.grants.insert(record.term, grant);
            if known.is_some_and(|known| known != grant) {
                let text = format!(
                    "term {} was granted twice: {known:?} {grant:?}",
                    record.term
                );
                self.fail("records", text);
            }
        }
        let losses = before.as_ref().map_or(0, |before| before.losses);
        if record.losses > losses
            && let Some(before) = &before
        {
            self.power_was_lost(before, &record);
        }
        if let Some(before) = before
            && record.losses == before.losses
            && record.in_sync().count() < before.in_sync().count()
        {
            // A replica may leave only when all others have flushed what was acknowledged with it:
            // as good as a flush. Not so of a last copy whose flush failed, while the store of the one
            // that leaves is gone: no client's flush succeeds any more either.
            if !record.in_sync().any(|rest| self.has_failed(rest.node)) {
                self.flushed_all();
            }
            self.known.shrunk = self.now();
        }
        self.known.records.insert(entry, record);
        self.ambush(None);
    }

    fn flushed_all(&mut self) {
        let now = self.now();
        self.history.flushed(now, now);
        self.own_flushed(now);
    }

    /// The log says that every in-sync replica has lost power: true?
    fn power_was_lost(&mut self, before: &VolumeRecord, after: &VolumeRecord) {
        let mut at = 0;
        for replica in before.in_sync() {
            let ReplicaState::InSync { boot } = replica.state else {
                continue;
            };
            match self.node(replica.node).lost_power(boot) {
                Some(lost) => at = at.max(lost),
                None => {
                    return self.fail(
                        "power",
                        format!(
                            "n{} has kept its power, but is taken as lost: {before:?} {after:?}",
                            replica.node.0
                        ),
                    );
                }
            }
        }
        // One that lost it while the others' leaving was being decided had flushed before.
        at = at.max(self.known.shrunk + 1);
        self.trace_world(|| format!("every in-sync replica had lost power at {at}"));
        self.history.crashed(at);
        self.own_crashed(at);
        self.marks.count("losses of all in-sync replicas");
        self.check_lost_alike(after);
    }

    /// Each may have lost something else than the others: only those may still be in sync that hold
    /// the same. Nothing has been served since.
    fn check_lost_alike(&mut self, after: &VolumeRecord) {
        let in_sync: Vec<NodeId> = after.in_sync().map(|replica| replica.node).collect();
        if let Some((a, b, block)) = self.difference(&in_sync) {
            let text = format!(
                "after a loss of all n{} and n{} are in sync, and differ in block {block}: {after:?}",
                a.0, b.0
            );
            self.fail("power", text);
        }
    }

    /// A node was told of a view.
    pub(super) fn saw_view(&mut self, node: NodeId, view: View) {
        if let Some(run) = self.nodes[node.0 as usize].run.as_mut() {
            if view.number <= run.newest.1 && view.number > 0 {
                let before = run.newest.1;
                return self.fail(
                    "views",
                    format!(
                        "n{} was told of view {} after {before}",
                        node.0, view.number
                    ),
                );
            }
            run.newest.1 = view.number;
        }
        match self.known.views.get(&view.number) {
            Some(known) if *known != view => {
                let text = format!("on n{} {view:?}, elsewhere {known:?}", node.0);
                self.fail("views", text);
            }
            Some(_) => {}
            None => {
                self.known.views.insert(view.number, view);
                self.ambush(None);
            }
        }
    }

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
    fn difference(&self, nodes: &[NodeId]) -> Option<(NodeId, NodeId, u32)> {
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
