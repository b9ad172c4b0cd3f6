//! What peers say to each other on a data link.
//!
//! A link is one TCP connection for one volume. Whoever opens it asks, the other answers: a primary
//! opens links to the replicas, a gateway opens one to the primary. Every frame is a fixed header
//! (this enum, encoded by `codec`) and, where `payload_len` says so, data. Each carries a version
//! and CRCs; the handshake that comes first proves the cluster's key.

use crate::types::{BootId, Extent, Index, NodeId, Seq, SessionId, StoreId, Term};

/// How many requests that change data one session may have unconfirmed: the width of a window.
pub const WINDOW: u64 = 256;

/// What a request or replicated change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Change {
    /// Store the payload.
    Write = 1,
    /// Store zeroes, and free the space where that is cheap.
    Zero = 2,
    /// As `Zero`, but the space stays allocated (NBD `NO_HOLE`).
    ZeroAllocated = 3,
    /// The content is no longer wanted: every replica reads zeroes afterwards.
    Trim = 4,
}

/// What a gateway asks of the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Read the extent.
    Read,
    /// Change the extent; with `fua`, durable on every in-sync replica before the answer.
    Change {
        /// How.
        change: Change,
        /// Force unit access.
        fua: bool,
    },
    /// Make everything durable that was answered before.
    Flush,
}

/// Session data that goes with every change, so that a re-sent one is known wherever it arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The gateway's session; none for reconcile and resync copies.
    pub session: SessionId,
    /// The change's number in its session, from 1.
    pub number: u64,
    /// Every number below this one has been answered to the client: forget them.
    pub confirmed: u64,
}

/// The changes of one session that a replica has applied and the gateway has not confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionWindow {
    /// Whose.
    pub session: SessionId,
    /// Number of bit 0; every lower number has been confirmed.
    pub confirmed: u64,
    /// Bit `i % 64` of word `i / 64`: number `confirmed + i` was applied.
    pub applied: [u64; (WINDOW / 64) as usize],
}

/// Why a replica or primary does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// It has seen a higher term.
    OldTerm = 1,
    /// Its store failed.
    StoreFailed = 2,
    /// It is not the primary, or not serving yet.
    NotPrimary = 3,
    /// The session is not open (any more).
    NoSession = 4,
    /// It has no store for this volume.
    NoStore = 5,
    /// It has not seen this log entry yet: ask again.
    TooEarly = 6,
}

/// How the primary takes up a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// The replica is in sync: report the window, then take every change.
    InSync = 1,
    /// The replica is not: report what may differ, then take copies and every change.
    Resync = 2,
}

/// What `digest::digest` makes of data: as good as the data where all that matters is whether two
/// replicas hold the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Digest({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    // Primary to replica.
    /// First frame of a primary's link. The replica drains what came by older links of any peer,
    /// makes the term durable, then answers with `Report*`, `ReportEnd`.
    Attach {
        /// The primary's term.
        term: Term,
        /// The record the primary acts on.
        entry: Index,
        /// In sync or to be resynced.
        purpose: Purpose,
        /// Names this use of the link; acknowledgements carry it.
        resync: u32,
    },
    /// Apply a change. `Change::Write` has a payload of the extent's length.
    Change {
        /// Its place in the order of writes.
        seq: Seq,
        /// Every change up to this one is on all in-sync replicas.
        stable: Seq,
        /// Every change up to this one is durable on all in-sync replicas.
        flushed: Seq,
        /// What to do.
        change: Change,
        /// Whole blocks, within one region.
        extent: Extent,
        /// Where it came from.
        origin: Origin,
        /// Replicas that miss this change: bit `i` is the i-th replica of the record named in
        /// `Attach` or the newest `Configure`.
        absent: u8,
    },
    /// Reconcile or resync: store the payload; not a new change.
    Copy {
        /// The resync session, as in `Attach`.
        resync: u32,
        /// Answered with the same number.
        id: u32,
        /// Whole blocks, within one region.
        extent: Extent,
        /// No payload: store zeroes.
        zero: bool,
    },
    /// Resync: tell whether the extent's data has this digest. The primary keeps the extent locked,
    /// and sends it with the same number if the answer is no.
    Compare {
        /// The resync session, as in `Attach`.
        resync: u32,
        /// Answered with the same number.
        id: u32,
        /// Whole blocks, within one region.
        extent: Extent,
        /// Of the primary's data, which is not all zero.
        digest: Digest,
    },
    /// Make everything durable that was acknowledged on this link.
    Flush {
        /// Answered with the same number.
        id: u32,
    },
    /// As in `Change`, when there is nothing else to send.
    Watermark {
        /// See `Change`.
        stable: Seq,
        /// See `Change`.
        flushed: Seq,
    },
    /// Take over this session's window (sent after attach, and before grow).
    Window(SessionWindow),
    /// All windows have been handed over.
    WindowsEnd,
    /// Everything that the replica reported has been overwritten, or was not different, once every
    /// change up to `through` is stable. From then on its list of changes is exact, its session
    /// windows are complete, and the intents that it brought along are like any other.
    Reconciled {
        /// The newest change that the primary had given out when it took the replica up.
        through: Seq,
    },
    /// From `entry` on `replica` is absent: begin its bitmap with everything above stable (all
    /// active regions if this daemon has restarted), durably, then answer `Configured`.
    MarkAbsent {
        /// Who is absent.
        replica: NodeId,
        /// Since which entry.
        entry: Index,
        /// The primary's record.
        record: Index,
    },
    /// The record changed in another way: `replica` is back in sync (drop its bitmap, durably).
    /// Answered with `Configured`.
    MarkPresent {
        /// Who is in sync again.
        replica: NodeId,
        /// The entry that says so.
        entry: Index,
    },
    /// Before grow: blocks that `absent` misses. Payload-free run; `blocks == 0` begins the bitmap.
    DirtyRun {
        /// Whose bitmap.
        absent: NodeId,
        /// Since which entry.
        since: Index,
        /// First block.
        first: u64,
        /// How many.
        blocks: u64,
    },
    /// End of the `DirtyRun`s: make them durable, then answer `Configured` with this entry.
    DirtyRunsEnd {
        /// Echoed in `Configured`.
        entry: Index,
    },

    // Replica to primary.
    /// Begins the answer to `Attach`.
    ReportBegin {
        /// Echo of `Attach`.
        resync: u32,
        /// The replica's store.
        store: StoreId,
        /// The boot of its machine.
        boot: BootId,
        /// Last sequence number it knows of.
        seq: Seq,
        /// Whether its window of unstable changes is exact (false after a daemon restart: all
        /// active regions are reported instead).
        exact: bool,
        /// Whether its session windows are complete.
        windows: bool,
    },
    /// A change above stable that this replica holds.
    ReportChange {
        /// Its number.
        seq: Seq,
        /// Where.
        extent: Extent,
    },
    /// Regions whose content may differ.
    ReportActive {
        /// First region.
        first: u32,
        /// How many.
        regions: u32,
    },
    /// Regions that have ever been written (only where the primary cannot know: full copies).
    ReportWritten {
        /// First region.
        first: u32,
        /// How many.
        regions: u32,
    },
    /// A session's window as this replica has it.
    ReportWindow(SessionWindow),
    /// Ends the report. Everything older has been drained and the term is durable.
    ReportEnd {
        /// Echo of `Attach`.
        resync: u32,
    },
    /// The change is stored (`errno` 0) or failed.
    Changed {
        /// Its number.
        seq: Seq,
        /// 0, or the positive `errno`.
        errno: u16,
    },
    /// The copy is stored or failed.
    Copied {
        /// Echo of `Copy`.
        resync: u32,
        /// Echo of `Copy`.
        id: u32,
        /// 0, or the positive `errno`.
        errno: u16,
    },
    /// The data was compared, or could not be read.
    Compared {
        /// Echo of `Compare`.
        resync: u32,
        /// Echo of `Compare`.
        id: u32,
        /// The replica holds the same, though perhaps not durably.
        same: bool,
        /// 0, or the positive `errno`.
        errno: u16,
    },
    /// What was acknowledged before the flush came is durable.
    Flushed {
        /// Echo of `Flush`.
        id: u32,
        /// 0, or the positive `errno`.
        errno: u16,
    },
    /// Answer to `MarkAbsent`, `MarkPresent` and `DirtyRunsEnd`.
    Configured {
        /// Echo of the entry.
        entry: Index,
        /// 0, or the positive `errno`.
        errno: u16,
    },
    /// The replica will not serve this link; the primary closes it.
    Refused {
        /// Why.
        why: Refusal,
        /// The highest term it has seen.
        term: Term,
    },

    // Gateway to primary.
    /// First frame of a gateway's link; answered with `Welcome` or `NotNow`.
    Enter {
        /// The gateway's session.
        session: SessionId,
    },
    /// A request. A `Change::Write` has a payload of the extent's length.
    Request {
        /// Echoed in the answer; the gateway's own slot.
        tag: u32,
        /// What.
        ask: Ask,
        /// Any alignment, within one region; empty for a flush.
        extent: Extent,
        /// `number` is 0 for reads and flushes.
        origin: Origin,
    },

    // Primary to gateway.
    /// Requests are served on this link.
    Welcome {
        /// In this term.
        term: Term,
    },
    /// Not served (now): the gateway closes the link and tries again, here or elsewhere.
    NotNow {
        /// Why.
        why: Refusal,
        /// The highest term it has seen.
        term: Term,
    },
    /// The answer. A successful read has a payload of `len` bytes.
    Done {
        /// Echo of the request.
        tag: u32,
        /// 0, or the positive `errno` for the NBD client.
        errno: u16,
        /// Payload bytes.
        len: u32,
        /// Where in its first block the payload begins: the read's offset within its block.
        skip: u16,
    },
}

impl Frame {
    /// Bytes of data that follow the header.
    #[must_use]
    pub const fn payload_len(&self) -> u32 {
        match self {
            Self::Change {
                change: Change::Write,
                extent,
                ..
            }
            | Self::Copy {
                zero: false,
                extent,
                ..
            }
            | Self::Request {
                ask:
                    Ask::Change {
                        change: Change::Write,
                        ..
                    },
                extent,
                ..
            } => extent.len,
            Self::Done { len, .. } => *len,
            _ => 0,
        }
    }

    /// Where in its first block the payload begins: buffers keep a volume's bytes at their own
    /// place within blocks, so that whole blocks can be written from them.
    #[must_use]
    pub const fn payload_skip(&self) -> u32 {
        match self {
            Self::Change { extent, .. } | Self::Copy { extent, .. } => {
                (extent.offset % crate::types::BLOCK) as u32
            }
            Self::Request { extent, .. } => (extent.offset % crate::types::BLOCK) as u32,
            Self::Done { skip, .. } => *skip as u32,
            _ => 0,
        }
    }
}
