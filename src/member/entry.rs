//! Entries of the cluster log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::io::{Member, Proposal};
use crate::record::{VolumeChange, VolumeRecord};
use crate::types::{Incarnation, Index, LogId, NodeId, VolumeId};

/// Most bytes of an encoded entry: it fits a message and a page with room to spare.
pub(super) const ENTRY_MAX: usize = 1100;

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Command {
    /// Nothing; a new leader's first, so that what came before it commits.
    Noop,
    /// Take a node out of the view.
    Exclude {
        /// Who.
        node: NodeId,
        /// Up to and with this incarnation.
        incarnation: Incarnation,
        /// Known to be dead, not only silent.
        certificate: bool,
    },
    /// Take a node into the view; ends an older incarnation of it.
    Admit(Member),
    /// A change of a volume.
    Volume {
        /// Which.
        volume: VolumeId,
        /// The volume's previous entry.
        prev: Index,
        /// What.
        change: VolumeChange,
    },
    /// A new volume.
    Create(VolumeRecord),
    /// The first entry of every log: whose logs the cluster began with.
    Found(BTreeMap<NodeId, LogId>),
    /// A voter has a new log in the place of one that was lost: from now on that one counts.
    Enroll {
        /// Who.
        node: NodeId,
        /// Which log.
        log: LogId,
    },
}

impl Command {
    /// The incarnation whose acknowledgement a voter must have given up before it acknowledges this
    /// entry, and whether it is known to be dead. `Admit` counts: it ends every older incarnation,
    /// and a node only has a newer one when the older is over.
    pub(super) fn forbids(&self) -> Option<(NodeId, Incarnation, bool)> {
        match *self {
            Self::Exclude {
                node,
                incarnation,
                certificate,
            } => Some((node, incarnation, certificate)),
            Self::Admit(member) => {
                let older = member.incarnation.0.saturating_sub(1);
                (older > 0).then_some((member.node, Incarnation(older), true))
            }
            Self::Noop
            | Self::Volume { .. }
            | Self::Create(_)
            | Self::Found(_)
            | Self::Enroll { .. } => None,
        }
    }

    /// The run that it takes out of the view, or in.
    pub(super) const fn incarnation(&self) -> Option<Incarnation> {
        match self {
            Self::Exclude { incarnation, .. } => Some(*incarnation),
            Self::Admit(member) => Some(member.incarnation),
            Self::Noop
            | Self::Volume { .. }
            | Self::Create(_)
            | Self::Found(_)
            | Self::Enroll { .. } => None,
        }
    }

    /// The command that a proposal asks for.
    pub(super) fn of(proposal: Proposal) -> Self {
        match proposal {
            Proposal::Volume {
                volume,
                prev,
                change,
            } => Self::Volume {
                volume,
                prev,
                change,
            },
            Proposal::Create { record } => Self::Create(record),
        }
    }
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Term of the leader that made it.
    pub(super) term: u64,
    /// What it says.
    pub(super) command: Command,
}

impl Entry {
    /// Bytes that it takes in messages and pages.
    pub(super) fn size(&self) -> usize {
        // The types serialize without errors; what could not would be too large.
        let size = postcard::ser_flavors::Size::default();
        postcard::serialize_with_flavor(self, size).unwrap_or(usize::MAX)
    }
}
