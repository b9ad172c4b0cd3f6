//! Which faults there are.

use crate::options::Faults;
use crate::queue::Instant;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A daemon is killed.
    Crash,
    /// A machine loses power.
    Power,
    /// All machines with a store do, or all.
    Blackout,
    /// A daemon or one of its threads is stopped for a while.
    Pause,
    /// A direction is cut.
    OneWay,
    /// Two nodes, or one and all others, are cut apart.
    Partition,
    /// A direction is held up.
    Clog,
    /// A link breaks.
    Reset,
    /// A disk gets slow, or some of its operations do.
    SlowDisk,
    /// A disk gets stuck.
    StuckDisk,
    /// A disk fails operations.
    BadDisk,
    /// A machine loses its disk, and comes back with an empty one.
    NewDisk,
    /// A node loses its cluster log, and comes back with an empty one.
    NewLog,
    /// A clock changes its rate.
    Slew,
    /// A person hands the volume over.
    Demote,
    /// A client goes.
    Client,
    /// A proposal arrives that the network has kept for a while.
    Late,
}

impl Kind {
    pub(super) const ALL: [Self; 17] = [
        Self::Crash,
        Self::Power,
        Self::Blackout,
        Self::Pause,
        Self::OneWay,
        Self::Partition,
        Self::Clog,
        Self::Reset,
        Self::SlowDisk,
        Self::StuckDisk,
        Self::BadDisk,
        Self::NewDisk,
        Self::NewLog,
        Self::Slew,
        Self::Demote,
        Self::Client,
        Self::Late,
    ];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "fault: daemon killed",
            Self::Power => "fault: power lost",
            Self::Blackout => "fault: power lost everywhere",
            Self::Pause => "fault: paused",
            Self::OneWay => "fault: one-way cut",
            Self::Partition => "fault: partition",
            Self::Clog => "fault: network held up",
            Self::Reset => "fault: link broken",
            Self::SlowDisk => "fault: slow disk",
            Self::StuckDisk => "fault: stuck disk",
            Self::BadDisk => "fault: failing disk",
            Self::NewDisk => "fault: disk replaced",
            Self::NewLog => "fault: cluster log lost",
            Self::Slew => "fault: clock rate changed",
            Self::Demote => "fault: handed over by hand",
            Self::Client => "fault: client gone",
            Self::Late => "fault: proposal kept back",
        }
    }

    pub(in crate::world) const fn mean(self, faults: &Faults) -> Option<Instant> {
        match self {
            Self::Crash => faults.crash,
            Self::Power => faults.power,
            Self::Blackout => faults.blackout,
            Self::Pause => faults.pause,
            Self::OneWay => faults.one_way,
            Self::Partition => faults.partition,
            Self::Clog => faults.clog,
            Self::Reset => faults.reset,
            Self::SlowDisk => faults.slow_disk,
            Self::StuckDisk => faults.stuck_disk,
            Self::BadDisk => faults.bad_disk,
            Self::NewDisk => faults.new_disk,
            Self::NewLog => faults.new_log,
            Self::Slew => faults.slew,
            Self::Demote => faults.demote,
            Self::Client => faults.client,
            Self::Late => faults.late,
        }
    }
}
