//! What goes into the engine and what comes out of it.
//!
//! Contract, for the io_uring driver and the simulator alike:
//! - Effects are carried out in the order in which they were emitted.
//! - A `Buf` in an event belongs to the engine until it emits `Release` for it. Effects only borrow:
//!   the driver keeps the bytes alive until its own work with them is done, so `Release` may follow
//!   at once. Bytes of a volume lie in a buffer at their own place within blocks: byte `o` of an
//!   operation that begins at `offset` is at `o - offset / BLOCK * BLOCK`.
//! - Every `Disk` effect is answered by exactly one `Event::Disk` with the same id.
//! - Frames of one link arrive in order, none is skipped; a broken link loses a suffix and is told
//!   by `LinkDown`, once. After `Close` nothing more arrives of that link.
//! - Answers to clients wait in the engine until `Volume::settle`, which checks the lease; the
//!   driver reads clock and lease after the last event of a batch and then calls it.

use crate::record::VolumeChange;
use crate::types::{Extent, Incarnation, Index, NodeId};
use crate::wire::frame::{Ask, Change, Digest, Frame};

/// A driver's buffer, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buf(pub u32);

impl Buf {
    /// No buffer.
    pub const NONE: Self = Self(u32::MAX);

    /// Whether there is one.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 != u32::MAX
    }
}

/// A driver's data link, by number; never reused while the volume lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// A disk operation of the engine, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DiskId(pub u32);

/// A client connection of this node's NBD server, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u32);

/// One piece of a client's request: the driver's own number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u32);

/// Who opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// This node.
    Out,
    /// The peer.
    In,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An NBD client has chosen the volume's export on this node.
    ClientCame {
        /// Which.
        client: ClientId,
    },
    /// It has gone; answers to its requests go nowhere, the requests still take effect.
    ClientWent {
        /// Which.
        client: ClientId,
    },
    /// A piece of a request: in range, within one region, `buf` holds the data of a write.
    /// Only while `Volume::room` is not zero.
    Request {
        /// Echoed in the answer.
        tag: Tag,
        /// What.
        ask: Ask,
        /// Where; any alignment.
        extent: Extent,
        /// Data of a write, else none.
        buf: Buf,
    },
    /// A disk operation has ended.
    Disk {
        /// Which.
        id: DiskId,
        /// 0, or the positive `errno`.
        errno: u16,
        /// Of a successful read: the data, in a buffer that now belongs to the engine.
        buf: Buf,
        /// Of a successful read: what it asked to be told of the data.
        content: Content,
    },
    /// A link is authenticated.
    LinkUp {
        /// Which.
        link: LinkId,
        /// With whom.
        peer: NodeId,
        /// The peer's incarnation at the handshake.
        incarnation: Incarnation,
        /// Who opened it.
        direction: Direction,
    },
    /// A link has ended, or an attempt to connect has failed (`link` is none then).
    LinkDown {
        /// Which, if it was ever up.
        link: Option<LinkId>,
        /// With whom.
        peer: NodeId,
        /// Who opened it.
        direction: Direction,
    },
    /// A frame has come; `buf` holds the payload, if it has one, at `Frame::payload_skip`.
    Frame {
        /// By which link.
        link: LinkId,
        /// What.
        frame: Frame,
        /// Payload, else none.
        buf: Buf,
    },
    /// Whether this node and the peer hear each other (heartbeats both ways).
    Hearing {
        /// Which peer.
        node: NodeId,
        /// Both ways.
        heard: bool,
    },
    /// The time given by `Volume::deadline` has come.
    Tick,
}

/// What is wanted to be known of data that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing.
    Nothing,
    /// Whether every byte is zero.
    Zero,
    /// As `Zero`, and the digest of what is not.
    Digest,
}

/// What becomes of data that was read: how long its buffer is used, and on whom that depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A client of this node gets it: who drives may have kept a buffer for it.
    Answered,
    /// It is changed, and written as a request's data is: here and on other nodes.
    Changed,
    /// Another node gets it.
    Sent,
    /// It is looked at, or some of it copied, and let go at once.
    Dropped,
}

/// What is known of data that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// No more than was asked for: it may be anything, but not zero where that was asked for.
    Data,
    /// Every byte is zero.
    Zero,
    /// It is not all zero, and this is its digest.
    Digest(Digest),
}

/// What a disk operation does. Offsets are of the volume's data; the driver adds the store's data
/// offset. All are whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Read into a buffer of the driver's choice.
    Read {
        /// Where.
        extent: Extent,
        /// What `Event::Disk::content` is to tell.
        probe: Probe,
        /// What becomes of the data.
        fate: Fate,
    },
    /// Write the buffer's whole blocks.
    Write {
        /// Where.
        extent: Extent,
        /// From.
        buf: Buf,
    },
    /// Make the extent read as zeroes (`Write` never appears here).
    Zero {
        /// Where.
        extent: Extent,
        /// Zero, ZeroAllocated or Trim.
        change: Change,
    },
    /// Make everything durable that has completed.
    Flush,
    /// Write one page of metadata at a byte offset of the store, durably (as with `RWF_DSYNC`).
    /// The bytes are `Volume::page(page)` and do not change until the operation has ended.
    Meta {
        /// Byte offset in the store, a multiple of the block.
        offset: u64,
        /// Which page.
        page: u32,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer a piece of a request of this node's client. Every request gets exactly one, also those
    /// of clients that have gone or were disconnected: the tag is free from then on.
    Reply {
        /// Echo of the request.
        tag: Tag,
        /// 0, or the positive `errno`.
        errno: u16,
        /// Data of a successful read: begins at the extent's place in its first block.
        buf: Buf,
    },
    /// Do a disk operation.
    Disk {
        /// Echoed when it has ended.
        id: DiskId,
        /// What.
        op: DiskOp,
    },
    /// Send a frame; `buf` holds its payload at `Frame::payload_skip`.
    Send {
        /// By which link.
        link: LinkId,
        /// What.
        frame: Frame,
        /// Payload, else none.
        buf: Buf,
    },
    /// Open a link to the peer (answered by `LinkUp` or `LinkDown`, direction out).
    Connect {
        /// Whom to.
        peer: NodeId,
    },
    /// Close a link; no `LinkDown` follows.
    Close {
        /// Which.
        link: LinkId,
    },
    /// Copy bytes between two buffers, now (read-modify-write).
    Patch {
        /// From.
        from: Buf,
        /// First byte in `from`.
        from_at: u32,
        /// To.
        to: Buf,
        /// First byte in `to`.
        to_at: u32,
        /// How many.
        len: u32,
    },
    /// Fill bytes of a buffer with zeroes, now.
    Clear {
        /// Which.
        buf: Buf,
        /// First byte.
        at: u32,
        /// How many.
        len: u32,
    },
    /// The engine has no more use for the buffer.
    Release {
        /// Which.
        buf: Buf,
    },
    /// End all of this node's client connections of the volume: their session is over. What they
    /// have asked and not been told is answered with `ESHUTDOWN` right after this, for nobody.
    DisconnectClients,
    /// Ask the log for a change. Void if the volume has moved on; asked again while it still holds.
    Propose {
        /// The entry it names.
        prev: Index,
        /// What.
        change: VolumeChange,
    },
    /// Something a person or a test wants to know; goes to the event stream.
    Note(Note),
}

/// Things worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// This node serves the volume from now on (reconcile collected, requests are answered).
    Serving {
        /// In this term.
        term: crate::types::Term,
    },
    /// It does no longer.
    Stopped {
        /// The term it served.
        term: crate::types::Term,
    },
    /// Resync of a replica has begun.
    ResyncBegan {
        /// Whose.
        replica: NodeId,
        /// Blocks to copy.
        blocks: u64,
        /// Whether everything is copied, not only what may differ.
        full: bool,
    },
    /// Resync has ended; grow has been proposed.
    ResyncDone {
        /// Whose.
        replica: NodeId,
        /// Blocks that were sent.
        copied: u64,
        /// Blocks that were compared and were the same.
        equal: u64,
    },
    /// The store of this node failed.
    StoreFailed {
        /// With this error.
        errno: u16,
    },
    /// Clients of this node were disconnected because their session ended.
    SessionEnded,
}

/// Effects of one step, in order. Reused, so that a step allocates nothing once it has grown.
pub type Effects = Vec<Effect>;
