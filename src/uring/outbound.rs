//! Bytes on their way to one socket: headers and buffers of the slab, in order, by reference.
//!
//! What is ready is handed over in one call, at once and without waiting; only what the socket does
//! not take goes through the ring, one operation at a time, and is continued until nothing is left.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{opcode, types};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::ring::{Ring, Vector};
use super::slab::Slab;
use super::token::Token;
use crate::engine::io::Buf;

/// Pieces of one call; the kernel takes up to 1024.
const PIECES: usize = 128;

#[derive(Clone, Copy, Debug)]
enum Piece {
    /// Bytes `from..to` of the headers.
    Head { from: u32, to: u32 },
    /// Bytes of a buffer, which is released when they have gone.
    Data { buf: Buf, at: u32, len: u32 },
}

/// Headers and data, in order.
#[derive(Debug, Default)]
struct Batch {
    heads: Vec<u8>,
    pieces: Vec<Piece>,
    /// Pieces that have gone.
    done: usize,
    /// Bytes of the next piece that have gone.
    part: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.done == self.pieces.len()
    }

    /// The bytes of the next piece from `part` on.
    fn slice<'a>(&'a self, slab: &'a Slab, index: usize, part: usize) -> IoSlice<'a> {
        IoSlice::new(match self.pieces[index] {
            Piece::Head { from, to } => &self.heads[from as usize + part..to as usize],
            Piece::Data { buf, at, len } => {
                slab.bytes(buf, at as usize + part, len as usize - part)
            }
        })
    }

    /// Fills `into` with the next pieces; says how many.
    fn gather<'a>(&'a self, slab: &'a Slab, into: &mut [IoSlice<'a>]) -> usize {
        let mut part = self.part;
        let mut count = 0;
        for index in self.done..self.pieces.len().min(self.done + into.len()) {
            into[count] = self.slice(slab, index, part);
            part = 0;
            count += 1;
        }
        count
    }

    /// `sent` more bytes have gone.
    fn advance(&mut self, slab: &mut Slab, mut sent: usize) {
        while sent > 0 {
            let piece = self.pieces[self.done];
            let len = match piece {
                Piece::Head { from, to } => (to - from) as usize,
                Piece::Data { len, .. } => len as usize,
            };
            if sent < len - self.part {
                self.part += sent;
                return;
            }
            sent -= len - self.part;
            self.part = 0;
            self.done += 1;
            if let Piece::Data { buf, .. } = piece {
                slab.release(buf);
            }
        }
        if self.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.pieces.clear();
        self.done = 0;
        self.part = 0;
    }

    fn abandon(&mut self, slab: &mut Slab) {
        for piece in &self.pieces[self.done..] {
            if let Piece::Data { buf, .. } = *piece {
                slab.release(buf);
            }
        }
        self.clear();
    }
}

/// The bytes on their way to one socket.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Being gathered.
    next: Batch,
    /// Begun; goes before `next`. The kernel reads from it while `busy`.
    flying: Batch,
    /// Where the operation in flight finds its bytes.
    vectors: Vec<Vector>,
    busy: bool,
    /// Bytes that have not gone.
    backlog: usize,
}

impl Outbound {
    /// Appends a header of `len` bytes, which the caller fills in.
    pub(super) fn head(&mut self, len: usize) -> &mut [u8] {
        let from = self.next.heads.len();
        let to = from + len;
        self.next.heads.resize(to, 0);
        match self.next.pieces.last_mut() {
            Some(Piece::Head { to: end, .. }) => *end = to as u32,
            _ => self.next.pieces.push(Piece::Head {
                from: from as u32,
                to: to as u32,
            }),
        }
        self.backlog += len;
        &mut self.next.heads[from..]
    }

    /// Appends bytes of a buffer and takes over one reference to it.
    pub(super) fn data(&mut self, buf: Buf, at: usize, len: usize) {
        self.next.pieces.push(Piece::Data {
            buf,
            at: at as u32,
            len: len as u32,
        });
        self.backlog += len;
    }

    /// Bytes that have not gone.
    pub(super) const fn backlog(&self) -> usize {
        self.backlog
    }

    /// Whether an operation is in flight; its completion goes to `sent`.
    pub(super) const fn busy(&self) -> bool {
        self.busy
    }

    /// Hands over what is there.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(
        &mut self,
        fd: BorrowedFd<'_>,
        slab: &mut Slab,
        ring: &mut Ring,
        token: Token,
    ) -> Result<(), Errno> {
        if self.busy {
            return Ok(());
        }
        while self.backlog > 0 {
            if self.flying.is_empty() {
                std::mem::swap(&mut self.flying, &mut self.next);
            }
            let mut slices = [IoSlice::new(&[]); PIECES];
            let count = self.flying.gather(slab, &mut slices);
            let wanted: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            let sent = sendmsg(
                fd,
                &slices[..count],
                &mut SendAncillaryBuffer::default(),
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            );
            let sent = match sent {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => 0,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            self.flying.advance(slab, sent);
            self.backlog -= sent;
            if sent < wanted {
                self.launch(fd, slab, ring, token);
                break;
            }
        }
        Ok(())
    }

    /// Lets the ring wait until the socket takes more.
    fn launch(&mut self, fd: BorrowedFd<'_>, slab: &Slab, ring: &mut Ring, token: Token) {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let count = self.flying.gather(slab, &mut slices);
        self.vectors.clear();
        self.vectors
            .extend(slices[..count].iter().map(|slice| Vector {
                base: slice.as_ptr(),
                len: slice.len(),
            }));
        let entry = opcode::Writev::new(
            types::Fd(fd.as_raw_fd()),
            self.vectors.as_ptr().cast(),
            count as u32,
        )
        .build();
        self.busy = true;
        // SAFETY: until `sent` is called with the completion, `vectors` and `flying` are not
        // changed, `flying` holds a reference to each buffer, and the owner of this `Outbound`
        // keeps both it and the socket.
        unsafe { ring.push(entry, token) };
    }

    /// The operation in flight has ended.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn sent(&mut self, slab: &mut Slab, result: Result<u32, u16>) -> Result<(), Errno> {
        assert!(self.busy, "an operation was in flight");
        self.busy = false;
        match result {
            Ok(sent) => {
                self.flying.advance(slab, sent as usize);
                self.backlog -= sent as usize;
                Ok(())
            }
            Err(errno) => match Errno::from_raw_os_error(i32::from(errno)) {
                Errno::AGAIN | Errno::INTR => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Gives up what has not gone. Not while an operation is in flight.
    pub(super) fn abandon(&mut self, slab: &mut Slab) {
        assert!(!self.busy, "the kernel has done with the buffers");
        self.flying.abandon(slab);
        self.next.abandon(slab);
        self.backlog = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::super::slab::User;
    use super::*;
    use crate::forks::forbidden;

    /// Sends until everything has gone; calls `full` whenever the socket takes no more.
    fn drain(
        (out, socket): (&mut Outbound, &UnixStream),
        slab: &mut Slab,
        ring: &mut Ring,
        mut full: impl FnMut(),
    ) {
        let mut completions = Vec::new();
        loop {
            out.flush(socket.as_fd(), slab, ring, Token::ClientSend(0))
                .unwrap();
            if !out.busy() {
                return;
            }
            full();
            ring.wait(None).unwrap();
            ring.reap(&mut completions, usize::MAX);
            for completion in completions.drain(..) {
                out.sent(slab, completion.count()).unwrap();
            }
        }
    }

    #[test]
    fn a_slow_reader_gets_every_byte_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        // Less than what follows, whatever the system's default is.
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, 64 << 10).unwrap();
        let (mut slab, mut ring) = (Slab::new().unwrap(), Ring::new().unwrap());
        let mut out = Outbound::default();
        let mut expected = Vec::new();
        for round in 0..200_u32 {
            out.head(4).copy_from_slice(&round.to_le_bytes());
            expected.extend(round.to_le_bytes());
            if round % 3 == 0 {
                let len = 1 + round as usize * 37;
                let buf = slab.take(len + 9, User::Client).unwrap();
                slab.bytes_mut(buf, 9, len).fill(round as u8);
                out.data(buf, 9, len);
                expected.resize(expected.len() + len, round as u8);
            }
        }
        assert_eq!(out.backlog(), expected.len());
        let (full, is_full) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            is_full.recv().expect("the socket was full at some time");
            let mut bytes = Vec::new();
            theirs.read_to_end(&mut bytes).unwrap();
            bytes
        });
        drain((&mut out, &ours), &mut slab, &mut ring, || {
            // Nobody listens after the first time.
            let _reads = full.send(());
        });
        drop((ours, full));
        assert!(reader.join().unwrap() == expected);
        assert_eq!((slab.used(), out.backlog()), (0, 0));
    }

    #[test]
    fn what_has_not_gone_is_let_go() {
        let mut slab = Slab::new().unwrap();
        let mut out = Outbound::default();
        let buf = slab.take(4096, User::Client).unwrap();
        out.head(16).fill(1);
        out.data(buf, 0, 4096);
        out.abandon(&mut slab);
        assert_eq!((slab.used(), out.backlog()), (0, 0));
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error() {
        let _quiet = forbidden();
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let (mut slab, mut ring) = (Slab::new().unwrap(), Ring::new().unwrap());
        let mut out = Outbound::default();
        out.head(16).fill(1);
        let sent = out.flush(ours.as_fd(), &mut slab, &mut ring, Token::ClientSend(0));
        assert_eq!(sent, Err(Errno::PIPE));
    }
}
