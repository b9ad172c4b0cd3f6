//! What goes into the pulse and the core, and what comes out.
//!
//! The pulse (own thread, allocates nothing while it runs) sends heartbeats, suspects, and keeps the
//! lease. The core keeps the agreed log. They exchange `Signal`s, which a driver carries with some
//! delay, in order.

mod core;
mod pulse;

pub use self::core::{
    CoreEffect, CoreEvent, CoreNote, CoreStatus, MESSAGE_MAX, Member, Page, Proposal,
    ReplicaReport, ResyncProgress, StoreFault, View, VolumeProgress,
};
pub use self::pulse::{
    Acknowledgement, DeathNotice, Heard, Heartbeat, PulseDatagram, PulseEffect, PulseEvent,
    PulseSignal, Timing,
};
