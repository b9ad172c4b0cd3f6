//! What one seed's run looks like: every seed draws its own size, weather and faults, so that rare
//! combinations come up (swarm testing).

use crate::net::Weather;
use crate::queue::{Instant, MICRO, MILLI, SECOND};
use crate::random::Random;

/// How often each fault happens: mean time between two of a kind, or never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A daemon is killed.
    pub crash: Option<Instant>,
    /// A machine loses its power.
    pub power: Option<Instant>,
    /// All machines with a store, or all, lose power at once.
    pub blackout: Option<Instant>,
    /// A daemon, or one of its threads, is stopped and goes on.
    pub pause: Option<Instant>,
    /// One direction between two nodes is cut.
    pub one_way: Option<Instant>,
    /// Both directions between two nodes, or one node and all others, are cut.
    pub partition: Option<Instant>,
    /// One direction between two nodes is held up.
    pub clog: Option<Instant>,
    /// A data link breaks.
    pub reset: Option<Instant>,
    /// A disk is slow for a while.
    pub slow_disk: Option<Instant>,
    /// A disk does nothing for a while.
    pub stuck_disk: Option<Instant>,
    /// A disk fails some operations for a while.
    pub bad_disk: Option<Instant>,
    /// A machine loses its disk and comes back with an empty one.
    pub new_disk: Option<Instant>,
    /// A cluster log is lost.
    pub new_log: Option<Instant>,
    /// A clock changes its rate.
    pub slew: Option<Instant>,
    /// A person hands the volume over.
    pub demote: Option<Instant>,
    /// A client goes and comes back, perhaps elsewhere.
    pub client: Option<Instant>,
    /// A proposal arrives again that was made some time ago.
    pub late: Option<Instant>,
}

/// How the disks of one run behave when they are well.
#[derive(Clone, Copy, Debug)]
pub struct DiskTimes {
    /// Mean of a read or write.
    pub io: Instant,
    /// Mean of a flush.
    pub flush: Instant,
    /// Mean of a durable page, in the store or the log.
    pub page: Instant,
    /// Longest time after which a killed daemon's writes land.
    pub late: Instant,
}

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many clients.
    pub clients: usize,
    /// Requests that one client keeps in flight.
    pub depth: usize,
    /// Mean pause between requests.
    pub think: Instant,
    /// Reads, of a thousand requests.
    pub reads: u32,
    /// Flushes, of a thousand requests.
    pub flushes: u32,
    /// Writes with FUA, of a thousand writes.
    pub fua: u32,
    /// Requests of more than a few blocks, of a thousand.
    pub large: u32,
    /// Requests on the client's own blocks, where zeroes and trims are allowed, of a thousand.
    pub private: u32,
    /// Places in the volume that the clients work on.
    pub spots: usize,
    /// Where sectors are cut for unaligned requests; 0 for none.
    pub shift: u64,
}

/// Everything that a seed decides before its run begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// Nodes with a store: 1 to 3.
    pub storage: usize,
    /// Whether there is a voter without a store.
    pub witness: bool,
    /// Whether clients of several nodes may have the volume at once.
    pub shared: bool,
    /// Bytes of the volume.
    pub size: u64,
    /// How long faults happen.
    pub faulty: Instant,
    /// Largest gain or loss of a clock, in millionths.
    pub drift: i64,
    /// Mean delay of a signal between two threads of a node.
    pub signal: Instant,
    /// After so long without changes intents are cleared.
    pub idle: Instant,
    /// The network.
    pub weather: Weather,
    /// The disks.
    pub disk: DiskTimes,
    /// The clients.
    pub load: Load,
    /// The faults.
    pub faults: Faults,
    /// How often one of them follows closely on something that matters, of a thousand times.
    pub ambush: u32,
    /// A node that stays dead after the faults, if the others can do without.
    pub forsake: bool,
    /// Frames pass through their encoding.
    pub encode: bool,
}

fn rate(random: &mut Random, permille: u32, low: Instant, high: Instant) -> Option<Instant> {
    let wanted = random.chance(permille);
    let mean = random.within(low, high);
    wanted.then_some(mean)
}

impl Options {
    /// What `seed` says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let storage = *random.pick(&[1, 2, 2, 2, 2, 3, 3, 3]);
        let witness = match storage {
            1 => random.chance(300),
            2 => random.chance(850),
            _ => random.chance(200),
        };
        let calm = random.chance(150);
        let weather = Weather {
            loss: if random.chance(500) {
                random.within(1, 150) as u32
            } else {
                0
            },
            double: if random.chance(500) {
                random.within(1, 200) as u32
            } else {
                0
            },
            delay: *random.pick(&[10, 30, 100, 400, 1500]) * MICRO,
            late: if random.chance(400) {
                random.within(1, 100) as u32
            } else {
                0
            },
        };
        let disk = DiskTimes {
            io: *random.pick(&[20, 60, 200, 1000]) * MICRO,
            flush: *random.pick(&[20, 200, 2000]) * MICRO,
            page: *random.pick(&[30, 100, 500]) * MICRO,
            late: *random.pick(&[0, MILLI, 20 * MILLI, 100 * MILLI]),
        };
        let load = Load {
            clients: random.within(1, 3) as usize,
            depth: *random.pick(&[1, 2, 4, 8]),
            think: *random.pick(&[50, 300, 1000, 4000]) * MICRO,
            reads: random.within(150, 600) as u32,
            flushes: *random.pick(&[0, 20, 60, 200]),
            fua: *random.pick(&[0, 50, 300]),
            large: *random.pick(&[0, 10, 50]),
            private: *random.pick(&[0, 100, 300]),
            spots: *random.pick(&[1, 3, 10, 30]),
            shift: if random.chance(350) {
                random.within(8, 500)
            } else {
                0
            },
        };
        let mut faults = Faults {
            crash: rate(random, 600, 100 * MILLI, SECOND),
            power: rate(random, 400, 100 * MILLI, 2 * SECOND),
            blackout: rate(random, 250, 300 * MILLI, 2 * SECOND),
            pause: rate(random, 400, 50 * MILLI, SECOND),
            one_way: rate(random, 300, 100 * MILLI, SECOND),
            partition: rate(random, 300, 100 * MILLI, SECOND),
            clog: rate(random, 300, 50 * MILLI, SECOND),
            reset: rate(random, 400, 20 * MILLI, 500 * MILLI),
            slow_disk: rate(random, 200, 100 * MILLI, SECOND),
            stuck_disk: rate(random, 100, 300 * MILLI, 2 * SECOND),
            bad_disk: rate(random, 100, 300 * MILLI, 2 * SECOND),
            new_disk: rate(random, 120, 200 * MILLI, 2 * SECOND),
            new_log: rate(random, 250, 200 * MILLI, 2 * SECOND),
            slew: rate(random, 300, 100 * MILLI, SECOND),
            demote: rate(random, 200, 100 * MILLI, SECOND),
            client: rate(random, 300, 50 * MILLI, SECOND),
            late: rate(random, 200, 20 * MILLI, 300 * MILLI),
        };
        let mut ambush = *random.pick(&[0, 0, 30, 200]);
        if calm {
            faults = Faults::default();
            ambush = 0;
        }
        Self {
            seed,
            storage,
            witness,
            shared: random.chance(500),
            size: random.within(2, 12) << 20,
            faulty: if calm {
                300 * MILLI
            } else {
                random.within(400, 1500) * MILLI
            },
            drift: *random.pick(&[0, 500, 80_000, 83_000]),
            signal: *random.pick(&[1, 5, 30, 300]) * MICRO,
            idle: *random.pick(&[2, 10, 60, 60]) * MILLI,
            weather,
            disk,
            load,
            faults,
            ambush,
            forsake: random.chance(250),
            encode: random.chance(50),
        }
    }

    /// A quiet cluster with nothing random about it but delays, for named scenarios: two stores
    /// and a witness, no clients of its own, no faults.
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        Self {
            seed,
            storage: 2,
            witness: true,
            shared: true,
            size: 4 << 20,
            faulty: 0,
            drift: 0,
            signal: 5 * MICRO,
            idle: 60 * MILLI,
            weather: Weather {
                loss: 0,
                double: 0,
                delay: 20 * MICRO,
                late: 0,
            },
            disk: DiskTimes {
                io: 50 * MICRO,
                flush: 100 * MICRO,
                page: 50 * MICRO,
                late: 0,
            },
            load: Load {
                clients: 0,
                depth: 1,
                think: MILLI,
                reads: 300,
                flushes: 0,
                fua: 0,
                large: 0,
                private: 0,
                spots: 4,
                shift: 0,
            },
            faults: Faults::default(),
            ambush: 0,
            forsake: false,
            encode: false,
        }
    }

    /// Nodes in all.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.storage + self.witness as usize
    }
}
