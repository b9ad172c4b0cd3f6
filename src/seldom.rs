//! What people are told once a minute and not more often, whoever causes it.

use std::time::Duration;

use crate::types::Time;

/// The same is not said again for so long.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Most that is said in that time, whatever happens.
pub const SAID_MAX: usize = 16;

/// What has been said of late. Allocates nothing after it was made.
#[derive(Debug)]
pub struct Seldom<W> {
    said: Vec<(W, Time)>,
}

impl<W: PartialEq> Seldom<W> {
    /// Nothing has been said.
    #[must_use]
    pub fn new() -> Self {
        Self {
            said: Vec::with_capacity(SAID_MAX),
        }
    }

    /// Whether this is to be said now.
    pub fn is_news(&mut self, now: Time, what: W) -> bool {
        self.said.retain(|&(_, at)| now < at.after(SAID_EVERY));
        let known = self.said.iter().any(|(said, _)| *said == what);
        if known || self.said.len() == SAID_MAX {
            return false;
        }
        self.said.push((what, now));
        true
    }
}

impl<W: PartialEq> Default for Seldom<W> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute() {
        let mut seldom = Seldom::new();
        let minute = Time::ZERO.after(SAID_EVERY);
        assert!(seldom.is_news(Time::ZERO, (1, "key")));
        assert!(!seldom.is_news(Time(5), (1, "key")));
        assert!(seldom.is_news(Time(5), (1, "cluster")));
        assert!(seldom.is_news(Time(5), (2, "key")));
        assert!(!seldom.is_news(Time(minute.0 - 1), (1, "key")));
        assert!(seldom.is_news(minute, (1, "key")));
        assert!(!seldom.is_news(minute, (2, "key")));
    }

    #[test]
    fn many_causes_do_not_fill_the_log() {
        let mut seldom = Seldom::new();
        let said = (0..=u8::MAX).filter(|&what| seldom.is_news(Time::ZERO, what));
        assert_eq!(said.count(), SAID_MAX);
        assert_eq!(seldom.said.capacity(), SAID_MAX);
    }
}
