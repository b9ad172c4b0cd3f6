//! The loop: one pass handles all that has happened, then submits all that follows from it.

mod setup;

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use nbd_server::Export;

use super::clock;
use super::complaints::Complaints;
use super::config::{Limits, Peer};
use super::kit::Kit;
use super::lease_cell::LeaseCell;
use super::link::{Credentials, Link};
use super::message::{Inbox, Input, Output};
use super::progress_cell::ProgressCell;
use super::reactor::Listener;
use super::requests::Requests;
use super::ring::Completion;
use super::served::Served;
use super::session::Client;
use super::slots::Slots;
use super::token::Token;
use crate::engine::io::{Effects, Event};
use crate::types::Time;

/// Between reports of what changes all the time: sequence numbers and resync progress.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Before a listener that failed is listened to again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);
/// Between looks at a lease that has run out while somebody waits for an answer. The pulse also
/// wakes the reactor when the lease begins anew.
const LEASE_POLL: Duration = Duration::from_millis(20);
/// Completions that one pass handles, so that the first answers go while later ones are prepared;
/// for the reason see the ring's `SUBMIT_EVERY`.
const HANDLED_MAX: usize = 4;

/// Everything a reactor's thread owns.
pub(super) struct Pass {
    /// First, so that the ring goes before what its operations use.
    pub(super) kit: Kit,
    pub(super) volumes: Vec<Served>,
    pub(super) exports: Vec<Export>,
    pub(super) requests: Requests,
    pub(super) clients: Slots<Box<Client>>,
    pub(super) links: Slots<Box<Link>>,
    /// Slots of the links that the engines know, by id (which only grow).
    pub(super) link_slots: Vec<(u32, u32)>,
    /// What has been said of links that ended.
    pub(super) complaints: Complaints,
    pub(super) listeners: Vec<Listener>,
    /// Events that came up while effects were being carried out.
    pub(super) events: VecDeque<(usize, Event)>,
    /// Connections with something to send.
    pub(super) sending_clients: Vec<u32>,
    pub(super) sending_links: Vec<u32>,
    /// Connections that wait for room, the longest waiting first.
    pub(super) starved_clients: VecDeque<u32>,
    pub(super) starved_links: VecDeque<u32>,
    /// Room has come up since the starved ones were last looked at.
    pub(super) room: bool,
    /// There is something to do at once.
    pub(super) again: bool,
    pub(super) next_client: u32,
    pub(super) next_link: u32,
    pub(super) config: Settings,
    pub(super) credentials: Credentials,
    pub(super) output: Box<dyn FnMut(Output) + Send>,
    /// Effects being carried out; swapped with those of a volume.
    pub(super) spare: Effects,
    pub(super) inbox: Arc<Inbox>,
    pub(super) inputs: Vec<Input>,
    lease: Arc<LeaseCell>,
    progress: Arc<ProgressCell>,
    pub(super) completions: Vec<Completion>,
    /// What the inbox's eventfd is read into.
    pub(super) wake: Box<[u8; 8]>,
    tell_at: Time,
    housekeeping_at: Time,
    failed_listeners: Vec<u32>,
    /// Somebody may be waiting for an answer that the lease does not cover.
    lapsed: bool,
    /// NBD clients are being seen off.
    pub(super) draining: bool,
    pub(super) stopping: bool,
}

/// What does not change.
pub(super) struct Settings {
    pub(super) address: std::net::IpAddr,
    pub(super) peers: Vec<Peer>,
    pub(super) limits: Limits,
    /// How long an attempt to connect to a peer may take.
    pub(super) connect: Duration,
}

impl Pass {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The kernel refuses the ring.
    pub(super) fn run(self) -> io::Result<()> {
        // Dropped only when nothing is in flight: not by an error, and not by a panic.
        let mut this = ManuallyDrop::new(self);
        this.work()?;
        if this.stop()? {
            drop(ManuallyDrop::into_inner(this));
        } else {
            // A disk that does not answer: the kernel may still use buffers and sockets. They are
            // let go with the process.
            tracing::error!("the kernel has not ended all operations; its memory is left to it");
        }
        Ok(())
    }

    fn work(&mut self) -> io::Result<()> {
        for listener in 0..self.listeners.len() {
            self.accept(listener as u32);
        }
        self.listen_to_inbox();
        while !self.stopping {
            self.sleep()?;
            self.handle();
            self.finish();
        }
        Ok(())
    }

    /// Submits everything and waits for something to happen.
    fn sleep(&mut self) -> io::Result<()> {
        let oldest = self.kit.disk.oldest().unwrap_or(Time::ZERO);
        self.progress.disk(oldest);
        self.progress.busy(Time::ZERO);
        let timeout = if std::mem::take(&mut self.again) {
            Some(Duration::ZERO)
        } else {
            let due = self.due();
            (due != Time::MAX).then(|| due.since(clock::now()))
        };
        self.kit.ring.wait(timeout)?;
        self.kit.now = clock::now();
        self.progress.busy(self.kit.now);
        Ok(())
    }

    /// When the loop has to wake by itself.
    fn due(&mut self) -> Time {
        let mut due = self.tell_at.min(self.housekeeping_at);
        for served in &self.volumes {
            due = due.min(served.engine.deadline());
        }
        let incarnation = self.credentials.identity.incarnation;
        self.lapsed = (self.requests.len() > 0 || !self.link_slots.is_empty())
            && !self.lease.load().covers(incarnation, self.kit.now);
        if self.lapsed {
            due = due.min(self.kit.now.after(LEASE_POLL));
        }
        due
    }

    /// Handles all that has happened.
    fn handle(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        self.again |= self.kit.ring.reap(&mut completions, HANDLED_MAX);
        for completion in completions.drain(..) {
            self.completed(completion);
        }
        self.completions = completions;
        if std::mem::take(&mut self.lapsed) {
            self.volumes
                .iter_mut()
                .for_each(|served| served.stepped = true);
        }
        if self.kit.now >= self.housekeeping_at {
            self.housekeeping();
        }
        for volume in 0..self.volumes.len() {
            if self.kit.now >= self.volumes[volume].engine.deadline() {
                self.volumes[volume].event(self.kit.now, Event::Tick);
                self.apply(volume);
            }
        }
        self.deliver();
    }

    fn completed(&mut self, completion: Completion) {
        match completion.token {
            Token::Disk(slot) => {
                let Kit {
                    ring, slab, disk, ..
                } = &mut self.kit;
                if let Some((volume, event)) = disk.ended(ring, slab, slot, completion.count()) {
                    self.volumes[volume].event(self.kit.now, event);
                    self.apply(volume);
                }
            }
            Token::ClientReceive(slot) => self.client_received(slot, completion.count()),
            Token::ClientSend(slot) => self.client_sent(slot, completion.count()),
            Token::LinkReceive(slot) => self.link_received(slot, completion.count()),
            Token::LinkSend(slot) => self.link_sent(slot, completion.count()),
            Token::LinkConnect(slot) => self.link_connected(slot),
            Token::Accept(listener) => self.accepted(listener, completion),
            Token::Wake => {
                self.listen_to_inbox();
                self.hear();
            }
            Token::Cancel => {}
        }
    }

    /// Releases the answers that may go, lets others use the room, and hands everything over.
    fn finish(&mut self) {
        loop {
            for volume in 0..self.volumes.len() {
                if std::mem::take(&mut self.volumes[volume].stepped) {
                    // The clock after the lease: a pause in between makes the answer wait.
                    let lease = self.lease.load();
                    let now = clock::now();
                    let served = &mut self.volumes[volume];
                    served.engine.settle(now, lease, &mut served.effects);
                    self.apply(volume);
                }
            }
            self.deliver();
            self.use_room();
            if !self.volumes.iter().any(|served| served.stepped) {
                break;
            }
        }
        self.flush_links();
        self.flush_clients();
        self.tell();
    }

    /// Lets those go on that wait for buffers or for room in the engine.
    fn use_room(&mut self) {
        self.room |= self.kit.slab.take_freed();
        if !std::mem::take(&mut self.room) {
            return;
        }
        let Kit {
            ring,
            slab,
            disk,
            now,
        } = &mut self.kit;
        disk.retry(ring, slab, *now);
        for _ in 0..self.starved_links.len() {
            if let Some(slot) = self.starved_links.pop_front() {
                self.links[slot].starved = false;
                self.link_advance(slot);
            }
        }
        for volume in 0..self.volumes.len() {
            let served = &mut self.volumes[volume];
            served.pump(self.kit.now, &mut self.kit.slab, &mut self.requests);
            self.apply(volume);
        }
        for _ in 0..self.starved_clients.len() {
            if let Some(slot) = self.starved_clients.pop_front() {
                self.clients[slot].starved = false;
                self.client_advance(slot);
            }
        }
        self.deliver();
    }

    /// Gives the engines the events that came up while effects were being carried out.
    pub(super) fn deliver(&mut self) {
        while let Some((volume, event)) = self.events.pop_front() {
            self.volumes[volume].event(self.kit.now, event);
            self.apply(volume);
        }
    }

    /// Tells the core what has changed: at once if it matters, else now and then.
    fn tell(&mut self) {
        let now = self.kit.now;
        let due = now >= self.tell_at;
        if due {
            self.tell_at = Time::MAX;
        }
        for served in &mut self.volumes {
            if due || served.is_urgent() {
                let output = &mut self.output;
                served.tell(now, |event| output(Output::Core(event)));
            } else if served.has_moved() {
                self.tell_at = self.tell_at.min(now.after(TELL_EVERY));
            }
        }
    }

    /// Does what the clock asks for.
    fn housekeeping(&mut self) {
        let now = self.kit.now;
        self.housekeeping_at = Time::MAX;
        self.late_clients(now);
        self.late_links(now);
        let mut failed = std::mem::take(&mut self.failed_listeners);
        for listener in failed.drain(..) {
            self.accept(listener);
        }
        self.failed_listeners = failed;
    }

    /// Something has to happen by then.
    pub(super) fn watch(&mut self, deadline: Time) {
        self.housekeeping_at = self.housekeeping_at.min(deadline);
    }

    /// A handshake has begun: when it has to be over.
    pub(super) fn watch_handshake(&mut self) -> Time {
        let deadline = self.kit.now.after(self.config.limits.handshake);
        self.watch(deadline);
        deadline
    }

    /// A listener cannot accept now (no descriptors are left, say): tries again later.
    pub(super) fn accept_later(&mut self, listener: u32) {
        self.failed_listeners.push(listener);
        let then = self.kit.now.after(ACCEPT_AGAIN);
        self.watch(then);
    }
}
