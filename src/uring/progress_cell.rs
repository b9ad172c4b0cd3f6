//! Whether the data path makes progress, for the pulse: a node whose disk hangs counts as silent.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::Time;

/// One writer (a reactor), any number of readers. A time of 0 means "nothing waits".
#[derive(Debug, Default)]
pub struct ProgressCell {
    disk: AtomicU64,
    busy: AtomicU64,
}

impl ProgressCell {
    /// Nothing waits.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            disk: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        }
    }

    /// The reactor begins to work, or (with `Time::ZERO`) goes to sleep.
    pub(super) fn busy(&self, since: Time) {
        self.busy.store(since.0, Ordering::Release);
    }

    /// When the oldest disk operation that has not ended began, or `Time::ZERO`.
    pub(super) fn disk(&self, oldest: Time) {
        self.disk.store(oldest.0, Ordering::Release);
    }

    /// Since when the oldest unfinished piece of work has been waiting; none if nothing waits.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Time> {
        let disk = self.disk.load(Ordering::Acquire);
        let busy = self.busy.load(Ordering::Acquire);
        [disk, busy]
            .into_iter()
            .filter(|&since| since != 0)
            .min()
            .map(Time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_work_is_told() {
        let cell = ProgressCell::new();
        assert_eq!(cell.waiting_since(), None);
        cell.busy(Time(9));
        cell.disk(Time(5));
        assert_eq!(cell.waiting_since(), Some(Time(5)));
        cell.disk(Time::ZERO);
        assert_eq!(cell.waiting_since(), Some(Time(9)));
        cell.busy(Time::ZERO);
        assert_eq!(cell.waiting_since(), None);
    }
}
