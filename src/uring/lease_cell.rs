//! The lease as the pulse publishes it and the reactors read it: no lock, no waiting on either side.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::{Incarnation, Lease, Time};

/// One writer (the pulse thread), any number of readers.
#[derive(Debug, Default)]
pub struct LeaseCell {
    incarnation: AtomicU64,
    until: AtomicU64,
}

impl LeaseCell {
    /// No lease.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            incarnation: AtomicU64::new(0),
            until: AtomicU64::new(0),
        }
    }

    /// Publishes `lease`. Only the pulse thread calls this.
    pub fn publish(&self, lease: Lease) {
        if self.incarnation.load(Ordering::Relaxed) != lease.incarnation.0 {
            // Whoever sees the new incarnation sees at least this end of the old lease: an old
            // `until` is never taken for the new incarnation's.
            self.until.store(0, Ordering::Release);
            self.incarnation
                .store(lease.incarnation.0, Ordering::Release);
        }
        self.until.store(lease.until.0, Ordering::Release);
    }

    /// The newest lease. While the incarnation is being changed: none.
    #[must_use]
    pub fn load(&self) -> Lease {
        let before = self.incarnation.load(Ordering::Acquire);
        let until = self.until.load(Ordering::Acquire);
        let after = self.incarnation.load(Ordering::Acquire);
        // Incarnations only grow, so equal means that it did not change in between; `until` is then
        // of this incarnation, or zero.
        let until = if before == after { until } else { 0 };
        Lease {
            incarnation: Incarnation(after),
            until: Time(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reader_sees_an_end_of_another_incarnation() {
        let cell = LeaseCell::new();
        // Ends of incarnation i lie in (i * 1000, i * 1000 + 1000).
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for incarnation in 1..2000 {
                    for step in 1..20 {
                        cell.publish(Lease {
                            incarnation: Incarnation(incarnation),
                            until: Time(incarnation * 1000 + step),
                        });
                    }
                }
            });
            for _ in 0..200_000 {
                let lease = cell.load();
                let of = lease.until.0 / 1000;
                assert!(lease.until == Time::ZERO || of == lease.incarnation.0);
            }
        });
    }

    #[test]
    fn a_published_lease_is_read_back() {
        let cell = LeaseCell::new();
        assert!(!cell.load().covers(Incarnation(0), Time(0)));
        let lease = Lease {
            incarnation: Incarnation(3),
            until: Time(17),
        };
        cell.publish(lease);
        assert_eq!(cell.load(), lease);
    }
}
