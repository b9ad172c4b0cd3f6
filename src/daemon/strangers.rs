//! Datagrams that are refused: who sent them and why, so that a person is told, and not too often.

use std::net::{IpAddr, SocketAddr};

use config::Config;

use crate::seldom::Seldom;
use crate::types::Time;
use crate::wire::seal::Refused;

/// A datagram that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Where it came from.
    pub from: SocketAddr,
    /// What is wrong with it.
    pub why: Refused,
}

/// Whose datagrams people have been told of.
#[derive(Debug, Default)]
pub(super) struct Strangers(Seldom<(IpAddr, Refused)>);

impl Strangers {
    /// Whether this is to be said now.
    pub(super) fn is_news(&mut self, now: Time, stranger: Stranger) -> bool {
        // A program that sends from another port each time is still the same one.
        self.0.is_news(now, (stranger.from.ip(), stranger.why))
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

    #[test]
    fn an_address_is_named_once_for_each_cause() {
        let mut strangers = Strangers::default();
        let mut news = |host, port, why| {
            let from = SocketAddr::from(([127, 0, 0, host], port));
            strangers.is_news(Time::ZERO, Stranger { from, why })
        };
        assert!(news(1, 7, Refused::Key));
        assert!(!news(1, 8, Refused::Key));
        assert!(news(1, 7, Refused::Cluster));
        assert!(news(2, 7, Refused::Key));
    }
}
