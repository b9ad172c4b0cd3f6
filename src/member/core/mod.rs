//! The core: keeps the agreed log, and acts on what it says. Raft-shaped (design, section 4).
//!
//! A step changes the machine and takes notes; `drive`, at the end of each, draws the conclusions:
//! elections, the leader's own proposals, what is to be written and sent, what is committed. So the
//! order in which conclusions are drawn is written down in one place.
//!
//! What a restart must not forget is durable before anybody hears of it: a vote before it is told, an
//! entry before it is acknowledged, an incarnation before it is used. And an entry that ends an
//! incarnation is acknowledged only when the pulse has promised to keep that incarnation's lease
//! alive no longer.

mod election;
mod follow;
mod gossip;
mod lead;
mod post;
mod promise;
mod roster;
mod status;
mod transfer;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use election::Election;
use gossip::Gossip;
use lead::Leader;
use transfer::Incoming;

use super::Canaries;
use super::io::{CoreEffect, CoreEvent, CoreNote, Member, Proposal, PulseSignal, Timing};
use super::liveness::Liveness;
use super::log::{Log, RecoveredLog};
use super::message::Message;
use super::policy::Reports;
use super::state::State;
use crate::record::VolumeRecord;
use crate::types::{BootId, Incarnation, Index, NodeId, NodeSet, Time, VolumeId};

/// Effects of one step.
type Out<'a> = &'a mut Vec<CoreEffect>;

/// Volumes that may wait to be created.
const CREATES_MAX: usize = 1024;
/// A leader that says nothing for so many intervals, although its pulse beats, is none.
const CONTACT_INTERVALS: u32 = 16;

/// What a core is made from.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// This node.
    pub me: NodeId,
    /// The nodes' names, by node: how many there are, and for sentences that people read.
    pub names: Vec<String>,
    /// Nodes that vote.
    pub voters: NodeSet,
    /// As the pulse has it.
    pub timing: Timing,
    /// This boot.
    pub boot: BootId,
    /// All off in a product.
    pub canaries: Canaries,
}

/// What this node is for the others.
#[derive(Clone, Debug)]
enum Role {
    /// Follows the leader, if it knows one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader(Box<Leader>),
}

/// The core of one node.
#[derive(Clone, Debug)]
pub struct Core {
    config: CoreConfig,
    /// The one in use; a newer one may be on its way to the disk.
    incarnation: Incarnation,
    log: Log,
    /// Entries up to here are agreed.
    commit: Index,
    /// Entries up to here are in `state`.
    applied: Index,
    /// The last entry that was in the log when this run began.
    found_at_start: Index,
    state: State,
    role: Role,
    /// Whom this node follows; itself where it leads.
    leader: Option<NodeId>,
    /// When the leader last said something.
    contact: Time,
    /// Entries up to here are known to be the leader's.
    verified: Index,
    /// What was last acknowledged to the leader.
    acknowledged: Index,
    /// What the pulse has promised: up to which incarnation it forbids each node.
    promises: BTreeMap<NodeId, Incarnation>,
    liveness: Liveness,
    election: Election,
    gossip: Gossip,
    reports: Reports,
    incoming: Option<Incoming>,
    /// Volumes that somebody wants created.
    creates: BTreeMap<VolumeId, VolumeRecord>,
    /// As the pulse was last told.
    enrolled: bool,
    /// This run exists: its incarnation is durable.
    begun: bool,
    /// When `Tick` is due.
    wake: Time,
}

impl Core {
    /// A core at the start of the daemon. The one effect persists this run's incarnation: nothing
    /// may be heard of it before that is durable, so the driver carries this `Persist` out and steps
    /// `Persisted` before it starts the pulse (with `incarnation()`). There is no other effect yet.
    #[must_use]
    pub fn new(
        config: CoreConfig,
        recovered: RecoveredLog,
        now: Time,
        out: &mut Vec<CoreEffect>,
    ) -> Self {
        let mut log = Log::new(recovered);
        log.set_incarnation(Incarnation(log.incarnation().0 + 1));
        let incarnation = log.incarnation();
        let state = State::decode(log.snapshot());
        assert!(state.is_some(), "`recover` has looked at the snapshot");
        let state = state.unwrap_or_default();
        let base = log.base().index;
        let found_at_start = log.last().index;
        let me = Member {
            node: config.me,
            incarnation,
            boot: config.boot,
        };
        let liveness = Liveness::new(me, config.voters, config.timing.interval);
        let mut core = Self {
            config,
            incarnation,
            log,
            commit: base,
            applied: base,
            found_at_start,
            state,
            role: Role::Follower,
            leader: None,
            contact: now,
            verified: Index(0),
            acknowledged: Index(0),
            promises: BTreeMap::new(),
            liveness,
            election: Election::new(now),
            gossip: Gossip::new(now),
            reports: Reports::new(),
            incoming: None,
            creates: BTreeMap::new(),
            enrolled: false,
            begun: false,
            wake: Time::MAX,
        };
        core.apply_founding();
        core.enrolled = core.is_enrolled();
        core.write(out);
        core
    }

    /// This node's incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// When `CoreEvent::Tick` is due.
    #[must_use]
    pub const fn deadline(&self) -> Time {
        self.wake
    }

    /// Something has happened. `now` never goes back.
    pub fn step(&mut self, now: Time, event: CoreEvent, out: &mut Vec<CoreEffect>) {
        match event {
            CoreEvent::Tick => {}
            CoreEvent::Message { from: _, bytes } => self.receive(now, &bytes, out),
            CoreEvent::Persisted { ticket } => self.log.written(ticket),
            CoreEvent::Pulse(signal) => self.pulse(signal, out),
            CoreEvent::Propose(proposal) => self.propose(now, proposal, out),
            CoreEvent::Report(report) => self.own_report(report, out),
            CoreEvent::Progress(progress) => self.own_progress(progress),
        }
        self.drive(now, out);
    }

    /// Draws the conclusions of a step.
    fn drive(&mut self, now: Time, out: Out<'_>) {
        if self.log.durable_incarnation() < self.incarnation {
            return;
        }
        if !self.begun {
            self.begun = true;
            self.begin(out);
        }
        self.adopt(out);
        self.found();
        self.elect(now, out);
        self.lead(now, out);
        self.replicate(now, out);
        self.apply(out);
        self.compact();
        self.write(out);
        self.tell_enrolled(out);
        self.acknowledge(out);
        self.gossip(now, out);
        self.wake = self.next_wake(now);
    }

    /// What an earlier run has left: its promises hold, and what it knew is told.
    fn begin(&mut self, out: Out<'_>) {
        self.renew_promises(out);
        if self.state.view.number > 0 {
            out.push(CoreEffect::View(self.state.view.clone()));
        }
        for volume in self.state.volumes.values() {
            out.push(CoreEffect::Record(volume.record.clone()));
        }
    }

    fn pulse(&mut self, signal: PulseSignal, out: Out<'_>) {
        let before = self.liveness.alive();
        self.liveness.signal(signal);
        match signal {
            PulseSignal::Forbidden { node, incarnation } => {
                let promise = self.promises.entry(node).or_default();
                *promise = (*promise).max(incarnation);
            }
            PulseSignal::Obsolete { above } => self.rise_above(above),
            PulseSignal::Dead { node, .. } => {
                self.run_ended(node);
                self.restart_of(node);
            }
            PulseSignal::Heard { .. }
            | PulseSignal::Suspected { .. }
            | PulseSignal::Hearing { .. }
            | PulseSignal::Reach { .. } => {}
        }
        let changed = NodeSet(before.0 ^ self.liveness.alive().0);
        for node in changed.iter() {
            let suspected = before.contains(node);
            let note = CoreNote::Suspicion { node, suspected };
            out.push(CoreEffect::Note(note));
        }
    }

    fn propose(&mut self, now: Time, proposal: Proposal, out: Out<'_>) {
        match (&self.role, self.leader) {
            (Role::Leader(_), _) => self.proposal_came(now, proposal, out),
            (_, leader) => {
                if let Some(leader) = leader {
                    self.send(leader, &Message::Propose(proposal.clone()), out);
                }
                if let Proposal::Create { record } = proposal {
                    self.want_volume(record);
                }
            }
        }
    }

    /// Remembers a volume that is to be created: it can be when all its nodes are there.
    fn want_volume(&mut self, record: VolumeRecord) {
        let known = self.state.volumes.contains_key(&record.id);
        if !known && self.creates.len() < CREATES_MAX {
            self.creates.insert(record.id, record);
        }
    }

    /// This node's incarnation is taken or over: a larger one is to be used.
    fn rise_above(&mut self, above: Incarnation) {
        if self.log.incarnation() <= above {
            self.log.set_incarnation(Incarnation(above.0 + 1));
        }
    }

    /// Uses a new incarnation as soon as it is durable.
    fn adopt(&mut self, out: Out<'_>) {
        let incarnation = self.log.durable_incarnation();
        if incarnation <= self.incarnation {
            return;
        }
        self.incarnation = incarnation;
        self.liveness.adopt(incarnation);
        out.push(CoreEffect::Adopt { incarnation });
        // The others take the run that was excluded for ended; so do we.
        if matches!(self.role, Role::Leader(_)) {
            self.role = Role::Follower;
            self.leader = None;
        }
        self.repeat_reports();
    }

    /// Applies what is agreed.
    fn apply(&mut self, out: Out<'_>) {
        while self.applied < self.commit {
            let index = Index(self.applied.0 + 1);
            let Some(entry) = self.log.entry(index) else {
                return;
            };
            let applied = self
                .state
                .apply(index, &entry.command, &self.config.canaries);
            self.applied = index;
            // An earlier run has told people of what was in the log already, or somebody else has.
            let news = index > self.found_at_start;
            if applied.view {
                out.push(CoreEffect::View(self.state.view.clone()));
                if news {
                    out.push(self.note_view());
                }
            }
            if let Some(volume) = applied.volume.and_then(|id| self.state.volumes.get(&id)) {
                self.creates.remove(&volume.record.id);
                out.push(CoreEffect::Record(volume.record.clone()));
            }
            out.extend(
                applied
                    .notes
                    .into_iter()
                    .filter(|_| news)
                    .map(CoreEffect::Note),
            );
            let over = self.state.over(self.config.me);
            if over >= self.incarnation {
                self.rise_above(over);
            }
        }
    }

    fn note_view(&self) -> CoreEffect {
        CoreEffect::Note(CoreNote::View(self.state.view.clone()))
    }

    fn compact(&mut self) {
        if self.log.is_full() || self.roster_is_news() {
            self.log.compact(self.applied, self.state.encode());
        }
    }

    fn write(&mut self, out: Out<'_>) {
        if let Some((ticket, pages)) = self.log.write() {
            out.push(CoreEffect::Persist { ticket, pages });
        }
    }

    fn knows(&self, node: NodeId) -> bool {
        usize::from(node.0) < self.config.names.len()
    }

    fn others(&self) -> impl Iterator<Item = NodeId> + use<> {
        let me = self.config.me;
        let nodes = (0..self.config.names.len()).map(|node| NodeId(node as u8));
        nodes.filter(move |&node| node != me)
    }

    fn other_voters(&self) -> impl Iterator<Item = NodeId> + use<> {
        let mut voters = self.config.voters;
        voters.remove(self.config.me);
        voters.iter().collect::<Vec<_>>().into_iter()
    }

    fn is_voter(&self) -> bool {
        self.config.voters.contains(self.config.me)
    }

    const fn interval(&self) -> Duration {
        self.config.timing.interval
    }

    /// When the next conclusion is due without anything happening.
    fn next_wake(&mut self, now: Time) -> Time {
        let contact = self.contact.after(self.interval() * CONTACT_INTERVALS);
        let contact = if self.leader.is_some() && contact > now {
            contact
        } else {
            Time::MAX
        };
        self.election_wake(now)
            .min(self.leader_wake())
            .min(self.gossip_wake())
            .min(contact)
    }
}
