//! Operations on sets of bits: blocks that a replica misses, regions that were ever written.

use crate::meta::recovered::Bits;

/// A run of set bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First bit.
    pub first: u64,
    /// How many; not zero.
    pub count: u64,
}

impl Bits {
    /// `len` bits, all zero.
    #[must_use]
    pub fn zeroes(len: u64) -> Self {
        Self {
            words: vec![0; len.div_ceil(64) as usize],
            len,
        }
    }

    /// Whether bit `at` is set.
    #[must_use]
    pub fn get(&self, at: u64) -> bool {
        assert!(at < self.len, "bit {at} of {}", self.len);
        self.words[(at / 64) as usize] >> (at % 64) & 1 != 0
    }

    /// Sets bit `at`.
    pub fn set(&mut self, at: u64) {
        assert!(at < self.len, "bit {at} of {}", self.len);
        self.words[(at / 64) as usize] |= 1 << (at % 64);
    }

    /// Sets `count` bits from `first`. Returns how many were zero before.
    pub fn set_range(&mut self, first: u64, count: u64) -> u64 {
        let mut turned = 0;
        self.each_word(first, count, |word, mask| {
            turned += u64::from((!*word & mask).count_ones());
            *word |= mask;
        });
        turned
    }

    /// Clears `count` bits from `first`. Returns how many were set before.
    pub fn clear_range(&mut self, first: u64, count: u64) -> u64 {
        let mut turned = 0;
        self.each_word(first, count, |word, mask| {
            turned += u64::from((*word & mask).count_ones());
            *word &= !mask;
        });
        turned
    }

    /// Whether any of `count` bits from `first` is set.
    #[must_use]
    pub fn any(&self, first: u64, count: u64) -> bool {
        spans(self.len, first, count).any(|(at, mask)| self.words[at] & mask != 0)
    }

    /// How many of `count` bits from `first` are set.
    #[must_use]
    pub fn count_range(&self, first: u64, count: u64) -> u64 {
        spans(self.len, first, count)
            .map(|(at, mask)| u64::from((self.words[at] & mask).count_ones()))
            .sum()
    }

    /// How many are set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Clears all.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Sets all.
    pub fn fill(&mut self) {
        self.set_range(0, self.len);
    }

    /// Sets every bit that is set in `other`, which is as long.
    pub fn union(&mut self, other: &Self) {
        assert_eq!(self.len, other.len, "sets of different things");
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// The first run of set bits at or after `from`, cut at `most` bits and at the next multiple of
    /// `within` (neither is zero): with blocks and `REGION_BLOCKS`, a run lies in one region.
    #[must_use]
    pub fn next_run(&self, from: u64, most: u64, within: u64) -> Option<Run> {
        assert!(most > 0 && within > 0);
        let first = self.next_set(from)?;
        let limit = self
            .len
            .min(first + most)
            .min((first / within + 1) * within);
        let end = self.next_clear(first, limit);
        Some(Run {
            first,
            count: end - first,
        })
    }

    /// The first set bit at or after `from`.
    #[must_use]
    pub fn next_set(&self, from: u64) -> Option<u64> {
        if from >= self.len {
            return None;
        }
        let mut at = (from / 64) as usize;
        let mut word = self.words[at] & (u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            word = *self.words.get(at)?;
        }
        Some(at as u64 * 64 + u64::from(word.trailing_zeros()))
    }

    /// The set bits, in ascending order.
    pub fn ones(&self) -> impl Iterator<Item = u64> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let at = self.next_set(from)?;
            from = at + 1;
            Some(at)
        })
    }

    /// The first clear bit at or after `from`, or `limit` if there is none before it.
    fn next_clear(&self, from: u64, limit: u64) -> u64 {
        let mut at = from / 64;
        let mut word = !self.words[at as usize] & (u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            if at * 64 >= limit {
                return limit;
            }
            word = !self.words[at as usize];
        }
        limit.min(at * 64 + u64::from(word.trailing_zeros()))
    }

    fn each_word(&mut self, first: u64, count: u64, mut act: impl FnMut(&mut u64, u64)) {
        for (at, mask) in spans(self.len, first, count) {
            act(&mut self.words[at], mask);
        }
    }
}

/// The words that hold `count` bits from `first`, each with the mask of its part.
fn spans(len: u64, first: u64, count: u64) -> impl Iterator<Item = (usize, u64)> {
    assert!(
        first <= len && count <= len - first,
        "bits {first} + {count} of {len}"
    );
    let end = first + count;
    let mut from = first;
    std::iter::from_fn(move || {
        (from < end).then(|| {
            let at = from / 64;
            let to = end.min((at + 1) * 64);
            let mask = (u64::MAX >> (64 - (to - from))) << (from % 64);
            from = to;
            (at as usize, mask)
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_run_ends_where_the_region_ends() {
        let mut bits = Bits::zeroes(1000);
        assert_eq!(bits.set_range(200, 400), 400);
        assert_eq!(bits.set_range(200, 401), 1);
        let run = |from, most| bits.next_run(from, most, 256).map(|r| (r.first, r.count));
        assert_eq!(run(0, 1000), Some((200, 56)));
        assert_eq!(run(256, 1000), Some((256, 256)));
        assert_eq!(run(256, 64), Some((256, 64)));
        assert_eq!(run(600, 64), Some((600, 1)));
        assert_eq!(run(601, 64), None);
        assert_eq!(run(1000, 64), None);
    }

    #[test]
    fn no_bits_at_all() {
        let mut bits = Bits::zeroes(0);
        bits.fill();
        assert!(bits.is_zero());
        assert!(!bits.any(0, 0));
        assert_eq!(bits.next_run(0, 1, 1), None);
    }

    proptest! {
        #[test]
        fn equals_a_list_of_bools(
            len in 1_u64..400,
            ops in prop::collection::vec((0_u8..2, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
            within in 1_u64..200,
            most in 1_u64..200,
        ) {
            let mut bits = Bits::zeroes(len);
            let mut model = vec![false; len as usize];
            for (kind, a, b) in ops {
                let first = a.index(len as usize);
                let count = b.index(len as usize - first + 1);
                let part = &mut model[first..first + count];
                let ones = part.iter().filter(|&&bit| bit).count() as u64;
                prop_assert_eq!(bits.count_range(first as u64, count as u64), ones);
                prop_assert_eq!(bits.any(first as u64, count as u64), ones > 0);
                let turned = if kind == 0 {
                    part.fill(true);
                    (count as u64 - ones, bits.set_range(first as u64, count as u64))
                } else {
                    part.fill(false);
                    (ones, bits.clear_range(first as u64, count as u64))
                };
                prop_assert_eq!(turned.0, turned.1);
            }
            prop_assert_eq!(bits.count(), model.iter().filter(|&&bit| bit).count() as u64);
            prop_assert_eq!(bits.is_zero(), !model.contains(&true));
            // All runs together are the set; each keeps to its limits.
            let mut from = 0;
            let mut seen = vec![false; len as usize];
            while let Some(run) = bits.next_run(from, most, within) {
                prop_assert!(run.count > 0 && run.count <= most);
                prop_assert_eq!(run.first / within, (run.first + run.count - 1) / within);
                seen[run.first as usize..(run.first + run.count) as usize].fill(true);
                from = run.first + run.count;
            }
            prop_assert_eq!(&seen, &model);
            let ones: Vec<u64> = bits.ones().collect();
            let expected: Vec<u64> = (0..len).filter(|&i| model[i as usize]).collect();
            prop_assert_eq!(ones, expected);
            let mut other = Bits::zeroes(len);
            other.set(len - 1);
            other.union(&bits);
            prop_assert!(other.get(len - 1));
            bits.set(len - 1);
            prop_assert_eq!(other, bits);
        }
    }
}
