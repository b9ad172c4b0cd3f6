//! Changes that begin or end within a block: what surrounds them is read first.

use super::op::State;
use super::{Cx, Primary};
use crate::engine::disk::DiskUse;
use crate::engine::io::{Buf, Effect, Fate, Probe};
use crate::engine::store::release;
use crate::types::{BLOCK, Extent};
use crate::wire::frame::Change;

impl Primary {
    /// The blocks at the edges of an unaligned write keep what the write does not cover.
    pub(super) fn read_edges(&mut self, id: u32, cx: &mut Cx<'_>) {
        let op = *self.ops.at(id);
        let head = op.extent.offset - op.blocks.offset;
        let tail = op.blocks.end() - op.extent.end();
        if !cx.store.is_written(op.blocks.region()) {
            clear(op.buf, 0, head as u32, cx);
            clear(op.buf, op.blocks.len - tail as u32, tail as u32, cx);
            self.sequence(id, cx);
            return;
        }
        let first = head > 0 || u64::from(op.blocks.len) == BLOCK;
        let last = tail > 0 && u64::from(op.blocks.len) > BLOCK;
        let op = self.ops.at(id);
        op.state = State::Edges;
        op.edges = u8::from(first) + u8::from(last);
        let blocks = op.blocks;
        for (end, wanted) in [(false, first), (true, last)] {
            if wanted {
                let offset = if end {
                    blocks.end() - BLOCK
                } else {
                    blocks.offset
                };
                let extent = Extent {
                    offset,
                    len: BLOCK as u32,
                };
                let what = self.edge_use(id, end);
                cx.store
                    .read(what, extent, Probe::Nothing, Fate::Dropped, cx.out);
            }
        }
    }

    /// Zeroes that begin or end within a block are written with what surrounds them.
    pub(super) fn read_around_zeroes(&mut self, id: u32, cx: &mut Cx<'_>) {
        let op = self.ops.at(id);
        let blocks = op.blocks;
        if !cx.store.is_written(blocks.region()) {
            // All of it is zero already.
            self.sequence(id, cx);
            return;
        }
        op.state = State::Edges;
        op.edges = 1;
        let what = self.edge_use(id, false);
        cx.store
            .read(what, blocks, Probe::Nothing, Fate::Changed, cx.out);
    }

    fn edge_use(&self, op: u32, end: bool) -> DiskUse {
        DiskUse::Edge {
            epoch: self.epoch,
            op,
            end,
        }
    }

    /// A block at the edge of a change is here.
    pub fn edge_ended(&mut self, id: u32, end: bool, errno: u16, buf: Buf, cx: &mut Cx<'_>) {
        let op = self.ops.at(id);
        op.edges -= 1;
        if errno != 0 {
            op.errno = errno;
        }
        let op = *op;
        if op.cancelled || op.errno != 0 {
            release(buf, cx.out);
        } else if op.change == Change::Write {
            let (at, head_len) = (op.blocks.offset, op.extent.offset - op.blocks.offset);
            let tail = op.blocks.end() - op.extent.end();
            let one = u64::from(op.blocks.len) == BLOCK;
            if !end {
                patch(buf, 0, op.buf, 0, head_len as u32, cx);
            }
            if end || one {
                let from = BLOCK - tail;
                let to = op.extent.end() - at;
                patch(buf, from as u32, op.buf, to as u32, tail as u32, cx);
            }
            release(buf, cx.out);
        } else {
            let at = op.extent.offset - op.blocks.offset;
            clear(buf, at as u32, op.extent.len, cx);
            let op = self.ops.at(id);
            op.buf = buf;
            op.owns_buf = true;
            op.change = Change::Write;
        }
        if op.edges == 0 {
            if op.cancelled {
                self.finish(id, cx);
            } else if op.errno == 0 {
                self.sequence(id, cx);
            } else {
                self.read_failed(id, op.errno, cx);
            }
        }
        self.pump(cx);
    }
}

pub(super) fn clear(buf: Buf, at: u32, len: u32, cx: &mut Cx<'_>) {
    if len > 0 {
        cx.out.push(Effect::Clear { buf, at, len });
    }
}

fn patch(from: Buf, from_at: u32, to: Buf, to_at: u32, len: u32, cx: &mut Cx<'_>) {
    if len > 0 {
        cx.out.push(Effect::Patch {
            from,
            from_at,
            to,
            to_at,
            len,
        });
    }
}
