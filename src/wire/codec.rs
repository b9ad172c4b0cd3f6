//! Frames to bytes and back.
//!
//! A frame is a header of [`HEADER`] bytes and [`Frame::payload_len`] bytes of payload. The header
//! says how long the payload is only through its fields, which are checked before: at most 1 MiB,
//! within one region. Described byte by byte in `docs/wire-format.md`.
//!
//! Nothing here allocates. Whatever [`decode`] returns as `Ok` keeps every rule that `frame` states
//! about ranges and alignment, so that the engine may assert them.

use super::fields::{Reader, Writer};
use super::frame::{Ask, Change, Frame, Origin, Purpose, Refusal, SessionWindow};
use crate::types::{
    BLOCK, BootId, Extent, Index, NODES_MAX, NodeId, REGION, Seq, SessionId, StoreId, Term,
};

/// Bytes of a frame's header.
pub const HEADER: usize = 96;
/// Most bytes of a frame's payload.
pub const PAYLOAD_MAX: u32 = REGION as u32;
/// Version of the frames.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"SFfr";
const KIND_AT: usize = 5;
const PAYLOAD_LEN_AT: usize = 8;
const PAYLOAD_CRC_AT: usize = 12;
const FIELDS_AT: usize = 16;
const CRC_AT: usize = HEADER - 4;

/// Volumes end here at the latest (16 TiB), whatever a peer says.
const SIZE_MAX: u64 = 16 << 40;

/// Why a frame breaks the protocol. The link that brought it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It does not begin as a frame: the stream is out of step, or the peer is something else.
    Magic,
    /// Of another version.
    Version(u8),
    /// The header's checksum is wrong.
    HeaderChecksum,
    /// The payload's checksum is wrong.
    PayloadChecksum,
    /// No such kind of frame.
    Kind(u8),
    /// The payload's length is not what the fields say.
    PayloadLength(u32),
    /// A range that is empty, too long, not aligned, or beyond every volume.
    Range,
    /// A field has a value without a meaning.
    Field(&'static str),
    /// Bytes that mean nothing are not zero.
    Padding,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Magic => write!(f, "the peer sent something that is not a frame"),
            Self::Version(found) => write!(
                f,
                "the peer sent a frame of version {found}, this program speaks {VERSION}"
            ),
            Self::HeaderChecksum => write!(f, "a frame's header has a wrong checksum"),
            Self::PayloadChecksum => write!(f, "a frame's payload has a wrong checksum"),
            Self::Kind(kind) => write!(f, "the peer sent a frame of the unknown kind {kind}"),
            Self::PayloadLength(len) => {
                write!(
                    f,
                    "a frame announces {len} bytes that its fields do not allow"
                )
            }
            Self::Range => write!(f, "a frame names a range that no volume has"),
            Self::Field(field) => write!(f, "a frame has an impossible {field}"),
            Self::Padding => write!(f, "a frame has bytes of unknown meaning"),
        }
    }
}

impl std::error::Error for Broken {}

/// CRC32 of a payload; 0 if it is empty.
#[must_use]
pub fn payload_crc(payload: &[u8]) -> u32 {
    crc32fast::hash(payload)
}

/// Whether a payload is the one that its header announced.
pub fn check_payload(crc: u32, payload: &[u8]) -> Result<(), Broken> {
    if payload_crc(payload) == crc {
        Ok(())
    } else {
        Err(Broken::PayloadChecksum)
    }
}

mod kind {
    pub const ATTACH: u8 = 1;
    pub const CHANGE: u8 = 2;
    pub const COPY: u8 = 3;
    pub const FLUSH: u8 = 4;
    pub const WATERMARK: u8 = 5;
    pub const WINDOW: u8 = 6;
    pub const WINDOWS_END: u8 = 7;
    pub const MARK_ABSENT: u8 = 8;
    pub const MARK_PRESENT: u8 = 9;
    pub const DIRTY_RUN: u8 = 10;
    pub const DIRTY_RUNS_END: u8 = 11;
    pub const RECONCILED: u8 = 12;
    pub const REPORT_BEGIN: u8 = 32;
    pub const REPORT_CHANGE: u8 = 33;
    pub const REPORT_ACTIVE: u8 = 34;
    pub const REPORT_WRITTEN: u8 = 35;
    pub const REPORT_WINDOW: u8 = 36;
    pub const REPORT_END: u8 = 37;
    pub const CHANGED: u8 = 38;
    pub const COPIED: u8 = 39;
    pub const FLUSHED: u8 = 40;
    pub const CONFIGURED: u8 = 41;
    pub const REFUSED: u8 = 42;
    pub const ENTER: u8 = 64;
    pub const REQUEST: u8 = 65;
    pub const WELCOME: u8 = 96;
    pub const NOT_NOW: u8 = 97;
    pub const DONE: u8 = 98;
}

/// Encodes a frame's header. `payload_crc` is [`payload_crc`] of its payload, 0 without one.
pub fn encode(frame: &Frame, payload_crc: u32, header: &mut [u8; HEADER]) {
    header.fill(0);
    let mut out = Writer::new(&mut header[FIELDS_AT..CRC_AT]);
    let kind = put_fields(frame, &mut out);
    header[..4].copy_from_slice(&MAGIC);
    header[4] = VERSION;
    header[KIND_AT] = kind;
    let len = frame.payload_len();
    assert!(len <= PAYLOAD_MAX && (len > 0 || payload_crc == 0));
    header[PAYLOAD_LEN_AT..PAYLOAD_LEN_AT + 4].copy_from_slice(&len.to_le_bytes());
    header[PAYLOAD_CRC_AT..PAYLOAD_CRC_AT + 4].copy_from_slice(&payload_crc.to_le_bytes());
    let crc = crc32fast::hash(&header[..CRC_AT]);
    header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// Decodes a header: the frame, and the CRC that its payload must have.
pub fn decode(header: &[u8; HEADER]) -> Result<(Frame, u32), Broken> {
    if header[..4] != MAGIC {
        return Err(Broken::Magic);
    }
    // Magic and version keep their places in every version; the checksum may not.
    if header[4] != VERSION {
        return Err(Broken::Version(header[4]));
    }
    let mut outer = Reader::new(&header[PAYLOAD_LEN_AT..]);
    let (len, payload_crc) = (outer.u32(), outer.u32());
    if Reader::new(&header[CRC_AT..]).u32() != crc32fast::hash(&header[..CRC_AT]) {
        return Err(Broken::HeaderChecksum);
    }
    let mut fields = Reader::new(&header[FIELDS_AT..CRC_AT]);
    let frame = take_fields(header[KIND_AT], &mut fields)?;
    if frame.payload_len() != len || len > PAYLOAD_MAX || (len == 0 && payload_crc != 0) {
        return Err(Broken::PayloadLength(len));
    }
    if !fields.rest_is_zero() || header[6..PAYLOAD_LEN_AT] != [0; 2] {
        return Err(Broken::Padding);
    }
    Ok((frame, payload_crc))
}

fn put_fields(frame: &Frame, out: &mut Writer<'_>) -> u8 {
    match *frame {
        Frame::Attach {
            term,
            entry,
            purpose,
            resync,
        } => {
            out.u64(term.0);
            out.u64(entry.0);
            out.u32(resync);
            out.u8(purpose as u8);
            kind::ATTACH
        }
        Frame::Change {
            seq,
            stable,
            flushed,
            change,
            extent,
            origin,
            absent,
        } => {
            out.u64(seq.0);
            out.u64(stable.0);
            out.u64(flushed.0);
            put_extent(out, extent);
            put_origin(out, origin);
            out.u8(change as u8);
            out.u8(absent);
            kind::CHANGE
        }
        Frame::Copy {
            resync,
            id,
            extent,
            zero,
        } => {
            out.u32(resync);
            out.u32(id);
            put_extent(out, extent);
            out.u8(u8::from(zero));
            kind::COPY
        }
        Frame::Flush { id } => {
            out.u32(id);
            kind::FLUSH
        }
        Frame::Watermark { stable, flushed } => {
            out.u64(stable.0);
            out.u64(flushed.0);
            kind::WATERMARK
        }
        Frame::Window(window) => {
            put_window(out, &window);
            kind::WINDOW
        }
        Frame::WindowsEnd => kind::WINDOWS_END,
        Frame::Reconciled { through } => {
            out.u64(through.0);
            kind::RECONCILED
        }
        Frame::MarkAbsent {
            replica,
            entry,
            record,
        } => {
            out.u64(entry.0);
            out.u64(record.0);
            out.u8(replica.0);
            kind::MARK_ABSENT
        }
        Frame::MarkPresent { replica, entry } => {
            out.u64(entry.0);
            out.u8(replica.0);
            kind::MARK_PRESENT
        }
        Frame::DirtyRun {
            absent,
            since,
            first,
            blocks,
        } => {
            out.u64(since.0);
            out.u64(first);
            out.u64(blocks);
            out.u8(absent.0);
            kind::DIRTY_RUN
        }
        Frame::DirtyRunsEnd { entry } => {
            out.u64(entry.0);
            kind::DIRTY_RUNS_END
        }
        Frame::ReportBegin {
            resync,
            store,
            boot,
            seq,
            exact,
            windows,
        } => {
            out.u128(store.0);
            out.u128(boot.0);
            out.u64(seq.0);
            out.u32(resync);
            out.u8(u8::from(exact));
            out.u8(u8::from(windows));
            kind::REPORT_BEGIN
        }
        Frame::ReportChange { seq, extent } => {
            out.u64(seq.0);
            put_extent(out, extent);
            kind::REPORT_CHANGE
        }
        Frame::ReportActive { first, regions } => {
            out.u32(first);
            out.u32(regions);
            kind::REPORT_ACTIVE
        }
        Frame::ReportWritten { first, regions } => {
            out.u32(first);
            out.u32(regions);
            kind::REPORT_WRITTEN
        }
        Frame::ReportWindow(window) => {
            put_window(out, &window);
            kind::REPORT_WINDOW
        }
        Frame::ReportEnd { resync } => {
            out.u32(resync);
            kind::REPORT_END
        }
        Frame::Changed { seq, errno } => {
            out.u64(seq.0);
            out.u16(errno);
            kind::CHANGED
        }
        Frame::Copied { resync, id, errno } => {
            out.u32(resync);
            out.u32(id);
            out.u16(errno);
            kind::COPIED
        }
        Frame::Flushed { id, errno } => {
            out.u32(id);
            out.u16(errno);
            kind::FLUSHED
        }
        Frame::Configured { entry, errno } => {
            out.u64(entry.0);
            out.u16(errno);
            kind::CONFIGURED
        }
        Frame::Refused { why, term } => {
            out.u64(term.0);
            out.u8(why as u8);
            kind::REFUSED
        }
        Frame::Enter { session } => {
            out.u64(session.0);
            kind::ENTER
        }
        Frame::Request {
            tag,
            ask,
            extent,
            origin,
        } => {
            out.u32(tag);
            put_extent(out, extent);
            put_origin(out, origin);
            let (ask, change, fua) = match ask {
                Ask::Read => (1, 0, false),
                Ask::Change { change, fua } => (2, change as u8, fua),
                Ask::Flush => (3, 0, false),
            };
            out.u8(ask);
            out.u8(change);
            out.u8(u8::from(fua));
            kind::REQUEST
        }
        Frame::Welcome { term } => {
            out.u64(term.0);
            kind::WELCOME
        }
        Frame::NotNow { why, term } => {
            out.u64(term.0);
            out.u8(why as u8);
            kind::NOT_NOW
        }
        Frame::Done {
            tag,
            errno,
            len,
            skip,
        } => {
            out.u32(tag);
            out.u32(len);
            out.u16(errno);
            out.u16(skip);
            kind::DONE
        }
    }
}

fn take_fields(kind: u8, from: &mut Reader<'_>) -> Result<Frame, Broken> {
    Ok(match kind {
        kind::ATTACH => Frame::Attach {
            term: Term(from.u64()),
            entry: Index(from.u64()),
            resync: from.u32(),
            purpose: match from.u8() {
                1 => Purpose::InSync,
                2 => Purpose::Resync,
                _ => return Err(Broken::Field("purpose")),
            },
        },
        kind::CHANGE => Frame::Change {
            seq: seq(from)?,
            stable: Seq(from.u64()),
            flushed: Seq(from.u64()),
            extent: blocks(from)?,
            origin: origin(from),
            change: change(from.u8())?,
            absent: from.u8(),
        },
        kind::COPY => Frame::Copy {
            resync: from.u32(),
            id: from.u32(),
            extent: blocks(from)?,
            zero: flag(from)?,
        },
        kind::FLUSH => Frame::Flush { id: from.u32() },
        kind::WATERMARK => Frame::Watermark {
            stable: Seq(from.u64()),
            flushed: Seq(from.u64()),
        },
        kind::WINDOW => Frame::Window(window(from)),
        kind::WINDOWS_END => Frame::WindowsEnd,
        kind::RECONCILED => Frame::Reconciled {
            through: Seq(from.u64()),
        },
        kind::MARK_ABSENT => Frame::MarkAbsent {
            entry: Index(from.u64()),
            record: Index(from.u64()),
            replica: node(from)?,
        },
        kind::MARK_PRESENT => Frame::MarkPresent {
            entry: Index(from.u64()),
            replica: node(from)?,
        },
        kind::DIRTY_RUN => Frame::DirtyRun {
            since: Index(from.u64()),
            first: from.u64(),
            blocks: from.u64(),
            absent: node(from)?,
        }
        .within(SIZE_MAX / BLOCK)?,
        kind::DIRTY_RUNS_END => Frame::DirtyRunsEnd {
            entry: Index(from.u64()),
        },
        kind::REPORT_BEGIN => Frame::ReportBegin {
            store: StoreId(from.u128()),
            boot: BootId(from.u128()),
            seq: Seq(from.u64()),
            resync: from.u32(),
            exact: flag(from)?,
            windows: flag(from)?,
        },
        kind::REPORT_CHANGE => Frame::ReportChange {
            seq: seq(from)?,
            extent: blocks(from)?,
        },
        kind::REPORT_ACTIVE => Frame::ReportActive {
            first: from.u32(),
            regions: from.u32(),
        }
        .within(SIZE_MAX / REGION)?,
        kind::REPORT_WRITTEN => Frame::ReportWritten {
            first: from.u32(),
            regions: from.u32(),
        }
        .within(SIZE_MAX / REGION)?,
        kind::REPORT_WINDOW => Frame::ReportWindow(window(from)),
        kind::REPORT_END => Frame::ReportEnd { resync: from.u32() },
        kind::CHANGED => Frame::Changed {
            seq: seq(from)?,
            errno: from.u16(),
        },
        kind::COPIED => Frame::Copied {
            resync: from.u32(),
            id: from.u32(),
            errno: from.u16(),
        },
        kind::FLUSHED => Frame::Flushed {
            id: from.u32(),
            errno: from.u16(),
        },
        kind::CONFIGURED => Frame::Configured {
            entry: Index(from.u64()),
            errno: from.u16(),
        },
        kind::REFUSED => Frame::Refused {
            term: Term(from.u64()),
            why: refusal(from)?,
        },
        kind::ENTER => Frame::Enter {
            session: SessionId(from.u64()),
        },
        kind::REQUEST => request(from)?,
        kind::WELCOME => Frame::Welcome {
            term: Term(from.u64()),
        },
        kind::NOT_NOW => Frame::NotNow {
            term: Term(from.u64()),
            why: refusal(from)?,
        },
        kind::DONE => done(from)?,
        unknown => return Err(Broken::Kind(unknown)),
    })
}

impl Frame {
    /// A run of blocks or regions must end before `end`.
    fn within(self, end: u64) -> Result<Self, Broken> {
        let last = match self {
            Self::DirtyRun { first, blocks, .. } => first.checked_add(blocks),
            Self::ReportActive { first, regions } | Self::ReportWritten { first, regions } => {
                Some(u64::from(first) + u64::from(regions))
            }
            _ => Some(0),
        };
        match last {
            Some(last) if last <= end => Ok(self),
            _ => Err(Broken::Range),
        }
    }
}

fn request(from: &mut Reader<'_>) -> Result<Frame, Broken> {
    let tag = from.u32();
    let extent = Extent {
        offset: from.u64(),
        len: from.u32(),
    };
    let origin = origin(from);
    let ask = match (from.u8(), from.u8(), flag(from)?) {
        (1, 0, false) => Ask::Read,
        (2, how, fua) => Ask::Change {
            change: change(how)?,
            fua,
        },
        (3, 0, false) => Ask::Flush,
        _ => return Err(Broken::Field("request")),
    };
    let fits = match ask {
        Ask::Flush => extent.len == 0 && extent.offset <= SIZE_MAX,
        Ask::Read | Ask::Change { .. } => in_one_region(extent),
    };
    if !fits {
        return Err(Broken::Range);
    }
    Ok(Frame::Request {
        tag,
        ask,
        extent,
        origin,
    })
}

fn done(from: &mut Reader<'_>) -> Result<Frame, Broken> {
    let (tag, len, errno, skip) = (from.u32(), from.u32(), from.u16(), from.u16());
    if len > PAYLOAD_MAX || (errno != 0 && len != 0) {
        return Err(Broken::PayloadLength(len));
    }
    // The data fits a buffer of one region at its own place.
    if u64::from(skip) >= BLOCK || len + u32::from(skip) > PAYLOAD_MAX {
        return Err(Broken::Range);
    }
    Ok(Frame::Done {
        tag,
        errno,
        len,
        skip,
    })
}

fn in_one_region(extent: Extent) -> bool {
    extent.len > 0
        && u64::from(extent.len) <= REGION
        && extent.offset <= SIZE_MAX - u64::from(extent.len)
        && extent.offset / REGION == (extent.end() - 1) / REGION
}

fn put_extent(out: &mut Writer<'_>, extent: Extent) {
    out.u64(extent.offset);
    out.u32(extent.len);
}

/// Whole blocks within one region.
fn blocks(from: &mut Reader<'_>) -> Result<Extent, Broken> {
    let extent = Extent {
        offset: from.u64(),
        len: from.u32(),
    };
    if in_one_region(extent) && extent.is_aligned() {
        Ok(extent)
    } else {
        Err(Broken::Range)
    }
}

fn put_origin(out: &mut Writer<'_>, origin: Origin) {
    out.u64(origin.session.0);
    out.u64(origin.number);
    out.u64(origin.confirmed);
}

fn origin(from: &mut Reader<'_>) -> Origin {
    Origin {
        session: SessionId(from.u64()),
        number: from.u64(),
        confirmed: from.u64(),
    }
}

fn put_window(out: &mut Writer<'_>, window: &SessionWindow) {
    out.u64(window.session.0);
    out.u64(window.confirmed);
    for word in window.applied {
        out.u64(word);
    }
}

fn window(from: &mut Reader<'_>) -> SessionWindow {
    SessionWindow {
        session: SessionId(from.u64()),
        confirmed: from.u64(),
        applied: std::array::from_fn(|_| from.u64()),
    }
}

fn seq(from: &mut Reader<'_>) -> Result<Seq, Broken> {
    match from.u64() {
        0 => Err(Broken::Field("sequence number")),
        seq => Ok(Seq(seq)),
    }
}

fn node(from: &mut Reader<'_>) -> Result<NodeId, Broken> {
    let node = from.u8();
    if usize::from(node) < NODES_MAX {
        Ok(NodeId(node))
    } else {
        Err(Broken::Field("node"))
    }
}

fn flag(from: &mut Reader<'_>) -> Result<bool, Broken> {
    match from.u8() {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Broken::Field("flag")),
    }
}

fn change(byte: u8) -> Result<Change, Broken> {
    Ok(match byte {
        1 => Change::Write,
        2 => Change::Zero,
        3 => Change::ZeroAllocated,
        4 => Change::Trim,
        _ => return Err(Broken::Field("change")),
    })
}

fn refusal(from: &mut Reader<'_>) -> Result<Refusal, Broken> {
    Ok(match from.u8() {
        1 => Refusal::OldTerm,
        2 => Refusal::StoreFailed,
        3 => Refusal::NotPrimary,
        4 => Refusal::NoSession,
        5 => Refusal::NoStore,
        6 => Refusal::TooEarly,
        _ => return Err(Broken::Field("refusal")),
    })
}
