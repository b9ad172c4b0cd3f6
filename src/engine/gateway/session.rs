//! The gateway's own view of its session: its numbers, and what its clients were promised.

use super::route::Route;
use super::{Gateway, GatewayConfig, release, reply};
use crate::engine::gateway::ESHUTDOWN;
use crate::engine::io::{Buf, Effect, Effects, Note};
use crate::record::{SessionRecord, VolumeChange};
use crate::types::{INCARNATION_MAX, Incarnation, NodeId, SessionId, Time};
use crate::wire::frame::{Origin, SessionWindow, WINDOW};

/// A session that this gateway has proposed or holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub id: SessionId,
    /// The record has listed it.
    pub open: bool,
    /// When it is proposed again, while it is not open.
    pub propose_at: Time,
    /// Carries on changes that were sent in an older session, which is harmless only if nobody else
    /// opens one before this is open: `VolumeRecord::openings` before.
    pub carried: Option<u64>,
    /// Number of the next change.
    next: u64,
    /// Numbers that were answered to clients.
    answered: SessionWindow,
}

impl Session {
    /// A session that no other gateway, no other run of this daemon and no other session of this
    /// run has the number of.
    pub fn new(node: NodeId, incarnation: Incarnation, count: u64, carried: Option<u64>) -> Self {
        assert!(
            incarnation.0 > 0 && incarnation <= INCARNATION_MAX,
            "incarnation {incarnation}"
        );
        let id =
            SessionId(u64::from(node.0) << 56 | incarnation.0 << 16 | count & u64::from(u16::MAX));
        Self {
            id,
            open: false,
            propose_at: Time::ZERO,
            carried,
            next: 1,
            answered: SessionWindow::first(id),
        }
    }

    /// The number of the next change, unless too many are unanswered.
    pub fn number(&mut self) -> Option<u64> {
        let number = self.next;
        (number < self.answered.confirmed + WINDOW).then(|| {
            self.next += 1;
            number
        })
    }

    /// What goes with a request.
    pub fn origin(&self, number: u64) -> Origin {
        Origin {
            session: self.id,
            number,
            confirmed: self.answered.confirmed,
        }
    }

    /// A change has been answered to its client.
    pub fn answered(&mut self, number: u64) {
        assert!(number < self.next);
        self.answered.answer(number);
    }
}

/// What clients were told, so that after a loss of power of all replicas no flush pretends that
/// nothing is missing. Outlives sessions that end without a disconnect.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Promises {
    /// Changes that were acknowledged and not durable by themselves.
    acknowledged: u64,
    /// How many of these, the first ones, were acknowledged before a flush was asked that has
    /// succeeded.
    flushed: u64,
}

impl Promises {
    /// A change without FUA was acknowledged.
    pub fn change(&mut self) {
        self.acknowledged += 1;
    }

    /// What a flush that is asked now covers.
    pub fn covers(self) -> u64 {
        self.acknowledged
    }

    /// A flush that covers so much has succeeded.
    pub fn flush(&mut self, covers: u64) {
        self.flushed = self.flushed.max(covers);
    }

    /// Whether some client was told of a change that a loss of power may undo.
    pub fn is_dirty(self) -> bool {
        self.acknowledged > self.flushed
    }
}

impl Gateway {
    /// This node's primary says, before it serves, that the session's window was lost on every
    /// replica.
    pub fn session_lost(&mut self, now: Time, out: &mut Effects) {
        self.window_lost(out);
        self.update(now, out);
    }

    /// Has a session as soon as somebody needs one.
    pub(super) fn open_session(&mut self, now: Time, out: &mut Effects) {
        let needed = !self.clients.is_empty() || self.pieces.live() > 0;
        if !needed && self.session.is_some_and(|session| !session.open) {
            self.session = None;
        } else if needed && self.session.is_none() {
            self.begin_session(None);
        }
        if let (Some(session), Some(record)) = (&mut self.session, &self.record)
            && !session.open
            && session.propose_at <= now
        {
            session.propose_at = now.after(self.config.propose_every);
            out.push(Effect::Propose {
                prev: record.entry,
                change: VolumeChange::OpenSession {
                    session: SessionRecord {
                        id: session.id,
                        gateway: self.config.me,
                    },
                },
            });
        }
    }

    pub(super) fn begin_session(&mut self, carried: Option<u64>) {
        self.sessions_begun += 1;
        let GatewayConfig {
            me, incarnation, ..
        } = self.config;
        let session = Session::new(me, incarnation, self.sessions_begun, carried);
        self.session = Some(session);
    }

    /// The record does not list the session any more. `quiet`: all replicas lost power, and nobody
    /// else has used the volume since.
    pub(super) fn session_ended(&mut self, quiet: bool, out: &mut Effects) {
        let shared = self.record.is_some_and(|record| record.shared);
        // The windows are gone with the power: whether a change that was sent took effect cannot be
        // known, and others may have changed the place since.
        let doubtful = shared && self.pieces.has_numbered();
        if quiet && !self.promises.is_dirty() && !doubtful {
            self.renew_session(out);
        } else {
            self.end_session(out);
        }
    }

    /// The record lists the session, but whether its changes took effect is not known anywhere.
    pub(super) fn window_lost(&mut self, out: &mut Effects) {
        if !self.record.is_some_and(|record| record.shared) {
            // Nobody else writes: sending again is harmless, and the primary will see that.
        } else if self.pieces.has_numbered() {
            self.end_session(out);
        } else {
            self.renew_session(out);
        }
    }

    /// Goes on in a new session, unseen by the clients.
    pub(super) fn renew_session(&mut self, out: &mut Effects) {
        assert!(self.route != Route::Local, "the primary still serves");
        self.leave(out);
        let openings = self.record.map(|record| record.openings);
        let sent = self.pieces.has_numbered();
        self.pieces.renumber();
        self.begin_session(openings.filter(|_| sent));
    }

    /// Disconnects the clients and drops what they asked.
    pub(super) fn end_session(&mut self, out: &mut Effects) {
        let local = self.route == Route::Local;
        if !local {
            self.leave(out);
        }
        if !self.clients.is_empty() {
            out.push(Effect::Note(Note::SessionEnded));
            out.push(Effect::DisconnectClients);
        }
        self.pieces.abandon(local, |piece, free| {
            reply(piece.tag, ESHUTDOWN, Buf::NONE, out);
            if free {
                release(piece.buf, out);
            }
        });
        self.clients.clear();
        self.session = None;
        self.promises = Promises::default();
    }
}
