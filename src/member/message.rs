//! What cores tell each other, as bytes. Any message may be lost, doubled, delayed or overtaken.
//!
//! A message begins with who wrote it, who it is for, and how often it may still be passed on;
//! the rest is the message itself. A node that cannot be reached is reached through one that can.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::entry::{ENTRY_MAX, Entry};
use super::io::{MESSAGE_MAX, Proposal, ReplicaReport, VolumeProgress};
use crate::types::{BootId, Incarnation, Index, LogId, NODES_MAX, NodeId, VOTERS_MAX};

/// Bytes before the message itself.
const HEADER: usize = 3;
/// Bytes that an append takes without its entries, at most.
const APPEND_OVERHEAD: usize = 64;
/// Room for the entries of one append.
pub(super) const ENTRIES_MAX: usize = MESSAGE_MAX - HEADER - APPEND_OVERHEAD;
/// Bytes of the state in one piece of a snapshot.
pub(super) const CHUNK_MAX: usize = 1024;
/// Suspects in one message; more are told once the first ones have been excluded.
pub(super) const SUSPECTS_MAX: usize = 32;
/// Arrivals in one message; more are told once the first ones have been admitted.
pub(super) const ARRIVALS_MAX: usize = 16;

/// No term and no index of the log gets so far.
const COUNT_MAX: u64 = 1 << 48;

const _: () = assert!(ENTRY_MAX <= ENTRIES_MAX && CHUNK_MAX <= ENTRIES_MAX);
const _: () =
    assert!(SUSPECTS_MAX * 12 + ARRIVALS_MAX * 30 + VOTERS_MAX * 11 + 80 <= MESSAGE_MAX - HEADER);

/// The end of a log: compared to tell which of two is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct LogEnd {
    /// Term of the last entry.
    pub(super) term: u64,
    /// Its index.
    pub(super) index: Index,
}

/// A node that a voter does not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Suspect {
    /// Who.
    pub(super) node: NodeId,
    /// The newest incarnation that was heard; 0 if none was since the voter's start.
    pub(super) incarnation: Incarnation,
    /// Known to be dead, not only silent.
    pub(super) dead: bool,
}

/// A node that is heard: a voter, or one in an incarnation that is no member yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Arrival {
    /// Who.
    pub(super) node: NodeId,
    /// In which incarnation.
    pub(super) incarnation: Incarnation,
    /// The boot of its machine.
    pub(super) boot: BootId,
}

/// How a voter sees the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outlook {
    /// The voter's incarnation and a count, which order its outlooks.
    pub(super) incarnation: Incarnation,
    /// Goes up with each.
    pub(super) sequence: u64,
    /// The voter's term.
    pub(super) term: u64,
    /// It has no leader, or suspects the one that it has: it would vote.
    pub(super) leaderless: bool,
    /// The end of its log.
    pub(super) end: LogEnd,
    /// Whom it does not hear.
    pub(super) suspects: Vec<Suspect>,
    /// Who is new.
    pub(super) arrivals: Vec<Arrival>,
    /// Which log it has.
    pub(super) log: LogId,
    /// As far as it knows itself, that one counts.
    pub(super) enrolled: bool,
    /// Whose logs the cluster began with; none if its log is blank.
    pub(super) founders: BTreeMap<NodeId, LogId>,
    /// Its log is blank: it knows of no cluster.
    pub(super) blank: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// How the sender sees the others: on every change, and repeatedly while it has no leader.
    Outlook(Outlook),
    /// A candidate asks for a vote.
    Vote {
        /// In this term.
        term: u64,
        /// The end of its log.
        end: LogEnd,
        /// Its run: the next one may have lost some of that log.
        run: Incarnation,
    },
    /// The vote is the candidate's, durably.
    Voted {
        /// In this term.
        term: u64,
        /// To this run of the candidate.
        run: Incarnation,
        /// With how the voter sees the others: the new leader's first entries depend on it.
        outlook: Outlook,
    },
    /// From the leader: entries after `prev`.
    Append {
        /// The leader's term.
        term: u64,
        /// What comes before the entries.
        prev: LogEnd,
        /// Committed up to here.
        commit: Index,
        /// In order.
        entries: Vec<Entry>,
    },
    /// To the leader: this node's log equals the leader's up to `matched`, durably and with every
    /// promise in it kept.
    Appended {
        /// The term of the leader that is answered.
        term: u64,
        /// How far.
        matched: Index,
        /// Which log that is.
        log: LogId,
    },
    /// To the leader, or to one that believes that it is: the append does not fit.
    Rejected {
        /// The term of the node.
        term: u64,
        /// The leader may try from here.
        end: Index,
    },
    /// From the leader: a piece of its state, for a node that is too far behind.
    Snapshot {
        /// The leader's term.
        term: u64,
        /// The last entry that the state contains.
        last: LogEnd,
        /// Bytes of the whole.
        total: u32,
        /// Where this piece belongs.
        offset: u32,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// To the leader: the pieces up to `offset` are here.
    SnapshotTaken {
        /// The leader's term.
        term: u64,
        /// Which snapshot.
        last: Index,
        /// Bytes so far.
        offset: u32,
    },
    /// For the leader: somebody wants a change.
    Propose(Proposal),
    /// What a node knows of its replica.
    Report {
        /// The node's incarnation.
        incarnation: Incarnation,
        /// What.
        report: ReplicaReport,
    },
    /// What a primary tells everyone.
    Progress(VolumeProgress),
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// Who wrote it.
    pub(super) from: NodeId,
    /// Who it is for.
    pub(super) to: NodeId,
    /// It was passed on once: never again.
    pub(super) relayed: bool,
    /// The message, encoded.
    pub(super) body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes the envelope from received bytes; none if they make no sense.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let (&[from, to, relayed], body) = bytes.split_first_chunk::<HEADER>()?;
        let known = |node: u8| usize::from(node) < NODES_MAX;
        (known(from) && known(to) && relayed <= 1 && bytes.len() <= MESSAGE_MAX).then_some(Self {
            from: NodeId(from),
            to: NodeId(to),
            relayed: relayed == 1,
            body,
        })
    }

    /// The bytes to send.
    pub(super) fn seal(&self) -> Vec<u8> {
        let mut bytes = vec![self.from.0, self.to.0, u8::from(self.relayed)];
        bytes.extend_from_slice(self.body);
        assert!(bytes.len() <= MESSAGE_MAX, "messages are cut to size");
        bytes
    }
}

impl Message {
    /// The message as bytes; none if it is too large to send.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let bytes = postcard::to_stdvec(self).ok()?;
        (bytes.len() <= MESSAGE_MAX - HEADER).then_some(bytes)
    }

    /// The message, if the bytes are one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(bytes) {
            Ok((message, [])) => Some(message).filter(Self::is_possible),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether no log has grown, and no term has come, beyond what any ever will: behind this one
    /// may count on.
    fn is_possible(&self) -> bool {
        let counts = |term: u64, end: u64| term.max(end) <= COUNT_MAX;
        let ends = |end: &LogEnd| counts(end.term, end.index.0);
        let outlooks = |outlook: &Outlook| {
            let suspects = outlook.suspects.iter().map(|suspect| suspect.incarnation);
            let arrivals = outlook.arrivals.iter().map(|arrival| arrival.incarnation);
            let mut runs = suspects.chain(arrivals).chain([outlook.incarnation]);
            counts(outlook.term, 0) && ends(&outlook.end) && runs.all(Incarnation::is_possible)
        };
        match self {
            Self::Outlook(outlook) => outlooks(outlook),
            Self::Voted { term, outlook, .. } => counts(*term, 0) && outlooks(outlook),
            Self::Vote { term, end, .. } => counts(*term, 0) && ends(end),
            Self::Append {
                term,
                prev,
                commit,
                entries,
            } => {
                counts(*term, commit.0)
                    && ends(prev)
                    && entries.iter().all(|entry| {
                        let run = entry.command.incarnation();
                        counts(entry.term, 0) && run.is_none_or(Incarnation::is_possible)
                    })
            }
            Self::Appended { term, matched, .. } => counts(*term, matched.0),
            Self::Rejected { term, end } => counts(*term, end.0),
            Self::Snapshot { term, last, .. } => counts(*term, 0) && ends(last),
            Self::SnapshotTaken { term, last, .. } => counts(*term, last.0),
            Self::Propose(_) | Self::Report { .. } | Self::Progress(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Command;
    use super::*;
    use crate::types::INCARNATION_MAX;

    #[test]
    fn nonsense_is_no_message() {
        assert_eq!(Envelope::open(&[0, 1]), None);
        assert_eq!(Envelope::open(&[200, 1, 0, 1]), None);
        assert_eq!(Envelope::open(&[0, 1, 2, 1]), None);
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[99]), None);
        let mut bytes = Message::Appended {
            term: 3,
            matched: Index(4),
            log: LogId(5),
        }
        .encode()
        .unwrap();
        bytes.push(0);
        assert_eq!(Message::decode(&bytes), None, "something is left over");
        let nobody = Command::Exclude {
            node: NodeId(128),
            incarnation: Incarnation(1),
            certificate: false,
        };
        let append = Message::Append {
            term: 1,
            prev: LogEnd::default(),
            commit: Index(0),
            entries: vec![Entry {
                term: 1,
                command: nobody,
            }],
        };
        assert_eq!(Message::decode(&append.encode().unwrap()), None, "no node");
        let far = Message::Appended {
            term: 3,
            matched: Index(COUNT_MAX + 1),
            log: LogId(5),
        };
        assert_eq!(Message::decode(&far.encode().unwrap()), None, "no such log");
        // Lengths are checked before memory is taken: this claims 2^60 entries.
        let mut bytes = vec![3, 1, 0, 0, 0];
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(Message::decode(&bytes), None);
    }

    #[test]
    fn the_largest_outlook_fits() {
        let suspect = Suspect {
            node: NodeId(127),
            incarnation: Incarnation(INCARNATION_MAX.0 - 1),
            dead: true,
        };
        let arrival = Arrival {
            node: NodeId(127),
            incarnation: Incarnation(INCARNATION_MAX.0 - 1),
            boot: BootId(u128::MAX),
        };
        let outlook = Outlook {
            incarnation: Incarnation(INCARNATION_MAX.0 - 1),
            sequence: u64::MAX,
            term: COUNT_MAX,
            leaderless: true,
            end: LogEnd {
                term: COUNT_MAX,
                index: Index(COUNT_MAX),
            },
            suspects: vec![suspect; SUSPECTS_MAX],
            arrivals: vec![arrival; ARRIVALS_MAX],
            log: LogId(u64::MAX),
            enrolled: true,
            founders: (120..127).map(|n| (NodeId(n), LogId(u64::MAX))).collect(),
            blank: true,
        };
        let message = Message::Voted {
            term: COUNT_MAX,
            run: Incarnation(INCARNATION_MAX.0 - 1),
            outlook,
        };
        let bytes = message.encode().unwrap();
        assert_eq!(Message::decode(&bytes), Some(message));
    }

    #[test]
    fn an_envelope_survives() {
        let envelope = Envelope {
            from: NodeId(1),
            to: NodeId(2),
            relayed: true,
            body: &[7, 8],
        };
        assert_eq!(Envelope::open(&envelope.seal()), Some(envelope));
    }
}
