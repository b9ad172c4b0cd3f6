//! The buffers: one aligned arena, cut into pieces of four sizes, counted references.
//!
//! Bytes of a volume lie in a buffer at their own place within blocks, so a buffer holds the whole
//! blocks around an extent. Buffers that a request needs are taken or promised before it is begun:
//! whoever cannot have one is not read from.
//!
//! Volumes of one reactor share the buffers, and nodes that are primary of different volumes wait
//! for each other's. So that they never wait in a circle, each user of a size leaves room for those
//! that it may have to wait for, on this node or another (`User`, in this order); and the data of a
//! client's read comes into a buffer that nobody else can have taken.

#[cfg(test)]
mod tests;

use std::io;

use super::mapping::Mapping;
use crate::engine::io::Buf;
use crate::types::{BLOCK, REGION};

/// Bytes of zeroes kept for disks that cannot zero by themselves; the largest extent.
const ZEROES: usize = REGION as usize;

/// Bytes and number of buffers of each size. Memory is touched only when a buffer is used.
/// Clients' share of the largest holds the longest read that is served (64 MiB, not aligned).
const SIZES: [(usize, u32); 4] = [
    (2 * BLOCK as usize, 1024),
    (64 << 10, 256),
    (256 << 10, 64),
    (REGION as usize, 96),
];

/// How many of the sizes, from the smallest, are registered with the kernel: 24 MiB that stay in
/// memory and save a fifth of the CPU time of small transfers. Large ones gain nothing by it.
const REGISTERED: usize = 2;

/// Who wants a buffer. Each waits only for what comes after it, here or on another node; the last
/// ones wait for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// Data of a client's write: kept until the primary has answered.
    Client,
    /// Data of a request of another node's gateway: kept until every replica has stored it.
    Request,
    /// What is read here to be changed, under a lock that requests wait for: kept as they are.
    Changed,
    /// Data read for another node: kept until a replica has stored it, or a gateway has taken it.
    Sent,
    /// Data of a client's read, where what was promised for it is with a disk that hangs.
    Late,
    /// What only the disk of this node has to do with: a change or copy of another node's primary,
    /// which is kept until it is there, and what is read and not kept.
    Disk,
    /// Data of a read of a client, which was promised to it: comes out of the clients' room.
    Answer,
}

#[derive(Debug)]
struct Size {
    bytes: usize,
    /// Offset of the first buffer in the arena.
    start: usize,
    /// Number of the first buffer.
    first: u32,
    count: u32,
    /// Numbers; the one used last is on top, its memory is warm.
    free: Vec<u32>,
    /// Reads of clients whose data has not come, or is not theirs yet.
    promised: u32,
    /// Buffers that were taken for such data.
    arriving: u32,
}

impl Size {
    /// Buffers that `user` has to leave for others.
    const fn spare(&self, user: User) -> u32 {
        match user {
            User::Client => self.count / 4,
            User::Request => self.count / 16 * 3,
            User::Changed => self.count / 32 * 5,
            User::Sent => self.count / 8,
            User::Late => self.count / 16,
            User::Disk | User::Answer => 0,
        }
    }

    /// Free buffers that are kept for what was promised. One that is still arriving when nobody
    /// waits for it any more stands in for another until it is let go.
    const fn reserved(&self) -> u32 {
        self.promised.saturating_sub(self.arriving)
    }

    fn has(&self, user: User, wanted: u32) -> bool {
        match user {
            User::Answer => self.reserved() >= wanted,
            User::Client | User::Request | User::Changed | User::Sent | User::Late | User::Disk => {
                self.free.len() as u32 >= self.spare(user) + self.reserved() + wanted
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Meta {
    size: u8,
    /// It was taken for data that was promised, and nobody has been given the data yet.
    arriving: bool,
    references: u32,
    /// CRC of `crc_len` bytes at `crc_at`; none if `crc_len` is 0.
    crc: u32,
    crc_at: u32,
    crc_len: u32,
}

/// The buffers of one reactor.
#[derive(Debug)]
pub(super) struct Slab {
    mapping: Mapping,
    zeroes: usize,
    sizes: [Size; SIZES.len()],
    meta: Vec<Meta>,
    /// A buffer has become free since the last `take_freed`.
    freed: bool,
}

impl Slab {
    /// # Errors
    /// The address space cannot be had.
    pub(super) fn new() -> io::Result<Self> {
        let mut arena_len = 0;
        let mut meta = Vec::new();
        let sizes = std::array::from_fn(|index| {
            let (bytes, count) = SIZES[index];
            let size = Size {
                bytes,
                start: arena_len,
                first: meta.len() as u32,
                count,
                free: (0..count).rev().map(|i| meta.len() as u32 + i).collect(),
                promised: 0,
                arriving: 0,
            };
            arena_len += bytes * count as usize;
            meta.resize(
                meta.len() + count as usize,
                Meta {
                    size: index as u8,
                    ..Meta::default()
                },
            );
            size
        });
        let zeroes = arena_len;
        arena_len += ZEROES;
        let mapping = Mapping::new(arena_len)?;
        Ok(Self {
            mapping,
            zeroes,
            sizes,
            meta,
            freed: false,
        })
    }

    fn size_of(&mut self, bytes: usize) -> &mut Size {
        self.sizes
            .iter_mut()
            .find(|size| size.bytes >= bytes)
            .expect("no piece is larger than a region")
    }

    /// A buffer for data of a client's read. What was promised for it may not be there: nothing is
    /// kept for a read that was given up, and what was kept may be with the disk of this node, which
    /// may hang, since before another node became primary.
    pub(super) fn take_answer(&mut self, bytes: usize) -> Option<Buf> {
        let promised = self.take(bytes, User::Answer);
        promised.or_else(|| self.take(bytes, User::Late))
    }

    /// A buffer of at least `bytes` with one reference, if `user` may have one now.
    pub(super) fn take(&mut self, bytes: usize, user: User) -> Option<Buf> {
        let size = self.size_of(bytes);
        if !size.has(user, 1) {
            return None;
        }
        let number = size.free.pop()?;
        let arriving = matches!(user, User::Answer);
        size.arriving += u32::from(arriving);
        let meta = &mut self.meta[number as usize];
        assert_eq!(meta.references, 0, "buffer {number} was free");
        meta.references = 1;
        meta.arriving = arriving;
        meta.crc_len = 0;
        Some(Buf(number))
    }

    /// Sets `count` buffers of at least `bytes` aside for reads of clients; false if there is no
    /// room for them now.
    pub(super) fn promise(&mut self, bytes: usize, count: u32) -> bool {
        let size = self.size_of(bytes);
        let room = size.has(User::Client, count);
        if room {
            size.promised += count;
        }
        room
    }

    /// Whether some read of a client waits for a buffer of this size.
    pub(super) fn is_promised(&mut self, bytes: usize) -> bool {
        self.size_of(bytes).promised > 0
    }

    /// The data of a promised read has come, in `buf`, or never will.
    pub(super) fn fulfil(&mut self, bytes: usize, buf: Buf) {
        let size = self.size_of(bytes);
        assert!(size.promised > 0, "the buffer was promised");
        size.promised -= 1;
        self.freed = true;
        if buf.is_some() {
            self.arrived(buf);
        }
    }

    /// A buffer is no longer one that promised data is coming into.
    fn arrived(&mut self, buf: Buf) {
        let meta = &mut self.meta[buf.0 as usize];
        if std::mem::take(&mut meta.arriving) {
            self.sizes[usize::from(meta.size)].arriving -= 1;
        }
    }

    /// One more user of `buf`.
    pub(super) fn retain(&mut self, buf: Buf) {
        let meta = &mut self.meta[buf.0 as usize];
        assert!(meta.references > 0, "buffer {} is in use", buf.0);
        meta.references += 1;
    }

    /// One user less.
    pub(super) fn release(&mut self, buf: Buf) {
        let meta = &mut self.meta[buf.0 as usize];
        assert!(meta.references > 0, "buffer {} is in use", buf.0);
        meta.references -= 1;
        if meta.references == 0 {
            let size = usize::from(meta.size);
            self.arrived(buf);
            self.sizes[size].free.push(buf.0);
            self.freed = true;
        }
    }

    /// Whether a buffer has become free since the last call.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Buffers in use.
    pub(super) fn used(&self) -> usize {
        self.sizes
            .iter()
            .map(|size| size.count as usize - size.free.len())
            .sum()
    }

    /// Offset in the arena of `len` bytes at `at` of `buf`.
    fn place(&self, buf: Buf, at: usize, len: usize) -> usize {
        let meta = &self.meta[buf.0 as usize];
        assert!(meta.references > 0, "buffer {} is in use", buf.0);
        let size = &self.sizes[usize::from(meta.size)];
        assert!(
            at.checked_add(len).is_some_and(|end| end <= size.bytes),
            "bytes {at}+{len} of a buffer of {}",
            size.bytes
        );
        size.start + (buf.0 - size.first) as usize * size.bytes + at
    }

    /// Address of `len` bytes at `at` of `buf`, for the kernel: valid while `buf` has a reference.
    pub(super) fn address(&self, buf: Buf, at: usize, len: usize) -> *mut u8 {
        // SAFETY: `place` lies within the arena.
        unsafe { self.mapping.start.as_ptr().add(self.place(buf, at, len)) }
    }

    /// Address of a region's worth of zeroes, for the kernel to write from.
    pub(super) fn zeroes(&self) -> *const u8 {
        // SAFETY: `zeroes` lies within the arena.
        unsafe { self.mapping.start.as_ptr().add(self.zeroes) }
    }

    /// Bytes of a buffer.
    pub(super) fn bytes(&self, buf: Buf, at: usize, len: usize) -> &[u8] {
        // SAFETY: the range lies within the buffer, whose memory is mapped and initialised (zero or
        // written). Its owner asks for the bytes only when no operation that writes them is in
        // flight; everybody else who could write needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.address(buf, at, len), len) }
    }

    /// Bytes of a buffer, to be written.
    pub(super) fn bytes_mut(&mut self, buf: Buf, at: usize, len: usize) -> &mut [u8] {
        self.meta[buf.0 as usize].crc_len = 0;
        // SAFETY: as for `bytes`; `&mut self` makes this the only slice.
        unsafe { std::slice::from_raw_parts_mut(self.address(buf, at, len), len) }
    }

    /// The memory that is to be registered: address and length.
    pub(super) fn registered(&self) -> (*const u8, usize) {
        let len = self.sizes[REGISTERED].start;
        (self.mapping.start.as_ptr(), len)
    }

    /// Whether a buffer lies in the memory that is to be registered.
    pub(super) fn is_registered(&self, buf: Buf) -> bool {
        usize::from(self.meta[buf.0 as usize].size) < REGISTERED
    }

    /// Copies bytes between two buffers, or within one.
    pub(super) fn copy(&mut self, from: Buf, from_at: usize, to: Buf, to_at: usize, len: usize) {
        self.meta[to.0 as usize].crc_len = 0;
        let source = self.address(from, from_at, len);
        let target = self.address(to, to_at, len);
        // SAFETY: both ranges lie within buffers in use; `copy` allows that they overlap.
        unsafe { std::ptr::copy(source, target, len) };
    }

    /// CRC-32 of bytes of a buffer; computed once for as long as they stay the same.
    pub(super) fn crc(&mut self, buf: Buf, at: usize, len: usize) -> u32 {
        let meta = self.meta[buf.0 as usize];
        if meta.crc_len as usize == len && meta.crc_at as usize == at && len > 0 {
            return meta.crc;
        }
        let crc = crc32fast::hash(self.bytes(buf, at, len));
        let meta = &mut self.meta[buf.0 as usize];
        (meta.crc, meta.crc_at, meta.crc_len) = (crc, at as u32, len as u32);
        crc
    }
}
