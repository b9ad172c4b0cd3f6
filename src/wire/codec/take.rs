//! A frame's fields, from bytes: everything that `frame` states about them is checked here.

use super::{Broken, PAYLOAD_MAX, kind};
use crate::types::{
    BLOCK, BootId, Extent, Index, NODES_MAX, NodeId, REGION, Seq, SessionId, StoreId, Term,
    VOLUME_MAX,
};
use crate::wire::fields::Reader;
use crate::wire::frame::{Ask, Change, Digest, Frame, Origin, Purpose, Refusal, SessionWindow};

/// Takes the fields of a frame of this kind.
pub fn take_fields(kind: u8, from: &mut Reader<'_>) -> Result<Frame, Broken> {
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
        kind::COMPARE => Frame::Compare {
            resync: from.u32(),
            id: from.u32(),
            extent: blocks(from)?,
            digest: Digest(from.array()),
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
        kind::DIRTY_RUN => within(
            Frame::DirtyRun {
                since: Index(from.u64()),
                first: from.u64(),
                blocks: from.u64(),
                absent: node(from)?,
            },
            VOLUME_MAX / BLOCK,
        )?,
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
        kind::REPORT_ACTIVE => within(
            Frame::ReportActive {
                first: from.u32(),
                regions: from.u32(),
            },
            VOLUME_MAX / REGION,
        )?,
        kind::REPORT_WRITTEN => within(
            Frame::ReportWritten {
                first: from.u32(),
                regions: from.u32(),
            },
            VOLUME_MAX / REGION,
        )?,
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
        kind::COMPARED => compared(from)?,
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

/// A run of blocks or regions ends before `end`.
fn within(frame: Frame, end: u64) -> Result<Frame, Broken> {
    let last = match frame {
        Frame::DirtyRun { first, blocks, .. } => first.checked_add(blocks),
        Frame::ReportActive { first, regions } | Frame::ReportWritten { first, regions } => {
            Some(u64::from(first) + u64::from(regions))
        }
        _ => None,
    };
    match last {
        Some(last) if last <= end => Ok(frame),
        _ => Err(Broken::Range),
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
        Ask::Flush => extent.len == 0 && extent.offset <= VOLUME_MAX,
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

fn compared(from: &mut Reader<'_>) -> Result<Frame, Broken> {
    let (resync, id, errno, same) = (from.u32(), from.u32(), from.u16(), flag(from)?);
    // What could not be read is not known to be the same.
    if same && errno != 0 {
        return Err(Broken::Field("comparison"));
    }
    Ok(Frame::Compared {
        resync,
        id,
        same,
        errno,
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
        && extent.offset <= VOLUME_MAX - u64::from(extent.len)
        && extent.offset / REGION == (extent.end() - 1) / REGION
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

fn origin(from: &mut Reader<'_>) -> Origin {
    Origin {
        session: SessionId(from.u64()),
        number: from.u64(),
        confirmed: from.u64(),
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
