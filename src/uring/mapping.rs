//! Memory of the kernel's own making: aligned, in large pages where the machine has them.

use std::io;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Bytes of a large page, and the alignment of a mapping.
const LARGE: usize = 2 << 20;

/// An anonymous, private mapping, zeroed.
#[derive(Debug)]
pub(super) struct Mapping {
    /// First byte; a multiple of 2 MiB.
    pub(super) start: NonNull<u8>,
    mapped: NonNull<u8>,
    mapped_len: usize,
}

impl Mapping {
    /// # Errors
    /// The address space cannot be had.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let mapped_len = len + LARGE;
        // SAFETY: a new private mapping at an address of the kernel's choice touches no other
        // memory.
        let mapped = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped_len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let mapped: NonNull<u8> = NonNull::new(mapped.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let skip = mapped.align_offset(LARGE);
        assert!(skip <= LARGE, "an address can be aligned");
        // SAFETY: `skip` is at most what was mapped in addition.
        let start = unsafe { mapped.add(skip) };
        // Large pages make large transfers cheap: one piece of memory in place of 256 for a region.
        // Where there are none it works as well.
        // SAFETY: the range was mapped above; the advice changes nothing that can be seen.
        let _ = unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxHugepage) };
        Ok(Self {
            start,
            mapped,
            mapped_len,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `new`, and whoever has handed out addresses of it keeps it until
        // nobody uses them. An error could only mean that it is not mapped.
        let _ = unsafe { munmap(self.mapped.as_ptr().cast(), self.mapped_len) };
    }
}
