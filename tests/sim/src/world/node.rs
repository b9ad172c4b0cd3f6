//! One machine: clock, disk, log file, and at times a daemon.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use steadfast::engine::io::{Buf, LinkId, Probe};
use steadfast::engine::volume::Volume;
use steadfast::member::core::Core;
use steadfast::member::pulse::Pulse;
use steadfast::node::Told;
use steadfast::types::{BootId, Extent, Incarnation, Index, Lease, NodeId, StoreId, Time};

use super::clients::Pending;
use super::event::{Happening, Part};
use super::member::Opening;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::logfile::LogFile;
use crate::queue::{Instant, MILLI};
use crate::random::Random;
use crate::slab::Slab;

/// How a machine's disk is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Well,
    /// So many times slower.
    Slow(u64),
    /// One operation in ten is so many times slower.
    Uneven(u64),
    /// What is to be durable at once takes so many times longer.
    SlowPages(u64),
    /// Nothing ends.
    Stuck,
    /// Some operations fail, of a thousand.
    Bad(u32),
    /// Flushes fail.
    NoFlush,
}

/// A machine.
#[derive(Debug)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    /// Its store's id, where it has one.
    pub store: Option<StoreId>,
    /// The present boot.
    pub boot: BootId,
    /// Whether it has power.
    pub powered: bool,
    /// Its clock.
    pub clock: Clock,
    /// Its store.
    pub disk: Option<Disk>,
    /// Disks that were taken out, with the stores on them; they may be put back.
    pub shelf: Vec<(StoreId, Disk)>,
    /// How the disk is.
    pub health: Health,
    /// Its log file.
    pub log: LogFile,
    /// How many log files it has lost.
    pub lost_logs: u64,
    /// A daemon that is about to run: its incarnation is being made durable.
    pub opening: Option<Box<Opening>>,
    /// The daemon.
    pub run: Option<Box<Run>>,
    /// How many runs there were.
    pub runs: u64,
    /// Counts starts and stops, so that planned ones can be void.
    pub life: u64,
    /// Stays dead.
    pub forsaken: bool,
    /// Boots that ended, with the time when power was lost.
    pub lost: Vec<(BootId, Instant)>,
    /// Its own chances.
    pub random: Random,
}

impl Node {
    /// What its clock shows.
    #[must_use]
    pub fn now(&self, truth: Instant) -> Time {
        self.clock.at(truth)
    }

    /// A new boot: everything unflushed has been lost already.
    pub fn boot(&mut self, truth: Instant, drift: i64) {
        self.powered = true;
        self.boot = BootId(u128::from(self.random.draw()) << 64 | u128::from(self.random.draw()));
        let shown = self.random.within(MILLI, 5_000 * MILLI);
        let ppm = self.random.below(2 * drift as u64 + 1) as i64 - drift;
        self.clock = Clock::new(truth, shown, ppm);
    }

    /// When the machine was in a boot until it lost power, if it did.
    #[must_use]
    pub fn lost_power(&self, boot: BootId) -> Option<Instant> {
        let lost = self.lost.iter().find(|(lost, _)| *lost == boot);
        lost.map(|(_, at)| *at)
    }
}

/// A disk operation of the engine that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The disk's number.
    pub number: u64,
    /// The lent buffer, if any.
    pub lent: Option<Buf>,
    /// Of a read: where.
    pub extent: Extent,
    /// Of a read: what the engine asked to be told of it.
    pub probe: Probe,
    /// When it began, for the pulse's look at the data path.
    pub since: Instant,
}

/// One run of a daemon.
pub struct Run {
    /// Which.
    pub number: u64,
    /// The detector.
    pub pulse: Pulse,
    /// The log.
    pub core: Core,
    /// The volume.
    pub volume: Volume,
    /// This run's incarnation, as the core last said.
    pub incarnation: Incarnation,
    /// What the pulse published last.
    pub lease: Lease,
    /// Buffers.
    pub slab: Slab,
    /// Data links: the world's number, and which end of it this is.
    pub links: BTreeMap<LinkId, (u32, usize)>,
    /// Numbers of links.
    pub next_link: u32,
    /// Disk operations in flight.
    pub jobs: BTreeMap<u32, Job>,
    /// Pieces of requests that the engine has and not answered, by tag.
    pub pending: Vec<Option<Pending>>,
    /// Tags that are free.
    pub tags: Vec<u32>,
    /// Pieces that wait for room in the engine.
    pub backlog: VecDeque<Pending>,
    /// Connections that the engine knows.
    pub connections: BTreeSet<u32>,
    /// When each thread will be woken; `Instant::MAX` for never.
    pub wake: [Instant; 3],
    /// Until when each thread is stopped.
    pub stopped: [Instant; 3],
    /// When the reactor was stopped last.
    pub stopped_since: Instant,
    /// When the log file has done what it was asked.
    pub log_free: Instant,
    /// What has come for a stopped thread.
    pub inbox: [VecDeque<Happening>; 3],
    /// When the newest signal from one thread to another arrives: signals keep their order.
    pub signals: [[Instant; 3]; 3],
    /// A settle is planned.
    pub settling: bool,
    /// When the answer that is being handled was let out by the primary, if it came by a link.
    pub answered: Option<Instant>,
    /// What the core has been told.
    pub told: Told,
    /// When it was last told of progress.
    pub told_at: Instant,
    /// Whether the pulse has been told that the data path is stuck.
    pub stalled: bool,
    /// Last entry of the log that has taken effect.
    pub applied: Index,
    /// Newest record and view, to check that they come in order.
    pub newest: (u64, u64),
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({})", self.number)
    }
}

impl Run {
    /// Whether a thread is stopped at `now`.
    #[must_use]
    pub fn is_stopped(&self, part: Part, now: Instant) -> bool {
        self.stopped[part as usize] > now || !self.inbox[part as usize].is_empty()
    }
}
