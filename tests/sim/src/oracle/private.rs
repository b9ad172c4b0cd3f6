//! Blocks in which values repeat, because they are zeroed and trimmed too.
//!
//! Zone checking needs different values, so these blocks are checked otherwise: each belongs to one
//! client, which never has two requests on it at once. Then a read may return only what the newest
//! answered change left, or what a change without an answer may do late.

use crate::queue::Instant;

/// One register.
#[derive(Clone, Debug)]
pub struct Private {
    /// What it may have held, and since when at the latest; older first. The last is what a read
    /// may return, the ones before it what a loss of power may bring back.
    versions: Vec<(Vec<u64>, Instant)>,
    /// Of changes without an answer: each may still happen, once.
    floating: Vec<u64>,
}

impl Default for Private {
    fn default() -> Self {
        Self {
            versions: vec![(vec![0], 0)],
            floating: Vec::new(),
        }
    }
}

impl Private {
    fn now(&self) -> &[u64] {
        &self.versions[self.versions.len() - 1].0
    }

    /// A change has been answered.
    pub fn changed(&mut self, value: u64, ret: Instant) {
        self.versions.push((vec![value], ret));
    }

    /// A change will never be answered.
    pub fn lost(&mut self, value: u64) {
        self.floating.push(value);
    }

    /// A read has been answered.
    ///
    /// # Errors
    /// No order of the changes allows the value.
    pub fn read(&mut self, value: u64, ret: Instant) -> Result<(), String> {
        if self.now().contains(&value) {
            if self.now().len() > 1 {
                if self.floating.contains(&value) {
                    // Or a late change has happened: what was there before it may still come back.
                    self.versions.push((vec![value], ret));
                } else {
                    // Reading one of several possible values says which it was all along.
                    let last = self.versions.len() - 1;
                    self.versions[last].0 = vec![value];
                }
            }
            return Ok(());
        }
        let Some(at) = self.floating.iter().position(|late| *late == value) else {
            return Err(format!(
                "{value:#x} was read where only {:x?} or late {:x?} can be",
                self.now(),
                self.floating
            ));
        };
        self.floating.swap_remove(at);
        self.versions.push((vec![value], ret));
        Ok(())
    }

    /// A flush asked at `call` has been answered: of what was answered before, only the newest
    /// version matters from now on.
    pub fn flushed(&mut self, call: Instant) {
        let covered = self.versions.iter().rposition(|(_, ret)| *ret < call);
        if let Some(covered) = covered {
            self.versions.drain(..covered);
        }
    }

    /// A change with FUA, answered at `ret`, is durable by itself.
    pub fn forced(&mut self) {
        let last = self.versions.len() - 1;
        self.versions.drain(..last);
    }

    /// Every in-sync replica lost power at `at`.
    pub fn crashed(&mut self, at: Instant) {
        let mut possible: Vec<u64> = self
            .versions
            .drain(..)
            .flat_map(|(values, _)| values)
            .chain(self.floating.iter().copied())
            .collect();
        possible.sort_unstable();
        possible.dedup();
        self.versions.push((possible, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_returns_the_newest_or_a_late_change() {
        let mut r = Private::default();
        r.changed(1, 10);
        assert!(r.clone().read(0, 20).is_err());
        r.lost(2);
        r.changed(3, 30);
        r.read(3, 40).unwrap();
        r.read(2, 50).unwrap();
        assert!(r.read(3, 60).is_err());
    }

    #[test]
    fn a_loss_of_power_brings_back_what_was_not_flushed() {
        let mut r = Private::default();
        r.changed(1, 10);
        r.changed(2, 20);
        r.flushed(15);
        r.changed(3, 30);
        let mut a = r.clone();
        a.crashed(40);
        for (value, good) in [(0, false), (1, true), (2, true), (3, true)] {
            assert_eq!(a.clone().read(value, 50).is_ok(), good, "{value}");
        }
        r.flushed(35);
        r.crashed(40);
        assert!(r.clone().read(2, 50).is_err());
        r.read(3, 50).unwrap();
    }

    #[test]
    fn a_late_change_may_look_like_a_value_that_was_possible() {
        let mut r = Private::default();
        r.changed(1, 10);
        r.crashed(20);
        // 1 was there, and the late change of 0 has happened: not durable either.
        r.lost(0);
        r.read(0, 30).unwrap();
        r.crashed(40);
        r.read(1, 50).unwrap();
    }

    #[test]
    fn reading_one_possible_value_rules_the_others_out() {
        let mut r = Private::default();
        r.changed(1, 10);
        r.crashed(20);
        r.read(0, 30).unwrap();
        assert!(r.read(1, 40).is_err());
    }
}
