//! Requests of NBD clients and the pieces they are cut into.
//!
//! The engine takes pieces that lie within one region; a client's request may cross several, and a
//! trim thousands. Pieces of a request are in flight together, and the request is answered when the
//! last one has been.

mod asked;

use asked::{Asked, needs};
use nbd_server::{Command, Request};

use super::slab::Slab;
use super::slots::Slots;
use crate::engine::io::{Buf, Tag};
use crate::types::{BLOCK, Extent, REGION};
use crate::wire::frame::Ask;

#[derive(Clone, Copy, Debug)]
struct Piece {
    asked: u32,
    /// Its place among the request's pieces.
    index: u32,
    extent: Extent,
}

/// A request that has been done.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) client: u32,
    pub(super) request: Request,
    /// 0, or the positive `errno`.
    pub(super) errno: u16,
    first: Buf,
    rest: Vec<Buf>,
}

/// The requests of one reactor.
#[derive(Debug)]
pub(super) struct Requests {
    asked: Slots<Asked>,
    pieces: Slots<Piece>,
    /// Empty lists, to be used again.
    lists: Vec<Vec<Buf>>,
}

impl Requests {
    pub(super) const fn new() -> Self {
        Self {
            asked: Slots::new(),
            pieces: Slots::new(),
            lists: Vec::new(),
        }
    }

    /// Requests that have not been answered.
    pub(super) const fn len(&self) -> usize {
        self.asked.len()
    }

    /// Takes up a request; none if it is a read and there are not enough buffers now.
    pub(super) fn begin(&mut self, slab: &mut Slab, client: u32, request: Request) -> Option<u32> {
        if request.command == Command::Read {
            let needs = needs(&request);
            for (index, &(bytes, count)) in needs.iter().enumerate() {
                if count > 0 && !slab.promise(bytes, count) {
                    for &(bytes, count) in &needs[..index] {
                        (0..count).for_each(|_| slab.fulfil(bytes, Buf::NONE));
                    }
                    return None;
                }
            }
        }
        let mut asked = Asked {
            client: Some(client),
            request,
            next: request.offset,
            in_flight: 0,
            flush_after: false,
            listed: false,
            errno: 0,
            first: Buf::NONE,
            rest: Vec::new(),
        };
        if request.command == Command::Flush {
            asked.flush_after = true;
        } else if !asked.in_one_piece() {
            asked.rest = self.lists.pop().unwrap_or_default();
            asked.flush_after = request.fua && request.command != Command::Read;
        }
        Some(self.asked.insert(asked))
    }

    /// What the request's next piece will be; none if no piece is left.
    pub(super) fn next_extent(&self, slot: u32) -> Option<Extent> {
        self.asked[slot].next_extent()
    }

    /// Makes the request's next piece: what to ask the engine for. None if none is left, or enough
    /// are in flight.
    pub(super) fn piece(&mut self, slot: u32) -> Option<(Tag, Ask, Extent)> {
        let asked = &mut self.asked[slot];
        let Some(extent) = asked.next_extent() else {
            let flush = asked.in_flight == 0 && std::mem::take(&mut asked.flush_after);
            return flush.then(|| self.flush(slot));
        };
        if !asked.may_emit() {
            return None;
        }
        let ask = asked.ask();
        let index = (extent.offset / REGION - asked.request.offset / REGION) as u32;
        asked.next = extent.end();
        asked.in_flight += 1;
        let tag = Tag(self.pieces.insert(Piece {
            asked: slot,
            index,
            extent,
        }));
        Some((tag, ask, extent))
    }

    fn flush(&mut self, slot: u32) -> (Tag, Ask, Extent) {
        let asked = &mut self.asked[slot];
        asked.in_flight += 1;
        let extent = Extent::default();
        let tag = Tag(self.pieces.insert(Piece {
            asked: slot,
            index: 0,
            extent,
        }));
        (tag, Ask::Flush, extent)
    }

    /// The engine has answered a piece. Keeps the data of a read.
    pub(super) fn answered(&mut self, slab: &mut Slab, tag: Tag, errno: u16, buf: Buf) -> Next {
        let Piece {
            asked: slot,
            index,
            extent,
        } = self.pieces.remove(tag.0);
        let asked = &mut self.asked[slot];
        asked.in_flight -= 1;
        if asked.errno == 0 {
            asked.errno = errno;
        }
        if asked.request.command == Command::Read {
            slab.fulfil(extent.blocks().len as usize, buf);
            if errno == 0 && asked.client.is_some() {
                slab.retain(buf);
                asked.keep(index as usize, buf);
            }
        }
        if asked.next_extent().is_some() {
            // The next piece of a write is made when its payload has come.
            let may = asked.may_emit() && asked.request.command != Command::Write;
            return if may { self.more(slot) } else { Next::Wait };
        }
        if asked.in_flight > 0 || asked.listed {
            return Next::Wait;
        }
        if asked.flush_after && asked.errno == 0 {
            return self.more(slot);
        }
        Next::Done(slot)
    }

    /// Marks a request as listed; false if it is already.
    pub(super) fn list(&mut self, slot: u32) -> bool {
        !std::mem::replace(&mut self.asked[slot].listed, true)
    }

    fn more(&mut self, slot: u32) -> Next {
        if self.list(slot) {
            Next::More(slot)
        } else {
            Next::Wait
        }
    }

    /// More pieces are about to be made; false if the request has been given up meanwhile.
    pub(super) fn unlist(&mut self, slab: &mut Slab, slot: u32) -> bool {
        let asked = &mut self.asked[slot];
        asked.listed = false;
        let given_up = asked.client.is_none() && asked.in_flight == 0;
        if given_up {
            self.finish(slab, slot);
        }
        !given_up
    }

    /// Takes out a request that has been done: what to answer, if its client is still there.
    pub(super) fn finish(&mut self, slab: &mut Slab, slot: u32) -> Option<Answer> {
        let asked = self.asked.remove(slot);
        assert!(
            asked.in_flight == 0 && !asked.listed,
            "nothing of it is left"
        );
        let answer = Answer {
            client: asked.client?,
            request: asked.request,
            errno: asked.errno,
            first: asked.first,
            rest: asked.rest,
        };
        if answer.errno != 0 && answer.request.command == Command::Read {
            return Some(self.without_data(slab, answer));
        }
        Some(answer)
    }

    /// Lets go of the pieces that were read before another one failed.
    fn without_data(&mut self, slab: &mut Slab, mut answer: Answer) -> Answer {
        for buf in std::iter::once(answer.first).chain(answer.rest.drain(..)) {
            if buf.is_some() {
                slab.release(buf);
            }
        }
        answer.first = Buf::NONE;
        answer
    }

    /// Hands the data of a successful read to `give`, piece by piece in order, with its references:
    /// buffer, first byte, length. The end of every answer: takes its list back.
    pub(super) fn data(&mut self, mut answer: Answer, mut give: impl FnMut(Buf, usize, usize)) {
        if answer.request.command == Command::Read && answer.errno == 0 {
            let end = answer.request.offset + u64::from(answer.request.len);
            let mut offset = answer.request.offset;
            for buf in std::iter::once(answer.first).chain(answer.rest.drain(..)) {
                let to = end.min((offset / REGION + 1) * REGION);
                give(buf, (offset % BLOCK) as usize, (to - offset) as usize);
                offset = to;
            }
            assert_eq!(offset, end, "every piece was kept");
        }
        if answer.rest.capacity() > 0 {
            self.lists.push(answer.rest);
        }
    }

    /// A client has gone: nobody waits for its requests any more. What the engine has been asked
    /// for still takes effect.
    pub(super) fn abandon(&mut self, slab: &mut Slab, client: u32) {
        for slot in 0..self.asked.end() {
            let Some(asked) = self.asked.get_mut(slot) else {
                continue;
            };
            if asked.client != Some(client) {
                continue;
            }
            if asked.request.command == Command::Read {
                while let Some(extent) = asked.next_extent() {
                    slab.fulfil(extent.blocks().len as usize, Buf::NONE);
                    asked.next = extent.end();
                }
            }
            for buf in std::iter::once(asked.first).chain(asked.rest.drain(..)) {
                if buf.is_some() {
                    slab.release(buf);
                }
            }
            asked.client = None;
            asked.first = Buf::NONE;
            asked.next = asked.end();
            asked.flush_after = false;
            if asked.in_flight == 0 && !asked.listed {
                self.asked.remove(slot);
            }
        }
    }
}

/// What follows when a piece has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Something else has to happen first.
    Wait,
    /// More pieces of this request may be made: it is to be listed.
    More(u32),
    /// This request has been done.
    Done(u32),
}

#[cfg(test)]
mod tests {
    use super::super::slab::User;
    use super::asked::ZEROES_IN_FLIGHT;
    use super::*;

    fn request(command: Command, offset: u64, len: u32) -> Request {
        Request {
            cookie: 1,
            offset,
            len,
            command,
            fua: false,
            no_hole: false,
            fast_zero: false,
            one_piece: false,
        }
    }

    #[test]
    fn a_read_over_three_regions_is_put_together_in_order() {
        let (mut requests, mut slab) = (Requests::new(), Slab::new().unwrap());
        let asked = request(Command::Read, REGION - 100, 200 + REGION as u32);
        let slot = requests.begin(&mut slab, 3, asked).unwrap();
        let mut pieces = Vec::new();
        while let Some((tag, ask, extent)) = requests.piece(slot) {
            assert_eq!(ask, Ask::Read);
            pieces.push((tag, extent));
        }
        let lens: Vec<_> = pieces.iter().map(|piece| piece.1.len).collect();
        assert_eq!(lens, [100, REGION as u32, 100]);
        let mut bufs = Vec::new();
        for &(tag, extent) in pieces.iter().rev() {
            let buf = slab.take(extent.blocks().len as usize, User::Disk).unwrap();
            bufs.insert(0, buf);
            let next = requests.answered(&mut slab, tag, 0, buf);
            slab.release(buf);
            assert_eq!(
                next == Next::Done(slot),
                extent.len == 100 && bufs.len() == 3
            );
        }
        let answer = requests.finish(&mut slab, slot).unwrap();
        let mut given = Vec::new();
        requests.data(answer, |buf, at, len| given.push((buf, at, len)));
        assert_eq!(
            given,
            [
                (bufs[0], 3996, 100),
                (bufs[1], 0, REGION as usize),
                (bufs[2], 0, 100)
            ]
        );
        given.iter().for_each(|given| slab.release(given.0));
        assert_eq!((slab.used(), requests.len()), (0, 0));
        assert!(slab.promise(REGION as usize, 72), "no promise is left");
    }

    #[test]
    fn a_long_trim_has_a_bounded_number_of_pieces_in_flight_and_one_flush() {
        let (mut requests, mut slab) = (Requests::new(), Slab::new().unwrap());
        let mut asked = request(Command::Trim, 5, 200 << 20);
        asked.fua = true;
        let slot = requests.begin(&mut slab, 0, asked).unwrap();
        let (mut in_flight, mut seen) = (Vec::new(), 0);
        loop {
            while let Some(piece) = requests.piece(slot) {
                in_flight.push(piece);
            }
            assert!(in_flight.len() <= ZEROES_IN_FLIGHT as usize);
            let (tag, ask, _) = in_flight.pop().unwrap();
            seen += 1;
            match requests.answered(&mut slab, tag, 0, Buf::NONE) {
                Next::Wait => {}
                Next::More(more) => assert!(requests.unlist(&mut slab, more)),
                Next::Done(_) => {
                    assert_eq!(ask, Ask::Flush);
                    break;
                }
            }
        }
        assert_eq!(seen, 201 + 1);
        assert!(requests.finish(&mut slab, slot).is_some());
    }

    #[test]
    fn a_client_that_goes_leaves_nothing_behind() {
        let (mut requests, mut slab) = (Requests::new(), Slab::new().unwrap());
        let read = request(Command::Read, 0, 3 << 20);
        let slot = requests.begin(&mut slab, 7, read).unwrap();
        let (tag, ..) = requests.piece(slot).unwrap();
        requests.abandon(&mut slab, 7);
        assert_eq!(requests.len(), 1, "the engine still works on a piece");
        let buf = slab.take(1 << 20, User::Disk).unwrap();
        assert_eq!(requests.answered(&mut slab, tag, 0, buf), Next::Done(slot));
        assert!(requests.finish(&mut slab, slot).is_none());
        slab.release(buf);
        assert_eq!((slab.used(), requests.len()), (0, 0));
        assert!(slab.promise(REGION as usize, 72));
    }
}
