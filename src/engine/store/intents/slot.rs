//! One slot of the ring: which region it holds, and what keeps that region active.

use crate::types::Seq;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// In a record that is not durable yet.
    Activating,
    Active,
    /// A record that clears it is being written.
    Clearing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub state: State,
    pub region: u32,
    /// Changes in flight.
    pub users: u32,
    /// Newest change.
    pub last: Seq,
    /// Brought along: see `Intents::hold`.
    pub held: bool,
    /// Bitmap pages whose bits for this region only this intent stands for, by kind.
    pub unwritten: u16,
    /// Those of them that are being written.
    pub writing: u16,
}

pub(super) const FREE: Slot = Slot {
    state: State::Free,
    region: 0,
    users: 0,
    last: Seq(0),
    held: false,
    unwritten: 0,
    writing: 0,
};

impl Slot {
    /// Whether the next record may clear it; `kinds` are the kinds of bitmap pages in use.
    pub fn is_clearable(&self, watermark: Seq, kinds: u16) -> bool {
        self.is_old(watermark) && (self.unwritten | self.writing) & kinds == 0
    }

    /// Whether nothing but a bitmap page can keep it from being cleared.
    pub fn is_old(&self, watermark: Seq) -> bool {
        self.state == State::Active && self.users == 0 && !self.held && self.last <= watermark
    }
}
