//! Disk operations: from the engine's effects to the ring and back.
//!
//! Short transfers are completed here, and what a device cannot do is done another way; an error
//! that remains goes to the engine as its `errno`.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use rustix::io::Errno;

use super::ring::Ring;
use super::slab::{Slab, User};
use super::slots::Slots;
use super::token::Token;
use crate::engine::io::{Buf, Content, DiskId, Event, Fate, Probe};
use crate::types::{Extent, Time};
use crate::wire::digest::digest;
use crate::wire::frame::Change;

/// `RWF_DSYNC`: durable when it ends.
const DSYNC: i32 = 0x2;
/// `FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE`
const PUNCH: i32 = 0x1 | 0x2;
/// `FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE`
const ZERO_RANGE: i32 = 0x1 | 0x10;

/// What an operation does; extents are of the volume's data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// Into a buffer that is taken when one is free.
    Read {
        extent: Extent,
        probe: Probe,
        fate: Fate,
    },
    /// From a buffer, which is kept meanwhile.
    Write { extent: Extent, buf: Buf },
    /// Make the extent read as zeroes.
    Zero { extent: Extent, change: Change },
    /// Make durable what has completed.
    Flush,
    /// Write a page of metadata durably, at a byte offset of the store.
    Meta { offset: u64, page: *const u8 },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read { buf: Buf, probe: Probe },
    Write { buf: Buf },
    Fallocate { mode: i32 },
    WriteZeroes,
    Flush,
    Meta { page: *const u8 },
}

/// Whose operation it is, and on which file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// Which volume of the reactor.
    pub(super) volume: usize,
    /// The engine's number.
    pub(super) id: DiskId,
    /// The store; open for as long as the reactor runs.
    pub(super) file: RawFd,
    /// Byte offset of the volume's data in the store.
    pub(super) data: u64,
}

/// One operation in flight.
#[derive(Clone, Copy, Debug)]
struct Operation {
    owner: Owner,
    kind: Kind,
    /// Byte offset in the store.
    offset: u64,
    len: usize,
    /// Bytes that have been transferred.
    done: usize,
    began: Time,
    serial: u64,
}

/// The disk operations of one reactor.
#[derive(Debug)]
pub(super) struct Disk {
    operations: Slots<Operation>,
    /// In the order in which they began; those that have ended are dropped when they come first.
    order: VecDeque<(u32, u64)>,
    /// Reads that found no buffer.
    waiting: VecDeque<(Owner, Work)>,
    serial: u64,
    /// Whether the slab's small buffers are registered, as buffer 0.
    fixed: bool,
}

impl Disk {
    pub(super) const fn new(fixed: bool) -> Self {
        Self {
            operations: Slots::new(),
            order: VecDeque::new(),
            waiting: VecDeque::new(),
            serial: 0,
            fixed,
        }
    }

    /// Operations in flight.
    pub(super) const fn len(&self) -> usize {
        self.operations.len()
    }

    /// When the oldest operation in flight began.
    pub(super) fn oldest(&mut self) -> Option<Time> {
        while let Some(&(slot, serial)) = self.order.front() {
            match self.operations.get(slot) {
                Some(operation) if operation.serial == serial => return Some(operation.began),
                _ => self.order.pop_front(),
            };
        }
        None
    }

    /// Begins an operation, or lets it wait for a buffer.
    pub(super) fn begin(
        &mut self,
        ring: &mut Ring,
        slab: &mut Slab,
        now: Time,
        owner: Owner,
        work: Work,
    ) {
        let (kind, offset, len) = match work {
            Work::Read {
                extent,
                probe,
                fate,
            } => {
                assert!(extent.is_aligned(), "the disk is read in blocks");
                let bytes = extent.len as usize;
                let buf = match fate {
                    Fate::Answered => slab.take_answer(bytes),
                    Fate::Changed => slab.take(bytes, User::Changed),
                    Fate::Sent => slab.take(bytes, User::Sent),
                    Fate::Dropped => slab.take(bytes, User::Disk),
                };
                let Some(buf) = buf else {
                    self.waiting.push_back((owner, work));
                    return;
                };
                let kind = Kind::Read { buf, probe };
                (kind, owner.data + extent.offset, extent.len)
            }
            Work::Write { extent, buf } => {
                assert!(extent.is_aligned(), "the disk is written in blocks");
                slab.retain(buf);
                (Kind::Write { buf }, owner.data + extent.offset, extent.len)
            }
            Work::Zero { extent, change } => {
                assert!(extent.is_aligned(), "the disk is zeroed in blocks");
                let mode = match change {
                    Change::ZeroAllocated => ZERO_RANGE,
                    Change::Write | Change::Zero | Change::Trim => PUNCH,
                };
                let kind = Kind::Fallocate { mode };
                (kind, owner.data + extent.offset, extent.len)
            }
            Work::Flush => (Kind::Flush, 0, 0),
            Work::Meta { offset, page } => (Kind::Meta { page }, offset, 4096),
        };
        self.serial += 1;
        let operation = Operation {
            owner,
            kind,
            offset,
            len: len as usize,
            done: 0,
            began: now,
            serial: self.serial,
        };
        let slot = self.operations.insert(operation);
        self.order.push_back((slot, self.serial));
        self.push(ring, slab, slot);
    }

    /// Buffers have become free: begins the reads that wait for one.
    pub(super) fn retry(&mut self, ring: &mut Ring, slab: &mut Slab, now: Time) {
        for _ in 0..self.waiting.len() {
            if let Some((owner, work)) = self.waiting.pop_front() {
                self.begin(ring, slab, now, owner, work);
            }
        }
    }

    /// Gives what is left of an operation to the kernel.
    fn push(&mut self, ring: &mut Ring, slab: &Slab, slot: u32) {
        let Operation {
            owner,
            kind,
            offset,
            len,
            done,
            ..
        } = self.operations[slot];
        let file = types::Fd(owner.file);
        let (at, left) = (offset + done as u64, len - done);
        let entry: squeue::Entry = match kind {
            Kind::Read { buf, .. } => {
                let address = slab.address(buf, done, left);
                if self.fixed && slab.is_registered(buf) {
                    opcode::ReadFixed::new(file, address, left as u32, 0)
                        .offset(at)
                        .build()
                } else {
                    opcode::Read::new(file, address, left as u32)
                        .offset(at)
                        .build()
                }
            }
            Kind::Write { buf } => {
                let address = slab.address(buf, done, left);
                if self.fixed && slab.is_registered(buf) {
                    opcode::WriteFixed::new(file, address, left as u32, 0)
                        .offset(at)
                        .build()
                } else {
                    opcode::Write::new(file, address, left as u32)
                        .offset(at)
                        .build()
                }
            }
            Kind::Fallocate { mode } => opcode::Fallocate::new(file, left as u64)
                .offset(at)
                .mode(mode)
                .build(),
            Kind::WriteZeroes => opcode::Write::new(file, slab.zeroes(), left as u32)
                .offset(at)
                .build(),
            Kind::Flush => opcode::Fsync::new(file)
                .flags(types::FsyncFlags::DATASYNC)
                .build(),
            Kind::Meta { page } => opcode::Write::new(file, page.wrapping_add(done), left as u32)
                .offset(at)
                .rw_flags(DSYNC)
                .build(),
        };
        // SAFETY: the store stays open while the reactor runs. `operations` keeps a reference to
        // the buffer until `ended`; a buffer that is read into is known to nobody else before that,
        // one that is written from is not changed while somebody else has a reference to it (the
        // engine's contract), and neither are the pages of the engine's metadata, which stay where
        // they are as long as the volume lives; the zeroes are never written.
        unsafe { ring.push(entry, Token::Disk(slot)) };
    }

    /// A completion: says which volume's operation has ended, and how; none if it goes on.
    pub(super) fn ended(
        &mut self,
        ring: &mut Ring,
        slab: &mut Slab,
        slot: u32,
        result: Result<u32, u16>,
    ) -> Option<(usize, Event)> {
        let operation = &mut self.operations[slot];
        let transfers = !matches!(operation.kind, Kind::Flush | Kind::Fallocate { .. });
        let errno = match result {
            Ok(count) if transfers => {
                operation.done += count as usize;
                if count > 0 && operation.done < operation.len {
                    self.push(ring, slab, slot);
                    return None;
                }
                // Nothing was transferred and no error given: the store is shorter than its layout.
                if operation.done < operation.len {
                    Errno::IO.raw_os_error() as u16
                } else {
                    0
                }
            }
            Ok(_) => 0,
            Err(errno) => match (Errno::from_raw_os_error(i32::from(errno)), operation.kind) {
                // The last: the kernel had no thread for it, and did nothing.
                (Errno::INTR | Errno::AGAIN | Errno::CANCELED, _) => {
                    self.push(ring, slab, slot);
                    return None;
                }
                (Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL, Kind::Fallocate { .. }) => {
                    operation.kind = Kind::WriteZeroes;
                    self.push(ring, slab, slot);
                    return None;
                }
                _ => errno,
            },
        };
        let Operation {
            owner, kind, len, ..
        } = self.operations.remove(slot);
        let (mut data, mut content) = (Buf::NONE, Content::Data);
        match kind {
            Kind::Read { buf, probe } if errno == 0 => {
                data = buf;
                content = look(probe, slab.bytes(buf, 0, len));
            }
            Kind::Read { buf, .. } | Kind::Write { buf } => slab.release(buf),
            Kind::Fallocate { .. } | Kind::WriteZeroes | Kind::Flush | Kind::Meta { .. } => {}
        }
        Some((
            owner.volume,
            Event::Disk {
                id: owner.id,
                errno,
                buf: data,
                content,
            },
        ))
    }
}

/// What was asked about data that was read.
fn look(probe: Probe, bytes: &[u8]) -> Content {
    match probe {
        Probe::Zero | Probe::Digest if is_zero(bytes) => Content::Zero,
        Probe::Digest => Content::Digest(digest(bytes)),
        Probe::Nothing | Probe::Zero => Content::Data,
    }
}

/// Whether every byte is zero.
fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(256)
        .all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}
