//! Following a leader: taking its entries, and acknowledging them.

use super::{Core, Out, Role};
use crate::member::entry::Entry;
use crate::member::message::{LogEnd, Message};
use crate::types::{Index, NodeId, Time};

/// Entries of a leader.
#[derive(Clone, Debug)]
pub(super) struct Append {
    /// The leader's term.
    pub(super) term: u64,
    /// What comes before the entries.
    pub(super) prev: LogEnd,
    /// Committed up to here.
    pub(super) commit: Index,
    /// In order.
    pub(super) entries: Vec<Entry>,
}

impl Core {
    /// Entries, or only a sign of life, of a node that leads.
    pub(super) fn append_came(&mut self, now: Time, from: NodeId, append: Append, out: Out<'_>) {
        let current = append.term >= self.log.ballot().term;
        if current && self.contradicts(&append) || !self.follow(now, from, append.term, out) {
            return;
        }
        let prev = append.prev;
        let floor = self.log.floor();
        // What is before our floor is committed, here as there.
        if prev.index >= floor.index && self.log.term_at(prev.index) != Some(prev.term) {
            let end = self
                .log
                .last()
                .index
                .min(Index(prev.index.0.saturating_sub(1)));
            self.reject(from, end, out);
            return;
        }
        let mut index = prev.index;
        for entry in append.entries {
            index.0 += 1;
            let command = entry.command.clone();
            if self.log.put(index, entry) {
                // What was here instead is void, so nobody has told of this one.
                self.found_at_start = self.found_at_start.min(Index(index.0 - 1));
                Self::ask_promise(&command, out);
            }
        }
        let news = index > self.verified;
        self.verified = self.verified.max(index);
        self.commit = self.commit.max(append.commit.min(self.verified));
        if !news {
            // The leader may not have heard it.
            self.acknowledged = Index(0);
        }
    }

    /// Whether the entries differ from what is agreed, which never changes: no leader sends that.
    fn contradicts(&self, append: &Append) -> bool {
        let first = append.prev.index.0 + 1;
        let entries = (first..).map(Index).zip(&append.entries);
        let mut agreed = entries.take_while(|&(index, _)| index <= self.commit);
        agreed.any(|(index, entry)| {
            let known = self.log.term_at(index);
            known.is_some_and(|term| term != entry.term)
        })
    }

    /// Follows the leader of `term`; false if there is a newer term.
    pub(super) fn follow(&mut self, now: Time, leader: NodeId, term: u64, out: Out<'_>) -> bool {
        let mine = self.log.ballot().term;
        if term < mine || !self.config.voters.contains(leader) {
            let end = self.log.last().index;
            self.reject(leader, end, out);
            return false;
        }
        if term > mine {
            self.follow_term(term);
        }
        if matches!(self.role, Role::Leader(_)) {
            // Two leaders of one term cannot be; whoever says so is not heard.
            return false;
        }
        self.role = Role::Follower;
        if self.leader != Some(leader) {
            self.forget_leader();
            self.leader = Some(leader);
            self.repeat_reports();
        }
        self.contact = now;
        true
    }

    /// What was known of the leader's log holds for that leader only.
    pub(super) const fn forget_leader(&mut self) {
        self.verified = Index(0);
        self.acknowledged = Index(0);
    }

    fn reject(&self, leader: NodeId, end: Index, out: Out<'_>) {
        let rejected = Message::Rejected {
            term: self.log.ballot().term,
            end,
        };
        self.send(leader, &rejected, out);
    }

    /// Entries up to here are the leader's, durable, and every promise in them is given.
    fn acknowledgeable(&self) -> Index {
        if self.config.canaries.acknowledge_before_durable {
            return self.verified.min(self.promised());
        }
        if self.log.durable_ballot().term < self.log.ballot().term {
            return Index(0);
        }
        self.verified.min(self.log.durable()).min(self.promised())
    }

    /// Tells the leader how far this node's log is good, whenever that is news.
    pub(super) fn acknowledge(&mut self, out: Out<'_>) {
        let (Role::Follower, Some(leader)) = (&self.role, self.leader) else {
            return;
        };
        let matched = self.acknowledgeable();
        if matched > self.acknowledged {
            self.acknowledged = matched;
            let term = self.log.ballot().term;
            let log = self.log.id();
            self.send(leader, &Message::Appended { term, matched, log }, out);
        }
    }
}
