//! The changes that a replica holds and that may be missing on another one: those above `stable`.
//!
//! Reconcile at promotion and the marking of an absent replica start from here. Where the list may
//! not be complete it says so, and all active regions stand in for it.

use std::collections::VecDeque;

use crate::types::{Extent, Seq};

/// Most changes that a primary lets be unstable at once.
pub const UNSTABLE_MAX: u64 = 1024;

/// Room of a list. A new primary adds changes of its own (reconciling included) to those that it
/// found, so there is room for both.
const ROOM: usize = 2 * UNSTABLE_MAX as usize;

/// The list, in the order of writes. Takes its memory once.
#[derive(Clone, Debug)]
pub struct Unstable {
    changes: VecDeque<(Seq, Extent)>,
    stable: Seq,
    /// Changes up to this one may be missing in the list although they are not stable.
    missing: Seq,
}

impl Unstable {
    /// Of a store that was just opened: what the run before knew is lost, so the list is not exact
    /// until `exact_from` and then `prune` say so. `blank` for a store that never held a change.
    #[must_use]
    pub fn new(blank: bool) -> Self {
        Self {
            changes: VecDeque::with_capacity(ROOM),
            stable: Seq(0),
            missing: if blank { Seq(0) } else { Seq(u64::MAX) },
        }
    }

    /// Whether every change above stable that this replica holds is in the list.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.missing <= self.stable
    }

    /// What the list misses has no number above `last`: it is exact once that one is stable. Called
    /// with the newest number that the primary had given out when it took up this replica.
    pub fn exact_from(&mut self, last: Seq) {
        self.missing = self.missing.min(last);
    }

    /// The list may miss anything from now on, until `exact_from`.
    pub fn lose(&mut self) {
        self.missing = Seq(u64::MAX);
    }

    /// Adds a change. One that is known already (sent again) or stable changes nothing. If there is
    /// no room, the oldest is dropped and the list is no longer exact.
    pub fn note(&mut self, seq: Seq, extent: Extent) {
        if seq <= self.stable {
            return;
        }
        let at = match self.changes.back() {
            Some(&(last, _)) if last >= seq => {
                match self.changes.binary_search_by_key(&seq, |change| change.0) {
                    Ok(_) => return,
                    Err(at) => at,
                }
            }
            _ => self.changes.len(),
        };
        if self.changes.len() < ROOM {
            self.changes.insert(at, (seq, extent));
        } else if at == 0 {
            self.missing = self.missing.max(seq);
        } else {
            let (dropped, _) = self.changes[0];
            self.changes.pop_front();
            self.missing = self.missing.max(dropped);
            self.changes.insert(at - 1, (seq, extent));
        }
    }

    /// Every change up to `stable` is on all in-sync replicas: forgets them. Never goes back.
    pub fn prune(&mut self, stable: Seq) {
        self.stable = self.stable.max(stable);
        while let Some(&(seq, _)) = self.changes.front() {
            if seq > self.stable {
                break;
            }
            self.changes.pop_front();
        }
    }

    /// Up to where everything is on all in-sync replicas, as far as this one was told.
    #[must_use]
    pub const fn stable(&self) -> Seq {
        self.stable
    }

    /// Whether the change is in the list.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        self.changes
            .binary_search_by_key(&seq, |change| change.0)
            .is_ok()
    }

    /// The newest change in the list, or stable if there is none.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.changes.back().map_or(self.stable, |change| change.0)
    }

    /// The changes, in the order of writes.
    pub fn iter(&self) -> impl Iterator<Item = (Seq, Extent)> + '_ {
        self.changes.iter().copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(block: u64) -> Extent {
        Extent {
            offset: block * 4096,
            len: 4096,
        }
    }

    fn seqs(list: &Unstable) -> Vec<u64> {
        list.iter().map(|(seq, _)| seq.0).collect()
    }

    #[test]
    fn keeps_what_is_above_stable() {
        let mut list = Unstable::new(true);
        for seq in [3, 4, 7, 5, 4] {
            list.note(Seq(seq), at(seq));
        }
        assert_eq!(seqs(&list), [3, 4, 5, 7]);
        assert!(list.contains(Seq(5)) && !list.contains(Seq(6)));
        list.prune(Seq(4));
        list.prune(Seq(2));
        list.note(Seq(4), at(4));
        assert_eq!(seqs(&list), [5, 7]);
        assert_eq!((list.stable(), list.last()), (Seq(4), Seq(7)));
        list.prune(Seq(9));
        assert!(list.is_empty() && list.is_exact());
        assert_eq!(list.last(), Seq(9));
    }

    #[test]
    fn a_reopened_store_is_exact_only_after_what_it_lost_is_stable() {
        let mut list = Unstable::new(false);
        list.prune(Seq(100));
        assert!(!list.is_exact());
        list.exact_from(Seq(120));
        list.note(Seq(121), at(0));
        list.prune(Seq(119));
        assert!(!list.is_exact());
        list.prune(Seq(120));
        assert!(list.is_exact());
        assert_eq!(seqs(&list), [121]);
        list.lose();
        assert!(!list.is_exact());
    }

    #[test]
    fn overflow_is_told_until_the_dropped_are_stable() {
        let mut list = Unstable::new(true);
        for seq in 1..=ROOM as u64 + 2 {
            list.note(Seq(seq * 2), at(seq));
        }
        assert_eq!(list.len(), ROOM);
        assert!(!list.is_exact());
        assert!(!list.contains(Seq(4)) && list.contains(Seq(6)));
        // One in the middle costs the oldest its place, one before all of them has none.
        list.note(Seq(9), at(0));
        assert_eq!(list.iter().next().map(|c| c.0), Some(Seq(8)));
        list.note(Seq(5), at(0));
        assert!(!list.contains(Seq(5)));
        list.prune(Seq(5));
        assert!(!list.is_exact());
        list.prune(Seq(6));
        assert!(list.is_exact());
    }
}
