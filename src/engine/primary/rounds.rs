//! Flushes: one round makes everything durable here and on every replica that counts.
//!
//! Requests join the next round: one that was asked for while a round is under way is covered only
//! by the one after it.

use super::attach::send;
use super::{Cx, Phase, Primary};
use crate::engine::io::{Buf, LinkId};
use crate::engine::store::FlushUser;
use crate::types::{Seq, Time};
use crate::wire::frame::Frame;

/// Why a round was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoundUser {
    /// Clients wait, or nothing has changed for a while.
    Everyone,
    /// Before a replica is shrunk out: the remaining ones.
    Shrink,
}

/// A round under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub id: u32,
    pub user: RoundUser,
    /// Every change up to this one was complete when it began.
    covers: Seq,
    local: bool,
    /// Replicas that have not answered.
    pub waiting: u8,
    errno: u16,
}

impl Primary {
    /// Begins a round over the replicas in `over`.
    pub(super) fn begin_round(&mut self, user: RoundUser, over: u8, cx: &mut Cx<'_>) -> u32 {
        self.flush_ids = self.flush_ids.wrapping_add(1);
        let id = self.flush_ids;
        let waiting = if cx.config.canaries.skip_peer_flush {
            0
        } else {
            over
        };
        self.rounds.push(Round {
            id,
            user,
            covers: self.stable,
            local: true,
            waiting,
            errno: 0,
        });
        for at in 0..self.peers.len() {
            if waiting & self.live & 1 << at != 0
                && let Some(link) = self.peers[at].link
            {
                send(link, Frame::Flush { id }, Buf::NONE, cx);
            }
        }
        let user = FlushUser::Round {
            epoch: self.epoch,
            round: id,
        };
        cx.store.flush(user, cx.out);
        id
    }

    /// A replica was taken up: rounds that it owes an answer are asked again.
    pub(super) fn flush_again(&mut self, at: usize, link: LinkId, cx: &mut Cx<'_>) {
        for round in &self.rounds {
            if round.waiting & 1 << at != 0 {
                send(link, Frame::Flush { id: round.id }, Buf::NONE, cx);
            }
        }
    }

    /// The local disk has flushed.
    pub fn round_flushed(&mut self, round: u32, errno: u16, cx: &mut Cx<'_>) {
        if let Some(round) = self.rounds.iter_mut().find(|r| r.id == round) {
            round.local = false;
            round.errno = errno;
        }
        self.pump(cx);
    }

    /// A replica has flushed.
    pub(super) fn flushed_by(&mut self, at: usize, id: u32, cx: &mut Cx<'_>) {
        self.peers[at].heard_at = cx.now;
        if let Some(round) = self.rounds.iter_mut().find(|r| r.id == id) {
            round.waiting &= !(1 << at);
        } else {
            self.resync_flushed(at, id, cx);
        }
    }

    /// Whether the round is over, and without an error.
    pub(super) fn is_flushed(&self, id: u32) -> bool {
        !self.rounds.iter().any(|round| round.id == id)
    }

    pub(super) fn advance_rounds(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Serving {
            return;
        }
        let mut at = 0;
        while at < self.rounds.len() {
            let round = self.rounds[at];
            if round.local || round.waiting != 0 || self.failing {
                at += 1;
                continue;
            }
            if round.user == RoundUser::Everyone && self.is_frozen(cx) {
                at += 1;
                continue;
            }
            self.rounds.swap_remove(at);
            self.round_ends(round, cx);
        }
        let busy = self.rounds.iter().any(|r| r.user == RoundUser::Everyone);
        if !busy {
            self.begin_next_round(cx);
        }
    }

    fn begin_next_round(&mut self, cx: &mut Cx<'_>) {
        let idle = cx.config.timing.idle_flush;
        let due = self
            .changed_at
            .is_some_and(|at| self.ops.len() == 0 && cx.now >= at.after(idle));
        // What replicas wait for a slot for, too: their tables are about as full as this one's.
        let crowded = cx.store.wants_flush() && self.stable > cx.store.flushed;
        let stuck = self
            .dirty_since
            .is_some_and(|at| cx.now >= at.after(idle * 4));
        if !self.flush_waiters.is_empty() {
            if let Some(errno) = self.flush_failed {
                // A failed flush is never retried as if nothing had happened.
                self.fail_flushes(errno, cx);
                return;
            }
        } else if !due && !crowded && !stuck {
            return;
        }
        if self.flush_failed.is_some() {
            self.changed_at = None;
            self.dirty_since = None;
            return;
        }
        std::mem::swap(&mut self.flush_waiters, &mut self.flush_riders);
        self.dirty_since = None;
        self.begin_round(RoundUser::Everyone, self.counting, cx);
    }

    fn fail_flushes(&mut self, errno: u16, cx: &mut Cx<'_>) {
        let mut waiters = std::mem::take(&mut self.flush_waiters);
        for id in waiters.drain(..) {
            self.answer(id, errno, Buf::NONE);
            self.end(id, cx);
        }
        self.flush_waiters = waiters;
    }

    fn round_ends(&mut self, round: Round, cx: &mut Cx<'_>) {
        if round.errno != 0 {
            self.flush_failed = Some(round.errno);
        }
        let shrink = round.user == RoundUser::Shrink;
        // Whoever leaves has not flushed, and would clear its intents if it heard of a new watermark
        // before it is out.
        let moves = !shrink || cx.config.canaries.shrink_moves_watermark;
        if round.errno == 0 && moves {
            cx.store.set_watermarks(self.stable, round.covers, cx.out);
        }
        if shrink {
            return;
        }
        let mut riders = std::mem::take(&mut self.flush_riders);
        for id in riders.drain(..) {
            self.answer(id, round.errno, Buf::NONE);
            self.end(id, cx);
        }
        self.flush_riders = riders;
        if cx.store.flushed == self.seq {
            let idle = cx.config.timing.idle_flush;
            if self
                .changed_at
                .take()
                .is_some_and(|at| cx.now >= at.after(idle))
            {
                self.tell_watermarks(cx);
                cx.store.clear_idle(cx.out);
            } else if cx.store.active() > 0 {
                // A client's flush: the intents are cleared when there is nothing else to do.
                self.clear_at = Some(cx.now.after(idle));
            }
        } else {
            self.dirty_since.get_or_insert(cx.now);
        }
    }

    /// Replicas learn what is stable and durable with the next change; if there is none for a while,
    /// by themselves.
    pub(super) fn advance_watermarks(&mut self, cx: &mut Cx<'_>) {
        if self.clear_at.is_some_and(|at| cx.now >= at) {
            self.clear_at = None;
            if self.ops.len() == 0 && self.changed_at.is_none() {
                self.tell_watermarks(cx);
                cx.store.clear_idle(cx.out);
            }
        }
        if self.told == (self.stable, cx.store.flushed) || self.live == 0 {
            self.watermark_at = None;
            return;
        }
        match self.watermark_at {
            None => {
                self.watermark_at = Some(cx.now.after(cx.config.timing.link_retry * 2));
            }
            Some(at) if cx.now >= at => self.tell_watermarks(cx),
            Some(_) => {}
        }
    }

    fn tell_watermarks(&mut self, cx: &mut Cx<'_>) {
        self.told = (self.stable, cx.store.flushed);
        self.watermark_at = None;
        let frame = Frame::Watermark {
            stable: self.stable,
            flushed: cx.store.flushed,
        };
        for at in 0..self.peers.len() {
            if self.live & 1 << at != 0
                && let Some(link) = self.peers[at].link
            {
                send(link, frame, Buf::NONE, cx);
            }
        }
    }

    /// When a round or a word to the replicas is due.
    pub(super) fn rounds_deadline(&self, idle: std::time::Duration) -> Time {
        let watermark = self.watermark_at.unwrap_or(Time::MAX);
        let busy = !self.rounds.is_empty() || self.flush_failed.is_some();
        let clear = self.clear_at.unwrap_or(Time::MAX);
        if busy || self.phase != Phase::Serving {
            return watermark.min(clear);
        }
        let due = match self.changed_at {
            Some(at) if self.ops.len() == 0 => at.after(idle),
            _ => Time::MAX,
        };
        let stuck = self.dirty_since.map_or(Time::MAX, |at| at.after(idle * 4));
        watermark.min(clear).min(due).min(stuck)
    }
}
