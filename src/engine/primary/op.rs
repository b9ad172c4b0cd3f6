//! One operation of the primary, from its lock to its answer.

use crate::engine::io::{Buf, LinkId};
use crate::types::{Extent, Seq};
use crate::wire::frame::{Ask, Change, Origin};

/// Who gets the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Source {
    /// This node's gateway, by its name for the piece. The buffer stays the gateway's.
    Local(u32),
    /// Another node's gateway. The buffer is the engine's.
    Link { link: LinkId, tag: u32 },
    /// Nobody: the primary's own, or its gateway's link has ended.
    Nobody,
}

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Change,
    Flush,
    /// Overwrites on the others, from this copy, what may differ.
    Reconcile,
    /// A copy to a replica that is resynced.
    Copy {
        peer: u8,
        id: u32,
    },
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not admitted yet: in `held`.
    Held,
    /// Waits for its lock.
    Locking,
    /// Reads what surrounds an unaligned change.
    Edges,
    /// Waits until fewer changes are unstable.
    Crowded,
    /// Reads its data.
    Reading,
    /// A copy whose peer looks whether it has the same.
    Comparing,
    /// A change: on the disk and with the peers. A copy: with the peer.
    Sent,
    /// Done but for a flush (FUA), or a flush.
    Flushing,
    /// Answered; a replica that does not count still owes its acknowledgement.
    Trailing,
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    pub source: Source,
    pub kind: Kind,
    pub state: State,
    pub change: Change,
    pub fua: bool,
    /// What was asked, any alignment.
    pub extent: Extent,
    /// Whole blocks: what is locked, and stored.
    pub blocks: Extent,
    pub origin: Origin,
    pub buf: Buf,
    /// The buffer is given up at the end.
    pub owns_buf: bool,
    pub locked: bool,
    pub seq: Seq,
    /// The local disk has not ended.
    pub local: bool,
    /// Replicas that have not acknowledged, by place in the record.
    pub unacked: u8,
    /// Reads of surroundings in flight.
    pub edges: u8,
    pub errno: u16,
    /// Its session has ended; it was under way already.
    pub displaced: bool,
    /// Its client or replica is gone: no more steps.
    pub cancelled: bool,
}

impl Op {
    pub fn new(source: Source, ask: Ask, extent: Extent, origin: Origin, buf: Buf) -> Self {
        let (kind, change, fua) = match ask {
            Ask::Read => (Kind::Read, Change::Write, false),
            Ask::Change { change, fua } => (Kind::Change, change, fua),
            Ask::Flush => (Kind::Flush, Change::Write, false),
        };
        Self {
            source,
            kind,
            state: State::Held,
            change,
            fua,
            extent,
            blocks: extent.blocks(),
            origin,
            buf,
            owns_buf: matches!(source, Source::Link { .. }),
            locked: false,
            seq: Seq(0),
            local: false,
            unacked: 0,
            edges: 0,
            errno: 0,
            displaced: false,
            cancelled: false,
        }
    }

    /// One of the primary's own.
    pub fn own(kind: Kind, extent: Extent, origin: Origin) -> Self {
        Self {
            kind,
            owns_buf: true,
            ..Self::new(Source::Nobody, Ask::Read, extent, origin, Buf::NONE)
        }
    }

    /// Whether it needs the extent for itself.
    pub fn is_exclusive(&self) -> bool {
        matches!(self.kind, Kind::Change | Kind::Reconcile)
    }

    /// The data that goes with its frame.
    pub fn payload(&self) -> Buf {
        if self.change == Change::Write {
            self.buf
        } else {
            Buf::NONE
        }
    }
}

/// An answer that waits for the lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub source: Source,
    pub errno: u16,
    /// Data of a successful read.
    pub buf: Buf,
    pub extent: Extent,
}
