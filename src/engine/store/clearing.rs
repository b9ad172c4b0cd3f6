//! When intents may be cleared: what the primary says is stable and durable, whether this replica is
//! in sync, and what it has brought along.

use super::Store;
use crate::engine::io::Effects;
use crate::types::Seq;

/// Changes after which a crowded table asks for a flush: each activates one region at most.
const UNFLUSHED_MAX: u64 = 1024;

/// When an intent's changes are old enough to be cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clearing {
    /// It counts: durable on every in-sync replica.
    Flushed,
    /// Not in sync: stored by every in-sync replica, which have marked it in their bitmaps. What was
    /// brought along from before is held and not cleared at all.
    Stable,
}

impl Store {
    /// The primary says what is stable and what is durable everywhere.
    pub fn set_watermarks(&mut self, stable: Seq, flushed: Seq, out: &mut Effects) {
        if stable > self.unstable.stable() {
            if self.unstable.prune(stable) {
                self.reconciled(stable);
            }
            if self.canaries.prune_window_at_stable {
                self.windows.forget_all();
            }
        }
        if flushed > self.flushed {
            self.flushed = flushed;
        }
        if self.canaries.clear_intent_early {
            self.clear_idle(out);
        }
        self.retry_waiting(out);
    }

    /// All that was reported is dealt with once `through` is stable.
    pub fn reconcile_through(&mut self, through: Seq) {
        if self.unstable.reconcile(through) {
            self.reconciled(through);
        }
    }

    fn reconciled(&mut self, through: Seq) {
        self.windows.complete();
        if !self.keep_held {
            self.intents.release(through.max(self.seq));
        }
    }

    /// This replica is in sync from now on, and what it brought along is like any other once it has
    /// been reconciled.
    pub fn set_in_sync(&mut self) {
        self.clearing = Clearing::Flushed;
        self.keep_held = false;
        if self.unstable.is_reconciled() {
            self.intents.release(self.seq);
        }
    }

    /// This replica is not in sync: what it brought along stays.
    pub fn set_behind(&mut self) {
        self.clearing = Clearing::Stable;
        self.keep_held = true;
        self.windows.missed_changes();
    }

    /// This replica counts from now on, but the log does not say yet that it is in sync.
    pub fn set_counting(&mut self) {
        self.clearing = Clearing::Flushed;
    }

    /// Another primary or another link takes this replica up: what it holds counts as brought along.
    /// With `all`, every intent stays (the replica is not in sync), else those that are not exact.
    pub fn take_stock(&mut self, base: Seq, all: bool) {
        self.unstable.take_stock(base);
        if !self.unstable.is_exact() {
            // What was noted may have been forgotten with its place in the list.
            self.windows.missed_changes();
        }
        self.first = self.first.max(base);
        if all || !self.unstable.is_exact() {
            self.intents.hold_all();
        } else {
            for held in self.unstable.iter() {
                self.intents.hold(held.extent.region());
            }
        }
    }

    /// Clears every intent that can be cleared, and writes the pages that stand in the way.
    pub fn clear_idle(&mut self, out: &mut Effects) {
        self.clear_all = true;
        self.queue_blocking_pages();
        self.write_pages(out);
        self.write_record(out);
    }

    /// Whether a flush would help: changes wait for a slot, or the table is crowded and so much has
    /// changed since the last flush that most of it cannot be cleared.
    pub fn wants_flush(&self) -> bool {
        let changed = self.seq.0.saturating_sub(self.flushed.0.max(self.first.0));
        self.starved || (self.intents.is_crowded() && changed > UNFLUSHED_MAX)
    }

    pub(super) fn watermark(&self) -> Seq {
        if self.canaries.clear_intent_early {
            return Seq(u64::MAX);
        }
        match self.clearing {
            Clearing::Flushed => self.flushed,
            Clearing::Stable => self.unstable.stable(),
        }
    }
}
