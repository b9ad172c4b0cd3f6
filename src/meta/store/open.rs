//! Opens a store: locks it, reads it, compares it with what is expected.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::Identity;
use super::aligned::{Aligned, read_exact};
use super::error::{Error, Problem};
use crate::meta::recover::{Read, recover};
use crate::meta::recovered::Recovered;
use crate::meta::superblock::UNFINISHED;
use crate::meta::{PAGE, Refused, bytes};

/// Between two attempts to take a lock.
const RETRY: Duration = Duration::from_millis(2);
/// Most bytes of one read.
const READ_MAX: usize = 1 << 20;
/// So much of the beginning of a device must be zero for it to count as empty.
const HEAD: u64 = 4 << 20;
/// And so much of its end: a partition table's copy, the metadata of DRBD or MD.
const TAIL: u64 = 1 << 20;

/// A store, locked and read.
#[derive(Debug)]
pub struct Opened {
    /// For reading and writing with `O_DIRECT`. The exclusive lock ends when it is closed.
    pub file: OwnedFd,
    /// What it said.
    pub recovered: Recovered,
}

/// What kind of thing a store is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    File,
    Device,
}

/// Opens the store at `path`, which must be the one that is expected.
///
/// A killed daemon still writes: its lock is free only when its last write has landed. So this
/// waits for it, for at most `wait`; a lock that is held longer is another running process's.
/// Nothing is read before the lock is held, and nothing is written.
pub fn open(path: &Path, expected: &Identity, wait: Duration) -> Result<Opened, Error> {
    let medium = medium(path)?;
    let file = lock(path, medium, wait)?;
    let size = size(path, file.as_fd())?;
    let refuse = |problem| Err(Error::new(path, problem));
    let recovered = match read_with(file.as_fd(), |read| recover(read, size)) {
        Ok(recovered) => recovered,
        Err(foreign @ Refused::Foreign { .. }) => {
            if is_unfinished(file.as_fd(), size) {
                return refuse(Problem::Unfinished);
            }
            if is_blank(path, file.as_fd(), medium, size)? {
                return refuse(Problem::Blank);
            }
            return refuse(Problem::Refused(foreign));
        }
        Err(refused) => return refuse(Problem::Refused(refused)),
    };
    match mismatch(&recovered, expected) {
        Some(refused) => refuse(Problem::Refused(refused)),
        None => Ok(Opened { file, recovered }),
    }
}

/// The first thing in which a store is not the expected one.
fn mismatch(found: &Recovered, expected: &Identity) -> Option<Refused> {
    if found.cluster != expected.cluster {
        Some(Refused::OtherCluster {
            found: found.cluster,
            expected: expected.cluster,
        })
    } else if found.volume != expected.volume {
        Some(Refused::OtherVolume {
            found: found.volume,
            expected: expected.volume,
        })
    } else if found.node != expected.node {
        Some(Refused::OtherNode {
            found: found.node,
            expected: expected.node,
        })
    } else if found.store.name() != expected.store.name() {
        Some(Refused::OtherStore {
            found: found.store,
            expected: expected.store,
        })
    } else if found.size != expected.size {
        Some(Refused::OtherSize {
            found: found.size,
            expected: expected.size,
        })
    } else {
        None
    }
}

/// What is at `path`.
pub(super) fn medium(path: &Path) -> Result<Medium, Error> {
    match rustix::fs::stat(path) {
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Medium::File),
            FileType::BlockDevice => Ok(Medium::Device),
            _ => Err(Error::new(path, Problem::NotAStore)),
        },
        Err(Errno::NOENT) => Err(Error::new(path, Problem::Missing)),
        Err(error) => Err(Error::io(path, "looking at it")(error)),
    }
}

/// Opens for reading and writing, and takes the exclusive lock within `wait`.
pub(super) fn lock(path: &Path, medium: Medium, wait: Duration) -> Result<OwnedFd, Error> {
    let base = OFlags::RDWR | OFlags::CLOEXEC | OFlags::DIRECT;
    let begun = Instant::now();
    loop {
        // Of a device the opening itself is the lock, and keeps out a mount as well.
        let flags = match medium {
            Medium::File => base,
            Medium::Device => base | OFlags::EXCL,
        };
        let held = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => match medium {
                Medium::Device => return Ok(file),
                Medium::File => {
                    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                        // Unless it was replaced by another file before it was locked.
                        Ok(()) if is_at(path, file.as_fd()) => return Ok(file),
                        Ok(()) => Errno::BUSY,
                        Err(error) => error,
                    }
                }
            },
            Err(Errno::INVAL) => return Err(Error::new(path, Problem::NoDirectIo)),
            Err(error) => error,
        };
        match held {
            Errno::WOULDBLOCK | Errno::BUSY | Errno::INTR => {}
            error => return Err(Error::io(path, "opening it")(error)),
        }
        let waited = begun.elapsed();
        if waited >= wait {
            return Err(Error::new(path, Problem::InUse { waited }));
        }
        std::thread::sleep(RETRY);
    }
}

/// Whether `path` leads to this file.
fn is_at(path: &Path, file: BorrowedFd<'_>) -> bool {
    match (rustix::fs::stat(path), rustix::fs::fstat(file)) {
        (Ok(there), Ok(here)) => (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino),
        _ => false,
    }
}

/// Bytes of a file or device.
pub(super) fn size(path: &Path, file: BorrowedFd<'_>) -> Result<u64, Error> {
    rustix::fs::seek(file, SeekFrom::End(0)).map_err(Error::io(path, "asking for its size"))
}

/// Calls `work` with a function that reads the file.
pub(super) fn read_with<T>(file: BorrowedFd<'_>, work: impl FnOnce(&mut Read<'_>) -> T) -> T {
    let mut buffer = Aligned::new(READ_MAX);
    work(&mut |offset, buf| {
        for (offset, piece) in (offset..).step_by(READ_MAX).zip(buf.chunks_mut(READ_MAX)) {
            let aligned = &mut buffer.bytes()[..piece.len()];
            read_exact(file, offset, aligned)?;
            piece.copy_from_slice(aligned);
        }
        Ok(())
    })
}

/// Whether a store was being made here when that was cut off.
pub(super) fn is_unfinished(file: BorrowedFd<'_>, size: u64) -> bool {
    let mut page = [0; PAGE];
    size >= PAGE as u64
        && read_with(file, |read| read(0, &mut page)).is_ok()
        && bytes::u64_at(&page, 0) == UNFINISHED
}

/// Whether there is nothing in it: all of a file, beginning and end of a device.
pub(super) fn is_blank(
    path: &Path,
    file: BorrowedFd<'_>,
    medium: Medium,
    size: u64,
) -> Result<bool, Error> {
    match medium {
        Medium::Device => {
            let tail = size.saturating_sub(TAIL) / PAGE as u64 * PAGE as u64;
            Ok(reads_zero(path, file, 0, HEAD.min(size))? && reads_zero(path, file, tail, size)?)
        }
        Medium::File => {
            // Holes, and what was only reserved, need not be read.
            let mut at = 0;
            while at < size {
                let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
                    Ok(data) => data,
                    Err(Errno::NXIO) => break,
                    Err(Errno::INVAL) => at,
                    Err(error) => return Err(Error::io(path, "looking for data in it")(error)),
                };
                let hole = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap_or(size);
                let first = data / PAGE as u64 * PAGE as u64;
                if !reads_zero(path, file, first, hole)? {
                    return Ok(false);
                }
                at = hole.max(data + 1);
            }
            Ok(true)
        }
    }
}

fn reads_zero(path: &Path, file: BorrowedFd<'_>, first: u64, end: u64) -> Result<bool, Error> {
    let mut buffer = Aligned::new(READ_MAX);
    let mut at = first;
    while at < end {
        // Past the end by less than a page: a file's size may be odd, a transfer's may not.
        let want = (end - at)
            .min(READ_MAX as u64)
            .next_multiple_of(PAGE as u64) as usize;
        let read = rustix::io::pread(file, &mut buffer.bytes()[..want], at)
            .map_err(Error::io(path, "reading it"))?;
        if read == 0 {
            break;
        }
        if !bytes::is_zero(&buffer.bytes()[..read]) {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}

/// Whether a running process holds the lock of a store file. Of a device it cannot be told without
/// disturbing it: `false`.
#[must_use]
pub fn in_use(file: BorrowedFd<'_>) -> bool {
    let held = rustix::fs::flock(file, FlockOperation::NonBlockingLockShared);
    if held.is_ok() {
        // Only asked: whoever starts now must not have to wait. It ends with the file at the latest.
        rustix::fs::flock(file, FlockOperation::Unlock).ok();
    }
    held == Err(Errno::WOULDBLOCK)
}

/// Opens for reading only, without the lock, and calls `work` with a function that reads, the size,
/// and whether the store is in use.
pub fn inspect_with<T>(
    path: &Path,
    work: impl FnOnce(&mut Read<'_>, u64, bool) -> T,
) -> Result<T, Error> {
    medium(path)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    // Past the page cache where that is possible: the daemon writes there.
    let file = match rustix::fs::open(path, flags | OFlags::DIRECT, Mode::empty()) {
        Err(Errno::INVAL) => rustix::fs::open(path, flags, Mode::empty()),
        opened => opened,
    }
    .map_err(Error::io(path, "opening it"))?;
    let size = size(path, file.as_fd())?;
    let in_use = in_use(file.as_fd());
    Ok(read_with(file.as_fd(), |read| work(read, size, in_use)))
}
