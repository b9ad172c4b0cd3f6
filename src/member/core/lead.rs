//! Leading: proposing, sending entries, counting acknowledgements.

use std::collections::BTreeMap;

use super::{Core, Out, Role};
use crate::member::entry::{Command, ENTRY_MAX, Entry};
use crate::member::io::{CoreEffect, CoreNote, Proposal};
use crate::member::message::{ENTRIES_MAX, LogEnd, Message};
use crate::member::policy::{self, Facts};
use crate::member::state::State;
use crate::types::{Index, LogId, NodeId, Time, VolumeId};

/// Entries that may wait to be committed: without a majority nothing piles up.
const UNCOMMITTED_MAX: u64 = 64;
/// Room that one more volume takes in a snapshot, at most.
const VOLUME_STATE_MAX: usize = 3000;
/// Messages of entries to one node before it has acknowledged the first.
const BURST: usize = 4;
/// Between signs of life of the leader, in intervals.
const BEAT_INTERVALS: u32 = 2;

/// What a leader knows of one other node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follower {
    /// The next entry to send.
    pub(super) next: Index,
    /// The oldest entry that may have to be sent again.
    from: Index,
    /// It has acknowledged up to here,
    pub(super) matched: Index,
    /// in this log.
    log: LogId,
    /// Committed up to here, as it was told.
    told_commit: Index,
    /// When something was last sent to it.
    pub(super) sent_at: Time,
    /// When it last answered.
    pub(super) heard_at: Time,
    /// Bytes of which snapshot it has.
    pub(super) snapshot: (Index, u32),
}

/// What only a leader knows.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    /// What the whole log adds up to, if it commits; void proposals are seen by it.
    ahead: State,
    pub(super) followers: BTreeMap<NodeId, Follower>,
    /// When the next sign of life is due.
    beat: Time,
    /// When this node became leader.
    since: Time,
    /// When each member was admitted by this leader.
    admitted: BTreeMap<NodeId, Time>,
}

impl Core {
    /// A majority has voted for us.
    pub(super) fn begin_to_lead(&mut self, now: Time, out: Out<'_>) {
        let mut ahead = self.state.clone();
        for (index, entry) in self.log.after(self.applied) {
            ahead.apply(index, &entry.command, &self.config.canaries);
        }
        let next = Index(self.log.last().index.0 + 1);
        let follower = Follower {
            next,
            from: next,
            matched: Index(0),
            log: LogId(0),
            told_commit: Index(0),
            sent_at: Time::ZERO,
            heard_at: now,
            snapshot: (Index(0), 0),
        };
        self.forget_leader();
        self.role = Role::Leader(Box::new(Leader {
            ahead,
            followers: self.others().map(|node| (node, follower)).collect(),
            beat: now,
            since: now,
            admitted: BTreeMap::new(),
        }));
        self.leader = Some(self.config.me);
        let term = self.log.ballot().term;
        out.push(CoreEffect::Note(CoreNote::Leader { term }));
        // Entries of earlier terms commit with it.
        self.append(now, Command::Noop, out);
    }

    /// Appends what the policy asks for, counts, and moves the commit index.
    pub(super) fn lead(&mut self, now: Time, out: Out<'_>) {
        if !matches!(self.role, Role::Leader(_)) {
            return;
        }
        while self.has_room() {
            let Some(command) = self.next_by_policy(now) else {
                break;
            };
            assert!(
                self.append(now, command, out),
                "the policy proposes only what takes effect"
            );
        }
        self.create_volumes(now, out);
        self.count();
    }

    fn has_room(&self) -> bool {
        self.log.last().index.0 < self.commit.0 + UNCOMMITTED_MAX
    }

    fn next_by_policy(&self, now: Time) -> Option<Command> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let settling = self.config.timing.suspicion() * 2;
        let settled = |node: NodeId| {
            let since = leader.admitted.get(&node).copied().unwrap_or(leader.since);
            since.after(settling) <= now
        };
        policy::next(
            &leader.ahead,
            &Facts {
                now,
                liveness: &self.liveness,
                reports: &self.reports,
                settled: &settled,
                canaries: &self.config.canaries,
            },
        )
    }

    /// Appends an entry, unless it would be void. True if it was appended.
    fn append(&mut self, now: Time, command: Command, out: Out<'_>) -> bool {
        let Role::Leader(leader) = &mut self.role else {
            return false;
        };
        let index = Index(self.log.last().index.0 + 1);
        let applied = leader.ahead.apply(index, &command, &self.config.canaries);
        let takes_effect = applied.view
            || applied.volume.is_some()
            || matches!(command, Command::Noop | Command::Enroll { .. });
        if !takes_effect {
            return false;
        }
        if let Command::Admit(member) = &command {
            leader.admitted.insert(member.node, now);
        }
        Self::ask_promise(&command, out);
        self.log.append(command);
        true
    }

    /// A proposal for the leader. Who proposes repeats it, so that it may simply be dropped.
    pub(super) fn proposal_came(&mut self, now: Time, proposal: Proposal, out: Out<'_>) {
        if !matches!(self.role, Role::Leader(_)) {
            return;
        }
        match proposal {
            Proposal::Create { record } => self.want_volume(record),
            Proposal::Volume { .. } => {
                if self.has_room() {
                    self.append(now, Command::of(proposal), out);
                }
            }
        }
    }

    /// Creates the volumes whose nodes are all there with fresh stores.
    fn create_volumes(&mut self, now: Time, out: Out<'_>) {
        let wanted: Vec<VolumeId> = self.creates.keys().copied().collect();
        for volume in wanted {
            let Role::Leader(leader) = &self.role else {
                return;
            };
            let room = VOLUME_STATE_MAX * (leader.ahead.volumes.len() + 1);
            if !self.has_room() || room > self.log.snapshot_max() {
                return;
            }
            if leader.ahead.volumes.contains_key(&volume) {
                continue;
            }
            let complete = self
                .creates
                .get(&volume)
                .map(|record| policy::complete(&leader.ahead, &self.reports, record));
            let Some(Ok(record)) = complete else {
                continue;
            };
            let entry = Entry {
                term: 0,
                command: Command::Create(record),
            };
            // Void because its name is taken, or too large: it will never be otherwise.
            if entry.size() > ENTRY_MAX || !self.append(now, entry.command, out) {
                self.creates.remove(&volume);
            }
        }
    }

    /// Moves the commit index to what a majority of the voters holds, if that is of our own term.
    fn count(&mut self) {
        let mine = if self.log.durable_ballot().term == self.log.ballot().term {
            self.log.durable().min(self.promised())
        } else {
            Index(0)
        };
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let matched = |voter: NodeId| match leader.followers.get(&voter) {
            None => mine,
            Some(follower) if self.is_counted(voter, follower.log) => follower.matched,
            Some(_) => Index(0),
        };
        let mut held: Vec<Index> = self.config.voters.iter().map(matched).collect();
        held.sort_unstable();
        let commit = held[held.len() - self.config.voters.majority()];
        if commit > self.commit && self.log.term_at(commit) == Some(self.log.ballot().term) {
            self.commit = commit;
        }
    }

    /// Sends every follower what it has not been sent, and repeats what may have been lost.
    pub(super) fn replicate(&mut self, now: Time, out: Out<'_>) {
        let (interval, last, commit) = (self.interval(), self.log.last().index, self.commit);
        let floor = self.log.floor().index;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let beat = leader.beat <= now;
        if beat {
            leader.beat = now.after(interval * BEAT_INTERVALS);
        }
        let mut sends = Vec::new();
        for (&node, follower) in &mut leader.followers {
            // Who is not heard is asked at every beat, not more.
            let heard = self.liveness.is_heard(node);
            let late = heard && follower.sent_at.after(interval / 2) <= now;
            let again = follower.matched < last && (late || beat);
            if again {
                follower.next = follower.from;
            }
            // A snapshot goes on when the last piece has been acknowledged.
            let news =
                follower.next > floor && (follower.next <= last || follower.told_commit < commit);
            if news || beat || again {
                follower.sent_at = now;
                sends.push((node, *follower));
            }
        }
        for (node, follower) in sends {
            let follower = if follower.next <= floor {
                self.send_snapshot(node, follower, out)
            } else {
                self.send_entries(node, follower, out)
            };
            self.set_follower(node, follower);
        }
    }

    /// What the leader knows of a node.
    pub(super) fn follower(&self, node: NodeId) -> Option<Follower> {
        match &self.role {
            Role::Leader(leader) => leader.followers.get(&node).copied(),
            Role::Follower | Role::Candidate => None,
        }
    }

    /// Changes what the leader knows of a node.
    pub(super) fn set_follower(&mut self, node: NodeId, follower: Follower) {
        if let Role::Leader(leader) = &mut self.role {
            leader.followers.insert(node, follower);
        }
    }

    fn send_entries(&self, node: NodeId, mut follower: Follower, out: Out<'_>) -> Follower {
        for _ in 0..BURST {
            let index = Index(follower.next.0 - 1);
            let (mut entries, mut room) = (Vec::new(), ENTRIES_MAX);
            for (_, entry) in self.log.after(index) {
                let size = entry.size();
                if size > room {
                    break;
                }
                room -= size;
                entries.push(entry.clone());
            }
            follower.next = Index(index.0 + entries.len() as u64 + 1);
            let append = Message::Append {
                term: self.log.ballot().term,
                prev: LogEnd {
                    term: self.log.term_at(index).unwrap_or_default(),
                    index,
                },
                commit: self.commit,
                entries,
            };
            self.send(node, &append, out);
            if follower.next > self.log.last().index {
                break;
            }
        }
        follower.told_commit = self.commit;
        follower
    }

    /// A follower holds entries up to `matched`, in `log`.
    pub(super) fn appended_came(
        &mut self,
        now: Time,
        from: NodeId,
        term: u64,
        (matched, log): (Index, LogId),
    ) {
        if term != self.log.ballot().term || matched > self.log.last().index {
            return;
        }
        if let Some(mut follower) = self.follower(from) {
            let next = Index(matched.0 + 1);
            if follower.log != log {
                // What the lost one held is not in this one.
                (follower.log, follower.matched) = (log, Index(0));
            }
            follower.heard_at = now;
            follower.matched = follower.matched.max(matched);
            follower.from = follower.from.max(next);
            follower.next = follower.next.max(next);
            self.set_follower(from, follower);
        }
    }

    /// A node could not take what we sent, or knows a newer term.
    pub(super) fn rejected_came(&mut self, now: Time, from: NodeId, term: u64, end: Index) {
        let mine = self.log.ballot().term;
        if term > mine && !matches!(self.role, Role::Follower) {
            self.follow_term(term);
            return;
        }
        self.refusal_came(from, term);
        if let Some(mut follower) = self.follower(from)
            && term == mine
        {
            follower.heard_at = now;
            let next = Index(end.0.saturating_add(1));
            follower.from = follower.from.min(next);
            follower.next = follower.next.min(next);
            // An answer that comes late, or a node that has lost its log: it counts for less.
            follower.matched = follower.matched.min(end);
            self.set_follower(from, follower);
        }
    }

    /// A node's daemon has started anew: what it was sent and did not acknowledge may be lost.
    pub(super) fn restart_of(&mut self, node: NodeId) {
        if let Some(mut follower) = self.follower(node) {
            follower.next = follower.from;
            follower.snapshot = (Index(0), 0);
            self.set_follower(node, follower);
        }
    }

    /// When a leader has something to do without anything happening.
    pub(super) fn leader_wake(&self) -> Time {
        let Role::Leader(leader) = &self.role else {
            return Time::MAX;
        };
        let last = self.log.last().index;
        let waiting = leader
            .followers
            .iter()
            .filter(|(node, follower)| follower.matched < last && self.liveness.is_heard(**node));
        let again = waiting.map(|(_, follower)| follower.sent_at.after(self.interval() / 2));
        // A member is settled some time after it came; then silence counts that did not before.
        let settling = self.config.timing.suspicion() * 2;
        let settled = leader.admitted.values().map(|at| at.after(settling));
        let settled = settled.filter(|at| *at > leader.beat).min();
        again
            .min()
            .unwrap_or(Time::MAX)
            .min(leader.beat)
            .min(settled.unwrap_or(Time::MAX))
    }
}
