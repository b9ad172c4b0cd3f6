//! The pieces of requests that clients have asked for and were not answered.

use std::collections::VecDeque;

use crate::engine::interval::IntervalLocks;
use crate::engine::io::{Buf, Tag};
use crate::types::Extent;
use crate::wire::frame::Ask;

/// Most pieces that are unanswered at once.
pub const PIECES: usize = 512;

/// Where a piece is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for an older piece that it overlaps.
    Held,
    /// May be sent as soon as there is a way.
    Ready,
    /// With the primary.
    Sent,
    /// Its client was told that its session is over, but this node's primary still uses the buffer.
    Abandoned,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub tag: Tag,
    pub ask: Ask,
    pub extent: Extent,
    pub buf: Buf,
    pub state: State,
    /// Place in the order of arrival.
    pub order: u64,
    /// A change's number in its session, given when it is first sent; 0 before, and for others.
    pub number: u64,
    /// Of a flush: how many changes had been acknowledged when it was asked.
    pub covers: u64,
}

impl Piece {
    const fn is_change(&self) -> bool {
        matches!(self.ask, Ask::Change { .. })
    }
}

/// The table. A piece's slot is its name towards the primary.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    slots: Vec<Option<Piece>>,
    free: Vec<u32>,
    /// Pieces in the order of overlapping ones: changes exclusive, reads shared.
    locks: IntervalLocks,
    /// Ready changes, those with a number first: they wait for the width of the window.
    changes: VecDeque<u32>,
    /// Ready reads and flushes: they do not.
    others: VecDeque<u32>,
    granted: Vec<u32>,
    sorted: Vec<(u64, u64, u32)>,
    abandoned: usize,
    arrived: u64,
    /// Against the rules: nothing is held back.
    overlap: bool,
}

impl Pieces {
    pub fn new(overlap: bool) -> Self {
        Self {
            slots: vec![None; PIECES],
            free: (0..PIECES as u32).rev().collect(),
            locks: IntervalLocks::new(PIECES),
            changes: VecDeque::with_capacity(PIECES),
            others: VecDeque::with_capacity(PIECES),
            granted: Vec::with_capacity(PIECES),
            sorted: Vec::with_capacity(PIECES),
            abandoned: 0,
            arrived: 0,
            overlap,
        }
    }

    pub fn room(&self) -> usize {
        self.free.len()
    }

    /// Pieces whose client waits, or would if it were still there.
    pub fn live(&self) -> usize {
        PIECES - self.free.len() - self.abandoned
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == PIECES
    }

    /// The piece, if the slot has one that was sent and whose answer is wanted.
    pub fn sent(&self, slot: u32) -> Option<&Piece> {
        self.slots
            .get(slot as usize)?
            .as_ref()
            .filter(|piece| piece.state == State::Sent)
    }

    /// Whether a change has been sent, whatever has become of it.
    pub fn has_numbered(&self) -> bool {
        self.live_pieces().any(|piece| piece.number != 0)
    }

    fn live_pieces(&self) -> impl Iterator<Item = &Piece> {
        self.slots
            .iter()
            .flatten()
            .filter(|piece| piece.state != State::Abandoned)
    }

    pub fn add(&mut self, tag: Tag, ask: Ask, extent: Extent, buf: Buf, covers: u64) {
        let Some(slot) = self.free.pop() else {
            panic!("more requests than there is room for");
        };
        let exclusive = matches!(ask, Ask::Change { .. }) && !self.overlap;
        let ready = ask == Ask::Flush || self.locks.acquire(slot, extent, exclusive);
        self.arrived += 1;
        self.slots[slot as usize] = Some(Piece {
            tag,
            ask,
            extent,
            buf,
            state: if ready { State::Ready } else { State::Held },
            order: self.arrived,
            number: 0,
            covers,
        });
        if ready {
            self.enqueue(slot);
        }
    }

    /// The next change to be sent; its number is 0 if it has none yet.
    pub fn next_change(&self) -> Option<(u32, u64)> {
        let &slot = self.changes.front()?;
        Some((slot, self.piece(slot).number))
    }

    /// The next read or flush to be sent.
    pub fn next_other(&self) -> Option<u32> {
        self.others.front().copied()
    }

    /// The piece, which is the next of its queue, is sent: a change under this number.
    pub fn send(&mut self, slot: u32, number: u64) -> Piece {
        let queue = if self.piece(slot).is_change() {
            &mut self.changes
        } else {
            &mut self.others
        };
        assert_eq!(queue.pop_front(), Some(slot), "out of turn");
        let piece = self.piece_mut(slot);
        assert!(piece.state == State::Ready && (number != 0) == piece.is_change());
        assert!(piece.number == 0 || piece.number == number);
        piece.state = State::Sent;
        piece.number = number;
        *piece
    }

    /// A sent piece has its answer; what it held back becomes ready.
    pub fn finish(&mut self, slot: u32) -> Piece {
        let piece = self.take(slot);
        assert_eq!(piece.state, State::Sent, "slot {slot}");
        if piece.ask != Ask::Flush {
            self.granted.clear();
            self.locks.release(slot, &mut self.granted);
            for at in 0..self.granted.len() {
                let slot = self.granted[at];
                let piece = self.piece_mut(slot);
                assert_eq!(piece.state, State::Held);
                piece.state = State::Ready;
                self.enqueue(slot);
            }
        }
        piece
    }

    /// The buffer of an abandoned piece, which the primary is done with.
    pub fn finish_abandoned(&mut self, slot: u32) -> Option<Buf> {
        let piece = self.slots.get(slot as usize)?.as_ref()?;
        if piece.state != State::Abandoned {
            return None;
        }
        self.abandoned -= 1;
        Some(self.take(slot).buf)
    }

    /// Nobody is going to answer what was sent: all of it is ready again, changes in the order of
    /// their numbers, then of arrival.
    pub fn take_back(&mut self) {
        for piece in self.slots.iter_mut().flatten() {
            if piece.state == State::Sent {
                piece.state = State::Ready;
            }
        }
        self.requeue();
    }

    /// Changes get new numbers, in the order in which they had old ones. Nothing is with a primary.
    pub fn renumber(&mut self) {
        for piece in self.slots.iter_mut().flatten() {
            assert_ne!(piece.state, State::Sent);
            piece.number = 0;
        }
    }

    /// Removes every piece whose client waits and gives each to `each`; with `keep`, those that were
    /// sent keep their slot as abandoned until the primary is done with the buffer, and `each` is
    /// told not to release it.
    pub fn abandon(&mut self, keep: bool, mut each: impl FnMut(&Piece, bool)) {
        self.changes.clear();
        self.others.clear();
        self.locks.clear();
        for slot in 0..PIECES as u32 {
            let Some(piece) = &mut self.slots[slot as usize] else {
                continue;
            };
            match piece.state {
                State::Abandoned => {}
                State::Sent if keep => {
                    each(piece, false);
                    piece.state = State::Abandoned;
                    self.abandoned += 1;
                }
                State::Held | State::Ready | State::Sent => {
                    each(piece, true);
                    self.take(slot);
                }
            }
        }
    }

    /// The primary that used abandoned buffers is gone: gives each of them to `each`.
    pub fn free_abandoned(&mut self, mut each: impl FnMut(Buf)) {
        if self.abandoned == 0 {
            return;
        }
        for slot in 0..PIECES as u32 {
            if let Some(buf) = self.finish_abandoned(slot) {
                each(buf);
            }
        }
        assert_eq!(self.abandoned, 0);
    }

    /// Ready pieces back into their queues, in order.
    fn requeue(&mut self) {
        self.changes.clear();
        self.others.clear();
        self.sorted.clear();
        for (slot, piece) in self.slots.iter().enumerate() {
            if let Some(piece) = piece
                && piece.state == State::Ready
            {
                // Those without a number come after all that have one.
                let rank = piece.number.wrapping_sub(u64::from(piece.is_change()));
                self.sorted.push((rank, piece.order, slot as u32));
            }
        }
        self.sorted.sort_unstable();
        for at in 0..self.sorted.len() {
            self.enqueue(self.sorted[at].2);
        }
    }

    fn enqueue(&mut self, slot: u32) {
        if self.piece(slot).is_change() {
            self.changes.push_back(slot);
        } else {
            self.others.push_back(slot);
        }
    }

    fn piece(&self, slot: u32) -> &Piece {
        match &self.slots[slot as usize] {
            Some(piece) => piece,
            None => panic!("slot {slot} is empty"),
        }
    }

    fn piece_mut(&mut self, slot: u32) -> &mut Piece {
        match &mut self.slots[slot as usize] {
            Some(piece) => piece,
            None => panic!("slot {slot} is empty"),
        }
    }

    fn take(&mut self, slot: u32) -> Piece {
        let piece = *self.piece(slot);
        self.slots[slot as usize] = None;
        self.free.push(slot);
        piece
    }
}
