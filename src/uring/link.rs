//! One data link: a TCP connection to or from a peer, for one volume.
//!
//! A peer is not trusted to keep the protocol: what breaks it closes this link, with a reason for
//! the log, and nothing else. Whether and when to connect again is the engine's decision.

mod ended;
mod handshake;

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub(super) use ended::{Ended, Fault};
pub(super) use handshake::Credentials;
use io_uring::{opcode, types};

use super::config::Peer;
use super::inbound::{Inbound, Payload};
use super::kit::{Kit, Wants};
use super::outbound::Outbound;
use super::served::Served;
use super::slab::{Slab, User};
use super::token::Token;
use crate::engine::io::{Buf, Direction, Event, LinkId};
use crate::types::{BLOCK, Extent, NodeId, REGION, Time};
use crate::wire::codec::{self, Broken, HEADER};
use crate::wire::frame::Frame;
use crate::wire::handshake::{Acceptor, Opener};

/// `POLLOUT`
const WRITABLE: u32 = 0x4;

/// How far a link is.
enum Phase {
    /// Out: the socket is not connected yet.
    Connecting,
    /// Out: `Hello` has been sent.
    Opening(Box<Opener>),
    /// In: nothing has come.
    Called,
    /// In: `Ack` has been sent.
    Proving(Box<Acceptor>),
    /// Authenticated.
    Up,
}

/// A frame whose payload is coming.
#[derive(Clone, Copy, Debug)]
struct Arriving {
    frame: Frame,
    crc: u32,
    buf: Buf,
}

/// One link.
pub(super) struct Link {
    socket: OwnedFd,
    pub(super) id: LinkId,
    pub(super) direction: Direction,
    /// The other end's address, for people.
    pub(super) remote: SocketAddr,
    /// Whom it is meant for (out), or who was proved to be there (in).
    pub(super) peer: Option<NodeId>,
    /// Which of the reactor's volumes; known from the handshake (in).
    pub(super) volume: Option<usize>,
    phase: Phase,
    /// The handshake has to be over by then.
    pub(super) deadline: Time,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    arriving: Option<Arriving>,
    connecting: bool,
    pub(super) closed: bool,
    /// It is in the reactor's list of links that have something to send.
    pub(super) listed: bool,
    /// It is in the reactor's list of links that wait for a buffer.
    pub(super) starved: bool,
}

impl Link {
    /// A link to a peer for a volume: `socket` is being connected.
    pub(super) fn out(
        socket: OwnedFd,
        id: LinkId,
        peer: Peer,
        volume: usize,
        deadline: Time,
    ) -> Self {
        Self {
            direction: Direction::Out,
            peer: Some(peer.node),
            volume: Some(volume),
            phase: Phase::Connecting,
            ..Self::called(socket, id, peer.data, deadline)
        }
    }

    /// A connection that has just been accepted.
    pub(super) fn called(socket: OwnedFd, id: LinkId, remote: SocketAddr, deadline: Time) -> Self {
        Self {
            socket,
            id,
            direction: Direction::In,
            remote,
            peer: None,
            volume: None,
            phase: Phase::Called,
            deadline,
            inbound: Inbound::new(),
            outbound: Outbound::default(),
            arriving: None,
            connecting: false,
            closed: false,
            listed: false,
            starved: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up) && !self.closed
    }

    /// Waits until the socket is connected, or cannot be.
    pub(super) fn await_connection(&mut self, slot: u32, kit: &mut Kit) {
        let entry = opcode::PollAdd::new(types::Fd(self.socket.as_raw_fd()), WRITABLE).build();
        self.connecting = true;
        // SAFETY: no memory is involved; the socket is kept until the completion has come.
        unsafe { kit.ring.push(entry, Token::LinkConnect(slot)) };
    }

    /// Goes on with what has come, as far as it goes.
    ///
    /// # Errors
    /// The link is to be closed, for this reason.
    pub(super) fn advance(
        &mut self,
        kit: &mut Kit,
        credentials: &Credentials,
        volumes: &mut [Served],
    ) -> Result<Wants, Ended> {
        loop {
            if self.closed {
                return Ok(Wants::Nothing);
            }
            let wants = match &self.phase {
                Phase::Connecting => Some(Wants::Nothing),
                Phase::Opening(_) | Phase::Called | Phase::Proving(_) => {
                    self.shake(kit.now, credentials, volumes)?
                }
                Phase::Up => self.frame(kit, volumes)?,
            };
            if let Some(wants) = wants {
                return Ok(wants);
            }
        }
    }

    /// One frame, if it is whole.
    fn frame(&mut self, kit: &mut Kit, volumes: &mut [Served]) -> Result<Option<Wants>, Ended> {
        let volume = self.volume.expect("an authenticated link has one");
        let served = &mut volumes[volume];
        let (frame, buf) = match self.arriving {
            Some(Arriving { frame, crc, buf }) => {
                let (at, len) = (frame.payload_skip() as usize, frame.payload_len() as usize);
                if self.inbound.payload(&mut kit.slab, buf, at, len) == Payload::Awaited {
                    return Ok(Some(Wants::Bytes));
                }
                // Kept: whoever sends the same bytes on need not compute it again.
                if kit.slab.crc(buf, at, len) != crc {
                    return Err(Broken::PayloadChecksum.into());
                }
                self.arriving = None;
                (frame, buf)
            }
            None => {
                let Some(header) = self.inbound.unread().first_chunk::<HEADER>() else {
                    return Ok(Some(Wants::Bytes));
                };
                let (frame, crc) = codec::decode(header)?;
                judge(&frame, self.direction, served.size)?;
                let len = frame.payload_len();
                if len > 0 {
                    let bytes = (frame.payload_skip() + len).next_multiple_of(BLOCK as u32);
                    if u64::from(bytes) > REGION {
                        return Err(Fault::Impossible("a payload crosses a region's end").into());
                    }
                    let (bytes, user) = (bytes as usize, user_of(&frame));
                    if user == User::Answer && !kit.slab.is_promised(bytes) {
                        return Err(
                            Fault::Impossible("data comes that nobody has asked for").into()
                        );
                    }
                    let buf = match user {
                        User::Answer => kit.slab.take_answer(bytes),
                        _ => kit.slab.take(bytes, user),
                    };
                    let Some(buf) = buf else {
                        return Ok(Some(Wants::Room));
                    };
                    self.inbound.consume(HEADER);
                    self.arriving = Some(Arriving { frame, crc, buf });
                    return Ok(None);
                }
                self.inbound.consume(HEADER);
                (frame, Buf::NONE)
            }
        };
        let event = Event::Frame {
            link: self.id,
            frame,
            buf,
        };
        Ok(served.event(kit.now, event).then_some(Wants::Apply))
    }

    /// Appends a frame and its payload, of which it takes a reference, to what is to be sent.
    pub(super) fn send(&mut self, slab: &mut Slab, frame: &Frame, buf: Buf) {
        let (at, len) = (frame.payload_skip() as usize, frame.payload_len() as usize);
        let crc = if len > 0 { slab.crc(buf, at, len) } else { 0 };
        let head = self.outbound.head(HEADER);
        let head = head.first_chunk_mut().expect("as long as was asked for");
        codec::encode(frame, crc, head);
        if len > 0 {
            slab.retain(buf);
            self.outbound.data(buf, at, len);
        }
    }

    /// Asks for more bytes.
    pub(super) fn receive(&mut self, slot: u32, kit: &mut Kit) {
        let token = Token::LinkReceive(slot);
        self.inbound
            .receive(self.socket.as_fd(), &kit.slab, &mut kit.ring, token);
    }

    /// Sends what is ready.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self, slot: u32, kit: &mut Kit) -> Result<(), Ended> {
        if matches!(self.phase, Phase::Connecting) {
            return Ok(());
        }
        let token = Token::LinkSend(slot);
        self.outbound
            .flush(self.socket.as_fd(), &mut kit.slab, &mut kit.ring, token)
            .map_err(|error| Ended::Failed(error.into()))
    }

    /// Closes the connection; its memory is let go by `bury`.
    pub(super) fn close(&mut self, slot: u32, kit: &mut Kit) {
        self.closed = true;
        // What is in flight ends by this. An error means that there is no connection any more.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        if self.connecting {
            let connect = Token::LinkConnect(slot).pack();
            let entry = opcode::AsyncCancel::new(connect).build();
            // SAFETY: no memory is involved.
            unsafe { kit.ring.push(entry, Token::Cancel) };
        }
    }

    /// Lets go of everything, if the kernel has; false if it has not.
    pub(super) fn bury(&mut self, slab: &mut Slab) -> bool {
        if self.connecting || self.inbound.busy() || self.outbound.busy() {
            return false;
        }
        self.outbound.abandon(slab);
        if let Some(arriving) = self.arriving.take() {
            slab.release(arriving.buf);
        }
        true
    }
}

/// Whose the payload of a frame is.
fn user_of(frame: &Frame) -> User {
    match frame {
        Frame::Request { .. } => User::Request,
        Frame::Done { .. } => User::Answer,
        // A primary's changes and copies: no other frame has a payload.
        _ => User::Disk,
    }
}

/// Whether the peer of a link in this direction may send such a frame for a volume of this size.
fn judge(frame: &Frame, direction: Direction, size: u64) -> Result<(), Fault> {
    let (by_opener, extent) = match frame {
        Frame::Change { extent, .. }
        | Frame::Copy { extent, .. }
        | Frame::Compare { extent, .. }
        | Frame::Request { extent, .. } => (true, *extent),
        Frame::ReportChange { extent, .. } => (false, *extent),
        Frame::Attach { .. }
        | Frame::Flush { .. }
        | Frame::Watermark { .. }
        | Frame::Window(_)
        | Frame::WindowsEnd
        | Frame::Reconciled { .. }
        | Frame::MarkAbsent { .. }
        | Frame::MarkPresent { .. }
        | Frame::DirtyRun { .. }
        | Frame::DirtyRunsEnd { .. }
        | Frame::Enter { .. } => (true, Extent::default()),
        Frame::ReportBegin { .. }
        | Frame::ReportActive { .. }
        | Frame::ReportWritten { .. }
        | Frame::ReportWindow(_)
        | Frame::ReportEnd { .. }
        | Frame::Changed { .. }
        | Frame::Copied { .. }
        | Frame::Compared { .. }
        | Frame::Flushed { .. }
        | Frame::Configured { .. }
        | Frame::Refused { .. }
        | Frame::Welcome { .. }
        | Frame::NotNow { .. }
        | Frame::Done { .. } => (false, Extent::default()),
    };
    if by_opener != (direction == Direction::In) {
        return Err(Fault::Impossible("a frame is for the other end of a link"));
    }
    if extent.end() > size {
        return Err(Fault::Impossible(
            "a frame reaches past the end of the volume: compare its size in the configurations",
        ));
    }
    Ok(())
}
