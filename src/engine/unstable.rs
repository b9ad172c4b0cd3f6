//! The changes that a replica holds and that may be missing on another one.
//!
//! Two parts. *Recent*: changes of the primary that is served now, above the stable sequence it
//! last told. *Brought along*: what was recent when a new primary (or the same one by a new link)
//! took this replica up; it counts until that primary has overwritten or cleared up all of it
//! (`reconcile`). Reconcile at promotion and the marking of an absent replica start from both.
//! Where the list cannot be complete (the daemon restarted) it says so, and all active regions stand
//! in for it.

use std::collections::VecDeque;

use crate::types::{Extent, Seq, SessionId};
use crate::wire::frame::Origin;

/// Most changes that a primary lets be unstable at once.
pub const UNSTABLE_MAX: u64 = 1024;

/// Room for recent changes: a peer that sends more than `UNSTABLE_MAX` costs exactness, not memory.
const ROOM: usize = 2 * UNSTABLE_MAX as usize;
/// Room for what was brought along through several changes of primary.
const BROUGHT_MAX: usize = 8 * UNSTABLE_MAX as usize;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number.
    pub seq: Seq,
    /// Where.
    pub extent: Extent,
    /// Where it came from.
    pub origin: Origin,
}

/// The list, in the order of writes. Takes its memory once.
#[derive(Clone, Debug)]
pub struct Unstable {
    recent: VecDeque<Held>,
    stable: Seq,
    brought: Vec<Held>,
    /// `brought` is not all.
    lost: bool,
    /// What was brought along is dealt with once this one is stable.
    through: Option<Seq>,
}

impl Unstable {
    /// Of a store that was just opened: what the run before knew is lost, but for a store that
    /// never held a change (`blank`).
    #[must_use]
    pub fn new(blank: bool) -> Self {
        Self {
            recent: VecDeque::with_capacity(ROOM),
            stable: Seq(0),
            brought: Vec::new(),
            lost: !blank,
            through: None,
        }
    }

    /// Whether every change that may be missing elsewhere is in the list.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        !self.lost
    }

    /// Whether there is nothing from before this primary took the replica up.
    #[must_use]
    pub fn is_reconciled(&self) -> bool {
        !self.lost && self.brought.is_empty()
    }

    /// Adds a change. One that is known already (sent again) or stable changes nothing.
    pub fn note(&mut self, held: Held) {
        if held.seq <= self.stable {
            return;
        }
        let at = match self.recent.back() {
            Some(last) if last.seq >= held.seq => {
                match self.recent.binary_search_by_key(&held.seq, |held| held.seq) {
                    Ok(_) => return,
                    Err(at) => at,
                }
            }
            _ => self.recent.len(),
        };
        if self.recent.len() < ROOM {
            self.recent.insert(at, held);
        } else {
            self.lose();
        }
    }

    /// Takes a recent change out that was not applied after all.
    pub fn forget(&mut self, seq: Seq) {
        if let Ok(at) = self.recent.binary_search_by_key(&seq, |held| held.seq) {
            self.recent.remove(at);
        }
    }

    /// A change was not stored after all, or only in part: its place still counts, but not as
    /// applied.
    pub fn disown(&mut self, seq: Seq) {
        let all = self.brought.iter_mut().chain(&mut self.recent);
        for held in all.filter(|held| held.seq == seq) {
            held.origin = Origin::default();
        }
    }

    /// Every change up to `stable` is on all in-sync replicas: forgets them. Never goes back.
    /// Returns whether what was brought along is dealt with by this.
    pub fn prune(&mut self, stable: Seq) -> bool {
        self.stable = self.stable.max(stable);
        while self
            .recent
            .front()
            .is_some_and(|held| held.seq <= self.stable)
        {
            self.recent.pop_front();
        }
        self.settle()
    }

    /// Another primary, or another link of the same, takes this replica up: what is recent counts
    /// as brought along, and numbers go on above `base`.
    pub fn take_stock(&mut self, base: Seq) {
        self.through = None;
        if self.brought.len() + self.recent.len() > BROUGHT_MAX {
            self.lose();
        } else if !self.lost {
            for held in &self.recent {
                if !self.brought.iter().any(|other| other.seq == held.seq) {
                    self.brought.push(*held);
                }
            }
        }
        if base > self.stable {
            self.stable = base;
            self.recent.clear();
        }
    }

    /// Other data takes the place of this. What was brought along there, and is not `noted` as
    /// applied since the primary's windows were taken over, is gone: only its place still counts.
    /// Returns whether a part of such a change may be left.
    pub fn overwrite(&mut self, extent: Extent, noted: impl Fn(Origin) -> bool) -> bool {
        let mut left = false;
        for held in &mut self.brought {
            let gone = held.origin.session != SessionId(0) && held.extent.overlaps(extent);
            if gone && !noted(held.origin) {
                held.origin = Origin::default();
                left |= held.extent.offset < extent.offset || extent.end() < held.extent.end();
            }
        }
        left
    }

    /// What was brought along is dealt with once `through` is stable. Returns whether it is so now.
    pub fn reconcile(&mut self, through: Seq) -> bool {
        self.through = Some(through);
        self.settle()
    }

    fn settle(&mut self) -> bool {
        let done = self.through.is_some_and(|through| through <= self.stable);
        if done {
            self.through = None;
            self.brought.clear();
            self.lost = false;
        }
        done
    }

    /// The list may miss anything from now on, until it is reconciled.
    pub fn lose(&mut self) {
        self.lost = true;
        self.brought.clear();
    }

    /// Up to where everything is on all in-sync replicas, as far as this one was told.
    #[must_use]
    pub const fn stable(&self) -> Seq {
        self.stable
    }

    /// The newest recent change, or stable if there is none.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.recent.back().map_or(self.stable, |held| held.seq)
    }

    /// What was brought along, then the recent changes, each in the order of writes.
    pub fn iter(&self) -> impl Iterator<Item = Held> + '_ {
        self.brought.iter().chain(&self.recent).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(seq: u64) -> Held {
        Held {
            seq: Seq(seq),
            extent: Extent {
                offset: seq * 4096,
                len: 4096,
            },
            origin: Origin::default(),
        }
    }

    fn seqs(list: &Unstable) -> Vec<u64> {
        list.iter().map(|held| held.seq.0).collect()
    }

    #[test]
    fn keeps_what_is_above_stable() {
        let mut list = Unstable::new(true);
        for seq in [3, 4, 7, 5, 4] {
            list.note(held(seq));
        }
        assert_eq!(seqs(&list), [3, 4, 5, 7]);
        list.prune(Seq(4));
        list.prune(Seq(2));
        list.note(held(4));
        assert_eq!(seqs(&list), [5, 7]);
        assert_eq!((list.stable(), list.last()), (Seq(4), Seq(7)));
        list.forget(Seq(5));
        assert_eq!(seqs(&list), [7]);
        list.prune(Seq(9));
        assert!(seqs(&list).is_empty() && list.is_exact());
        assert_eq!(list.last(), Seq(9));
    }

    #[test]
    fn what_was_brought_along_outlives_stable_until_reconciled() {
        let mut list = Unstable::new(true);
        list.note(held(3));
        list.note(held(5));
        list.take_stock(Seq(100));
        list.note(held(101));
        list.prune(Seq(101));
        assert_eq!(seqs(&list), [3, 5]);
        assert!(!list.reconcile(Seq(102)));
        list.note(held(102));
        // Taken up again before it was done: begins anew.
        list.take_stock(Seq(100));
        list.prune(Seq(103));
        assert_eq!(seqs(&list), [3, 5, 102]);
        assert!(list.reconcile(Seq(103)));
        assert!(list.is_reconciled() && seqs(&list).is_empty());
    }

    #[test]
    fn a_reopened_store_is_exact_only_after_reconciling() {
        let mut list = Unstable::new(false);
        assert!(!list.is_exact());
        list.take_stock(Seq(100));
        list.note(held(101));
        list.prune(Seq(101));
        assert!(!list.is_exact());
        assert!(!list.reconcile(Seq(105)));
        assert!(list.prune(Seq(105)));
        assert!(list.is_exact());
    }

    #[test]
    fn too_many_changes_cost_exactness() {
        let mut list = Unstable::new(true);
        for seq in 1..=ROOM as u64 {
            list.note(held(seq));
        }
        assert!(list.is_exact());
        list.note(held(ROOM as u64 + 1));
        assert!(!list.is_exact());
    }
    #[test]
    fn what_the_windows_cannot_tell_is_overwritten() {
        use crate::engine::windows::SessionWindows;
        use crate::types::Term;
        let origin = |number, confirmed| Origin {
            session: SessionId(7),
            number,
            confirmed,
        };
        let mut own = SessionWindows::new(true);
        own.note(Term(1), origin(257, 257));
        own.missed_changes();
        let mut list = Unstable::new(true);
        list.note(Held {
            origin: origin(257, 257),
            ..held(3)
        });
        list.take_stock(Seq(100));
        // The primary knows only what was sent when nothing was confirmed.
        let mut primary = SessionWindows::new(true);
        primary.note(Term(1), origin(1, 1));
        own.import_begin();
        for window in primary.export() {
            own.import(Term(2), window);
        }
        own.import_end();
        let half = Extent {
            len: 512,
            ..held(3).extent
        };
        assert!(list.overwrite(half, |origin| own.has(origin)));
        assert_eq!(list.iter().next().unwrap().origin, Origin::default());
        assert!(!list.overwrite(half, |origin| own.has(origin)));
    }
}
