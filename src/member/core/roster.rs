//! Whose logs count.
//!
//! A voter's log is its memory: of its votes, of what it acknowledged, of what it promised. One that was
//! lost and made anew remembers nothing; it could vote twice in a term, or keep a lease alive that it
//! had promised to let die. So every log has a number of its own, and the agreed state says which log
//! of each voter counts: votes and acknowledgements of another one do not, and its pulse acknowledges
//! no heartbeat.
//!
//! *A new cluster* begins when every voter has said that its log is blank, and which runs of the others
//! it hears, and all of that fits together. Whoever learns of it puts down the same first entry, which
//! is agreed by its making: two that differed would need one voter that told two different things of
//! the same run. One that has not put it down when others have learns it from them, if its log is one
//! of those that they began with.
//!
//! *A new log in the place of a lost one* is named by an entry that a majority of the voters has stored
//! without it. Every majority that elects a later leader has a voter in common with that one, so every
//! later leader knows the entry. What the lost log had acknowledged before is in that leader's log too,
//! for no leader in between was elected with the new one's vote. And when the new log holds the entry, it
//! holds every promise that the lost one gave and that can still matter.

use std::collections::BTreeMap;

use super::{Core, Out};
use crate::member::entry::{Command, Entry};
use crate::member::io::CoreEffect;
use crate::types::{Index, LogId, NodeId};

/// Where the entry is that a cluster begins with.
const FOUNDING: Index = Index(1);

impl Core {
    /// Whether this node votes, and acknowledges heartbeats.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.is_counted(self.config.me, self.log.id())
    }

    /// Whether what the voter says counts, if it has this log. The entry that names the log must be
    /// known to be agreed, also after a restart; and none that is not known to be agreed may be about
    /// the same voter.
    #[must_use]
    pub fn is_counted(&self, voter: NodeId, log: LogId) -> bool {
        if self.config.canaries.trust_any_log {
            return self.config.voters.contains(voter);
        }
        let named = self.state.roster.get(&voter).is_some_and(|&(known, at)| {
            let lasts = if at == FOUNDING {
                self.log.is_durably_begun()
            } else {
                at <= self.log.durable_base()
            };
            known == log && lasts
        });
        let about =
            |command: &Command| matches!(command, Command::Enroll { node, .. } if *node == voter);
        named
            && !self
                .log
                .after(self.applied)
                .any(|(_, entry)| about(&entry.command))
    }

    /// Whether the log has nothing in it: this node knows of no cluster.
    pub(super) fn is_blank(&self) -> bool {
        self.log.last().index == Index(0)
    }

    /// Whether a restart would have to learn the roster anew.
    pub(super) fn roster_is_news(&self) -> bool {
        let base = self.log.base().index;
        let mut entries = self.state.roster.values().map(|&(_, at)| at);
        entries.any(|at| at > FOUNDING && at > base)
    }

    /// Tells the pulse whether it may acknowledge heartbeats. What the log forbids it has been told
    /// before.
    pub(super) fn tell_enrolled(&mut self, out: Out<'_>) {
        let enrolled = self.is_enrolled();
        if self.enrolled != enrolled {
            self.enrolled = enrolled;
            out.push(CoreEffect::Enrolled(enrolled));
        }
    }

    /// Begins a new cluster, once every voter is known to be there with a blank log.
    pub(super) fn found(&mut self) {
        if self.is_voter() && self.is_blank() && self.missing_founders().is_empty() {
            let founders = self.config.voters.iter().map(|voter| {
                let told = self.liveness.told(voter);
                (voter, told.map_or(self.log.id(), |told| told.log))
            });
            self.put_founding(founders.collect());
        }
    }

    /// Voters that a new cluster waits for: they have not said, in the run that is heard, that their
    /// log is blank, and that they hear exactly the runs that are heard here.
    pub(super) fn missing_founders(&self) -> Vec<NodeId> {
        let me = self.liveness.me();
        let others = self.other_voters();
        let fits = |voter: NodeId| {
            let run = self.liveness.heard(voter);
            let told = self.liveness.told(voter);
            let (Some(run), Some(told)) = (run, told) else {
                return false;
            };
            let hears = |node: NodeId| {
                let run = if node == me.node {
                    Some(me)
                } else {
                    self.liveness.heard(node)
                };
                run.is_some_and(|run| {
                    let mut arrivals = told.arrivals.iter();
                    arrivals.any(|it| (it.node, it.incarnation) == (node, run.incarnation))
                })
            };
            let mut rest = self.config.voters.iter().filter(|&node| node != voter);
            told.blank && told.incarnation == run.incarnation && rest.all(hears)
        };
        others.filter(|&voter| !fits(voter)).collect()
    }

    /// What others with a blank log may have to learn: told once a restart would not forget it.
    pub(super) fn founders(&self) -> BTreeMap<NodeId, LogId> {
        if !self.log.is_durably_begun() {
            return BTreeMap::new();
        }
        self.state.founders.clone()
    }

    /// Another voter may have said whose logs the cluster began with. It counts if the run that is
    /// heard said so, and hears this one: nothing that was on its way from before is obeyed.
    pub(super) fn join_founders(&mut self, from: NodeId) {
        let me = self.liveness.me();
        let (Some(told), Some(run)) = (self.liveness.told(from), self.liveness.heard(from)) else {
            return;
        };
        let mut arrivals = told.arrivals.iter();
        let hears_me = arrivals.any(|it| (it.node, it.incarnation) == (me.node, me.incarnation));
        let founders = &told.founders;
        let mine = founders.get(&me.node) == Some(&self.log.id());
        let complete = founders.keys().copied().eq(self.config.voters.iter());
        let current = hears_me && told.incarnation == run.incarnation;
        if self.is_blank() && current && mine && complete {
            self.put_founding(founders.clone());
        }
    }

    fn put_founding(&mut self, founders: BTreeMap<NodeId, LogId>) {
        let command = Command::Found(founders);
        let put = self.log.put(FOUNDING, Entry { term: 0, command });
        assert!(put, "a blank log has room for its first entry");
        self.apply_founding();
    }

    /// The first entry is agreed by its making, also when nobody has said so since the start.
    pub(super) fn apply_founding(&mut self) {
        if self.commit == Index(0)
            && let Some(entry) = self.log.entry(FOUNDING)
            && let command @ Command::Found(_) = &entry.command
        {
            self.state.apply(FOUNDING, command, &self.config.canaries);
            self.commit = FOUNDING;
            self.applied = FOUNDING;
        }
    }
}
