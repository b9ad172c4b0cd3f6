//! From notes of what is still to be written to pages, one write at a time.

use super::Log;
use crate::member::io::Page;
use crate::member::log::page::{self, Body, ENTRIES_MAX};
use crate::member::log::{Ballot, PAGE, SnapshotAt, header};
use crate::types::{Incarnation, Index};

/// What a write makes durable when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) ticket: u64,
    pub(super) ballot: Ballot,
    pub(super) last: Index,
    pub(super) incarnation: Incarnation,
    pub(super) base: Index,
}

/// A snapshot that is to be written.
#[derive(Clone, Debug)]
pub(super) struct Compaction {
    /// None: the snapshot stays, the entries are written closer together.
    pub(super) snapshot: Option<SnapshotAt>,
}

impl Log {
    /// The pages of what is not durable yet, with the write's ticket; none while one is under way
    /// or if there is nothing to write.
    pub(in crate::member) fn write(&mut self) -> Option<(u64, Vec<Page>)> {
        if self.writing.is_some() {
            return None;
        }
        let last = self.last().index;
        let mut pages = Vec::new();
        if let Some(number) = self.torn.take() {
            // Torn once more, with sectors of both writes, it could not be told from a damaged one.
            let bytes = Box::new([0; PAGE]);
            pages.push(Page { number, bytes });
        }
        if self.staged_incarnation != self.incarnation {
            let header = header::Header {
                identity: self.identity,
                geometry: self.geometry,
                incarnation: self.incarnation,
                id: self.id,
            };
            // Both: no single damaged page makes a number come back.
            pages.extend([header.page(0), header.page(1)]);
        }
        if let Some(compaction) = self.compaction.take() {
            self.write_compacted(&compaction, &mut pages);
        } else if self.staged != last || self.staged_ballot != self.ballot {
            let first = Index(self.staged.0.max(self.base.index.0) + 1);
            self.write_entries(first, self.snapshot, None, &mut pages);
        }
        if pages.is_empty() {
            return None;
        }
        self.ticket += 1;
        self.staged = last;
        self.staged_ballot = self.ballot;
        self.staged_incarnation = self.incarnation;
        self.writing = Some(Writing {
            ticket: self.ticket,
            ballot: self.ballot,
            last,
            incarnation: self.incarnation,
            base: self.snapshot.last.index,
        });
        Some((self.ticket, pages))
    }

    /// The write has ended.
    pub(in crate::member) fn written(&mut self, ticket: u64) {
        let Some(writing) = self.writing.take() else {
            return;
        };
        assert!(writing.ticket == ticket, "one write at a time");
        self.durable = self.durable.max(writing.last);
        self.durably_begun |= self.durable > Index(0);
        self.durable_ballot = writing.ballot;
        self.durable_incarnation = writing.incarnation;
        self.durable_base = writing.base;
    }

    /// The snapshot, then all entries after it on fresh pages. Only the last of these lets go of
    /// the older pages and names the snapshot: a crash before it leaves everything as it was.
    fn write_compacted(&mut self, compaction: &Compaction, pages: &mut Vec<Page>) {
        let snapshot = compaction.snapshot.unwrap_or(self.snapshot);
        if compaction.snapshot.is_some() {
            let first = self.geometry.area(snapshot.area);
            for (at, part) in self.state.chunks(PAGE).enumerate() {
                let mut bytes = Box::new([0; PAGE]);
                bytes[..part.len()].copy_from_slice(part);
                let number = first + at as u32;
                pages.push(Page { number, bytes });
            }
        }
        let tail = self.sequence + 1;
        let first = Index(self.base.index.0 + 1);
        self.write_entries(first, snapshot, Some(tail), pages);
        self.snapshot = snapshot;
        self.tail = tail;
        self.dense = self.sequence + 1 - tail;
    }

    /// Entries from `first` on, on as many pages as they need, at least one. The last page names
    /// `snapshot` and `tail`.
    fn write_entries(
        &mut self,
        first: Index,
        snapshot: SnapshotAt,
        tail: Option<u64>,
        pages: &mut Vec<Page>,
    ) {
        let mut bodies = vec![self.body(first)];
        let mut room = ENTRIES_MAX;
        let before = Index(first.0 - 1);
        for (index, entry) in self.after(before) {
            let size = entry.size();
            if size > room {
                bodies.push(self.body(index));
                room = ENTRIES_MAX;
            }
            room = room.saturating_sub(size);
            if let Some(body) = bodies.last_mut() {
                body.entries.push(entry.clone());
            }
        }
        if let (Some(body), Some(tail)) = (bodies.last_mut(), tail) {
            body.snapshot = snapshot;
            body.tail = tail;
        }
        for mut body in bodies {
            self.sequence += 1;
            assert!(
                self.sequence - self.tail < u64::from(self.geometry.ring_pages),
                "the ring never writes over what counts"
            );
            body.sequence = self.sequence;
            pages.push(Page {
                number: self.geometry.slot(self.sequence),
                bytes: page::encode(&body, &self.identity),
            });
        }
    }

    fn body(&self, first: Index) -> Body {
        Body {
            sequence: 0,
            tail: self.tail,
            term: self.ballot.term,
            vote: self.ballot.vote,
            snapshot: self.snapshot,
            first,
            entries: Vec::new(),
        }
    }
}
