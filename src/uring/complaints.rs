//! What people are told of links that ended by a fault of the other end: who, what and what to do,
//! and not too often.

use std::net::{IpAddr, SocketAddr};

use super::link::{Fault, Link};
use crate::engine::io::Direction;
use crate::seldom::Seldom;
use crate::types::{NodeId, Time};

/// What has been said of late.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Of those who had proved nothing. Apart, so that they cannot use up what is said of peers.
    strangers: Seldom<(IpAddr, Fault)>,
    peers: Seldom<(NodeId, Direction, Fault)>,
}

impl Complaints {
    /// Tells a person of a link that is being closed.
    pub(super) fn of_link(&mut self, now: Time, link: &Link, fault: Fault) {
        let Some(peer) = link.peer else {
            return self.of_stranger(now, link.remote, fault);
        };
        let (direction, remote) = (link.direction, link.remote);
        if self.peers.is_news(now, (peer, direction, fault)) {
            let way = match direction {
                Direction::Out => "to",
                Direction::In => "from",
            };
            tracing::warn!(
                peer = peer.0,
                link = link.id.0,
                "data link {way} {remote} closed: {}",
                fault.on(direction)
            );
        }
    }

    /// Tells a person of somebody who has connected and proved nothing.
    pub(super) fn of_stranger(&mut self, now: Time, remote: SocketAddr, fault: Fault) {
        // A program that tries again comes from another port.
        if self.strangers.is_news(now, (remote.ip(), fault)) {
            let words = fault.on(Direction::In);
            tracing::warn!("data link from {remote} closed: {words}");
        }
    }
}
