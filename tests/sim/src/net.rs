//! The network: datagrams that are lost, doubled, late and out of order, and links that behave like
//! TCP: in order, without gaps, until they break and lose what was on its way.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use steadfast::engine::io::LinkId;
use steadfast::types::{Incarnation, NodeId};
use steadfast::wire::frame::Frame;

use crate::queue::{Instant, MICRO, MILLI};
use crate::random::Random;

/// How the network of one run behaves.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Datagrams lost, of a thousand.
    pub loss: u32,
    /// Datagrams doubled, of a thousand.
    pub double: u32,
    /// Mean one-way delay.
    pub delay: Instant,
    /// Datagrams that are very late, of a thousand.
    pub late: u32,
}

/// The payload of a frame on its way: the bytes of the sender's buffer.
pub type Payload = Option<Rc<Vec<u8>>>;

/// What travels on a link.
#[derive(Clone, Debug)]
pub enum Item {
    /// The end of the handshake.
    Up {
        /// Who speaks.
        incarnation: Incarnation,
    },
    /// A frame.
    Frame {
        /// Its header.
        frame: Frame,
        /// Its data.
        payload: Payload,
        /// When it was sent.
        sent: Instant,
    },
    /// The end.
    Down,
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Which node.
    pub node: NodeId,
    /// Which of its runs.
    pub run: u64,
    /// The link's number there.
    pub id: LinkId,
}

/// One direction of a link.
#[derive(Debug, Default)]
struct Flow {
    items: VecDeque<(Instant, Item)>,
    last: Instant,
    /// An event for the first item is in the queue.
    armed: bool,
    /// The sender has ended, or the link has broken: nothing more is taken.
    shut: bool,
    /// The receiver has ended: nothing more is delivered.
    deaf: bool,
}

/// A link.
#[derive(Debug)]
pub struct Link {
    /// Who opened it, and who took it.
    pub ends: [End; 2],
    flows: [Flow; 2],
    /// Broken or cut; waits for its last items.
    broken: bool,
}

impl Link {
    /// The direction in which `node`'s run sends.
    #[must_use]
    pub fn side(&self, node: NodeId, run: u64) -> Option<usize> {
        self.ends
            .iter()
            .position(|end| end.node == node && end.run == run)
    }

    /// Whether it still carries what both ends say.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        !self.broken
    }

    /// Frames on their way in a direction.
    pub fn frames(&self, side: usize) -> impl Iterator<Item = &Frame> {
        self.flows[side].items.iter().filter_map(|(_, item)| {
            if let Item::Frame { frame, .. } = item {
                Some(frame)
            } else {
                None
            }
        })
    }
}

/// When to look at a flow next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Which link.
    pub link: u32,
    /// Which direction: the sender's index in `Link::ends`.
    pub side: usize,
    /// When.
    pub at: Instant,
}

/// The network between all nodes.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    random: Random,
    nodes: usize,
    /// One-way cuts.
    cut: Vec<bool>,
    /// Links one-way are held up, datagrams pass.
    hold: Vec<bool>,
    /// Everything one-way is held up until then.
    clog: Vec<Instant>,
    links: BTreeMap<u32, Link>,
    next: u32,
}

impl Network {
    /// Of so many nodes, all connected.
    #[must_use]
    pub fn new(nodes: usize, weather: Weather, random: Random) -> Self {
        Self {
            weather,
            random,
            nodes,
            cut: vec![false; nodes * nodes],
            hold: vec![false; nodes * nodes],
            clog: vec![0; nodes * nodes],
            links: BTreeMap::new(),
            next: 0,
        }
    }

    /// Faults are over: no more loss, doubling or lateness.
    pub fn calm(&mut self) {
        self.weather.loss = 0;
        self.weather.double = 0;
        self.weather.late = 0;
        self.cut.fill(false);
        self.hold.fill(false);
        self.clog.fill(0);
    }

    const fn path(&self, from: NodeId, to: NodeId) -> usize {
        from.0 as usize * self.nodes + to.0 as usize
    }

    /// Cuts or mends one direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId, cut: bool) {
        let path = self.path(from, to);
        self.cut[path] = cut;
    }

    /// Whether that direction is cut.
    #[must_use]
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut[self.path(from, to)]
    }

    /// Holds everything of one direction up until then.
    pub fn clog(&mut self, from: NodeId, to: NodeId, until: Instant) {
        let path = self.path(from, to);
        self.clog[path] = self.clog[path].max(until);
    }

    /// Holds up what one direction's links carry, or lets it go on.
    pub fn hold(&mut self, from: NodeId, to: NodeId, hold: bool) {
        let path = self.path(from, to);
        self.hold[path] = hold;
    }

    /// A one-way delay.
    pub fn delay(&mut self) -> Instant {
        2 * MICRO + self.random.around(self.weather.delay)
    }

    /// A datagram: when each of its copies arrives (none, one or two).
    pub fn datagram(&mut self, from: NodeId, to: NodeId, now: Instant) -> [Option<Instant>; 2] {
        let path = self.path(from, to);
        if self.cut[path] || self.random.chance(self.weather.loss) {
            return [None; 2];
        }
        let clog = self.clog[path];
        let arrival = |network: &mut Self| {
            let late = network.random.chance(network.weather.late);
            let extra = if late {
                network.random.below(30 * MILLI)
            } else {
                0
            };
            (now + network.delay() + extra).max(clog)
        };
        let first = arrival(self);
        let second = (self.random.chance(self.weather.double)).then(|| arrival(self));
        [Some(first), second]
    }

    /// A new link between two ends, opener first; it is up at the opener at once. The handshake's
    /// end is on its way to the other.
    pub fn open(&mut self, ends: [End; 2], incarnation: Incarnation, now: Instant) -> (u32, Arm) {
        let link = self.next;
        self.next += 1;
        self.links.insert(
            link,
            Link {
                ends,
                flows: [Flow::default(), Flow::default()],
                broken: false,
            },
        );
        let arm = self.push(link, 0, Item::Up { incarnation }, now);
        (link, arm.expect("a new flow takes items"))
    }

    /// A link that has not been forgotten.
    #[must_use]
    pub fn link(&self, link: u32) -> Option<&Link> {
        self.links.get(&link)
    }

    /// All links, by number.
    pub fn links(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.links.iter().map(|(number, link)| (*number, link))
    }

    /// Sends on a link. None if the item is lost, or another is before it.
    pub fn push(&mut self, link: u32, side: usize, item: Item, now: Instant) -> Option<Arm> {
        let delay = self.delay();
        let flow = &mut self.links.get_mut(&link)?.flows[side];
        if flow.shut || flow.deaf {
            return None;
        }
        let at = (now + delay).max(flow.last);
        flow.last = at;
        flow.items.push_back((at, item));
        Self::arm(flow, link, side, at)
    }

    fn arm(flow: &mut Flow, link: u32, side: usize, at: Instant) -> Option<Arm> {
        (!std::mem::replace(&mut flow.armed, true)).then_some(Arm { link, side, at })
    }

    /// What a link carries in one direction now arrives that much later, as segments do that are
    /// lost and sent again.
    pub fn slow_down(&mut self, link: u32, side: usize, by: Instant) {
        if let Some(entry) = self.links.get_mut(&link) {
            let flow = &mut entry.flows[side];
            for (at, _) in &mut flow.items {
                *at += by;
            }
            flow.last += by;
        }
    }

    /// The first item of a flow arrives, or is held up; also when to look again.
    pub fn arrive(&mut self, link: u32, side: usize, now: Instant) -> (Option<Item>, Option<Arm>) {
        let Some(entry) = self.links.get(&link) else {
            return (None, None);
        };
        let (from, to) = (entry.ends[side].node, entry.ends[1 - side].node);
        let path = self.path(from, to);
        // Held up segments are sent again every few milliseconds.
        let early = entry.flows[side].items.front();
        let early = early.map(|(at, _)| *at).filter(|at| *at > now);
        let held = if early.is_some() {
            early
        } else if self.cut[path] || self.hold[path] {
            Some(now + self.random.within(MILLI, 6 * MILLI))
        } else if self.clog[path] > now {
            Some(self.clog[path])
        } else {
            None
        };
        let entry = self.links.get_mut(&link).expect("just seen");
        let flow = &mut entry.flows[side];
        flow.armed = false;
        if flow.items.is_empty() {
            return (None, None);
        }
        if let Some(at) = held {
            let alone = matches!(flow.items.front(), Some((_, Item::Down)));
            // The end of a link needs no network where it is a time-out.
            if !(alone && self.cut[path]) {
                return (None, Self::arm(flow, link, side, at));
            }
        }
        let (_, item) = flow.items.pop_front().expect("not empty");
        let next = flow.items.front().map(|(at, _)| (*at).max(now));
        let arm = next.and_then(|at| Self::arm(flow, link, side, at));
        if entry.broken && entry.flows.iter().all(|flow| flow.items.is_empty()) {
            self.links.remove(&link);
        }
        (Some(item), arm)
    }

    /// One end is no more. What it sent may arrive, all or a first part, and then the other end is
    /// told after `told`; what it was sent is lost.
    pub fn end(&mut self, link: u32, side: usize, now: Instant, told: Instant) -> Option<Arm> {
        let lost = self.random.chance(300);
        let random = &mut self.random;
        let entry = self.links.get_mut(&link)?;
        entry.broken = true;
        let back = &mut entry.flows[1 - side];
        back.items.clear();
        back.shut = true;
        back.deaf = true;
        let flow = &mut entry.flows[side];
        if flow.shut {
            return None;
        }
        flow.shut = true;
        if flow.deaf {
            return None;
        }
        if lost && !flow.items.is_empty() {
            let keep = random.index(flow.items.len());
            flow.items.truncate(keep);
        }
        let at = (now + told).max(flow.items.back().map_or(0, |(at, _)| *at));
        flow.items.push_back((at, Item::Down));
        Self::arm(flow, link, side, at)
    }

    /// A link breaks in the middle: each end receives a part of what was on its way, and is told
    /// in its own time.
    pub fn reset(&mut self, link: u32, now: Instant, told: [Instant; 2]) -> [Option<Arm>; 2] {
        let random = &mut self.random;
        let Some(entry) = self.links.get_mut(&link) else {
            return [None; 2];
        };
        entry.broken = true;
        let mut side = 0;
        entry.flows.each_mut().map(|flow| {
            let this = side;
            side += 1;
            if flow.shut || flow.deaf {
                return None;
            }
            flow.shut = true;
            let keep = random.index(flow.items.len() + 1);
            flow.items.truncate(keep);
            let at = (now + told[this]).max(flow.items.back().map_or(0, |(at, _)| *at));
            flow.items.push_back((at, Item::Down));
            Self::arm(flow, link, this, at)
        })
    }
}

#[cfg(test)]
mod tests;
