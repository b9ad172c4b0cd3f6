//! How things are, for people.

use super::lead::Leader;
use super::{CONTACT_INTERVALS, Core, Role, waiting};
use crate::member::io::CoreStatus;
use crate::types::{Index, NodeId, NodeSet, Time};

impl Core {
    /// How things are, as this node knows it.
    #[must_use]
    pub fn status(&self, now: Time) -> CoreStatus {
        let mut incarnations: Vec<_> = self.liveness.incarnations().collect();
        incarnations.push((self.config.me, self.incarnation));
        incarnations.sort_unstable();
        let volumes = self.state.volumes.values().map(|volume| {
            let progress = self.progress(now, volume.record.id);
            (volume.record.clone(), progress)
        });
        CoreStatus {
            leader: self.leader,
            term: self.log.ballot().term,
            committed: self.commit,
            last: self.log.last().index,
            view: self.state.view.clone(),
            quorum: self.has_quorum(),
            no_quorum: (!self.has_quorum()).then(|| waiting::no_quorum(self)),
            undecided: self.undecided(now),
            silent: self.silent(now),
            alive: self.liveness.alive(),
            voters: self.config.voters,
            incarnations,
            volumes: volumes.collect(),
            waiting: waiting::waiting(self, now),
            store_faults: waiting::store_faults(self),
            at: now,
        }
    }

    /// The last entry that is agreed and has taken effect here.
    #[must_use]
    pub const fn applied(&self) -> Index {
        self.applied
    }

    /// Checksum of an entry that has taken effect here: the same on all nodes. None if it has not, or
    /// is not kept any more.
    #[must_use]
    pub fn entry_checksum(&self, index: Index) -> Option<u32> {
        let entry = self.log.entry(index).filter(|_| index <= self.applied)?;
        let bytes = postcard::to_stdvec(entry).ok()?;
        Some(crc32fast::hash(&bytes))
    }

    /// Why nothing can be agreed on although a majority is heard, as far as it shows here. What the
    /// volumes do is not affected, until something fails.
    fn undecided(&self, now: Time) -> Option<String> {
        let why = match &self.role {
            _ if !self.has_quorum() => return None,
            Role::Leader(leader) => {
                let voters = self.config.voters.iter();
                let answering = voters.filter(|&voter| self.answers(leader, voter, now));
                if answering.count() >= self.config.voters.majority() {
                    return None;
                }
                "too few voters answer the leader"
            }
            Role::Follower | Role::Candidate if self.is_recent(self.contact, now) => return None,
            Role::Follower | Role::Candidate => "no leader is heard",
        };
        Some(format!(
            "nothing can be agreed on: {why}, though heartbeats come; is a packet filter in the way of \
             the port `core`?"
        ))
    }

    /// Voters that this node leads and hears, but that do not answer it: in an election they would be
    /// missing.
    fn silent(&self, now: Time) -> NodeSet {
        let Role::Leader(leader) = &self.role else {
            return NodeSet::EMPTY;
        };
        let voters = self.config.voters.iter();
        voters
            .filter(|&voter| self.liveness.is_hearing(voter) && !self.answers(leader, voter, now))
            .collect()
    }

    /// Whether a voter, which may be this node, has answered its leader lately.
    fn answers(&self, leader: &Leader, voter: NodeId, now: Time) -> bool {
        let follower = leader.followers.get(&voter);
        follower.is_none_or(|follower| self.is_recent(follower.heard_at, now))
    }

    /// Whether that is no trouble yet, as elections and lost messages are none.
    fn is_recent(&self, then: Time, now: Time) -> bool {
        now < then.after(self.interval() * (CONTACT_INTERVALS * 2))
    }

    /// Whether this node and at least a majority of the voters, with logs that count, hear each other.
    pub(super) fn has_quorum(&self) -> bool {
        let voters = self.config.voters.iter();
        let deciding =
            voters.filter(|&voter| self.liveness.is_hearing(voter) && !self.is_new(voter));
        deciding.count() >= self.config.voters.majority()
    }

    /// Whether the voter has a log that does not count yet, as far as is known here.
    pub(super) fn is_new(&self, voter: NodeId) -> bool {
        if voter == self.config.me {
            return self.is_voter() && !self.is_enrolled();
        }
        let told = self.liveness.told(voter);
        told.is_some_and(|told| !told.enrolled || !self.is_counted(voter, told.log))
    }
}
