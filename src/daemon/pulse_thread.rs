//! The pulse's thread: UDP socket, timer, lease cell. Allocates nothing and logs nothing while it
//! runs, and waits for nobody: whatever the rest of the daemon does, heartbeats go out in time.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::clock;
use super::strangers::{Stranger, Strangers};
use super::wake::{Waker, sleep_until};
use crate::member::io::{PulseDatagram, PulseEffect, PulseEvent, PulseSignal};
use crate::member::pulse::Pulse;
use crate::node::{PulseIo, Signal, ToPulse, route_pulse};
use crate::seldom::SAID_MAX;
use crate::types::Time;
use crate::uring::{Handle, LeaseCell, ProgressCell};
use crate::wire::pulse::{MESSAGE_MAX, decode, encode_acknowledgement, encode_heartbeat};
use crate::wire::seal::{HEADER, Kind, OVERHEAD, Refused, Seal};

/// Signals that may wait for a thread that is late. They are about changes, not about heartbeats,
/// so there are few; a ring that is full all the same is tried again with the next wake-up.
const SIGNALS_MAX: usize = 4096;
/// Datagrams handled in one go before timers are looked at again.
const BURST: usize = 64;

/// What the thread has to do its work.
pub struct PulseSetup {
    /// The state machine.
    pub pulse: Pulse,
    /// This node's socket, bound.
    pub socket: UdpSocket,
    /// Where each node's pulse listens, by node.
    pub peers: Vec<SocketAddr>,
    /// Seals and opens datagrams.
    pub seal: Seal,
    /// Where the lease is published.
    pub lease: Arc<LeaseCell>,
    /// Whether the data path moves.
    pub progress: Arc<ProgressCell>,
    /// How long it may stand still.
    pub stall: Duration,
    /// Rung when there are signals for the core.
    pub core: Waker,
    /// Woken when a lease begins anew, so that answers that wait for it leave.
    pub reactor: Handle,
    /// Dropped when the thread has ended, whyever.
    pub end: Box<dyn Send>,
}

/// How the pulse fares: for status and `qualify`.
#[derive(Debug, Default)]
pub struct PulseFigures {
    /// The latest that a timer has been, nanoseconds.
    pub late_max: AtomicU64,
    /// Datagrams that were not ours.
    pub refused: AtomicU64,
    /// Datagrams that could not be sent.
    pub unsent: AtomicU64,
}

/// The other threads' end.
pub struct PulseHandle {
    /// To the pulse. One sender: the core's thread.
    inbox: Producer<ToPulse>,
    waker: Waker,
    /// From the pulse. One reader: the core's thread.
    pub signals: Consumer<PulseSignal>,
    /// Whose datagrams were refused, for people.
    pub strangers: Consumer<Stranger>,
    /// How it fares.
    pub figures: Arc<PulseFigures>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl PulseHandle {
    /// Tells the pulse; false if its inbox is full, which means that its thread does not run.
    #[must_use]
    pub fn send(&mut self, message: ToPulse) -> bool {
        let sent = self.inbox.push(message).is_ok();
        self.waker.wake();
        sent
    }

    /// Ends the thread. No heartbeat is sent afterwards.
    ///
    /// # Errors
    ///
    /// It had ended before, and why.
    pub fn stop(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        let ended = self.thread.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| {
            let why = "its thread panicked; what it said is above";
            Err(io::Error::other(why))
        })
    }
}

struct PulseThread {
    setup: PulseSetup,
    inbox: Consumer<ToPulse>,
    signals: Producer<PulseSignal>,
    /// Signals that found the ring full.
    delayed: Vec<PulseSignal>,
    known: Strangers,
    strangers: Producer<Stranger>,
    figures: Arc<PulseFigures>,
    effects: Vec<PulseEffect>,
    stalled: bool,
    leased: bool,
}

/// Starts the thread.
///
/// # Errors
///
/// The socket cannot be made non-blocking, or no thread can be started.
pub fn start(setup: PulseSetup) -> io::Result<PulseHandle> {
    setup.socket.set_nonblocking(true)?;
    let (inbox, to_pulse) = RingBuffer::new(SIGNALS_MAX);
    let (from_pulse, signals) = RingBuffer::new(SIGNALS_MAX);
    let (refused, strangers) = RingBuffer::new(SAID_MAX);
    let waker = Waker::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let figures = Arc::new(PulseFigures::default());
    let mut pulse = PulseThread {
        setup,
        inbox: to_pulse,
        signals: from_pulse,
        delayed: Vec::with_capacity(SIGNALS_MAX),
        known: Strangers::default(),
        strangers: refused,
        figures: Arc::clone(&figures),
        effects: Vec::with_capacity(1024),
        stalled: false,
        leased: false,
    };
    let (wakes, stopping) = (waker.clone(), Arc::clone(&stop));
    let thread = thread::Builder::new().name("pulse".into()).spawn(move || {
        super::priority::raise("pulse", super::priority::PULSE);
        while !stopping.load(Ordering::Acquire) {
            // Without its socket or timer the node is silent; the others act on that.
            pulse.turn(&wakes)?;
        }
        Ok(())
    })?;
    Ok(PulseHandle {
        inbox,
        waker,
        signals,
        strangers,
        figures,
        stop,
        thread: Some(thread),
    })
}

impl PulseThread {
    /// Sleeps until something happens, and handles it.
    fn turn(&mut self, waker: &Waker) -> io::Result<()> {
        let deadline = self.setup.pulse.deadline();
        let readable = sleep_until(self.setup.socket.as_fd(), waker, deadline)?;
        while let Ok(message) = self.inbox.pop() {
            self.step(message.event());
        }
        if readable {
            self.receive();
        }
        let now = clock::now();
        if deadline <= now {
            self.figures
                .late_max
                .fetch_max(now.since(deadline).as_nanos() as u64, Ordering::Relaxed);
            self.watch_data_path(now);
            self.step(PulseEvent::Tick);
        }
        self.deliver_delayed();
        Ok(())
    }

    fn receive(&mut self) {
        let mut datagram = [0; OVERHEAD + MESSAGE_MAX];
        for _ in 0..BURST {
            let Ok((len, from)) = self.setup.socket.recv_from(&mut datagram) else {
                return;
            };
            let opened = self.setup.seal.open(Kind::Pulse, &datagram[..len]);
            match opened.map(decode) {
                Ok(Ok(message)) => self.step(PulseEvent::Datagram(&message)),
                Ok(Err(_)) => self.refuse(from, Refused::Content),
                Err(why) => self.refuse(from, why),
            }
        }
    }

    /// Counts a datagram that is not ours, and has the core's thread say so.
    fn refuse(&mut self, from: SocketAddr, why: Refused) {
        self.figures.refused.fetch_add(1, Ordering::Relaxed);
        let stranger = Stranger { from, why };
        // A ring that is full has enough to say.
        if self.known.is_news(clock::now(), stranger) && self.strangers.push(stranger).is_ok() {
            self.setup.core.wake();
        }
    }

    /// Tells the pulse when the data path begins or ends to stand still.
    fn watch_data_path(&mut self, now: Time) {
        let waiting = self.setup.progress.waiting_since();
        let stalled = waiting.is_some_and(|since| now.since(since) > self.setup.stall);
        if stalled != self.stalled {
            self.stalled = stalled;
            self.step(PulseEvent::Stalled(stalled));
        }
    }

    fn step(&mut self, event: PulseEvent<'_>) {
        let now = clock::now();
        self.setup.pulse.step(now, event, &mut self.effects);
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            let (mut io, mut told) = (None, None);
            route_pulse(
                effect,
                |wanted| io = Some(wanted),
                |signal| {
                    // What a volume hears of the pulse it hears from the core's thread, which gets the
                    // same signal: one reader for each ring.
                    if let Signal::Core(crate::member::io::CoreEvent::Pulse(signal)) = signal {
                        told = Some(signal);
                    }
                },
            );
            if let Some(io) = io {
                self.perform(now, io);
            }
            if let Some(signal) = told {
                self.tell(signal);
            }
        }
        self.effects = effects;
    }

    fn perform(&mut self, now: Time, io: PulseIo) {
        let mut datagram = [0; OVERHEAD + MESSAGE_MAX];
        match io {
            PulseIo::Heartbeat { to } => {
                let heartbeat = self.setup.pulse.heartbeat(to);
                let len = encode_heartbeat(&heartbeat, &mut datagram[HEADER..]);
                self.send(to.0, len, &mut datagram);
            }
            PulseIo::Acknowledgement {
                to,
                acknowledgement,
            } => {
                let len = encode_acknowledgement(&acknowledgement, &mut datagram[HEADER..]);
                self.send(to.0, len, &mut datagram);
            }
            PulseIo::Lease(lease) => {
                self.setup.lease.publish(lease);
                let leased = now < lease.until;
                if leased && !self.leased {
                    self.setup.reactor.wake();
                }
                self.leased = leased;
            }
        }
    }

    fn send(&self, to: u8, len: usize, datagram: &mut [u8]) {
        let Some(peer) = self.setup.peers.get(usize::from(to)) else {
            return;
        };
        let len = self.setup.seal.seal_in_place(Kind::Pulse, len, datagram);
        if self.setup.socket.send_to(&datagram[..len], peer).is_err() {
            self.figures.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tell(&mut self, signal: PulseSignal) {
        let behind = !self.delayed.is_empty();
        if behind || self.signals.push(signal).is_err() {
            assert!(
                self.delayed.len() < self.delayed.capacity(),
                "the core's thread has not run for thousands of signals"
            );
            self.delayed.push(signal);
        }
        self.setup.core.wake();
    }

    fn deliver_delayed(&mut self) {
        let mut delivered = 0;
        while delivered < self.delayed.len() && self.signals.push(self.delayed[delivered]).is_ok() {
            delivered += 1;
        }
        if delivered > 0 {
            self.delayed.drain(..delivered);
            self.setup.core.wake();
        }
    }
}

/// A death notice, sealed, for the parent to send.
#[must_use]
pub fn sealed(seal: &Seal, message: &PulseDatagram) -> Vec<u8> {
    let mut datagram = vec![0; OVERHEAD + MESSAGE_MAX];
    let len = crate::wire::pulse::encode(message, &mut datagram[HEADER..]);
    let len = seal.seal_in_place(Kind::Pulse, len, &mut datagram);
    datagram.truncate(len);
    datagram
}
