//! Elections. No timer runs in the failure path: voters that suspect their leader say so at once,
//! and as soon as a majority has said so, the best of them asks for votes.
//!
//! That exchange stands for a pre-vote: nobody asks for votes while a majority hears the leader, and
//! a voter that hears the leader answers nobody who asks (it remembers who did, and votes the moment
//! its own detector fires). Who is best is the same for all that know the same: the newest log, then
//! the lowest number. Others wait, the longer the lower their place, so that ties end without
//! random numbers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{CONTACT_INTERVALS, Core, Out, Role};
use crate::member::log::Ballot;
use crate::member::message::{LogEnd, Message};
use crate::types::{Incarnation, LogId, NodeId, NodeSet, Time};

/// Who is better: the newest log, then the lowest number.
type Rank = (LogEnd, Reverse<NodeId>);

/// A vote that somebody asked for while we heard the leader.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    term: u64,
    end: LogEnd,
    run: Incarnation,
    at: Time,
}

/// What a voter remembers about elections.
#[derive(Clone, Debug)]
pub(super) struct Election {
    /// Since when a majority is known to be without a leader.
    since: Option<Time>,
    /// Voted for somebody, or asked in vain: others have until then to win.
    hold_until: Time,
    /// A candidate's: when it gives up.
    until: Time,
    /// A candidate's: when it asks again those that have not answered.
    ask_again: Time,
    /// A candidate's: who has voted for it.
    votes: NodeSet,
    /// A candidate's: who will not vote for it in this term.
    refusals: NodeSet,
    /// A candidate's: the best of those that ask for votes in the same term.
    rival: Option<Rank>,
    /// Whom a vote was given that is not durable yet, or not told yet.
    owed: Option<(NodeId, Incarnation)>,
    /// Led, and had to give way just now.
    deposed: bool,
    deferred: BTreeMap<NodeId, Deferred>,
}

impl Election {
    pub(super) fn new(now: Time) -> Self {
        Self {
            since: None,
            hold_until: now,
            until: Time::ZERO,
            ask_again: Time::ZERO,
            votes: NodeSet::EMPTY,
            refusals: NodeSet::EMPTY,
            rival: None,
            owed: None,
            deposed: false,
            deferred: BTreeMap::new(),
        }
    }
}

impl Core {
    /// Whether this node has no leader that it could rely on.
    pub(super) fn is_leaderless(&self, now: Time) -> bool {
        match (&self.role, self.leader) {
            (Role::Leader(_), _) => false,
            (_, None) => true,
            (_, Some(leader)) => {
                let mute = self.contact.after(self.interval() * CONTACT_INTERVALS) <= now;
                mute || self.liveness.is_suspected(leader)
            }
        }
    }

    /// Draws the conclusions about elections.
    pub(super) fn elect(&mut self, now: Time, out: Out<'_>) {
        if !self.is_enrolled() {
            return;
        }
        self.tell_vote(now, out);
        if std::mem::take(&mut self.election.deposed) {
            // Whoever asked for the larger term did not hear this leader, nor will it at once: who
            // stands again without waiting is deposed again, and so on.
            let hold = now.after(self.interval() * 2 + self.rank_delay());
            self.election.hold_until = self.election.hold_until.max(hold);
        }
        if !self.is_leaderless(now) {
            // There is a leader that this node relies on: whoever waited for one may stand as soon as
            // this one dies. Not so where it has given up the winner: the wait is for that.
            self.election.since = None;
            self.election.hold_until = now;
            return;
        }
        self.vote_deferred(now, out);
        match self.role {
            Role::Candidate => self.go_on_asking(now, out),
            Role::Follower => {
                if self.stand_at(now).is_some_and(|at| at <= now) {
                    self.stand(now, out);
                }
            }
            Role::Leader(_) => {}
        }
    }

    /// When this node should ask for votes: none while no majority is known to need a leader.
    fn stand_at(&mut self, now: Time) -> Option<Time> {
        let mine = self.rank();
        let (mut known, mut place) = (1, 0);
        for (voter, told) in self.liveness.leaderless(now) {
            if told.enrolled && self.is_counted(voter, told.log) {
                known += 1;
                place += u32::from((told.end, Reverse(voter)) > mine);
            }
        }
        if known < self.config.voters.majority() {
            self.election.since = None;
            return None;
        }
        let since = *self.election.since.get_or_insert(now);
        let turn = since.after(self.interval() / 2 * place);
        Some(turn.max(self.election.hold_until))
    }

    fn stand(&mut self, now: Time, out: Out<'_>) {
        let known = self.log.ballot().term.max(self.liveness.term_max());
        let Some(term) = known.checked_add(1) else {
            return;
        };
        let me = self.config.me;
        self.log.set_ballot(Ballot {
            term,
            vote: Some(me),
        });
        self.role = Role::Candidate;
        self.leader = None;
        self.election.votes = NodeSet::EMPTY;
        self.election.refusals = NodeSet::EMPTY;
        self.election.rival = None;
        self.election.owed = None;
        self.election.until = now.after(self.interval() * 2 + self.rank_delay());
        self.ask(now, out);
        self.go_on_asking(now, out);
    }

    fn ask(&mut self, now: Time, out: Out<'_>) {
        self.election.ask_again = now.after(self.interval() / 2);
        let vote = Message::Vote {
            term: self.log.ballot().term,
            end: self.log.last(),
            run: self.incarnation,
        };
        for voter in self.other_voters() {
            if !self.election.votes.contains(voter) {
                self.send(voter, &vote, out);
            }
        }
    }

    fn go_on_asking(&mut self, now: Time, out: Out<'_>) {
        // Our own vote counts when a restart would remember it: else we could lead the same term
        // twice, with different entries.
        if self.remembers_vote_for(self.config.me) {
            self.election.votes.insert(self.config.me);
            let enough = self.election.votes.len() >= self.config.voters.majority();
            if enough {
                self.begin_to_lead(now, out);
                return;
            }
        }
        if self.has_split() {
            self.stand(now, out);
            return;
        }
        if self.election.until <= now {
            self.role = Role::Follower;
            self.election.since = None;
            self.election.hold_until = now.after(self.rank_delay());
        } else if self.election.ask_again <= now {
            self.ask(now, out);
        }
    }

    /// Whether the votes are split so that this candidate cannot win its term, and it is the one that
    /// asks for votes in the next term. It does so at once: the rivals hear it and vote for it. One
    /// that knows of no rival waits, as does one that knows a better one: two that do not hear each
    /// other would run through the terms.
    fn has_split(&self) -> bool {
        let mine = self.rank();
        let best = self.election.rival.is_some_and(|rival| rival < mine);
        let may_vote = |voter: &NodeId| {
            let refused = self.election.refusals.contains(*voter);
            let votes = self.election.votes.contains(*voter);
            votes || (self.liveness.is_heard(*voter) && !refused)
        };
        let votes = self.config.voters.iter().filter(may_vote).count();
        best && votes < self.config.voters.majority()
    }

    /// Whether a restart would remember that this node's vote is the candidate's.
    fn remembers_vote_for(&self, candidate: NodeId) -> bool {
        self.log.durable_vote() == Some(candidate) || self.config.canaries.vote_before_durable
    }

    fn rank(&self) -> Rank {
        (self.log.last(), Reverse(self.config.me))
    }

    /// Ties end because no two voters wait equally long.
    fn rank_delay(&self) -> std::time::Duration {
        let before = self.config.voters.iter().filter(|&v| v < self.config.me);
        self.interval() * before.count() as u32
    }

    /// Somebody asks for our vote.
    pub(super) fn vote_asked(
        &mut self,
        now: Time,
        from: NodeId,
        (term, end): (u64, LogEnd),
        run: Incarnation,
        out: Out<'_>,
    ) {
        if !self.is_enrolled() || !self.config.voters.contains(from) {
            return;
        }
        if !self.is_leaderless(now) {
            let at = now;
            let deferred = Deferred { term, end, run, at };
            self.election.deferred.insert(from, deferred);
            return;
        }
        let mut ballot = self.log.ballot();
        if term < ballot.term {
            let rejected = Message::Rejected {
                term: ballot.term,
                end: self.log.last().index,
            };
            self.send(from, &rejected, out);
            return;
        }
        if term > ballot.term {
            self.follow_term(term);
            ballot = self.log.ballot();
        }
        let free = ballot.vote.is_none_or(|vote| vote == from);
        if free && end >= self.log.last() {
            self.election.hold_until = now.after(self.interval() * 2 + self.rank_delay());
            if self.config.canaries.double_vote {
                // Nothing is written down: the next one who asks gets it too.
                self.send_vote(now, from, run, out);
                return;
            }
            let vote = Some(from);
            self.log.set_ballot(Ballot { term, vote });
            self.role = Role::Follower;
            self.election.owed = Some((from, run));
            self.tell_vote(now, out);
        } else if !free {
            // Who asks need not wait for this vote.
            let rejected = Message::Rejected {
                term: ballot.term,
                end: self.log.last().index,
            };
            self.send(from, &rejected, out);
            if matches!(self.role, Role::Candidate) {
                let rival = (end, Reverse(from));
                self.election.rival = self.election.rival.max(Some(rival));
                self.election.refusals.insert(from);
            }
        }
    }

    /// Tells a vote once it is durable.
    fn tell_vote(&mut self, now: Time, out: Out<'_>) {
        let Some((candidate, run)) = self.election.owed else {
            return;
        };
        if !self.remembers_vote_for(candidate) {
            return;
        }
        self.election.owed = None;
        self.send_vote(now, candidate, run, out);
    }

    fn send_vote(&mut self, now: Time, candidate: NodeId, run: Incarnation, out: Out<'_>) {
        let voted = Message::Voted {
            term: self.log.ballot().term,
            run,
            outlook: self.next_outlook(now),
        };
        self.send(candidate, &voted, out);
    }

    /// Votes for the best of those that asked while we still heard the leader.
    fn vote_deferred(&mut self, now: Time, out: Out<'_>) {
        let deferred = std::mem::take(&mut self.election.deferred);
        let fresh = self.interval() * 3;
        let best = deferred
            .into_iter()
            .filter(|(_, asked)| now < asked.at.after(fresh))
            .max_by_key(|(node, asked)| (asked.term, asked.end, Reverse(*node)));
        if let Some((from, asked)) = best {
            self.vote_asked(now, from, (asked.term, asked.end), asked.run, out);
        }
    }

    /// Somebody has voted, in `term`, for this node in its run `run`, and remembers it in `log`. What an
    /// earlier run asked for, perhaps with entries that were not durable yet, is void.
    pub(super) fn vote_came(&mut self, from: NodeId, term: u64, run: Incarnation, log: LogId) {
        let counts = matches!(self.role, Role::Candidate)
            && (run == self.incarnation || self.config.canaries.vote_for_any_run)
            && self.log.ballot().term == term
            && self.is_counted(from, log);
        if counts {
            self.election.votes.insert(from);
        }
    }

    /// Somebody has voted for another one, in `term`.
    pub(super) fn refusal_came(&mut self, from: NodeId, term: u64) {
        if matches!(self.role, Role::Candidate) && self.log.ballot().term == term {
            self.election.refusals.insert(from);
        }
    }

    /// A larger term than ours is in use: whatever we were in ours is over.
    pub(super) fn follow_term(&mut self, term: u64) {
        self.log.set_ballot(Ballot { term, vote: None });
        self.election.deposed |= matches!(self.role, Role::Leader(_));
        self.role = Role::Follower;
        self.leader = None;
        self.election.owed = None;
        self.forget_leader();
    }

    /// A run of a node has ended: it wins no election any more, and leads no longer, also if the next
    /// run is heard at once. Who waits for it to win waits in vain.
    pub(super) fn run_ended(&mut self, node: NodeId) {
        if node == self.config.me {
            return;
        }
        self.election.deferred.remove(&node);
        let leads = self.leader == Some(node);
        if leads || self.log.ballot().vote == Some(node) {
            self.election.hold_until = Time::ZERO;
        }
        if let Some((end, Reverse(rival))) = &mut self.election.rival
            && *rival == node
        {
            // The better one does not ask again: this candidate does.
            (*end, *rival) = (LogEnd::default(), NodeId(u8::MAX));
        }
        if leads {
            self.leader = None;
        }
    }

    /// When something about elections is due.
    pub(super) fn election_wake(&mut self, now: Time) -> Time {
        if !self.is_enrolled() || !self.is_leaderless(now) {
            return Time::MAX;
        }
        match self.role {
            Role::Candidate => self.election.until.min(self.election.ask_again),
            Role::Follower => self.stand_at(now).unwrap_or(Time::MAX),
            Role::Leader(_) => Time::MAX,
        }
    }
}
