//! What nodes tell each other beside the log: how voters see the others, what each knows of its
//! replicas, how far resyncs are, which volumes are wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Core, Out, Role};
use crate::member::io::{Proposal, ReplicaReport, VolumeProgress};
use crate::member::message::{Message, Outlook};
use crate::types::{Incarnation, NodeId, Time, VolumeId};

/// Between repetitions of an outlook that has not changed, in intervals.
const OUTLOOK_INTERVALS: u32 = 4;
/// Between repetitions of reports and wishes.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Between news of a resync.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Progress that was not heard of for so long is not known.
const PROGRESS_FRESH: Duration = Duration::from_secs(3);

/// What was told, and when it is told again.
#[derive(Clone, Debug)]
pub(super) struct Gossip {
    /// Counts this run's outlooks.
    sequence: u64,
    /// The last one told.
    outlook: Option<Outlook>,
    outlook_at: Time,
    report_at: Time,
    progress_at: Time,
    /// Of each volume: who said it, when, and what.
    progress: BTreeMap<VolumeId, (Time, VolumeProgress)>,
    /// Volumes whose progress this node tells.
    mine: BTreeMap<VolumeId, VolumeProgress>,
}

impl Gossip {
    pub(super) const fn new(now: Time) -> Self {
        Self {
            sequence: 0,
            outlook: None,
            outlook_at: now,
            report_at: now,
            progress_at: now,
            progress: BTreeMap::new(),
            mine: BTreeMap::new(),
        }
    }
}

impl Core {
    /// Tells what is news, and repeats what is due.
    pub(super) fn gossip(&mut self, now: Time, out: Out<'_>) {
        if self.is_voter() {
            self.tell_outlook(now, out);
        }
        if self.gossip.report_at <= now {
            self.gossip.report_at = now.after(REPORT_EVERY);
            self.tell_reports(out);
        }
        if self.gossip.progress_at <= now {
            self.gossip.progress_at = now.after(PROGRESS_EVERY);
            self.tell_progress(now, out);
        }
    }

    pub(super) fn gossip_wake(&self) -> Time {
        let outlook = if self.is_voter() {
            self.gossip.outlook_at
        } else {
            Time::MAX
        };
        let progress = if self.gossip.mine.is_empty() {
            Time::MAX
        } else {
            self.gossip.progress_at
        };
        outlook.min(progress).min(self.gossip.report_at)
    }

    /// A new outlook of this node, with its place in the order of all.
    pub(super) fn next_outlook(&mut self, now: Time) -> Outlook {
        self.gossip.sequence += 1;
        let mut outlook = self.present_outlook(now);
        outlook.sequence = self.gossip.sequence;
        outlook
    }

    fn present_outlook(&self, now: Time) -> Outlook {
        Outlook {
            term: self.log.ballot().term,
            leaderless: self.is_leaderless(now),
            end: self.log.last(),
            log: self.log.id(),
            enrolled: self.is_enrolled(),
            founders: self.founders(),
            blank: self.is_blank(),
            ..self.liveness.outlook(&self.state)
        }
    }

    fn tell_outlook(&mut self, now: Time, out: Out<'_>) {
        let present = self.present_outlook(now);
        let news = self.gossip.outlook.as_ref().is_none_or(|told| {
            told.leaderless != present.leaderless
                || told.suspects != present.suspects
                || told.arrivals != present.arrivals
                || (told.blank, told.enrolled) != (present.blank, present.enrolled)
                || told.founders.is_empty() != present.founders.is_empty()
                || (present.leaderless && (told.term, told.end) != (present.term, present.end))
        });
        if !news && now < self.gossip.outlook_at {
            return;
        }
        let every = if present.leaderless {
            self.interval()
        } else {
            self.interval() * OUTLOOK_INTERVALS
        };
        self.gossip.outlook_at = now.after(every);
        let outlook = self.next_outlook(now);
        self.gossip.outlook = Some(outlook.clone());
        let message = Message::Outlook(outlook);
        for voter in self.other_voters() {
            self.send(voter, &message, out);
        }
    }

    /// Another voter says how it sees the others.
    pub(super) fn outlook_came(&mut self, now: Time, from: NodeId, outlook: Outlook) {
        let (leaderless, term) = (outlook.leaderless, outlook.term);
        let news = self.liveness.take(now, from, outlook);
        if news {
            self.join_founders(from);
        }
        // Who says that it leads nobody is not our leader (any more).
        let resigned = leaderless && self.leader == Some(from) && term >= self.log.ballot().term;
        if news && resigned && matches!(self.role, Role::Follower) {
            self.leader = None;
        }
    }

    /// This node's replica has changed.
    pub(super) fn own_report(&mut self, report: ReplicaReport, out: Out<'_>) {
        let key = (report.volume, self.config.me);
        let known = self.reports.insert(key, (self.incarnation, report));
        let known = known.map(|(_, known)| ReplicaReport {
            seq: report.seq,
            ..known
        });
        // That only the sequence number has moved can wait.
        if known != Some(report) {
            self.tell_report(report, out);
        }
    }

    /// Tells all reports again at once: to a new leader, or in a new incarnation.
    pub(super) fn repeat_reports(&mut self) {
        let (me, incarnation) = (self.config.me, self.incarnation);
        for (key, known) in &mut self.reports {
            if key.1 == me {
                known.0 = incarnation;
            }
        }
        self.gossip.report_at = Time::ZERO;
    }

    fn tell_reports(&self, out: Out<'_>) {
        for (key, (_, report)) in &self.reports {
            if key.1 == self.config.me {
                self.tell_report(*report, out);
            }
        }
        let leader = self.leader.filter(|&leader| leader != self.config.me);
        if let Some(leader) = leader {
            for record in self.creates.values() {
                let record = record.clone();
                let create = Proposal::Create { record };
                self.send(leader, &Message::Propose(create), out);
            }
        }
    }

    fn tell_report(&self, report: ReplicaReport, out: Out<'_>) {
        let message = Message::Report {
            incarnation: self.incarnation,
            report,
        };
        for node in self.others() {
            self.send(node, &message, out);
        }
    }

    /// Another node tells of its replica.
    pub(super) fn report_came(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        report: ReplicaReport,
    ) {
        let key = (report.volume, from);
        let known = self.reports.get(&key).map(|(known, _)| *known);
        if known <= Some(incarnation) {
            self.reports.insert(key, (incarnation, report));
        }
    }

    /// A volume of this node tells how far it is.
    pub(super) fn own_progress(&mut self, progress: VolumeProgress) {
        self.gossip.mine.insert(progress.volume, progress);
    }

    /// Another node tells how far a volume of its is.
    pub(super) fn progress_came(&mut self, now: Time, from: NodeId, progress: VolumeProgress) {
        if self.is_primary(progress.volume, from) {
            let told = (now, progress);
            self.gossip.progress.insert(told.1.volume, told);
        }
    }

    fn is_primary(&self, volume: VolumeId, node: NodeId) -> bool {
        let volume = self.state.volumes.get(&volume);
        let primary = volume.and_then(|volume| volume.record.primary);
        primary.is_some_and(|grant| grant.node == node)
    }

    fn tell_progress(&mut self, now: Time, out: Out<'_>) {
        let mut mine = std::mem::take(&mut self.gossip.mine);
        mine.retain(|volume, _| self.is_primary(*volume, self.config.me));
        for progress in mine.values() {
            let told = (now, progress.clone());
            self.gossip.progress.insert(progress.volume, told);
            let message = Message::Progress(progress.clone());
            for node in self.others() {
                self.send(node, &message, out);
            }
        }
        self.gossip.mine = mine;
    }

    /// What the volume's primary said lately.
    pub(super) fn progress(&self, now: Time, volume: VolumeId) -> Option<VolumeProgress> {
        let record = &self.state.volumes.get(&volume)?.record;
        if self.is_primary(volume, self.config.me) {
            let mine = self.gossip.mine.get(&volume);
            return mine.filter(|mine| mine.term == record.term).cloned();
        }
        let (at, progress) = self.gossip.progress.get(&volume)?;
        let fresh = now < at.after(PROGRESS_FRESH) && progress.term == record.term;
        fresh.then(|| progress.clone())
    }
}
