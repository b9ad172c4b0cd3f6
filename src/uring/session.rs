//! One NBD client's connection.
//!
//! Every complete request of one receive is handed to the engine before anything is sent or
//! submitted. Nothing more is read while the engine, the buffers or the client itself (which may
//! not take its answers) have no room.

mod payload;

use std::os::fd::{AsFd, OwnedFd};

use nbd_server::{
    Command, DATA_REPLY_MAX, Disconnect, Errno, Export, Handshake, OUTPUT_PAUSE, Outcome, Parsed,
    REPLY_MAX, REQUEST_LEN, Request, Transmission,
};
use payload::{Skipping, Writing};

use super::inbound::Inbound;
use super::kit::{Kit, Wants};
use super::outbound::Outbound;
use super::requests::{Answer, Requests};
use super::served::Served;
use super::slab::Slab;
use super::token::Token;
use crate::engine::io::{Buf, ClientId, Event};
use crate::types::Time;

/// Unanswered requests of one connection; more are not read.
const UNANSWERED_MAX: u32 = 512;
/// Bytes of data that one client may have asked for and not taken; until it takes some, nothing
/// more is read from it. A single longer read is served when nothing else is.
const UNTAKEN_MAX: usize = 16 << 20;

/// What kind of bytes come next.
#[derive(Debug)]
enum Phase {
    Handshake(Handshake),
    Open(Transmission),
}

/// How long the connection still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It is served.
    Open,
    /// It gets its answers, then it is closed.
    Ending,
    /// It has its answers and is told that no more come; what it still sends is thrown away until it
    /// closes its end. Closed before that, with bytes that nobody has read, it would be reset, and
    /// answers that are still on their way would be lost.
    Parting,
    /// It has been closed; the kernel may still use its memory.
    Closed,
}

/// Bytes of data in a request's answer, if it succeeds.
const fn data_len(request: &Request) -> usize {
    match request.command {
        Command::Read => request.len as usize,
        Command::Write | Command::Flush | Command::Trim | Command::WriteZeroes | Command::Cache => {
            0
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    pub(super) id: ClientId,
    phase: Phase,
    pub(super) life: Life,
    /// A handshake, or the end, has to be over by then.
    pub(super) deadline: Time,
    /// When it last took a byte of what it was sent, or had taken everything.
    pub(super) taken: Time,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    /// Of the handshake, on its way to `outbound`.
    text: Vec<u8>,
    writing: Option<Writing>,
    skipping: Option<Skipping>,
    /// Nothing is taken from it after the payload that is coming.
    leaving: bool,
    unanswered: u32,
    /// Bytes of data in the answers that are still to be given.
    promised: usize,
    /// It is in the reactor's list of connections that have something to send.
    pub(super) listed: bool,
    /// It is in the reactor's list of connections that wait for room.
    pub(super) starved: bool,
}

impl Client {
    /// A connection that has just been accepted.
    pub(super) fn new(socket: OwnedFd, id: ClientId, deadline: Time) -> Self {
        let mut text = Vec::new();
        let handshake = Handshake::new(&mut text);
        Self {
            socket,
            id,
            phase: Phase::Handshake(handshake),
            life: Life::Open,
            deadline,
            taken: Time::ZERO,
            inbound: Inbound::new(),
            outbound: Outbound::default(),
            text,
            writing: None,
            skipping: None,
            leaving: false,
            unanswered: 0,
            promised: 0,
            listed: false,
            starved: false,
        }
    }

    /// The volume that it has chosen.
    pub(super) fn volume(&self) -> Option<usize> {
        match self.phase {
            Phase::Handshake(_) => None,
            Phase::Open(transmission) => Some(transmission.export),
        }
    }

    /// Goes on with what has come, as far as it goes.
    pub(super) fn advance(
        &mut self,
        slot: u32,
        kit: &mut Kit,
        requests: &mut Requests,
        volumes: &mut [Served],
        exports: &[Export],
    ) -> Wants {
        loop {
            if self.life != Life::Open {
                return Wants::Nothing;
            }
            let wants = match self.phase {
                Phase::Handshake(_) => self.shake(kit, volumes, exports),
                Phase::Open(transmission) => {
                    let volume = &mut volumes[transmission.export];
                    self.serve(slot, transmission, kit, requests, volume)
                }
            };
            if let Some(wants) = wants {
                return wants;
            }
        }
    }

    /// One step of the handshake; none if another may follow.
    fn shake(&mut self, kit: &Kit, volumes: &mut [Served], exports: &[Export]) -> Option<Wants> {
        if self.outbound.backlog() >= OUTPUT_PAUSE {
            return Some(Wants::Drain);
        }
        let Phase::Handshake(handshake) = &mut self.phase else {
            return None;
        };
        let (used, outcome) = handshake.input(self.inbound.unread(), exports, &mut self.text);
        self.inbound.consume(used);
        let paused = self.text.len() >= OUTPUT_PAUSE;
        self.outbound
            .head(self.text.len())
            .copy_from_slice(&self.text);
        self.text.clear();
        match outcome {
            Outcome::Continue if paused => None,
            Outcome::Continue => Some(Wants::Bytes),
            Outcome::Close => {
                self.life = Life::Ending;
                Some(Wants::Nothing)
            }
            Outcome::Transmission(transmission) => {
                self.text = Vec::new();
                self.phase = Phase::Open(transmission);
                self.deadline = Time::MAX;
                let came = Event::ClientCame { client: self.id };
                volumes[transmission.export]
                    .event(kit.now, came)
                    .then_some(Wants::Apply)
            }
        }
    }

    /// One step of the transmission phase; none if another may follow.
    fn serve(
        &mut self,
        slot: u32,
        transmission: Transmission,
        kit: &mut Kit,
        requests: &mut Requests,
        volume: &mut Served,
    ) -> Option<Wants> {
        if let Some(writing) = self.writing {
            return self.write(writing, kit, requests, volume);
        }
        if self.skipping.is_some() {
            return self.skip(transmission);
        }
        if self.leaving {
            self.life = Life::Ending;
            return Some(Wants::Nothing);
        }
        if self.unanswered >= UNANSWERED_MAX || self.outbound.backlog() > UNTAKEN_MAX {
            return Some(Wants::Room);
        }
        match transmission.next(self.inbound.unread()) {
            Parsed::NeedMore => Some(Wants::Bytes),
            Parsed::Request(request) => {
                if request.command != Command::Write && volume.engine.room() == 0 {
                    return Some(Wants::Room);
                }
                let untaken = self.promised + self.outbound.backlog();
                let data = data_len(&request);
                if untaken > 0 && data > 0 && untaken + data > UNTAKEN_MAX {
                    return Some(Wants::Room);
                }
                let Some(asked) = requests.begin(&mut kit.slab, slot, request) else {
                    return Some(Wants::Room);
                };
                self.inbound.consume(REQUEST_LEN);
                self.unanswered += 1;
                self.promised += data;
                if request.command == Command::Write {
                    self.writing = Some(Writing {
                        request: asked,
                        buf: Buf::NONE,
                        whole: false,
                    });
                    return None;
                }
                volume
                    .pieces(kit.now, requests, asked)
                    .then_some(Wants::Apply)
            }
            Parsed::Answer {
                command,
                cookie,
                errno,
                drain,
            } => {
                self.inbound.consume(REQUEST_LEN);
                self.skipping = Some(Skipping {
                    left: drain as usize,
                    command,
                    cookie,
                    errno,
                });
                None
            }
            Parsed::Disconnect(why) => {
                if why != Disconnect::Asked {
                    tracing::warn!(client = self.id.0, ?why, "NBD client breaks the protocol");
                }
                self.life = Life::Ending;
                Some(Wants::Nothing)
            }
        }
    }

    fn reply(&mut self, transmission: Transmission, command: Command, cookie: u64, errno: Errno) {
        let mut head = [0; REPLY_MAX];
        let len = transmission.reply(command, cookie, errno, &mut head);
        self.outbound.head(len).copy_from_slice(&head[..len]);
    }

    /// Appends the answer to a request to what is to be sent.
    pub(super) fn answer(&mut self, requests: &mut Requests, answer: Answer) {
        self.unanswered -= 1;
        let Phase::Open(transmission) = self.phase else {
            unreachable!("requests come after the handshake");
        };
        let request = answer.request;
        self.promised -= data_len(&request);
        if request.command == Command::Read && answer.errno == 0 {
            let mut head = [0; DATA_REPLY_MAX];
            let len = transmission.data_reply(
                request.cookie,
                request.offset,
                request.len,
                true,
                &mut head,
            );
            self.outbound.head(len).copy_from_slice(&head[..len]);
        } else {
            let errno = Errno::from_linux(answer.errno);
            self.reply(transmission, request.command, request.cookie, errno);
        }
        requests.data(answer, |buf, at, len| self.outbound.data(buf, at, len));
    }

    /// Takes no more requests; what was asked is still answered. False where nothing can have been
    /// asked yet.
    pub(super) fn leave(&mut self) -> bool {
        self.leaving = true;
        if self.writing.is_none() && self.skipping.is_none() && self.life == Life::Open {
            self.life = Life::Ending;
        }
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether it has got everything that it is still to get.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.life, Life::Ending) && self.unanswered == 0 && self.outbound.backlog() == 0
    }

    /// Whether it did not ask for its end itself, so that it may be sending still.
    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Says that no more answers come.
    pub(super) fn part(&mut self) {
        self.life = Life::Parting;
        // An error means that there is no connection any more.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Throws away what has come and goes on reading.
    pub(super) fn discard(&mut self, slot: u32, kit: &mut Kit) {
        let there = self.inbound.unread().len();
        self.inbound.consume(there);
        if !self.inbound.busy() {
            self.receive(slot, kit);
        }
    }

    /// Asks for more bytes.
    pub(super) fn receive(&mut self, slot: u32, kit: &mut Kit) {
        let token = Token::ClientReceive(slot);
        self.inbound
            .receive(self.socket.as_fd(), &kit.slab, &mut kit.ring, token);
    }

    /// Sends what is ready.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self, slot: u32, kit: &mut Kit) -> Result<(), rustix::io::Errno> {
        let token = Token::ClientSend(slot);
        if !self.outbound.busy() {
            self.taken = kit.now;
        }
        self.outbound
            .flush(self.socket.as_fd(), &mut kit.slab, &mut kit.ring, token)
    }

    /// Whether it has taken nothing of what it was sent since `then`.
    pub(super) fn has_stalled(&self, then: Time) -> bool {
        self.life != Life::Closed && self.outbound.busy() && self.taken < then
    }

    /// Closes the connection; its memory is let go by `bury`.
    pub(super) fn close(&mut self) {
        self.life = Life::Closed;
        // What is in flight ends by this. An error means that there is no connection any more.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// Lets go of everything, if the kernel has; false if it has not.
    pub(super) fn bury(&mut self, slab: &mut Slab) -> bool {
        if self.inbound.busy() || self.outbound.busy() {
            return false;
        }
        self.outbound.abandon(slab);
        if let Some(writing) = self.writing.take()
            && writing.buf.is_some()
        {
            slab.release(writing.buf);
        }
        true
    }
}
