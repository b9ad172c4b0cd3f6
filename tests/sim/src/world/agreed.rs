//! What nodes are told was agreed: the same for all of them, and true.

use steadfast::member::io::View;
use steadfast::record::{ReplicaState, VolumeRecord};
use steadfast::types::{Index, NodeId};

use super::World;

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
            let text = format!(
                "entry {index} of n{} is not the one that took effect elsewhere",
                node.0
            );
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
}
