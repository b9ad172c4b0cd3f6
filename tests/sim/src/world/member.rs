//! Core and pulse of a node, made as its daemon would make them.

use std::rc::Rc;

use steadfast::member::Canaries;
use steadfast::member::core::{Core, CoreConfig};
use steadfast::member::io::{CoreEffect, CoreEvent, Proposal};
use steadfast::member::log::{self, Birth, Geometry};
use steadfast::member::pulse::{Pulse, PulseConfig};
use steadfast::node::Signal;
use steadfast::record::{ReplicaRecord, ReplicaState, VolumeChange, VolumeRecord};
use steadfast::types::{Incarnation, Index, LogId, NodeId, NodeSet, Term, Time};

use super::event::{Event, Happening, Part};
use super::life::timing;
use super::node::Node;
use super::{CLUSTER, VOLUME, World};
use crate::disk::PAGE;
use crate::options::Options;
use crate::queue::MILLI;

/// Pages to write, in order.
pub type Pages = Vec<(u32, Rc<[u8; PAGE]>)>;

/// Which log file a node has at first, or after it has lost `lost` of them.
#[must_use]
pub const fn log_id(node: NodeId, lost: u64) -> LogId {
    LogId(1000 * (lost + 1) + node.0 as u64)
}

/// The bytes of a new log file.
pub fn format(node: NodeId, lost: u64) -> Vec<u8> {
    let geometry = Geometry::SMALL;
    let mut bytes = vec![0; geometry.pages() as usize * PAGE];
    let birth = Birth {
        id: log_id(node, lost),
        // Higher than the lost one got, as the clock would have it.
        used: Incarnation(1_000_000 * lost),
    };
    for page in log::format(CLUSTER, node, geometry, birth) {
        let at = page.number as usize * PAGE;
        bytes[at..at + PAGE].copy_from_slice(&page.bytes[..]);
    }
    bytes
}

fn voters(options: &Options) -> NodeSet {
    (0..options.nodes() as u8).map(NodeId).collect()
}

/// A core that has not begun.
#[derive(Debug)]
pub struct Opening {
    /// It.
    pub core: Core,
    /// What it wants besides what it wants first.
    pub then: Vec<CoreEffect>,
}

/// Reads the log file and makes the core, which wants its incarnation made durable first.
pub fn open(
    node: &Node,
    options: &Options,
    canaries: Canaries,
    now: Time,
) -> Result<(Opening, u64, Pages), String> {
    let log = log::recover(node.log.bytes(), CLUSTER, node.id).map_err(|e| e.to_string())?;
    let config = CoreConfig {
        me: node.id,
        names: (0..options.nodes()).map(|id| format!("n{id}")).collect(),
        voters: voters(options),
        timing: timing(),
        boot: node.boot,
        canaries,
    };
    let mut effects = Vec::new();
    let core = Core::new(config, log, now, &mut effects);
    let mut then = effects.into_iter();
    match then.next() {
        Some(CoreEffect::Persist { ticket, pages }) => {
            let pages = pages
                .into_iter()
                .map(|page| (page.number, Rc::from(page.bytes)))
                .collect();
            let then = then.collect();
            Ok((Opening { core, then }, ticket, pages))
        }
        wrong => Err(format!("a core begins with {wrong:?}")),
    }
}

/// The pulse, once the incarnation is durable.
pub fn pulse(node: &Node, options: &Options, canaries: Canaries, core: &Core, now: Time) -> Pulse {
    let config = PulseConfig {
        me: node.id,
        nodes: options.nodes() as u8,
        voters: voters(options),
        configuration: 1,
        timing: timing(),
        boot: node.boot,
        incarnation: core.incarnation(),
        forbidden: core.promises(),
        enrolled: core.is_enrolled(),
        canaries,
    };
    Pulse::new(config, now)
}

impl World {
    /// A node's core is asked for a change of the volume, as if the volume had.
    pub fn propose(&mut self, node: NodeId, prev: Index, change: VolumeChange) {
        let Some(run) = self.node(node).run.as_ref() else {
            return;
        };
        let place = self.place(node, run.number, Part::Core);
        let proposal = Proposal::Volume {
            volume: VOLUME,
            prev,
            change,
        };
        let signal = Signal::Core(CoreEvent::Propose(proposal));
        let happening = Happening::Signal(Box::new(signal));
        self.queue.push(self.now(), Event::At(place, happening));
    }

    /// Every daemon asks for the volume until it is there.
    pub(super) fn creates(&mut self) {
        if !self.known.records.is_empty() {
            return;
        }
        let replicas = self.nodes.iter().filter_map(|node| {
            Some(ReplicaRecord {
                node: node.id,
                store: node.store?,
                state: ReplicaState::InSync { boot: node.boot },
            })
        });
        let record = VolumeRecord {
            id: VOLUME,
            name: "volume".to_owned(),
            size: self.options.size,
            shared: self.options.shared,
            last_entry: Index(0),
            term: Term(0),
            primary: None,
            replicas: replicas.collect(),
            sessions: Vec::new(),
            openings: 0,
            losses: 0,
        };
        for node in 0..self.nodes.len() {
            let node = NodeId(node as u8);
            let Some(run) = self.node(node).run.as_ref() else {
                continue;
            };
            let place = self.place(node, run.number, Part::Core);
            let create = Proposal::Create {
                record: record.clone(),
            };
            let signal = Signal::Core(CoreEvent::Propose(create));
            let happening = Happening::Signal(Box::new(signal));
            self.queue.push(self.now(), Event::At(place, happening));
        }
        self.queue.after(20 * MILLI, Event::Create);
    }
}
