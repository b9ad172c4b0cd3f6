//! Two or three nodes in memory. One seed decides everything: which disk operation ends, which frame
//! arrives, who loses its power, and what clients ask.

mod carry;
mod choice;
mod client;
mod cluster;
mod disk;
mod fault;
mod link;
mod oracle;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::history::{History, NEVER, Op};
use super::image::{Flushing, Image, SECTOR};
use super::log::Log;
use super::random::Rng;
use crate::engine::io::{
    Buf, ClientId, Direction, DiskId, DiskOp, Effect, Effects, Event, LinkId, Tag,
};
use crate::engine::{Canaries, Timing, Volume, VolumeConfig};
use crate::member::io::{Member, View};
use crate::meta::superblock::Superblock;
use crate::meta::{self, PAGE, layout};
use crate::record::{Grant, ReplicaRecord, ReplicaState, VolumeChange, VolumeRecord};
use crate::types::{
    BLOCK, BootId, Extent, Incarnation, Index, Lease, NodeId, REGION, StoreId, Term, Time, VolumeId,
};
use crate::wire::frame::{Ask, Change, Frame};

pub const SIZE: u64 = 8 * REGION;
const CLUSTER: u128 = 77;
const VOLUME: VolumeId = VolumeId(5);
const EIO: u16 = 5;
/// D.
const SUSPICION: Duration = Duration::from_millis(30);

type Bytes = Rc<RefCell<Vec<u8>>>;

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    /// Nodes with a store.
    pub storage: u8,
    /// Nodes without.
    pub diskless: u8,
    pub shared: bool,
    pub canaries: Canaries,
    /// Choices before everything heals.
    pub steps: u64,
    /// Faults happen about once in so many choices; 0 for none.
    pub fault_every: u64,
    /// Whether machines lose their power (else only daemons die), and clients do not trim.
    pub power: bool,
    pub disk_errors: bool,
    /// Clients ask only now and then, so that things come to rest in between.
    pub bursts: bool,
    pub clients: u64,
    /// Blocks in use in each region: few, so that much overlaps.
    pub blocks: u64,
    pub trace: bool,
}

/// What the cluster tells a volume.
#[derive(Clone)]
enum Told {
    Record(VolumeRecord),
    View(View),
    Incarnation(Incarnation),
    Hearing(NodeId, bool),
}

/// A disk operation on its way.
struct Running {
    op: DiskOp,
    bytes: Option<Bytes>,
    meta: Option<Box<meta::PageBytes>>,
    flushing: Option<Flushing>,
}

pub struct Node {
    pub volume: Option<Volume>,
    pub image: Option<Image>,
    pub boot: BootId,
    pub incarnation: Incarnation,
    lease: bool,
    buffers: BTreeMap<u32, Bytes>,
    next: u32,
    disk: BTreeMap<u32, Running>,
    told: VecDeque<Told>,
    connecting: Vec<NodeId>,
    unsettled: bool,
    paused: bool,
    /// Cut off from the log.
    isolated: bool,
    since: Time,
    heard: BTreeSet<NodeId>,
    clients: BTreeSet<u32>,
    /// Were disconnected, and the volume has not been told yet.
    gone: BTreeSet<u32>,
    /// Its incarnation was excluded while it ran: it needs another one.
    excluded: bool,
}

#[derive(Clone)]
enum Item {
    Up(Direction),
    Frame(Frame, Option<Bytes>),
    Down(Direction),
}

/// One TCP connection: what goes to its opener, and to the other.
struct Pipe {
    ends: [(usize, LinkId); 2],
    queues: [VecDeque<Item>; 2],
    /// The end has closed it or knows that it is down.
    closed: [bool; 2],
    broken: bool,
}

struct Request {
    ask: Ask,
    extent: Extent,
    value: u64,
    call: u64,
    client: u32,
    /// Began before a total loss of power.
    spans: bool,
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Disk(usize, u32),
    Frame(usize, usize),
    Connect(usize, usize),
    Told(usize),
    Propose(usize),
    Tick(usize),
    Settle(usize),
    Ask(usize, u32),
    Gone(usize, u32),
    Admit(usize),
    Start(usize),
    Promote,
    Break(usize),
    Unpause(usize),
    Exclude(usize),
}

pub struct World {
    pub options: Options,
    pub rng: Rng,
    pub nodes: Vec<Node>,
    pub log: Log,
    pub now: Time,
    /// Orders what clients see.
    pub clock: u64,
    pipes: Vec<Pipe>,
    links: u32,
    proposals: Vec<(usize, Index, VolumeChange)>,
    cuts: BTreeSet<(usize, usize)>,
    requests: BTreeMap<(usize, u32), Request>,
    history: History,
    client_count: u32,
    tags: u32,
    pub answered: u64,
    pub faults: u64,
    pub losses: u64,
    boots: u128,
    quiet: bool,
    /// Whose disk fails now and then.
    bad_disk: Option<usize>,
    effects: Effects,
    out: Effects,
}

impl World {
    pub fn new(options: Options) -> Self {
        let storage = options.storage as usize;
        let count = storage + options.diskless as usize;
        let record = VolumeRecord {
            id: VOLUME,
            name: "v".into(),
            size: SIZE,
            shared: options.shared,
            last_entry: Index(1),
            term: Term(0),
            primary: None,
            replicas: (0..storage)
                .map(|node| ReplicaRecord {
                    node: NodeId(node as u8),
                    store: StoreId(100 + node as u128),
                    state: ReplicaState::InSync {
                        boot: BootId(1 + node as u128),
                    },
                })
                .collect(),
            sessions: Vec::new(),
            openings: 0,
            losses: 0,
        };
        let mut world = Self {
            options,
            rng: Rng::new(options.seed),
            nodes: (0..count).map(|at| blank(at, at < storage)).collect(),
            log: Log {
                record,
                members: BTreeMap::new(),
                index: Index(1),
                view: 0,
            },
            now: Time(1_000_000_000),
            clock: 10,
            pipes: Vec::new(),
            links: 0,
            proposals: Vec::new(),
            cuts: BTreeSet::new(),
            requests: BTreeMap::new(),
            history: History::default(),
            client_count: 0,
            tags: 0,
            answered: 0,
            faults: 0,
            losses: 0,
            boots: 1000,
            quiet: false,
            bad_disk: None,
            effects: Vec::new(),
            out: Vec::new(),
        };
        for at in 0..count {
            world.start(at);
        }
        world
    }

    /// A whole run: faults, then healing, then rest. What is wrong, if anything.
    pub fn run(&mut self) -> Result<(), String> {
        for step in 0..self.options.steps {
            self.step();
            if step % 64 == 0 {
                self.check_invariant()?;
            }
        }
        self.heal();
        self.quiet = true;
        let mut calm = 0;
        for step in 0.. {
            if step > 400_000 {
                return Err(format!("no rest: {}", self.describe()));
            }
            calm = if self.at_rest() { calm + 1 } else { 0 };
            if calm > 400 {
                break;
            }
            if step % 256 == 0 {
                self.check_invariant()?;
            }
            self.step();
        }
        self.check_rest()?;
        self.history.check()?;
        Ok(())
    }
}

fn layout_size() -> u64 {
    meta::layout::size_max(SIZE)
}

fn blank(at: usize, store: bool) -> Node {
    let image = store.then(|| {
        let layout = layout(layout_size());
        let superblock = Superblock {
            cluster: CLUSTER,
            volume: VOLUME,
            store: StoreId(100 + at as u128),
            node: NodeId(at as u8),
            size: SIZE,
            layout,
            term: Term(0),
            generation: 1,
            dirty: Default::default(),
            failed: None,
        };
        let mut image = Image::new(layout.store_bytes(SIZE));
        for (offset, page) in meta::format(&superblock) {
            image.write_durable(offset, &page);
        }
        image
    });
    Node {
        volume: None,
        image,
        boot: BootId(1 + at as u128),
        incarnation: Incarnation(0),
        lease: false,
        buffers: BTreeMap::new(),
        next: 0,
        disk: BTreeMap::new(),
        told: VecDeque::new(),
        connecting: Vec::new(),
        unsettled: false,
        paused: false,
        isolated: false,
        since: Time::ZERO,
        heard: BTreeSet::new(),
        clients: BTreeSet::new(),
        gone: BTreeSet::new(),
        excluded: false,
    }
}

fn sectors(extent: Extent) -> impl Iterator<Item = u64> {
    extent.offset / SECTOR as u64..extent.end() / SECTOR as u64
}

/// The sectors that a request reads or changes: a trim leaves blocks that it covers in part.
fn affected(ask: Ask, extent: Extent) -> impl Iterator<Item = u64> {
    let trim = matches!(
        ask,
        Ask::Change {
            change: Change::Trim,
            ..
        }
    );
    let (mut first, mut end) = (extent.offset, extent.end());
    if trim {
        first = first.next_multiple_of(BLOCK);
        end = end / BLOCK * BLOCK;
    }
    first / SECTOR as u64..end / SECTOR as u64
}

fn value(sector: &[u8]) -> u64 {
    let mut words = sector.chunks(8).map(|word| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        u64::from_le_bytes(bytes)
    });
    let first = words.next().expect("an empty sector");
    assert!(words.all(|word| word == first), "a mixed sector");
    first
}

fn content(image: &Image, sector: u64) -> u64 {
    let offset = sector * SECTOR as u64;
    let page = image.page(layout(layout_size()).data + offset / BLOCK * BLOCK);
    let at = (offset % BLOCK) as usize;
    value(&page[at..at + SECTOR])
}

/// A request as its client knows it while it has no answer.
fn pending(request: &Request) -> Vec<(u64, Op)> {
    if !matches!(request.ask, Ask::Change { .. }) {
        return Vec::new();
    }
    let op = Op {
        write: true,
        value: request.value,
        call: request.call,
        ret: NEVER,
        fua: false,
    };
    affected(request.ask, request.extent)
        .map(|sector| (sector, op))
        .collect()
}
