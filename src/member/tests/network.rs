//! The network and the disks between the nodes of a test: what is delayed, lost, doubled, cut.

use std::collections::BTreeSet;
use std::time::Duration;

/// Numbers that look random, from a seed.
#[derive(Clone, Debug)]
pub(in crate::member) struct Random(u64);

impl Random {
    pub(in crate::member) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(in crate::member) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(in crate::member) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True in `percent` of a hundred cases.
    pub(in crate::member) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the network does to datagrams.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) random: Random,
    /// Of a hundred datagrams so many are lost.
    pub(super) loss: u64,
    /// Of a hundred datagrams so many come twice.
    pub(super) twice: u64,
    pub(super) delay_min: Duration,
    pub(super) delay_max: Duration,
    /// Pairs (from, to) that nothing passes.
    pub(super) cut: BTreeSet<(usize, usize)>,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            loss: 0,
            twice: 0,
            delay_min: Duration::from_micros(50),
            delay_max: Duration::from_micros(150),
            cut: BTreeSet::new(),
        }
    }

    pub(super) fn delay(&mut self) -> Duration {
        let span = (self.delay_max - self.delay_min).as_nanos() as u64;
        self.delay_min + Duration::from_nanos(self.random.below(span.max(1)))
    }

    /// After how long each copy of a datagram arrives.
    pub(super) fn deliver(&mut self, from: usize, to: usize) -> Vec<Duration> {
        if self.cut.contains(&(from, to)) || self.random.percent(self.loss) {
            return Vec::new();
        }
        let mut copies = vec![self.delay()];
        if self.random.percent(self.twice) {
            copies.push(self.delay() * 3);
        }
        copies
    }
}
