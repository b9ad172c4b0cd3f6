//! The log in memory, and how far it is on disk.

mod writing;

use writing::{Compaction, Writing};

use super::{Ballot, Geometry, Identity, RecoveredLog, SnapshotAt};
use crate::member::entry::{Command, Entry};
use crate::member::message::LogEnd;
use crate::types::{Incarnation, Index, LogId, NodeId};

/// Entries before the snapshot that stay in memory, for nodes that are a little behind.
const KEPT: u64 = 256;
/// The log of one node. What changes it only takes notes of what is to be written; `write` makes
/// pages of that, one write at a time, so that whatever comes meanwhile shares the next one.
#[derive(Clone, Debug)]
pub(in crate::member) struct Log {
    identity: Identity,
    geometry: Geometry,
    id: LogId,
    incarnation: Incarnation,
    ballot: Ballot,
    /// What comes before the first entry in memory.
    floor: LogEnd,
    entries: Vec<Entry>,
    /// The newest snapshot.
    base: LogEnd,
    state: Vec<u8>,
    snapshot: SnapshotAt,
    /// Number of the newest page.
    sequence: u64,
    /// Number of the oldest page that counts.
    tail: u64,
    /// A page that an earlier run has left torn.
    torn: Option<u32>,
    /// Pages that the last compaction left.
    dense: u64,
    compaction: Option<Compaction>,
    /// Entries up to here were given to `write`.
    staged: Index,
    staged_ballot: Ballot,
    staged_incarnation: Incarnation,
    /// Entries up to here are durable.
    durable: Index,
    durable_ballot: Ballot,
    durable_incarnation: Incarnation,
    /// The newest snapshot that a restart would find holds entries up to here.
    durable_base: Index,
    /// A restart would find the first entry, or a snapshot of it.
    durably_begun: bool,
    writing: Option<Writing>,
    ticket: u64,
}

impl Log {
    /// The log at the start of the daemon.
    pub(in crate::member) fn new(recovered: RecoveredLog) -> Self {
        let base = recovered.snapshot.last;
        let last = Index(base.index.0 + recovered.entries.len() as u64);
        Self {
            identity: recovered.identity,
            geometry: recovered.geometry,
            id: recovered.id,
            incarnation: recovered.incarnation,
            ballot: recovered.ballot,
            floor: base,
            entries: recovered.entries,
            base,
            state: recovered.state,
            snapshot: recovered.snapshot,
            sequence: recovered.sequence,
            tail: recovered.tail,
            torn: recovered
                .torn
                .then(|| recovered.geometry.slot(recovered.sequence + 1)),
            dense: 1,
            compaction: None,
            staged: last,
            staged_ballot: recovered.ballot,
            staged_incarnation: recovered.incarnation,
            durable: last,
            durable_ballot: recovered.ballot,
            durable_incarnation: recovered.incarnation,
            durable_base: base.index,
            durably_begun: last > Index(0),
            writing: None,
            ticket: 0,
        }
    }

    /// Term and vote.
    pub(in crate::member) const fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// Changes term or vote.
    pub(in crate::member) fn set_ballot(&mut self, ballot: Ballot) {
        assert!(ballot.term >= self.ballot.term, "terms only grow");
        self.ballot = ballot;
    }

    /// Term and vote as a restart would find them.
    pub(in crate::member) const fn durable_ballot(&self) -> Ballot {
        self.durable_ballot
    }

    /// The newest incarnation that was taken.
    pub(in crate::member) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Takes a new incarnation; good once it is durable.
    pub(in crate::member) fn set_incarnation(&mut self, incarnation: Incarnation) {
        assert!(
            incarnation > self.incarnation,
            "an incarnation is never used again"
        );
        self.incarnation = incarnation;
    }

    /// The newest incarnation that a restart would rise above.
    pub(in crate::member) const fn durable_incarnation(&self) -> Incarnation {
        self.durable_incarnation
    }

    /// Which file this log is in.
    pub(in crate::member) const fn id(&self) -> LogId {
        self.id
    }

    /// Whether a restart would find the first entry, or a snapshot of it. Once it would, it always
    /// will, also while a snapshot of the leader takes the place of everything.
    pub(in crate::member) const fn is_durably_begun(&self) -> bool {
        self.durably_begun
    }

    /// A restart would know that entries up to here are agreed.
    pub(in crate::member) const fn durable_base(&self) -> Index {
        self.durable_base
    }

    /// The last entry.
    pub(in crate::member) fn last(&self) -> LogEnd {
        self.entries.last().map_or(self.floor, |entry| LogEnd {
            term: entry.term,
            index: Index(self.floor.index.0 + self.entries.len() as u64),
        })
    }

    /// The last entry that the snapshot contains.
    pub(in crate::member) const fn base(&self) -> LogEnd {
        self.base
    }

    /// The snapshot's bytes; none before the first.
    pub(in crate::member) fn snapshot(&self) -> &[u8] {
        &self.state
    }

    /// Most bytes of a snapshot.
    pub(in crate::member) const fn snapshot_max(&self) -> usize {
        self.geometry.snapshot_max()
    }

    /// What comes before the first entry in memory.
    pub(in crate::member) const fn floor(&self) -> LogEnd {
        self.floor
    }

    /// Entries up to here are durable.
    pub(in crate::member) const fn durable(&self) -> Index {
        self.durable
    }

    /// The entry at `index`, if it is in memory.
    pub(in crate::member) fn entry(&self, index: Index) -> Option<&Entry> {
        let at = index.0.checked_sub(self.floor.index.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Term of the entry at `index`, if it is known.
    pub(in crate::member) fn term_at(&self, index: Index) -> Option<u64> {
        if index == self.floor.index {
            return Some(self.floor.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    /// The entries after `index`, in order, with their indexes.
    pub(in crate::member) fn after(&self, index: Index) -> impl Iterator<Item = (Index, &Entry)> {
        let skip = index.0.saturating_sub(self.floor.index.0);
        let entries = self.entries.iter().enumerate().skip(skip as usize);
        let first = self.floor.index.0 + 1;
        entries.map(move |(at, entry)| (Index(first + at as u64), entry))
    }

    /// Adds an entry of the present term.
    pub(in crate::member) fn append(&mut self, command: Command) -> Index {
        let term = self.ballot.term;
        self.entries.push(Entry { term, command });
        self.last().index
    }

    /// Puts an entry of the leader at `index`, where one of another term and all that follow it
    /// give way. True if it was not there yet.
    pub(in crate::member) fn put(&mut self, index: Index, entry: Entry) -> bool {
        if index <= self.floor.index || self.term_at(index) == Some(entry.term) {
            return false;
        }
        let keep = (index.0 - self.floor.index.0 - 1) as usize;
        assert!(
            keep <= self.entries.len() && index > self.base.index,
            "entries follow each other, and a committed one never gives way"
        );
        self.entries.truncate(keep);
        self.entries.push(entry);
        self.undo_to(Index(index.0 - 1));
        true
    }

    /// What was staged or durable after `index` is no longer in the log.
    fn undo_to(&mut self, index: Index) {
        self.staged = self.staged.min(index);
        self.durable = self.durable.min(index);
        if let Some(writing) = &mut self.writing {
            writing.last = writing.last.min(index);
        }
    }

    /// Whether the ring has filled enough that `compact` should be called.
    pub(in crate::member) const fn is_full(&self) -> bool {
        let live = self.sequence + 1 - self.tail;
        self.compaction.is_none() && live > self.dense + self.geometry.ring_pages as u64 / 4
    }

    /// Makes room in the ring: `state` is what all entries up to `applied` add up to.
    pub(in crate::member) fn compact(&mut self, applied: Index, state: Vec<u8>) {
        let term = self.term_at(applied);
        match term {
            Some(term) if applied > self.base.index => {
                let last = LogEnd {
                    term,
                    index: applied,
                };
                self.take_snapshot(last, state);
                let floor = Index(applied.0.saturating_sub(KEPT)).max(self.floor.index);
                self.raise_floor(floor);
            }
            _ => {
                self.compaction.get_or_insert(Compaction { snapshot: None });
            }
        }
    }

    /// Replaces the log up to `last` by a snapshot of the leader. Entries after it stay if they
    /// belong to it.
    pub(in crate::member) fn install(&mut self, last: LogEnd, state: Vec<u8>) {
        assert!(last.index > self.base.index, "snapshots only go forward");
        if self.term_at(last.index) == Some(last.term) {
            self.raise_floor(last.index);
        } else {
            self.entries.clear();
            self.floor = last;
            self.undo_to(self.base.index);
        }
        self.take_snapshot(last, state);
    }

    fn take_snapshot(&mut self, last: LogEnd, state: Vec<u8>) {
        assert!(
            state.len() <= self.snapshot_max(),
            "the leader keeps the state within the smallest area"
        );
        let snapshot = SnapshotAt {
            area: 1 - self.snapshot.area,
            last,
            len: state.len() as u32,
            crc: crc32fast::hash(&state),
        };
        self.base = last;
        self.state = state;
        self.compaction = Some(Compaction {
            snapshot: Some(snapshot),
        });
    }

    fn raise_floor(&mut self, index: Index) {
        let Some(term) = self.term_at(index) else {
            return;
        };
        let gone = (index.0 - self.floor.index.0) as usize;
        self.entries.drain(..gone);
        self.floor = LogEnd { term, index };
    }

    /// The vote of this node in its present term, once a restart would remember it.
    pub(in crate::member) fn durable_vote(&self) -> Option<NodeId> {
        (self.durable_ballot == self.ballot)
            .then_some(self.ballot.vote)
            .flatten()
    }
}
