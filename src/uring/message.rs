//! What other threads tell a reactor, and what it tells them. Control only: no I/O passes here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::engine::io::Note;
use crate::member::io::CoreEvent;
use crate::node::ToVolume;
use crate::types::{Time, VolumeId};

/// For a reactor.
#[derive(Debug)]
pub enum Input {
    /// For the volumes, in order.
    Volume(ToVolume),
    /// Answers with the reactor's figures.
    Query(Sender<Figures>),
    /// Take nothing more from NBD clients, and close each connection as soon as it has its answers:
    /// before the end, so that nobody has to guess what became of a request.
    Drain,
    /// End `Reactor::run`: no answer leaves after this, disk operations in flight are waited for.
    Stop,
}

/// From a reactor.
#[derive(Debug)]
pub enum Output {
    /// For the core: a proposal, a report or progress.
    Core(CoreEvent),
    /// For the event stream.
    Note {
        /// Which volume.
        volume: VolumeId,
        /// When.
        at: Time,
        /// What.
        note: Note,
    },
}

/// What a reactor is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// NBD connections.
    pub clients: usize,
    /// Authenticated data links.
    pub links: usize,
    /// Disk operations in flight.
    pub disk: usize,
    /// Buffers in use.
    pub buffers: usize,
    /// Requests of clients that have not been answered.
    pub requests: usize,
}

/// Sends to one reactor; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: Arc<Inbox>,
}

#[derive(Debug)]
pub(super) struct Inbox {
    queue: Mutex<Vec<Input>>,
    wake: OwnedFd,
}

impl Handle {
    pub(super) fn new() -> std::io::Result<(Self, Arc<Inbox>)> {
        let inbox = Arc::new(Inbox {
            queue: Mutex::new(Vec::new()),
            wake: eventfd(0, EventfdFlags::CLOEXEC)?,
        });
        Ok((
            Self {
                inbox: Arc::clone(&inbox),
            },
            inbox,
        ))
    }

    /// Queues `input` and wakes the reactor. Order is kept.
    pub fn send(&self, input: Input) {
        self.inbox
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(input);
        self.wake();
    }

    /// Wakes the reactor, so that it looks at the lease again. Neither locks nor allocates.
    pub fn wake(&self) {
        self.inbox.wake();
    }
}

impl Inbox {
    /// Makes the eventfd readable.
    pub(super) fn wake(&self) {
        // The counter cannot overflow in practice; if the write fails the reactor has been woken
        // already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Moves what has come to `into`.
    pub(super) fn take(&self, into: &mut Vec<Input>) {
        into.append(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
