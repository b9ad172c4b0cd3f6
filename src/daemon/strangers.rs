//! Datagrams that are refused: who sent them and why, so that a person is told, and not too often.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::Config;

use crate::types::Time;
use crate::wire::seal::Refused;

/// The same is not said again for so long.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Most that is said in that time, whoever sends whatever.
pub(super) const SAID_MAX: usize = 16;

/// A datagram that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Where it came from.
    pub from: SocketAddr,
    /// What is wrong with it.
    pub why: Refused,
}

/// What has been said of late. Allocates nothing after it was made.
pub(super) struct Strangers {
    said: Vec<(IpAddr, Refused, Time)>,
}

impl Strangers {
    /// Nothing has been said.
    pub(super) fn new() -> Self {
        Self {
            said: Vec::with_capacity(SAID_MAX),
        }
    }

    /// Whether this is to be said now.
    pub(super) fn is_news(&mut self, now: Time, stranger: Stranger) -> bool {
        let (from, why) = (stranger.from.ip(), stranger.why);
        self.said.retain(|&(.., at)| now < at.after(SAID_EVERY));
        let known = self.said.iter().any(|said| (said.0, said.1) == (from, why));
        if known || self.said.len() == SAID_MAX {
            return false;
        }
        self.said.push((from, why, now));
        true
    }
}

/// Tells a person: what looks like a dead node may merely have another key.
pub(super) fn warn(config: &Config, port: &str, Stranger { from, why }: Stranger) {
    let mut nodes = config.nodes.iter();
    match nodes.find(|node| node.address == from.ip()) {
        Some(node) => tracing::warn!("port {port}: dropped from {} ({from}): {why}", node.name),
        None => tracing::warn!("port {port}: dropped from {from}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(host: u8, why: Refused) -> Stranger {
        Stranger {
            from: SocketAddr::from(([127, 0, 0, host], 7)),
            why,
        }
    }

    #[test]
    fn the_same_is_said_once_a_minute() {
        let mut strangers = Strangers::new();
        let minute = Time::ZERO.after(SAID_EVERY);
        assert!(strangers.is_news(Time::ZERO, stranger(1, Refused::Key)));
        assert!(!strangers.is_news(Time(5), stranger(1, Refused::Key)));
        assert!(strangers.is_news(Time(5), stranger(1, Refused::Cluster)));
        assert!(strangers.is_news(Time(5), stranger(2, Refused::Key)));
        assert!(!strangers.is_news(Time(minute.0 - 1), stranger(1, Refused::Key)));
        assert!(strangers.is_news(minute, stranger(1, Refused::Key)));
        assert!(!strangers.is_news(minute, stranger(2, Refused::Key)));
    }

    #[test]
    fn many_of_them_do_not_fill_the_log() {
        let mut strangers = Strangers::new();
        let flood = (0..=u8::MAX).map(|version| stranger(1, Refused::Version(version)));
        let said = flood.filter(|one| strangers.is_news(Time::ZERO, *one));
        assert_eq!(said.count(), SAID_MAX);
        assert_eq!(strangers.said.capacity(), SAID_MAX);
    }
}
