//! Who may touch which bytes: locks over extents, first come first served among those that overlap.
//!
//! Each lock counts the older locks that conflict with it (overlap, and at least one of the two is
//! exclusive), whether those are granted or wait themselves; it is granted when none is left. So a
//! lock never overtakes an older one that it conflicts with, nobody starves, and conflicting work is
//! done in the order in which it was asked for.
//!
//! The table is a set of parallel arrays in no order: up to some hundred locks a linear scan of two
//! arrays of integers is faster than any tree.

use crate::types::Extent;

/// The table. Holds no more memory than its deepest use so far needed.
#[derive(Clone, Debug, Default)]
pub struct IntervalLocks {
    starts: Vec<u64>,
    ends: Vec<u64>,
    locks: Vec<Lock>,
    /// Ticket of the newest lock.
    tickets: u64,
}

#[derive(Clone, Copy, Debug)]
struct Lock {
    id: u32,
    exclusive: bool,
    /// Older locks that conflict with this one and have not been released.
    blockers: u32,
    ticket: u64,
}

impl IntervalLocks {
    /// An empty table with room for `depth` locks; it grows beyond them if it must.
    #[must_use]
    pub fn new(depth: usize) -> Self {
        Self {
            starts: Vec::with_capacity(depth),
            ends: Vec::with_capacity(depth),
            locks: Vec::with_capacity(depth),
            tickets: 0,
        }
    }

    /// Asks for a lock under the caller's own number, which no lock in the table has. Returns
    /// whether it is granted at once; if not, a later `release` grants it. `extent` is not empty.
    pub fn acquire(&mut self, id: u32, extent: Extent, exclusive: bool) -> bool {
        assert!(extent.len > 0, "a lock over nothing");
        debug_assert!(self.position(id).is_none(), "lock {id} is taken twice");
        let (start, end) = (extent.offset, extent.end());
        let mut blockers = 0;
        for i in 0..self.starts.len() {
            if self.starts[i] < end && start < self.ends[i] {
                blockers += u32::from(exclusive || self.locks[i].exclusive);
            }
        }
        self.tickets += 1;
        self.starts.push(start);
        self.ends.push(end);
        self.locks.push(Lock {
            id,
            exclusive,
            blockers,
            ticket: self.tickets,
        });
        blockers == 0
    }

    /// Gives up lock `id`, granted or still waiting, and appends to `granted` those that are granted
    /// by this, in the order in which they were asked for.
    pub fn release(&mut self, id: u32, granted: &mut Vec<u32>) {
        let Some(at) = self.position(id) else {
            panic!("lock {id} is not in the table");
        };
        let start = self.starts.swap_remove(at);
        let end = self.ends.swap_remove(at);
        let gone = self.locks.swap_remove(at);
        let first = granted.len();
        for i in 0..self.starts.len() {
            if self.starts[i] < end && start < self.ends[i] {
                let lock = &mut self.locks[i];
                if lock.ticket > gone.ticket && (lock.exclusive || gone.exclusive) {
                    assert!(lock.blockers > 0, "lock {} waited for nothing", lock.id);
                    lock.blockers -= 1;
                    if lock.blockers == 0 {
                        granted.push(lock.id);
                    }
                }
            }
        }
        if granted.len() - first > 1 {
            granted[first..].sort_unstable_by_key(|&id| self.lock(id).ticket);
        }
    }

    /// Whether lock `id`, which is in the table, has been granted.
    #[must_use]
    pub fn is_granted(&self, id: u32) -> bool {
        self.lock(id).blockers == 0
    }

    /// Whether any lock, granted or waiting, shares a byte with the extent.
    #[must_use]
    pub fn overlaps(&self, extent: Extent) -> bool {
        let (start, end) = (extent.offset, extent.end());
        (0..self.starts.len()).any(|i| self.starts[i] < end && start < self.ends[i])
    }

    /// Number of locks, granted and waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locks.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// Forgets all locks.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.ends.clear();
        self.locks.clear();
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.locks.iter().position(|lock| lock.id == id)
    }

    fn lock(&self, id: u32) -> &Lock {
        match self.position(id) {
            Some(at) => &self.locks[at],
            None => panic!("lock {id} is not in the table"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(offset: u64, len: u32) -> Extent {
        Extent { offset, len }
    }

    #[test]
    fn shared_locks_overlap() {
        let mut locks = IntervalLocks::new(4);
        assert!(locks.acquire(1, extent(0, 10), false));
        assert!(locks.acquire(2, extent(5, 10), false));
        assert!(!locks.acquire(3, extent(9, 1), true));
        assert!(locks.acquire(4, extent(15, 1), true));
        assert!(locks.overlaps(extent(14, 1)));
        assert!(!locks.overlaps(extent(16, 5)));
    }

    #[test]
    fn a_reader_does_not_overtake_a_waiting_writer() {
        let mut locks = IntervalLocks::new(4);
        let mut granted = Vec::new();
        assert!(locks.acquire(1, extent(0, 10), false));
        assert!(!locks.acquire(2, extent(0, 10), true));
        assert!(!locks.acquire(3, extent(0, 10), false));
        locks.release(1, &mut granted);
        assert_eq!(granted, [2]);
        granted.clear();
        locks.release(2, &mut granted);
        assert_eq!(granted, [3]);
    }

    #[test]
    fn giving_up_a_wait_lets_the_next_through() {
        let mut locks = IntervalLocks::new(4);
        let mut granted = Vec::new();
        assert!(locks.acquire(1, extent(0, 10), false));
        assert!(!locks.acquire(2, extent(0, 10), true));
        assert!(!locks.acquire(3, extent(0, 10), false));
        locks.release(2, &mut granted);
        assert_eq!(granted, [3]);
        assert!(locks.is_granted(3));
    }

    /// The rule itself: granted if no older conflicting lock is in the list.
    #[derive(Default)]
    struct Model {
        list: Vec<(u32, Extent, bool, bool)>,
    }

    impl Model {
        fn settle(&mut self) -> Vec<u32> {
            let mut granted = Vec::new();
            for i in 0..self.list.len() {
                let (id, extent, exclusive, had) = self.list[i];
                let free = self.list[..i]
                    .iter()
                    .all(|old| !(old.1.overlaps(extent) && (old.2 || exclusive)));
                assert!(free || !had);
                if free && !had {
                    self.list[i].3 = true;
                    granted.push(id);
                }
            }
            granted
        }
    }

    proptest! {
        #[test]
        fn equals_the_model(ops in prop::collection::vec(
            (0_u8..3, 0_u64..64, 1_u32..16, any::<bool>(), any::<prop::sample::Index>()), 1..200,
        )) {
            let mut locks = IntervalLocks::new(8);
            let mut model = Model::default();
            let mut next = 0;
            for (kind, offset, len, exclusive, pick) in ops {
                if kind < 2 {
                    let at_once = locks.acquire(next, extent(offset, len), exclusive);
                    model.list.push((next, extent(offset, len), exclusive, false));
                    let expected = model.settle();
                    prop_assert_eq!(at_once, expected == [next]);
                    next += 1;
                } else if !model.list.is_empty() {
                    let (id, ..) = model.list.remove(pick.index(model.list.len()));
                    let mut granted = Vec::new();
                    locks.release(id, &mut granted);
                    prop_assert_eq!(granted, model.settle());
                }
                prop_assert_eq!(locks.len(), model.list.len());
                for &(id, _, _, had) in &model.list {
                    prop_assert_eq!(locks.is_granted(id), had);
                }
            }
            // Nobody starves: releasing what is granted, over and over, ends with nothing left.
            while let Some(at) = model.list.iter().position(|lock| lock.3) {
                let (id, ..) = model.list.remove(at);
                let mut granted = Vec::new();
                locks.release(id, &mut granted);
                prop_assert_eq!(granted, model.settle());
            }
            prop_assert!(locks.is_empty());
        }
    }
}
