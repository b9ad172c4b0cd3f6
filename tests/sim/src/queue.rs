//! What happens next: events in the order of true time, first come first served at equal times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nanoseconds of true time since the run began.
pub type Instant = u64;

/// One microsecond of true time.
pub const MICRO: Instant = 1_000;
/// One millisecond of true time.
pub const MILLI: Instant = 1_000_000;
/// One second of true time.
pub const SECOND: Instant = 1_000_000_000;

/// The events to come. The heap moves only small keys; events stay in their slots.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    next: u64,
    now: Instant,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            next: 0,
            now: 0,
        }
    }
}

impl<E> Queue<E> {
    /// The time of the newest event taken.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// How many events have been taken or wait.
    #[must_use]
    pub const fn counted(&self) -> u64 {
        self.next
    }

    /// `event` happens at `at`, or now if that has passed.
    pub fn push(&mut self, at: Instant, event: E) {
        let at = at.max(self.now);
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(event);
            slot
        } else {
            self.slots.push(Some(event));
            (self.slots.len() - 1) as u32
        };
        self.heap.push(Reverse((at, self.next, slot)));
        self.next += 1;
    }

    /// `event` happens `delay` from now.
    pub fn after(&mut self, delay: Instant, event: E) {
        self.push(self.now + delay, event);
    }

    /// When the next event happens.
    #[must_use]
    pub fn peek(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next event; time moves to it.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.now = at;
        self.free.push(slot);
        let event = self.slots[slot as usize].take();
        event.map(|event| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_then_of_arrival() {
        let mut queue = Queue::default();
        queue.push(5, 'c');
        queue.push(1, 'a');
        queue.push(5, 'd');
        queue.push(2, 'b');
        assert_eq!(queue.pop(), Some((1, 'a')));
        queue.push(0, 'x');
        assert_eq!(queue.pop(), Some((1, 'x')), "the past is now");
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [(2, 'b'), (5, 'c'), (5, 'd')]);
    }
}
