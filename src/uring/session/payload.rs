//! The payload of an NBD client's writes: taken piece by piece, or thrown away.

use nbd_server::{Command, Errno, Transmission};

use super::Client;
use crate::engine::io::{Buf, Event};
use crate::types::BLOCK;
use crate::uring::inbound::Payload;
use crate::uring::kit::{Kit, Wants};
use crate::uring::requests::Requests;
use crate::uring::served::Served;
use crate::uring::slab::User;

/// A write whose payload is coming.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) request: u32,
    /// For the next piece, if it has been taken.
    pub(super) buf: Buf,
    /// Whether the next piece's payload is in it.
    pub(super) whole: bool,
}

/// Payload that is thrown away before its request is refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skipping {
    pub(super) left: usize,
    pub(super) command: Command,
    pub(super) cookie: u64,
    pub(super) errno: Errno,
}

impl Client {
    /// Takes the payload of a write, piece by piece.
    pub(super) fn write(
        &mut self,
        mut writing: Writing,
        kit: &mut Kit,
        requests: &mut Requests,
        volume: &mut Served,
    ) -> Option<Wants> {
        let Some(extent) = requests.next_extent(writing.request) else {
            self.writing = None;
            return None;
        };
        if !writing.whole {
            if !writing.buf.is_some() {
                let bytes = extent.blocks().len as usize;
                let Some(buf) = kit.slab.take(bytes, User::Client) else {
                    return Some(Wants::Room);
                };
                writing.buf = buf;
            }
            let at = (extent.offset % BLOCK) as usize;
            let payload = self
                .inbound
                .payload(&mut kit.slab, writing.buf, at, extent.len as usize);
            writing.whole = payload == Payload::Whole;
            self.writing = Some(writing);
            if !writing.whole {
                return Some(Wants::Bytes);
            }
        }
        if volume.engine.room() == 0 {
            return Some(Wants::Room);
        }
        let (tag, ask, extent) = requests.piece(writing.request)?;
        let event = Event::Request {
            tag,
            ask,
            extent,
            buf: writing.buf,
        };
        writing.buf = Buf::NONE;
        writing.whole = false;
        let more = requests.next_extent(writing.request).is_some();
        self.writing = more.then_some(writing);
        volume.event(kit.now, event).then_some(Wants::Apply)
    }

    /// Throws payload away, then refuses the request it belongs to.
    pub(super) fn skip(&mut self, transmission: Transmission) -> Option<Wants> {
        let skipping = self.skipping.as_mut()?;
        let there = self.inbound.unread().len().min(skipping.left);
        skipping.left -= there;
        self.inbound.consume(there);
        if skipping.left > 0 {
            return Some(Wants::Bytes);
        }
        let Skipping {
            command,
            cookie,
            errno,
            ..
        } = self.skipping.take()?;
        self.reply(transmission, command, cookie, errno);
        None
    }
}
