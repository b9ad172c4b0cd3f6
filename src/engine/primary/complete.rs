//! Changes on their way back: acknowledgements, completion, answers.
//!
//! A change is complete when the local disk and every replica that counts have it, nothing is being
//! shrunk, and every absent replica is marked wherever it must be. Only then is it stable, visible
//! to reads and answered. The answer itself leaves in `settle`, after a look at the lease.

use super::op::{Answer, Kind, Source, State};
use super::peer::Fault;
use super::shrink::Shrink;
use super::{Cx, LocalAnswer, NONE, Primary, RING};
use crate::engine::io::{Buf, Effect, LinkId, Note};
use crate::engine::store::release;
use crate::record::VolumeChange;
use crate::types::{BLOCK, Incarnation, Lease, NodeId, Seq};
use crate::wire::frame::Frame;

/// `errno` of a failed medium.
const EIO: u16 = 5;

impl Primary {
    /// The local disk has ended a change.
    pub fn applied(&mut self, id: u32, errno: u16, cx: &mut Cx<'_>) {
        let op = self.ops.at(id);
        op.local = false;
        if errno != 0 {
            op.errno = errno;
            let extent = op.blocks;
            // One that is resynced may have stored and flushed it, and is not in line any more.
            for peer in self.peers.iter().filter(|peer| !peer.state.is_in_sync()) {
                cx.store.mark_reported(peer.node, extent);
            }
            self.write_failed(errno, cx);
        }
        // The failure may have taken away what it waited for, and ended it.
        if self.ops.get(id).is_some() {
            self.check(id, cx);
        }
        self.pump(cx);
    }

    /// A replica has stored a change.
    pub(super) fn acknowledged(&mut self, at: usize, seq: Seq, cx: &mut Cx<'_>) {
        self.peers[at].heard_at = cx.now;
        let id = self.by_seq[seq.0 as usize % RING];
        let bit = 1 << at;
        let Some(op) = self.ops.get(id).copied() else {
            return;
        };
        if op.seq != seq || op.unacked & bit == 0 {
            return;
        }
        self.ops.at(id).unacked &= !bit;
        if let Some(resync) = &mut self.peers[at].resync {
            resync.acknowledged(op.blocks);
        }
        self.check(id, cx);
    }

    /// Whether nothing may be acknowledged now.
    pub(super) fn is_frozen(&self, cx: &Cx<'_>) -> bool {
        let shrinking = self.shrink.is_some() && !cx.config.canaries.shrink_without_flush;
        // One that is about to grow is configured before the log says that it is in sync.
        let configuring = self
            .peers
            .iter()
            .any(|peer| peer.configures > 0 && peer.counts && peer.state.is_in_sync());
        shrinking || self.unmarked || configuring || self.failing
    }

    /// Looks whether a change is complete.
    pub(super) fn check(&mut self, id: u32, cx: &mut Cx<'_>) {
        let frozen = self.is_frozen(cx);
        self.check_with(id, frozen, cx);
    }

    fn check_with(&mut self, id: u32, frozen: bool, cx: &mut Cx<'_>) {
        let needed = if cx.config.canaries.ack_before_peer {
            0
        } else {
            self.counting
        };
        let op = self.ops.at(id);
        if op.seq == Seq(0) || op.local {
            return;
        }
        if op.state == State::Sent {
            if frozen || op.unacked & needed != 0 {
                return;
            }
            op.state = State::Trailing;
            let (seq, errno) = (op.seq, op.errno);
            if std::mem::take(&mut op.displaced) {
                self.displaced -= 1;
                if self.displaced == 0 {
                    self.retry_held(cx);
                }
            }
            self.completed(seq, cx);
            if errno != 0 {
                self.answer(id, errno, Buf::NONE);
            } else {
                self.succeed(id);
            }
        }
        let op = self.ops.at(id);
        if op.unacked == 0 && op.locked {
            self.unlock(id, cx);
        }
        self.end(id, cx);
    }

    /// A change is on every replica that counts.
    fn completed(&mut self, seq: Seq, cx: &mut Cx<'_>) {
        let at = (seq.0 - self.stable.0 - 1) as usize;
        self.finished[at] = true;
        let before = self.stable;
        while self.finished.front() == Some(&true) {
            self.finished.pop_front();
            self.stable = self.stable.next();
        }
        if self.stable > before {
            cx.store.set_watermarks(self.stable, Seq(0), cx.out);
        }
    }

    /// A change has taken effect: answered, or flushed first.
    pub(super) fn succeed(&mut self, id: u32) {
        let op = self.ops.at(id);
        if op.fua && op.source != Source::Nobody {
            op.state = State::Flushing;
            self.flush_waiters.push(id);
        } else {
            self.answer(id, 0, Buf::NONE);
        }
    }

    /// Queues an answer.
    pub(super) fn answer(&mut self, id: u32, errno: u16, buf: Buf) {
        let op = self.ops.at(id);
        op.state = State::Trailing;
        let answer = Answer {
            source: op.source,
            errno,
            buf,
            extent: op.extent,
        };
        op.source = Source::Nobody;
        if answer.source != Source::Nobody || buf.is_some() {
            self.answers.push(answer);
        }
    }

    pub(super) fn unlock(&mut self, id: u32, cx: &mut Cx<'_>) {
        let op = self.ops.at(id);
        if std::mem::take(&mut op.locked) {
            self.locks.release(id, &mut self.grants);
            self.granted.extend(self.grants.drain(..));
        }
        self.end(id, cx);
    }

    /// Ends an operation that has no more steps: its lock, its buffer, its place.
    pub(super) fn finish(&mut self, id: u32, cx: &mut Cx<'_>) {
        let op = self.ops.at(id);
        op.state = State::Trailing;
        op.unacked = 0;
        self.unlock(id, cx);
    }

    pub(super) fn end(&mut self, id: u32, cx: &mut Cx<'_>) {
        let Some(op) = self.ops.get(id).copied() else {
            return;
        };
        if op.state != State::Trailing || op.locked || op.unacked != 0 || op.local {
            return;
        }
        if op.seq != Seq(0) {
            let place = &mut self.by_seq[op.seq.0 as usize % RING];
            if *place == id {
                *place = NONE;
            }
        }
        if op.owns_buf {
            release(op.buf, cx.out);
        }
        self.ops.remove(id);
        if op.kind == Kind::Reconcile {
            self.reconciled(op.blocks, cx);
        }
    }

    /// Who counts, or who takes changes, has become less: looks at everything again.
    pub(super) fn sweep(&mut self, cx: &mut Cx<'_>) {
        let keep = self.counting | self.live;
        let frozen = self.is_frozen(cx);
        for id in 0..self.ops.end() {
            let Some(op) = self.ops.get(id) else { continue };
            if op.seq == Seq(0) {
                continue;
            }
            self.ops.at(id).unacked &= keep;
            self.check_with(id, frozen, cx);
        }
        for at in 0..self.rounds.len() {
            self.rounds[at].waiting &= self.counting;
        }
    }

    /// Lets the answers out that the lease covers.
    pub fn settle(&mut self, lease: Lease, incarnation: Incarnation, cx: &mut Cx<'_>) {
        if self.answers.is_empty() || self.failing {
            return;
        }
        if !lease.covers(incarnation, cx.now) && !cx.config.canaries.answer_without_lease {
            return;
        }
        for answer in self.answers.drain(..) {
            match answer.source {
                Source::Local(slot) => cx.local.push(LocalAnswer {
                    slot,
                    errno: answer.errno,
                    buf: answer.buf,
                }),
                Source::Link { link, tag } => {
                    let read = answer.buf.is_some();
                    let frame = Frame::Done {
                        tag,
                        errno: answer.errno,
                        len: if read { answer.extent.len } else { 0 },
                        skip: if read {
                            (answer.extent.offset % BLOCK) as u16
                        } else {
                            0
                        },
                    };
                    cx.out.push(Effect::Send {
                        link,
                        frame,
                        buf: answer.buf,
                    });
                    release(answer.buf, cx.out);
                }
                Source::Nobody => release(answer.buf, cx.out),
            }
        }
    }

    /// A gateway's link has ended: nobody waits for its answers. What has begun goes on; the rest
    /// will be asked again.
    pub(super) fn detach(&mut self, link: LinkId, cx: &mut Cx<'_>) {
        let ours = |source| matches!(source, Source::Link { link: l, .. } if l == link);
        for answer in &mut self.answers {
            if ours(answer.source) {
                answer.source = Source::Nobody;
            }
        }
        for id in 0..self.ops.end() {
            let Some(op) = self.ops.get(id) else { continue };
            if !ours(op.source) {
                continue;
            }
            let op = self.ops.at(id);
            op.source = Source::Nobody;
            match op.state {
                State::Held => {
                    self.held.retain(|&held| held != id);
                    self.finish(id, cx);
                }
                State::Crowded => {
                    self.crowded.retain(|&crowded| crowded != id);
                    self.finish(id, cx);
                }
                State::Locking => {
                    // Granted ones are in the queue already and see this there.
                    let granted = !op.locked || self.locks.is_granted(id);
                    self.ops.at(id).cancelled = true;
                    if !granted {
                        self.finish(id, cx);
                    }
                }
                State::Edges | State::Reading => op.cancelled = true,
                State::Comparing | State::Sent | State::Flushing | State::Trailing => {}
            }
        }
    }

    // The local disk.

    /// Another replica that has everything that was acknowledged, and works: it can take over. One
    /// that is about to grow is first waited for.
    pub(super) fn other_copy(&self) -> Option<NodeId> {
        let counts = |peer: &&super::peer::Peer| {
            let full = peer.state.is_in_sync() || peer.grow.is_some();
            peer.counts && full && peer.fault.is_none()
        };
        self.peers
            .iter()
            .enumerate()
            .filter(|&(at, _)| at != self.me)
            .map(|(_, peer)| peer)
            .find(counts)
            .map(|peer| peer.node)
    }

    /// Whether a replica that cannot be waited for may hold what a failed flush has lost here. It
    /// takes over when it is back; it must not be shrunk out now.
    fn is_held_elsewhere(&self) -> bool {
        let full = |peer: &super::peer::Peer| {
            let unreachable = matches!(peer.fault, Some(Fault::Gone | Fault::Stalled));
            peer.counts && unreachable && (peer.state.is_in_sync() || peer.grow.is_some())
        };
        let flushed = self.shrink.is_some_and(Shrink::is_flushed);
        let others = self
            .peers
            .iter()
            .enumerate()
            .filter(|&(at, _)| at != self.me);
        !flushed && others.map(|(_, peer)| peer).any(full)
    }

    /// A change has failed here.
    fn write_failed(&mut self, errno: u16, cx: &mut Cx<'_>) {
        if self.other_copy().is_some() {
            self.disk_failed_with(errno, cx);
            return;
        }
        cx.out.push(Effect::Note(Note::StoreFailed { errno }));
        // A replica that is resynced may have stored it: it is brought in line from the start.
        for at in 0..self.peers.len() {
            if self.peers[at].resync.is_some() {
                self.hang_up(at, cx);
                self.peers[at].retry_at = cx.now.after(cx.config.timing.stall / 4);
            }
        }
    }

    /// The store can promise nothing any more.
    pub(super) fn disk_failed(&mut self, cx: &mut Cx<'_>) {
        let errno = cx.store.broken.unwrap_or(EIO);
        if self.other_copy().is_some() || self.is_held_elsewhere() {
            self.disk_failed_with(errno, cx);
        } else if self.flush_failed.is_none() {
            // The last copy: what can still be read is read.
            self.flush_failed = Some(errno);
            cx.out.push(Effect::Note(Note::StoreFailed { errno }));
        }
    }

    /// Stops answering and asks for another primary.
    fn disk_failed_with(&mut self, errno: u16, cx: &mut Cx<'_>) {
        if !self.failing {
            self.failing = true;
            self.propose_at = cx.now;
            cx.store.break_down(errno, cx.out);
            cx.out.push(Effect::Note(Note::StoreFailed { errno }));
        }
    }

    /// A read that others depend on has failed: it stays unanswered, another replica takes over.
    /// The last copy answers with the error.
    pub(super) fn read_failed(&mut self, id: u32, errno: u16, cx: &mut Cx<'_>) {
        if self.other_copy().is_some() {
            self.disk_failed_with(errno, cx);
            return;
        }
        cx.out.push(Effect::Note(Note::StoreFailed { errno }));
        match self.ops.at(id).kind {
            Kind::Copy { peer, .. } => {
                let at = usize::from(peer);
                self.hang_up(at, cx);
                self.peers[at].retry_at = cx.now.after(cx.config.timing.stall / 4);
                self.finish(id, cx);
            }
            Kind::Reconcile => {
                // Nobody else counts: there is nothing to bring in line.
                self.finish(id, cx);
            }
            Kind::Read | Kind::Change | Kind::Flush => {
                self.answer(id, errno, Buf::NONE);
                self.finish(id, cx);
            }
        }
    }

    /// The change that hands the volume over because this disk failed.
    pub(super) fn hand_over(&self) -> VolumeChange {
        VolumeChange::Demote {
            term: self.term,
            prefer: self.other_copy(),
        }
    }
}
