//! The joint: what the pulse, the core and the volumes of one node tell each other.
//!
//! Each of the three is a state machine with a driver thread of its own. What one of them wants
//! done is either I/O, which its driver does, or a signal to another, which a driver carries there:
//! in order, with whatever delay threads have. The simulator carries the same signals through
//! queues with random delays, so that what holds there holds for any scheduling of the threads.
//!
//! Order at start, the same for every driver: lock the log file and the stores (free only after the
//! old run's last write), read them, persist the next incarnation, then step the three.

use crate::engine::io::{Effect, Note};
use crate::member::io::{
    CoreEffect, CoreEvent, CoreNote, Page, PulseEffect, PulseEvent, PulseSignal, ReplicaReport,
    View, VolumeProgress,
};
use crate::record::VolumeRecord;
use crate::types::{Incarnation, Lease, NodeId, VolumeId};

/// For the pulse. As `PulseEvent`, without what comes from its own socket and timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToPulse {
    /// `PulseEvent::Forbid`
    Forbid {
        /// Who.
        node: NodeId,
        /// Up to and with this one.
        incarnation: Incarnation,
        /// It is known to be dead.
        certificate: bool,
    },
    /// `PulseEvent::Adopt`
    Adopt {
        /// This node's new one.
        incarnation: Incarnation,
    },
    /// `PulseEvent::Enrolled`
    Enrolled(bool),
    /// `PulseEvent::View`
    View {
        /// Its number.
        number: u64,
    },
    /// `PulseEvent::Stalled`
    Stalled(bool),
}

impl ToPulse {
    /// The event that the pulse is stepped with.
    #[must_use]
    pub const fn event(self) -> PulseEvent<'static> {
        match self {
            Self::Forbid {
                node,
                incarnation,
                certificate,
            } => PulseEvent::Forbid {
                node,
                incarnation,
                certificate,
            },
            Self::Adopt { incarnation } => PulseEvent::Adopt { incarnation },
            Self::Enrolled(enrolled) => PulseEvent::Enrolled(enrolled),
            Self::View { number } => PulseEvent::View { number },
            Self::Stalled(stalled) => PulseEvent::Stalled(stalled),
        }
    }
}

/// For the volumes of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToVolume {
    /// `Volume::set_record`, for the volume that it names.
    Record(VolumeRecord),
    /// `Volume::set_view`
    View(View),
    /// `Volume::set_incarnation`
    Incarnation(Incarnation),
    /// `Event::Hearing`
    Hearing {
        /// Which peer.
        node: NodeId,
        /// Both ways.
        heard: bool,
    },
    /// `Volume::demote`: a person asks the primary to hand the volume over.
    Demote {
        /// Which volume.
        volume: VolumeId,
        /// To whom, if it matters.
        prefer: Option<NodeId>,
    },
}

/// A message from one part of a node to another.
#[derive(Clone, Debug)]
pub enum Signal {
    /// To the pulse.
    Pulse(ToPulse),
    /// To the core.
    Core(CoreEvent),
    /// To the volumes.
    Volume(ToVolume),
}

/// What the pulse's driver does itself.
#[derive(Clone, Copy, Debug)]
pub enum PulseIo {
    /// Seal and send `Pulse::heartbeat(to)`.
    Heartbeat {
        /// To whom.
        to: NodeId,
    },
    /// Seal and send.
    Acknowledgement {
        /// To whom.
        to: NodeId,
        /// What.
        acknowledgement: crate::member::io::Acknowledgement,
    },
    /// Publish for the volumes' `settle`.
    Lease(Lease),
}

/// What the core's driver does itself.
#[derive(Clone, Debug)]
pub enum CoreIo {
    /// Seal and send.
    Send {
        /// Next hop.
        to: NodeId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Write durably, in order, then `CoreEvent::Persisted`.
    Persist {
        /// Its ticket.
        ticket: u64,
        /// What.
        pages: Vec<Page>,
    },
    /// A committed record, for status.
    Record(VolumeRecord),
    /// A view, for status and subscribers.
    View(View),
    /// For the event stream.
    Note(CoreNote),
}

/// Takes apart what the pulse wants: I/O to `io`, the rest to `signal`.
pub fn route_pulse(
    effect: PulseEffect,
    mut io: impl FnMut(PulseIo),
    mut signal: impl FnMut(Signal),
) {
    match effect {
        PulseEffect::SendHeartbeat { to } => io(PulseIo::Heartbeat { to }),
        PulseEffect::SendAcknowledgement {
            to,
            acknowledgement,
        } => {
            io(PulseIo::Acknowledgement {
                to,
                acknowledgement,
            });
        }
        PulseEffect::Lease(lease) => io(PulseIo::Lease(lease)),
        PulseEffect::Signal(told) => {
            if let PulseSignal::Hearing { node, heard } = told {
                signal(Signal::Volume(ToVolume::Hearing { node, heard }));
            }
            signal(Signal::Core(CoreEvent::Pulse(told)));
        }
    }
}

/// Takes apart what the core wants: I/O to `io`, the rest to `signal`.
pub fn route_core(effect: CoreEffect, mut io: impl FnMut(CoreIo), mut signal: impl FnMut(Signal)) {
    match effect {
        CoreEffect::Send { to, bytes } => io(CoreIo::Send { to, bytes }),
        CoreEffect::Persist { ticket, pages } => io(CoreIo::Persist { ticket, pages }),
        CoreEffect::Forbid {
            node,
            incarnation,
            certificate,
        } => {
            signal(Signal::Pulse(ToPulse::Forbid {
                node,
                incarnation,
                certificate,
            }));
        }
        CoreEffect::Adopt { incarnation } => {
            // The volumes first: the pulse then publishes the lease of the new incarnation, which
            // ends the old grant even where a volume has not heard of it yet.
            signal(Signal::Volume(ToVolume::Incarnation(incarnation)));
            signal(Signal::Pulse(ToPulse::Adopt { incarnation }));
        }
        CoreEffect::Enrolled(enrolled) => signal(Signal::Pulse(ToPulse::Enrolled(enrolled))),
        CoreEffect::Record(record) => {
            io(CoreIo::Record(record.clone()));
            signal(Signal::Volume(ToVolume::Record(record)));
        }
        CoreEffect::View(view) => {
            io(CoreIo::View(view.clone()));
            signal(Signal::Pulse(ToPulse::View {
                number: view.number,
            }));
            signal(Signal::Volume(ToVolume::View(view)));
        }
        CoreEffect::Note(note) => io(CoreIo::Note(note)),
    }
}

/// What a volume wants, taken apart.
#[derive(Clone, Debug)]
pub enum VolumeWant {
    /// Its driver does it.
    Io(Effect),
    /// For the core.
    Signal(CoreEvent),
    /// For the event stream.
    Note(Note),
}

/// Takes apart what the volume `volume` wants.
#[must_use]
pub fn route_volume(volume: VolumeId, effect: Effect) -> VolumeWant {
    match effect {
        Effect::Propose { prev, change } => {
            VolumeWant::Signal(CoreEvent::Propose(crate::member::io::Proposal::Volume {
                volume,
                prev,
                change,
            }))
        }
        Effect::Note(note) => VolumeWant::Note(note),
        Effect::Reply { .. }
        | Effect::Disk { .. }
        | Effect::Send { .. }
        | Effect::Connect { .. }
        | Effect::Close { .. }
        | Effect::Patch { .. }
        | Effect::Clear { .. }
        | Effect::Release { .. }
        | Effect::DisconnectClients => VolumeWant::Io(effect),
    }
}

/// Remembers what a volume last told the core, so that only changes are told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    report: Option<ReplicaReport>,
    progress: Option<VolumeProgress>,
}

impl Told {
    /// The events for the core, if the report or the progress is another one than last time.
    pub fn changes(
        &mut self,
        report: ReplicaReport,
        progress: Option<VolumeProgress>,
        mut signal: impl FnMut(CoreEvent),
    ) {
        if self.report != Some(report) {
            self.report = Some(report);
            signal(CoreEvent::Report(report));
        }
        if self.progress != progress {
            self.progress.clone_from(&progress);
            if let Some(progress) = progress {
                signal(CoreEvent::Progress(progress));
            }
        }
    }
}
