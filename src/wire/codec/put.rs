//! A frame's fields, to bytes.

use super::kind;
use crate::types::Extent;
use crate::wire::fields::Writer;
use crate::wire::frame::{Ask, Frame, Origin, SessionWindow};

/// Puts the fields and returns the frame's kind.
pub fn put_fields(frame: &Frame, out: &mut Writer<'_>) -> u8 {
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
        Frame::Compare {
            resync,
            id,
            extent,
            digest,
        } => {
            out.u32(resync);
            out.u32(id);
            put_extent(out, extent);
            out.bytes(&digest.0);
            kind::COMPARE
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
        Frame::Compared {
            resync,
            id,
            same,
            errno,
        } => {
            out.u32(resync);
            out.u32(id);
            out.u16(errno);
            out.u8(u8::from(same));
            kind::COMPARED
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

fn put_extent(out: &mut Writer<'_>, extent: Extent) {
    out.u64(extent.offset);
    out.u32(extent.len);
}

fn put_origin(out: &mut Writer<'_>, origin: Origin) {
    out.u64(origin.session.0);
    out.u64(origin.number);
    out.u64(origin.confirmed);
}

fn put_window(out: &mut Writer<'_>, window: &SessionWindow) {
    out.u64(window.session.0);
    out.u64(window.confirmed);
    for word in window.applied {
        out.u64(word);
    }
}
