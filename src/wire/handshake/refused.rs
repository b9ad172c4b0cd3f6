//! Why there is no link, and what a person should do about it.

use std::fmt;

use super::VERSION;

/// Which end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has connected.
    Opener,
    /// It was connected to.
    Acceptor,
}

/// Why there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The bytes are no handshake.
    NotOurs,
    /// The peer speaks another version.
    Version(u8),
    /// A message of another kind was due.
    OutOfTurn,
    /// The peer belongs to another cluster.
    Cluster,
    /// The peer does not hold the cluster's key, or somebody in between changed its words.
    Key,
    /// The peer asks for a volume that is not here.
    Volume,
    /// The peer is not the node that was to be reached, or does not mean this node.
    Node,
    /// What was sent has come back.
    Reflected,
    /// The peer refuses, for this reason as far as it says.
    Rejected(Rejection),
}

/// What a `Reject` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rejection {
    /// It speaks another version.
    Version = 1,
    /// It belongs to another cluster.
    Cluster = 2,
    /// It has no such volume.
    Volume = 3,
    /// It is another node.
    Node = 4,
    /// Something else.
    Other = 5,
}

impl Refused {
    /// The refusal in words: what the end that refuses says of the other one.
    #[must_use]
    pub const fn by(self, role: Role) -> Words {
        Words { why: self, role }
    }
}

/// A refusal in words.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    why: Refused,
    role: Role,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opener = self.role == Role::Opener;
        f.write_str(match self.why {
            Refused::NotOurs if opener => {
                "what listens there does not speak Steadfast's protocol: check addresses and ports"
            }
            Refused::NotOurs => {
                "what connected does not speak Steadfast's protocol: keep other programs away \
                 from this port"
            }
            Refused::Version(found) => {
                return write!(
                    f,
                    "the peer speaks version {found} of the data link, this node {VERSION}: \
                     update the older one"
                );
            }
            Refused::OutOfTurn => {
                "the peer spoke out of turn in the handshake: compare the nodes' versions"
            }
            Refused::Cluster => "the peer belongs to another cluster: check the addresses",
            Refused::Key => "the peer does not hold this cluster's key: compare `cluster.key`",
            Refused::Volume if opener => {
                "the peer answered for another volume: compare the nodes' versions"
            }
            Refused::Volume => {
                "the peer asks for a volume that this node does not know: compare the nodes' \
                 configurations"
            }
            Refused::Node if opener => {
                "the peer is another node than this address should be: check addresses"
            }
            Refused::Node => {
                "the peer takes this node for another one: check the addresses in its configuration"
            }
            Refused::Reflected => {
                "what was sent has come back: check that the address is another node's"
            }
            Refused::Rejected(why) => return why.fmt(f),
        })
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Version => "it speaks another version: update the older node",
            Self::Cluster => "it is in another cluster: check the addresses",
            Self::Volume => {
                "it does not know the volume: compare the nodes' configurations, and restart the \
                 node whose was changed"
            }
            Self::Node => "it is another node: check the addresses",
            Self::Other => "its log says why",
        };
        write!(f, "the peer refuses: {what}")
    }
}
