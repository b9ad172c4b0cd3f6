//! Requests on their way to the disk and the replicas.

use super::attach::send;
use super::edges::clear;
use super::op::{Kind, Op, Source, State};
use super::{Cx, NONE, Phase, Primary, RING};
use crate::engine::io::{Buf, Content, Fate, Probe};
use crate::engine::replica::{SEQ_SOFT, base_of};
use crate::engine::store::{Job, Owner, release};
use crate::engine::unstable::{Held, UNSTABLE_MAX};
use crate::engine::window::Known;
use crate::types::{BLOCK, Extent, SessionId};
use crate::wire::frame::{Ask, Change, Frame, Origin};

/// `errno` for what is refused because its session is over; nobody waits for it.
pub(super) const ESHUTDOWN: u16 = 108;

impl Primary {
    /// A request, in range and within one region.
    pub fn submit(
        &mut self,
        source: Source,
        ask: Ask,
        extent: Extent,
        origin: Origin,
        buf: Buf,
        cx: &mut Cx<'_>,
    ) {
        let mut op = Op::new(source, ask, extent, origin, buf);
        if op.kind == Kind::Change && op.change == Change::Trim {
            // What is trimmed in part stays.
            op.blocks = inner_blocks(extent);
        }
        let id = self.ops.insert(op);
        self.admit(id, cx);
        self.pump(cx);
    }

    fn admit(&mut self, id: u32, cx: &mut Cx<'_>) {
        let op = self.ops.at(id);
        let open = self.phase == Phase::Serving && self.demote.is_none() && self.displaced == 0;
        if !open || (op.kind != Kind::Flush && self.reconcile.blocks(op.blocks)) {
            op.state = State::Held;
            self.held.push(id);
            return;
        }
        if op.kind == Kind::Flush {
            op.state = State::Flushing;
            self.flush_waiters.push(id);
            return;
        }
        if op.blocks.len == 0 {
            // A trim of less than a block.
            self.granted.push_back(id);
            op.state = State::Locking;
            return;
        }
        self.lock(id, cx);
    }

    /// Puts an operation in line.
    pub(super) fn lock(&mut self, id: u32, cx: &Cx<'_>) {
        let op = self.ops.at(id);
        op.state = State::Locking;
        let canaries = &cx.config.canaries;
        let skip = canaries.skip_interval_lock && op.kind == Kind::Change
            || canaries.read_unacknowledged && op.kind == Kind::Read;
        if skip {
            self.granted.push_back(id);
            return;
        }
        op.locked = true;
        if self.locks.acquire(id, op.blocks, op.is_exclusive()) {
            self.granted.push_back(id);
        }
    }

    /// Tries again what was not admitted.
    pub(super) fn retry_held(&mut self, cx: &mut Cx<'_>) {
        if self.held.is_empty() || self.phase != Phase::Serving {
            return;
        }
        let held = std::mem::take(&mut self.held);
        for id in held {
            self.admit(id, cx);
        }
    }

    /// An operation has its lock.
    pub(super) fn run(&mut self, id: u32, cx: &mut Cx<'_>) {
        let op = *self.ops.at(id);
        if op.cancelled {
            self.finish(id, cx);
            return;
        }
        match op.kind {
            Kind::Read | Kind::Reconcile | Kind::Copy { .. } => self.read(id, cx),
            Kind::Change => self.change(id, cx),
            Kind::Flush => unreachable!("a flush needs no lock"),
        }
    }

    fn read(&mut self, id: u32, cx: &mut Cx<'_>) {
        let op = self.ops.at(id);
        op.state = State::Reading;
        let (kind, blocks) = (op.kind, op.blocks);
        let fate = match (kind, op.source) {
            (Kind::Read, Source::Local(_)) => Fate::Answered,
            _ => Fate::Sent,
        };
        if kind != Kind::Read && !cx.store.is_written(blocks.region()) {
            self.data_read(id, Buf::NONE, Content::Zero, cx);
            return;
        }
        let probe = match kind {
            Kind::Copy { peer, .. } if self.compares(usize::from(peer), blocks) => Probe::Digest,
            Kind::Copy { .. } | Kind::Reconcile => Probe::Zero,
            Kind::Read | Kind::Change | Kind::Flush => Probe::Nothing,
        };
        let what = self.read_use(id);
        cx.store.read(what, blocks, probe, fate, cx.out);
    }

    /// The data of a read, a reconciling or a copy is here.
    pub fn read_ended(&mut self, id: u32, errno: u16, buf: Buf, content: Content, cx: &mut Cx<'_>) {
        if errno != 0 {
            release(buf, cx.out);
            let op = self.ops.at(id);
            op.errno = errno;
            if op.cancelled {
                self.finish(id, cx);
            } else {
                self.read_failed(id, errno, cx);
            }
        } else {
            self.data_read(id, buf, content, cx);
        }
        self.pump(cx);
    }

    fn data_read(&mut self, id: u32, buf: Buf, content: Content, cx: &mut Cx<'_>) {
        let op = self.ops.at(id);
        let (kind, blocks, cancelled) = (op.kind, op.blocks, op.cancelled);
        if cancelled {
            release(buf, cx.out);
            self.finish(id, cx);
            return;
        }
        match kind {
            Kind::Read => {
                if !cx.store.is_written(blocks.region()) {
                    clear(buf, 0, blocks.len, cx);
                }
                self.answer(id, 0, buf);
                self.finish(id, cx);
            }
            Kind::Reconcile => {
                op.buf = buf;
                op.change = if content == Content::Zero {
                    Change::Zero
                } else {
                    Change::Write
                };
                self.sequence(id, cx);
            }
            Kind::Copy { peer, .. } => {
                op.buf = buf;
                let at = usize::from(peer);
                match content {
                    Content::Digest(digest) => self.send_compare(id, at, digest, cx),
                    Content::Zero => self.send_copy(id, at, true, cx),
                    Content::Data => self.send_copy(id, at, false, cx),
                }
            }
            Kind::Change | Kind::Flush => unreachable!("not a read"),
        }
    }

    fn change(&mut self, id: u32, cx: &mut Cx<'_>) {
        let op = *self.ops.at(id);
        if !self.is_open(op.origin, cx) {
            // Its session is over: nothing of it may take effect any more.
            self.answer(id, ESHUTDOWN, Buf::NONE);
            self.finish(id, cx);
            return;
        }
        let resent = match cx.store.windows.look_up(self.term, op.origin) {
            Known::New => false,
            Known::Applied => !cx.config.canaries.reapply_resent,
            Known::Lost | Known::OutOfWindow => {
                // A gateway that breaks the protocol: `welcome` told it which sessions are lost.
                self.expel(op.source, cx);
                self.answer(id, ESHUTDOWN, Buf::NONE);
                self.finish(id, cx);
                return;
            }
        };
        if resent || op.blocks.len == 0 {
            // The lock is the proof that it is complete on every replica that counts.
            self.succeed(id);
            self.unlock(id, cx);
            return;
        }
        if let Some(errno) = cx.store.broken
            && self.other_copy().is_none()
        {
            // The last copy, and nothing can be promised: it must not reach another one either.
            self.answer(id, errno, Buf::NONE);
            self.finish(id, cx);
        } else if op.change == Change::Trim || op.extent == op.blocks {
            self.sequence(id, cx);
        } else if op.change == Change::Write {
            self.read_edges(id, cx);
        } else {
            self.read_around_zeroes(id, cx);
        }
    }

    /// Gives a change its place in the order of writes, and sends it everywhere at once.
    pub(super) fn sequence(&mut self, id: u32, cx: &mut Cx<'_>) {
        if self.is_crowded() || (self.ops.at(id).kind == Kind::Change && self.is_tight(cx)) {
            if self.crowded.is_empty() {
                // Who holds it up is looked for.
                self.alert = true;
                self.faults_at = cx.now;
            }
            self.ops.at(id).state = State::Crowded;
            self.crowded.push_back(id);
            return;
        }
        let op = *self.ops.at(id);
        if op.kind == Kind::Change && !self.is_open(op.origin, cx) {
            self.answer(id, ESHUTDOWN, Buf::NONE);
            self.finish(id, cx);
            return;
        }
        self.seq = self.seq.next();
        if self.seq.0 - base_of(self.term).0 >= SEQ_SOFT && self.demote.is_none() {
            // To itself, if nobody minds.
            self.demote = Some(Some(cx.config.me));
            self.propose_at = cx.now;
        }
        self.finished.push_back(false);
        let place = &mut self.by_seq[self.seq.0 as usize % RING];
        assert!(*place == NONE, "more changes are unstable than may be");
        *place = id;
        self.changed_at = Some(cx.now);
        self.dirty_since.get_or_insert(cx.now);
        let op = self.ops.at(id);
        op.state = State::Sent;
        op.seq = self.seq;
        op.unacked = self.counting | self.live;
        op.local = op.kind == Kind::Change;
        let op = *op;
        if op.local {
            let job = Job {
                owner: Owner::Primary {
                    epoch: self.epoch,
                    op: id,
                },
                seq: op.seq,
                change: op.change,
                extent: op.blocks,
                buf: op.buf,
                release: false,
                origin: op.origin,
                kinds: self.kinds,
            };
            cx.store.apply(job, cx.out);
        } else {
            cx.store.note(Held {
                seq: op.seq,
                extent: op.blocks,
                origin: op.origin,
            });
        }
        if self.live != 0 {
            let frame = self.change_frame(&op, cx);
            for at in 0..self.peers.len() {
                if self.live & 1 << at != 0 {
                    if let Some(link) = self.peers[at].link {
                        send(link, frame, op.payload(), cx);
                    }
                    if let Some(resync) = &mut self.peers[at].resync {
                        resync.changed(op.blocks);
                    }
                }
            }
            self.told = (self.stable, cx.store.flushed);
        }
        self.check(id, cx);
    }

    pub(super) fn change_frame(&self, op: &Op, cx: &Cx<'_>) -> Frame {
        Frame::Change {
            seq: op.seq,
            stable: self.stable,
            flushed: cx.store.flushed,
            change: op.change,
            extent: op.blocks,
            origin: op.origin,
            absent: self.absent,
        }
    }

    /// Whether as many changes are unstable as may be, or one that a replica which is resynced still
    /// owes has the place of the next.
    fn is_crowded(&self) -> bool {
        self.seq.0 + 1 - self.stable.0 >= UNSTABLE_MAX
            || self.by_seq[self.seq.next().0 as usize % RING] != NONE
    }

    /// Whether a change may find no slot before all is reconciled. With a number, and without a slot
    /// until what is held is released, it would keep from being stable what that waits for.
    fn is_tight(&self, cx: &Cx<'_>) -> bool {
        !self.told_self && !cx.store.has_room()
    }

    /// Sequences what waited until fewer changes are unstable, or until there is room for it. Whether
    /// there was any.
    pub(super) fn uncrowd(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut any = false;
        while !self.is_crowded() {
            let tight = self.is_tight(cx);
            let goes =
                |&id: &u32| !tight || self.ops.get(id).is_some_and(|op| op.kind != Kind::Change);
            let next = self.crowded.iter().position(goes);
            let Some(id) = next.and_then(|at| self.crowded.remove(at)) else {
                break;
            };
            any = true;
            self.sequence(id, cx);
        }
        any || !self.granted.is_empty()
    }

    /// Whether the session may still change anything.
    fn is_open(&self, origin: Origin, cx: &Cx<'_>) -> bool {
        origin.session != SessionId(0) && cx.record.sessions.iter().any(|s| s.id == origin.session)
    }
}

/// The whole blocks within an extent; empty if there are none.
fn inner_blocks(extent: Extent) -> Extent {
    let offset = extent.offset.next_multiple_of(BLOCK);
    let end = extent.end() / BLOCK * BLOCK;
    Extent {
        offset,
        len: end.saturating_sub(offset) as u32,
    }
}
