//! The gateway's own view of its session: its numbers, and what its clients were promised.

use crate::types::{Incarnation, NodeId, SessionId, Time};
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
            incarnation.0 > 0 && incarnation.0 < 1 << 40,
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
