//! Why links end, in words for people.

use std::fmt;
use std::io;

use crate::engine::io::Direction;
use crate::wire::codec::Broken;
use crate::wire::handshake::{Refused, Role};

/// Why a link ends.
#[derive(Debug)]
pub(in crate::uring) enum Ended {
    /// The peer has closed it.
    ByPeer,
    /// The connection failed.
    Failed(io::Error),
    /// Something is wrong at the other end, and a person should know.
    Fault(Fault),
}

/// What is wrong at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::uring) enum Fault {
    /// There is no proof of who is there.
    Refused(Refused),
    /// The peer breaks the protocol.
    Broken(Broken),
    /// A frame is for the other end of a link, or reaches past the end of the volume.
    Impossible(&'static str),
    /// The handshake took too long.
    Late,
    /// Too many links have proved nothing yet.
    TooMany,
}

impl<F: Into<Fault>> From<F> for Ended {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

impl From<Refused> for Fault {
    fn from(why: Refused) -> Self {
        Self::Refused(why)
    }
}

impl From<Broken> for Fault {
    fn from(why: Broken) -> Self {
        Self::Broken(why)
    }
}

impl Fault {
    /// In words that fit a link in this direction.
    pub(in crate::uring) const fn on(self, direction: Direction) -> Words {
        Words {
            fault: self,
            direction,
        }
    }
}

/// A fault in words.
#[derive(Debug)]
pub(in crate::uring) struct Words {
    fault: Fault,
    direction: Direction,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.fault, self.direction) {
            (Fault::Refused(why), Direction::Out) => why.by(Role::Opener).fmt(f),
            (Fault::Refused(why), Direction::In) => why.by(Role::Acceptor).fmt(f),
            (Fault::Broken(why), _) => why.fmt(f),
            (Fault::Impossible(what), _) => f.write_str(what),
            (Fault::Late, Direction::Out) => f.write_str(
                "no answer in time: the peer is down, hangs or is cut off, or something else \
                 listens there",
            ),
            (Fault::Late, Direction::In) => f.write_str(
                "no handshake in time: keep other programs away from this port, or look after a \
                 node that hangs",
            ),
            (Fault::TooMany, _) => f.write_str(
                "too many links without a handshake: keep other programs away from this port",
            ),
        }
    }
}
