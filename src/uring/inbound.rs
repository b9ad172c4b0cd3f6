//! Bytes that come from one socket.
//!
//! Small things are parsed (and small payloads copied) out of one receive buffer, so that one
//! receive brings many requests. The rest of a large payload is received straight into its buffer
//! of the slab. One receive is in flight at a time, and none while the owner does not want more.

use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{opcode, types};

use super::ring::Ring;
use super::slab::Slab;
use super::token::Token;
use crate::engine::io::Buf;

/// Bytes of the receive buffer.
const BYTES: usize = 256 << 10;
/// Payloads up to this size wait in the receive buffer until they are whole.
const COPIED: usize = 32 << 10;
/// Less room than this at the end of the receive buffer: move what is there to its beginning.
const ROOM: usize = 64 << 10;
/// `MSG_WAITALL`
const WAIT_ALL: i32 = 0x100;

/// A payload that is being received into the slab.
#[derive(Clone, Copy, Debug)]
struct Filling {
    buf: Buf,
    at: usize,
    left: usize,
}

/// How far a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// All of it is in its buffer.
    Whole,
    /// More bytes have to come first; ask again then.
    Awaited,
}

/// The bytes that come from one socket.
#[derive(Debug)]
pub(super) struct Inbound {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    filling: Option<Filling>,
    busy: bool,
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            filling: None,
            busy: false,
        }
    }

    /// Bytes that have come and have not been consumed.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Forgets the first `count` unread bytes.
    pub(super) fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "the bytes have come");
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Whether a receive is in flight; its completion goes to `received`.
    pub(super) const fn busy(&self) -> bool {
        self.busy
    }

    /// Moves a payload of `len` bytes to `at` of `buf`. The same arguments are given again after
    /// `Payload::Awaited`, with nothing consumed in between; the caller keeps `buf` until then.
    pub(super) fn payload(&mut self, slab: &mut Slab, buf: Buf, at: usize, len: usize) -> Payload {
        if let Some(filling) = self.filling {
            assert_eq!(filling.buf, buf, "one payload at a time");
            if filling.left > 0 {
                return Payload::Awaited;
            }
            self.filling = None;
            return Payload::Whole;
        }
        let there = self.end - self.start;
        if there < len && len <= COPIED {
            return Payload::Awaited;
        }
        let copied = there.min(len);
        slab.bytes_mut(buf, at, copied)
            .copy_from_slice(&self.bytes[self.start..self.start + copied]);
        self.consume(copied);
        if copied == len {
            return Payload::Whole;
        }
        self.filling = Some(Filling {
            buf,
            at: at + copied,
            left: len - copied,
        });
        Payload::Awaited
    }

    /// Asks for more bytes, unless that has been done.
    pub(super) fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        slab: &Slab,
        ring: &mut Ring,
        token: Token,
    ) {
        if self.busy {
            return;
        }
        let (address, len, flags) = if let Some(Filling { buf, at, left }) = self.filling {
            assert!(left > 0 && self.start == self.end, "the payload comes next");
            (slab.address(buf, at, left), left, WAIT_ALL)
        } else {
            if BYTES - self.end < ROOM {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            let free = &mut self.bytes[self.end..];
            assert!(!free.is_empty(), "whoever does not consume does not ask");
            (free.as_mut_ptr(), free.len(), 0)
        };
        let entry = opcode::Recv::new(types::Fd(fd.as_raw_fd()), address, len as u32)
            .flags(flags)
            .build();
        self.busy = true;
        // SAFETY: until `received` is called with the completion, neither the end of `bytes` nor
        // `filling` changes, nobody reads the memory asked for, and the owner of this `Inbound`
        // keeps it, the buffer and the socket.
        unsafe { ring.push(entry, token) };
    }

    /// The receive has ended with this many bytes.
    pub(super) fn received(&mut self, count: usize) {
        assert!(self.busy, "a receive was in flight");
        self.busy = false;
        match &mut self.filling {
            Some(filling) => {
                filling.at += count;
                filling.left -= count;
            }
            None => self.end += count,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::super::slab::User;
    use super::*;

    /// Waits for more bytes; none come after the end.
    fn more(inbound: &mut Inbound, socket: &UnixStream, slab: &Slab, ring: &mut Ring) -> usize {
        inbound.receive(socket.as_fd(), slab, ring, Token::ClientReceive(0));
        let mut completions = Vec::new();
        while completions.is_empty() {
            ring.wait(None).unwrap();
            ring.reap(&mut completions, usize::MAX);
        }
        let count = completions[0].count().unwrap() as usize;
        inbound.received(count);
        count
    }

    #[test]
    fn small_and_large_payloads_arrive_whole_and_in_their_place() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut slab, mut ring) = (Slab::new().unwrap(), Ring::new().unwrap());
        let lens = [1, 4096, 32 << 10, (32 << 10) + 1, 1 << 20, 7, 300_000, 5000];
        let writer = std::thread::spawn(move || {
            for (index, len) in lens.into_iter().enumerate() {
                let mut bytes = (len as u32).to_le_bytes().to_vec();
                bytes.resize(4 + len, index as u8 + 1);
                // In parts that end anywhere.
                for part in bytes.chunks(77_777) {
                    theirs.write_all(part).unwrap();
                }
            }
        });
        let mut inbound = Inbound::new();
        for (index, len) in lens.into_iter().enumerate() {
            while inbound.unread().len() < 4 {
                assert!(more(&mut inbound, &ours, &slab, &mut ring) > 0);
            }
            assert_eq!(inbound.unread()[..4], (len as u32).to_le_bytes());
            inbound.consume(4);
            let at = index % 3;
            let buf = slab.take((at + len).min(1 << 20), User::Client).unwrap();
            let at = if len == 1 << 20 { 0 } else { at };
            while inbound.payload(&mut slab, buf, at, len) == Payload::Awaited {
                assert!(more(&mut inbound, &ours, &slab, &mut ring) > 0);
            }
            assert!(
                slab.bytes(buf, at, len)
                    .iter()
                    .all(|&byte| byte == index as u8 + 1)
            );
            slab.release(buf);
        }
        assert_eq!(inbound.unread(), b"");
        assert_eq!(more(&mut inbound, &ours, &slab, &mut ring), 0);
        writer.join().unwrap();
    }
}
