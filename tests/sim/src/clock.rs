//! One machine's clock: `CLOCK_BOOTTIME`, which starts anew with each boot and runs a little fast
//! or slow.

use steadfast::types::Time;

use crate::queue::Instant;

const MILLION: i64 = 1_000_000;

/// A clock that gains or loses `ppm` microseconds each second.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    truth: Instant,
    shown: u64,
    ppm: i64,
}

impl Clock {
    /// Shows `shown` at true time `truth`.
    #[must_use]
    pub const fn new(truth: Instant, shown: u64, ppm: i64) -> Self {
        Self { truth, shown, ppm }
    }

    /// What it shows at `truth`.
    #[must_use]
    pub fn at(&self, truth: Instant) -> Time {
        let passed = u128::from(truth - self.truth);
        let rate = (MILLION + self.ppm) as u128;
        Time(self.shown + (passed * rate / MILLION as u128) as u64)
    }

    /// The first true instant, not before `truth`, at which it shows `time`.
    #[must_use]
    pub fn when(&self, time: Time, truth: Instant) -> Instant {
        let Some(ahead) = time.0.checked_sub(self.shown) else {
            return truth;
        };
        let rate = (MILLION + self.ppm) as u128;
        let passed = (u128::from(ahead) * MILLION as u128).div_ceil(rate);
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.truth.saturating_add(passed).max(truth)
    }

    /// From `truth` on it runs at another rate.
    pub fn slew(&mut self, truth: Instant, ppm: i64) {
        *self = Self::new(truth, self.at(truth).0, ppm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_first_instant_that_shows_the_time() {
        for ppm in [-83_000, -1, 0, 500, 83_000] {
            let clock = Clock::new(1_000, 77, ppm);
            for time in [77, 78, 1_000, 123_456_789] {
                let truth = clock.when(Time(time), 1_000);
                assert!(clock.at(truth) >= Time(time));
                assert!(truth == 1_000 || clock.at(truth - 1) < Time(time));
            }
        }
    }

    #[test]
    fn a_slew_does_not_jump() {
        let mut clock = Clock::new(0, 0, 80_000);
        let before = clock.at(1_000_000);
        clock.slew(1_000_000, -80_000);
        assert_eq!(clock.at(1_000_000), before);
        assert!(clock.at(2_000_000) > before);
    }
}
