//! Bringing an absent replica back.
//!
//! From its attach on, the replica is sent every change. Beside that, every block that its bitmap
//! here names is copied once, under a shared lock, so that no change is under way at that place (a
//! full copy compares first, see `copy`).
//! A bit of the bitmap is cleared only when the replica has *flushed* what brought the block in line,
//! by the same attach. When nothing is left to be copied the replica begins to count: it is handed
//! the session windows and the bitmaps of the other absent replicas, everything up to that moment is
//! acknowledged and flushed by it, and then grow is proposed.

use super::attach::send;
use super::op::{Kind, Op, State};
use super::peer::Stage;
use super::{Cx, Phase, Primary};
use crate::engine::bits::Run;
use crate::engine::io::{Buf, Effect, Note};
use crate::member::io::ResyncProgress;
use crate::meta::recovered::Bits;
use crate::record::ReplicaState;
use crate::types::{BLOCK, Extent, NodeId, REGION_BLOCKS, Seq, Time};
use crate::wire::frame::{Frame, Origin};

/// Blocks of one copy.
const COPY_BLOCKS: u64 = 64;
/// Copies in flight while clients are idle, and while they are not.
const DEPTH: u32 = 8;
const DEPTH_BUSY: u32 = 2;
/// Extents that are acknowledged before the replica is asked to flush them.
const FLUSH_EVERY: usize = 128;
/// Extents that are remembered; beyond that blocks stay marked, and are copied again after a break.
const REMEMBER_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Copying,
    /// It counts; what came before `upto` is being acknowledged.
    Catching {
        upto: Seq,
    },
    /// It flushes what came before.
    Flushing {
        id: u32,
    },
}

/// The resync of one replica, from one attach on.
#[derive(Clone, Debug)]
pub(super) struct Resync {
    /// Blocks that are to be copied.
    need: Bits,
    left: u64,
    cursor: u64,
    pub(super) in_flight: u32,
    /// In line, not flushed; and being flushed.
    acked: Vec<Extent>,
    flushing: Vec<Extent>,
    flush: Option<u32>,
    pub(super) step: Step,
    total: u64,
    /// Of a full copy: regions in which the replica may hold what is to be copied.
    may_hold: Option<Bits>,
    /// Blocks that were sent, and that the replica had already.
    pub(super) copied: u64,
    pub(super) equal: u64,
    /// For the rate: when and how much last time, and the rate since.
    sampled_at: Time,
    sampled: u64,
    rate: u64,
}

impl Resync {
    /// A change is sent to the replica: it needs no copy of these blocks, and what was acknowledged
    /// there before is not what it will have.
    pub fn changed(&mut self, extent: Extent) {
        if self.left > 0 {
            let cleared = self
                .need
                .clear_range(extent.offset / BLOCK, u64::from(extent.len) / BLOCK);
            self.left -= cleared;
        }
        subtract(&mut self.acked, extent);
        subtract(&mut self.flushing, extent);
    }

    /// The replica has these blocks as they are here.
    pub fn acknowledged(&mut self, extent: Extent) {
        if self.acked.len() < REMEMBER_MAX {
            self.acked.push(extent);
        }
    }

    /// For status.
    pub fn progress(&self, now: Time, replica: NodeId) -> ResyncProgress {
        let span = now.since(self.sampled_at).as_millis() as u64;
        let rate = if self.rate == 0 && span > 0 {
            (self.settled() - self.sampled) * 1000 / span
        } else {
            self.rate
        };
        ResyncProgress {
            replica,
            running: true,
            blocks_left: self.left,
            blocks_total: self.total,
            rate,
        }
    }

    fn sample(&mut self, now: Time) {
        let span = now.since(self.sampled_at).as_millis() as u64;
        if span >= 1000 {
            self.rate = (self.settled() - self.sampled) * 1000 / span;
            self.sampled = self.settled();
            self.sampled_at = now;
        }
    }

    fn settled(&self) -> u64 {
        self.copied + self.equal
    }

    /// Whether the replica had written this region when it reported.
    pub fn may_hold(&self, region: u32) -> bool {
        let held = self.may_hold.as_ref();
        held.is_some_and(|held| held.get(u64::from(region)))
    }
}

/// Takes an extent out of a list of extents.
fn subtract(list: &mut Vec<Extent>, gone: Extent) {
    let mut at = 0;
    while at < list.len() {
        let extent = list[at];
        if !extent.overlaps(gone) {
            at += 1;
            continue;
        }
        list.swap_remove(at);
        if extent.offset < gone.offset {
            list.push(Extent {
                offset: extent.offset,
                len: (gone.offset - extent.offset) as u32,
            });
        }
        if extent.end() > gone.end() {
            list.push(Extent {
                offset: gone.end(),
                len: (extent.end() - gone.end()) as u32,
            });
        }
    }
}

impl Primary {
    /// A replica that is not in sync has reported; its report is in its bitmap.
    pub(super) fn begin_resync(&mut self, at: usize, cx: &mut Cx<'_>) {
        let peer = &mut self.peers[at];
        let Some((_, bits)) = cx.store.dirty(peer.node) else {
            panic!("an absent replica without a bitmap");
        };
        let need = bits.clone();
        let total = need.count();
        peer.stage = Stage::Live;
        peer.heard_at = cx.now;
        peer.resync = Some(Box::new(Resync {
            left: total,
            need,
            cursor: 0,
            in_flight: 0,
            acked: Vec::with_capacity(REMEMBER_MAX),
            flushing: Vec::with_capacity(REMEMBER_MAX),
            flush: None,
            step: Step::Copying,
            total,
            may_hold: peer.report_written.take(),
            copied: 0,
            equal: 0,
            sampled_at: cx.now,
            sampled: 0,
            rate: 0,
        }));
        cx.out.push(Effect::Note(Note::ResyncBegan {
            replica: peer.node,
            blocks: total,
            full: peer.state == ReplicaState::New,
        }));
        self.refresh(cx);
    }

    /// The replica's link has ended, or it has left: what is not flushed stays marked.
    pub(super) fn end_resync(&mut self, at: usize, cx: &mut Cx<'_>) {
        if self.peers[at].resync.take().is_none() {
            return;
        }
        let peer = &mut self.peers[at];
        if peer.grow.is_none() {
            // Nothing has been proposed: it does not count after all.
            peer.counts = peer.state.is_in_sync();
        }
        for id in 0..self.ops.end() {
            let Some(op) = self.ops.get(id).copied() else {
                continue;
            };
            let Kind::Copy { peer, .. } = op.kind else {
                continue;
            };
            if usize::from(peer) != at {
                continue;
            }
            match op.state {
                State::Locking if op.locked && !self.locks.is_granted(id) => self.finish(id, cx),
                State::Locking | State::Reading => self.ops.at(id).cancelled = true,
                _ => self.finish(id, cx),
            }
        }
        cx.store.save_bitmaps(cx.out);
    }

    pub(super) fn advance_resyncs(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Serving || self.failing {
            return;
        }
        for at in 0..self.peers.len() {
            if self.peers[at].resync.is_some() {
                self.advance_resync(at, cx);
            }
        }
    }

    fn advance_resync(&mut self, at: usize, cx: &mut Cx<'_>) {
        self.issue_copies(at, cx);
        let stable = self.stable;
        let settled = self.reconcile.is_done() && self.shrink.is_none() && !self.unmarked;
        let owed = self
            .oldest_owed(at)
            .filter(|_| !cx.config.canaries.grow_unacknowledged);
        let peer = &mut self.peers[at];
        let configured = peer.configures == 0;
        let link = peer.link;
        let Some(resync) = &mut peer.resync else {
            return;
        };
        resync.sample(cx.now);
        let Some(link) = link else { return };
        let idle = resync.left == 0 && resync.in_flight == 0;
        match resync.step {
            Step::Copying if idle && settled => self.begin_counting(at, cx),
            Step::Copying => {
                let due = resync.acked.len() >= FLUSH_EVERY || (idle && !resync.acked.is_empty());
                if resync.flush.is_none() && due {
                    self.flush_ids = self.flush_ids.wrapping_add(1);
                    let id = self.flush_ids;
                    std::mem::swap(&mut resync.acked, &mut resync.flushing);
                    resync.flush = Some(id);
                    send(link, Frame::Flush { id }, Buf::NONE, cx);
                }
            }
            // What was answered before it counted it may still owe.
            Step::Catching { upto }
                if stable >= upto && configured && owed.is_none_or(|seq| seq > upto) =>
            {
                self.flush_ids = self.flush_ids.wrapping_add(1);
                let id = self.flush_ids;
                resync.step = Step::Flushing { id };
                if cx.config.canaries.clear_bit_before_flush {
                    self.caught_up(at, cx);
                    return;
                }
                // It has all windows now, and is told so before the log says that it is in sync.
                let flushed = Seq(0);
                send(link, Frame::Watermark { stable, flushed }, Buf::NONE, cx);
                send(link, Frame::Flush { id }, Buf::NONE, cx);
            }
            Step::Catching { .. } | Step::Flushing { .. } => {}
        }
    }

    fn issue_copies(&mut self, at: usize, cx: &mut Cx<'_>) {
        let copies = |peer: &super::peer::Peer| peer.resync.as_ref().map_or(0, |r| r.in_flight);
        let own: u32 = self.peers.iter().map(copies).sum();
        let busy = self.ops.len() > own as usize;
        let depth = if busy { DEPTH_BUSY } else { DEPTH };
        loop {
            let Some(resync) = &mut self.peers[at].resync else {
                return;
            };
            if resync.left == 0 || resync.in_flight >= depth || resync.step != Step::Copying {
                return;
            }
            let run = resync
                .need
                .next_run(resync.cursor, COPY_BLOCKS, REGION_BLOCKS)
                .or_else(|| resync.need.next_run(0, COPY_BLOCKS, REGION_BLOCKS));
            let Some(Run { first, count }) = run else {
                panic!("{} blocks are left and none is found", resync.left);
            };
            resync.need.clear_range(first, count);
            resync.left -= count;
            resync.cursor = first + count;
            resync.in_flight += 1;
            let extent = Extent {
                offset: first * BLOCK,
                len: (count * BLOCK) as u32,
            };
            self.copy_ids = self.copy_ids.wrapping_add(1);
            let id = self.copy_ids;
            let kind = Kind::Copy { peer: at as u8, id };
            let op = self.ops.insert(Op::own(kind, extent, Origin::default()));
            self.lock(op, cx);
        }
    }

    /// The replica has flushed for its resync.
    pub(super) fn resync_flushed(&mut self, at: usize, id: u32, cx: &mut Cx<'_>) {
        let node = self.peers[at].node;
        let Some(resync) = &mut self.peers[at].resync else {
            return;
        };
        if resync.flush == Some(id) {
            resync.flush = None;
            for extent in resync.flushing.drain(..) {
                cx.store.clear_dirty(node, extent);
            }
        } else if resync.step == (Step::Flushing { id }) {
            self.caught_up(at, cx);
        }
    }
}
