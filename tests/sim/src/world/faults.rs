//! Faults: when, to whom, and how each ends.

mod kind;

pub use kind::Kind;

use steadfast::engine::io::DiskId;
use steadfast::node::{Signal, ToVolume};
use steadfast::record::ReplicaState;
use steadfast::types::NodeId;

use super::event::{Event, Happening, Part};
use super::member::log_id;
use super::node::{Health, Node};
use super::{VOLUME, World};
use crate::queue::{Instant, MILLI};

/// The end of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healing {
    /// These directions are mended.
    Cut(Vec<(NodeId, NodeId)>),
    /// A disk is well again.
    Disk(NodeId),
    /// A disk that was replaced is put back.
    OldDisk(NodeId),
}

impl World {
    /// Plans the first of each kind.
    pub(super) fn plan_faults(&mut self) {
        for kind in Kind::ALL {
            self.plan(kind, 60 * MILLI);
        }
        self.plan_checkpoints();
    }

    fn plan(&mut self, kind: Kind, least: Instant) {
        if let Some(mean) = kind.mean(&self.options.faults) {
            let wait = least + self.random.below(2 * mean);
            self.queue.after(wait, Event::Fault(kind));
        }
    }

    fn any_node(&mut self) -> NodeId {
        NodeId(self.random.index(self.nodes.len()) as u8)
    }

    /// Rather whom the moment is about, or the primary, than another.
    fn victim(&mut self) -> NodeId {
        let any = self.any_node();
        if let Some(node) = self.focus
            && self.random.chance(600)
        {
            return node;
        }
        match self.primary() {
            Some(primary) if self.random.chance(400) => primary,
            _ => any,
        }
    }

    fn storage_node(&mut self) -> NodeId {
        NodeId(self.random.index(self.options.storage) as u8)
    }

    /// How long something lasts: mostly around the detector's time.
    fn spell(&mut self) -> Instant {
        let longest = *self.random.pick(&[5, 40, 40, 150, 150, 600]) * MILLI;
        self.random.within(MILLI, longest)
    }

    pub(super) fn fault(&mut self, kind: Kind) {
        if self.faulty {
            self.plan(kind, MILLI);
            self.strike(kind);
        }
    }

    /// A fault happens now.
    pub(super) fn strike(&mut self, kind: Kind) {
        if matches!(kind, Kind::Power | Kind::Blackout) && self.misses_a_disk() {
            return;
        }
        self.marks.count(kind.name());
        match kind {
            Kind::Crash => {
                let node = self.victim();
                let notice = self.random.chance(500);
                self.crash(node, notice);
                let wait = if self.random.chance(300) {
                    self.random.below(2 * MILLI)
                } else {
                    MILLI + self.spell()
                };
                self.plan_start(node, wait);
            }
            Kind::Power => {
                let node = self.victim();
                self.power_off(node);
                let wait = 10 * MILLI + self.spell();
                self.plan_start(node, wait);
            }
            Kind::Blackout => {
                let all = self.random.chance(300);
                let nodes = if all {
                    self.nodes.len()
                } else {
                    self.options.storage
                };
                for node in 0..nodes {
                    let node = NodeId(node as u8);
                    self.power_off(node);
                    let wait = 10 * MILLI + self.spell();
                    self.plan_start(node, wait);
                }
            }
            Kind::Pause => {
                let node = self.victim();
                let span = self.spell();
                let one = [*self.random.pick(&Part::ALL)];
                let parts = if self.random.chance(600) {
                    &Part::ALL[..]
                } else {
                    &one[..]
                };
                self.stop(node, parts, span);
            }
            Kind::OneWay => {
                let (a, b) = (self.victim(), self.any_node());
                let cuts = if self.random.chance(500) {
                    vec![(a, b)]
                } else {
                    vec![(b, a)]
                };
                let span = self.spell();
                self.cut_for(cuts, span);
            }
            Kind::Partition => {
                let (a, b) = (self.victim(), self.any_node());
                let alone = self.random.chance(500);
                let others = (0..self.nodes.len()).map(|node| NodeId(node as u8));
                let cuts = others
                    .filter(|other| alone || *other == b)
                    .flat_map(|other| [(a, other), (other, a)])
                    .collect();
                let span = self.spell();
                self.part_for(cuts, span);
            }
            Kind::Clog => {
                let (a, b) = (self.any_node(), self.any_node());
                let until = self.now() + self.spell();
                self.net.clog(a, b, until);
            }
            Kind::Reset => {
                let links: Vec<_> = self.net.links().map(|(link, _)| link).collect();
                if !links.is_empty() {
                    let link = *self.random.pick(&links);
                    self.reset_link(link);
                }
            }
            Kind::SlowDisk => {
                let health = match self.random.below(4) {
                    0 | 1 => Health::Slow(self.random.within(10, 300)),
                    2 => Health::Uneven(self.random.within(30, 1000)),
                    _ => Health::SlowPages(self.random.within(10, 300)),
                };
                self.disk_is(health);
            }
            Kind::StuckDisk => self.disk_is(Health::Stuck),
            Kind::BadDisk => {
                let permille = *self.random.pick(&[5, 50, 1000]);
                let health = *self.random.pick(&[Health::Bad(permille), Health::NoFlush]);
                // A second failure leaves a volume that waits for a person until the end.
                if self.failed_store().is_none() || self.random.chance(200) {
                    self.disk_is(health);
                }
            }
            Kind::NewDisk => {
                let any = self.storage_node();
                let node = self.failed_store().unwrap_or(any);
                if self.is_spare(node) {
                    self.marks.count("disks replaced");
                    self.replace_disk(node);
                    let wait = 10 * MILLI + self.spell();
                    self.plan_start(node, wait);
                    if self.random.chance(700) {
                        let wait = wait + self.spell() + self.spell();
                        let healing = Healing::OldDisk(node);
                        self.queue.after(wait, Event::Heal(healing));
                    }
                }
            }
            Kind::NewLog => {
                let node = self.victim();
                if self.others_remember(node) {
                    self.marks.count("cluster logs lost");
                    if self.random.chance(500) && !self.misses_a_disk() {
                        self.power_off(node);
                    }
                    self.lose_log(node);
                    let wait = MILLI + self.spell();
                    self.plan_start(node, wait);
                }
            }
            Kind::Slew => {
                let node = self.any_node();
                let drift = self.options.drift;
                let ppm = self.random.below(2 * drift as u64 + 1) as i64 - drift;
                let now = self.now();
                self.nodes[node.0 as usize].clock.slew(now, ppm);
            }
            Kind::Demote => {
                if let Some(node) = self.primary() {
                    let prefer = self.random.chance(500).then(|| self.storage_node());
                    self.demote(node, prefer);
                }
            }
            Kind::Client => {
                if !self.clients.is_empty() {
                    let client = self.random.index(self.clients.len());
                    self.client_leaves(client);
                }
            }
            Kind::Late => self.late_proposal(),
        }
    }

    /// A person asks the node to hand the volume over.
    pub fn demote(&mut self, node: NodeId, prefer: Option<NodeId>) {
        let Some(run) = self.node(node).run.as_ref() else {
            return;
        };
        let place = self.place(node, run.number, Part::Reactor);
        let signal = Signal::Volume(ToVolume::Demote {
            volume: VOLUME,
            prefer,
        });
        self.queue.push(
            self.now(),
            Event::At(place, Happening::Signal(Box::new(signal))),
        );
    }

    /// Whether another replica is in sync and well, so that the cluster can do without this node and
    /// its disk.
    pub(super) fn is_spare(&self, node: NodeId) -> bool {
        let Some(record) = self.known.record() else {
            return false;
        };
        // One whose leaving has been proposed may be out by now.
        let leaving = |replica| {
            let mut leaving = self.leaving.iter();
            leaving.any(|&(after, node)| after >= record.last_entry && node == replica)
        };
        record.in_sync().any(|replica| {
            let other = self.node(replica.node);
            replica.node != node
                && !leaving(replica.node)
                && replica.state == (ReplicaState::InSync { boot: other.boot })
                && Some(replica.store) == other.store
                && other.powered
                && other.health == Health::Well
                && !self.has_failed(replica.node)
        })
    }

    /// Whether a majority of the voters remembers without this node's log what was agreed: each of
    /// the others runs, and counts what each of them says.
    pub(super) fn others_remember(&self, node: NodeId) -> bool {
        let others = self.nodes.iter().filter(|other| other.id != node);
        let counts = |of: &Node, voter: &Node| {
            let log = log_id(voter.id, voter.lost_logs);
            let run = of.run.as_ref();
            run.is_some_and(|run| run.core.is_counted(voter.id, log))
        };
        others.clone().count() * 2 > self.nodes.len()
            && others
                .clone()
                .all(|of| others.clone().all(|voter| counts(of, voter)))
    }

    /// Whether the log counts on a disk that is gone, or may come to count on it. A loss of power on
    /// top of that leaves no copy that is known to hold everything: the volume waits for a person,
    /// and rightly.
    fn misses_a_disk(&self) -> bool {
        let gone = |node, store| self.node(node).store != Some(store);
        self.known.record().is_some_and(|record| {
            let mut joining = self.joining.iter();
            record
                .in_sync()
                .any(|replica| gone(replica.node, replica.store))
                || joining
                    .any(|&(after, node, store)| after >= record.last_entry && gone(node, store))
        })
    }

    fn disk_is(&mut self, health: Health) {
        let any = self.storage_node();
        let node = self
            .focus
            .filter(|node| usize::from(node.0) < self.options.storage);
        let node = node.unwrap_or(any);
        let alone = self.nodes.iter().any(|node| node.health != Health::Well);
        if alone && health != Health::Well {
            return;
        }
        self.trace(node, || format!("the disk is {health:?}"));
        self.nodes[node.0 as usize].health = health;
        let span = self.spell() + self.spell();
        self.queue.after(span, Event::Heal(Healing::Disk(node)));
    }

    /// Cuts nodes apart for a while; perhaps they find each other one after the other.
    fn part_for(&mut self, cuts: Vec<(NodeId, NodeId)>, span: Instant) {
        if self.random.chance(700) {
            return self.cut_for(cuts, span);
        }
        for pair in cuts.chunks(2) {
            let longer = self.spell();
            self.cut_for(pair.to_vec(), span + longer);
        }
    }

    /// Cuts directions for a while.
    pub fn cut_for(&mut self, cuts: Vec<(NodeId, NodeId)>, span: Instant) {
        for &(from, to) in &cuts {
            self.cut(from, to);
        }
        self.queue.after(span, Event::Heal(Healing::Cut(cuts)));
    }

    /// Cuts a direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        if from == to {
            return;
        }
        self.trace_world(|| format!("n{} to n{} is cut", from.0, to.0));
        *self.cuts.entry((from, to)).or_default() += 1;
        self.net.cut(from, to, true);
        self.time_out_links(from, to);
    }

    /// Mends what `cut` cut.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        if let Some(holders) = self.cuts.get_mut(&(from, to)) {
            *holders -= 1;
            if *holders == 0 {
                self.cuts.remove(&(from, to));
                self.net.cut(from, to, false);
                self.trace_world(|| format!("n{} to n{} is mended", from.0, to.0));
            }
        }
    }

    pub(super) fn heals(&mut self, healing: Healing) {
        match healing {
            Healing::Cut(cuts) => {
                for (from, to) in cuts {
                    self.mend(from, to);
                }
                self.ambush(None);
            }
            Healing::Disk(node) => {
                self.disk_heals(node);
                self.failed_store_is_replaced(node);
            }
            Healing::OldDisk(node) => self.old_disk_returns(node),
        }
    }

    /// A store of an earlier time: everything is copied to it, and most of that it has already.
    fn old_disk_returns(&mut self, node: NodeId) {
        if self.faulty && self.is_spare(node) && self.put_disk_back(node) {
            self.marks.count("old disks put back");
            let wait = 10 * MILLI + self.spell();
            self.plan_start(node, wait);
        }
    }

    /// What was stuck or slow ends, in any order.
    pub fn disk_heals(&mut self, node: NodeId) {
        let this = &mut self.nodes[node.0 as usize];
        let health = this.health;
        let held = !matches!(health, Health::Well | Health::Bad(_) | Health::NoFlush);
        this.health = Health::Well;
        let Some(run) = this.run.as_ref().filter(|_| held) else {
            return;
        };
        let run_number = run.number;
        let jobs: Vec<_> = run
            .jobs
            .iter()
            .map(|(id, job)| (DiskId(*id), job.number))
            .collect();
        for (id, number) in jobs {
            let wait = self.random.below(2 * MILLI);
            let place = self.place(node, run_number, Part::Reactor);
            self.queue
                .after(wait, Event::At(place, Happening::Disk { number, id }));
        }
    }
}
