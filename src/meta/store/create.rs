//! Makes a store where there is nothing.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::Identity;
use super::aligned::{Aligned, write_all};
use super::error::{Error, Problem};
use super::open::{Medium, is_blank, is_unfinished, lock, medium, read_with, size};
use crate::meta::superblock::{Superblock, UNFINISHED};
use crate::meta::{PAGE, bytes, format, layout, signature};
use crate::types::{BLOCK, Term, VOLUME_MAX};

/// Bytes of a device that are zeroed between two reports of progress.
const ZERO_STEP: u64 = 64 << 20;
/// Bytes that are written at once where zeroes have to be.
const WRITE_STEP: usize = 1 << 20;

/// Told how many bytes have been made zero, and of how many.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// Makes an empty store at `path`: a new file, or a file or device in which there is nothing.
/// Everything else is refused and left alone. All its data reads as zeroes. Durable on return; cut
/// off, it leaves nothing that counts as a store, and may be repeated.
///
/// A file is made under another name beside `path` and renamed at the end, and all its space is
/// reserved.
pub fn create(path: &Path, identity: &Identity, progress: &mut Progress<'_>) -> Result<(), Error> {
    if identity.size == 0 || identity.size > VOLUME_MAX || !identity.size.is_multiple_of(BLOCK) {
        return Err(Error::new(path, Problem::Size(identity.size)));
    }
    let superblock = Superblock {
        cluster: identity.cluster,
        volume: identity.volume,
        store: identity.store,
        node: identity.node,
        size: identity.size,
        layout: layout::layout(layout::size_max(identity.size)),
        term: Term(0),
        generation: 1,
        dirty: [None; layout::DIRTY_SLOTS],
        failed: None,
    };
    match medium(path) {
        Ok(Medium::Device) => create_device(path, &superblock, progress),
        Ok(Medium::File) => {
            // A link to a file elsewhere stays one.
            let target = path
                .canonicalize()
                .map_err(Error::io(path, "following its path"))?;
            let old = lock(&target, Medium::File, Duration::ZERO)?;
            expect_nothing(path, old.as_fd(), Medium::File)?;
            create_file(&target, &superblock, progress)
        }
        Err(error) if matches!(error.problem, Problem::Missing) => {
            // A file there would be in memory, in the place of a disk that is not plugged in.
            if path.starts_with("/dev") {
                return Err(Error::new(path, Problem::NoDevice));
            }
            create_file(path, &superblock, progress)
        }
        Err(error) => Err(error),
    }
}

/// Refuses everything but emptiness and what an earlier attempt left.
fn expect_nothing(path: &Path, file: BorrowedFd<'_>, medium: Medium) -> Result<u64, Error> {
    let size = size(path, file)?;
    if !is_unfinished(file, size) && !is_blank(path, file, medium, size)? {
        let looks_like = read_with(file, |read| signature::recognise(read, size)).map_or_else(
            || String::from("unknown content"),
            |name| format!("it looks like {name}"),
        );
        return Err(Error::new(path, Problem::Occupied { looks_like }));
    }
    Ok(size)
}

fn create_device(
    path: &Path,
    superblock: &Superblock,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let file = lock(path, Medium::Device, Duration::ZERO)?;
    let have = expect_nothing(path, file.as_fd(), Medium::Device)?;
    let needed = superblock.layout.store_bytes(superblock.size);
    if have < needed {
        return Err(Error::new(
            path,
            Problem::NoRoom {
                needed,
                have: Some(have),
            },
        ));
    }
    // From here on what is there is ours. Said first, so that a second attempt knows.
    let mut marker = [0; PAGE];
    bytes::put_u64(&mut marker, 0, UNFINISHED);
    write_page(path, file.as_fd(), 0, &marker)?;
    sync(path, file.as_fd())?;
    zero(path, file.as_fd(), PAGE as u64, needed, progress)?;
    write_pages(path, file.as_fd(), superblock)
}

fn create_file(
    path: &Path,
    superblock: &Superblock,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let unfinished = beside(path);
    let file = new_file(&unfinished)?;
    let made = fill_file(&unfinished, file.as_fd(), superblock, progress)
        .and_then(|()| fs::rename(&unfinished, path).map_err(Error::io(path, "renaming it")))
        .and_then(|()| sync_directory(path));
    if made.is_err() {
        // Whatever is left is cleared away by the next attempt too.
        fs::remove_file(&unfinished).ok();
    }
    made
}

fn fill_file(
    path: &Path,
    file: BorrowedFd<'_>,
    superblock: &Superblock,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let needed = superblock.layout.store_bytes(superblock.size);
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, needed) {
        Ok(()) => progress(needed, needed),
        Err(Errno::NOSPC | Errno::FBIG | Errno::DQUOT) => {
            return Err(Error::new(path, Problem::NoRoom { needed, have: None }));
        }
        // A file system that cannot reserve: written zeroes do.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            write_zeroes(path, file, 0, needed, needed, progress)?;
        }
        Err(error) => return Err(Error::io(path, "reserving space for it")(error)),
    }
    write_pages(path, file, superblock)
}

/// The name that a file has until it is whole.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    PathBuf::from(name)
}

/// A new, locked file; what an earlier attempt left at its place is removed.
fn new_file(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::DIRECT;
    let mode = Mode::RUSR | Mode::WUSR;
    let open = || rustix::fs::open(path, flags, mode);
    let file = match open() {
        Err(Errno::EXIST) => {
            // Locked: another process is making this store right now.
            drop(lock(path, medium(path)?, Duration::ZERO)?);
            fs::remove_file(path).map_err(Error::io(path, "removing what was unfinished"))?;
            open()
        }
        opened => opened,
    };
    let file = file.map_err(|error| match error {
        Errno::INVAL => {
            fs::remove_file(path).ok();
            Error::new(path, Problem::NoDirectIo)
        }
        error => Error::io(path, "making it")(error),
    })?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(Error::io(path, "locking it"))?;
    Ok(file)
}

/// Makes `first..end` of a device read as zeroes.
fn zero(
    path: &Path,
    file: BorrowedFd<'_>,
    first: u64,
    end: u64,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    // On a block device this is BLKZEROOUT: by the device itself where it can.
    let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    let mut at = first;
    while at < end {
        let step = ZERO_STEP.min(end - at);
        match rustix::fs::fallocate(file, flags, at, step) {
            Ok(()) => {}
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                return write_zeroes(path, file, at, end, end, progress);
            }
            Err(error) => return Err(Error::io(path, "zeroing it")(error)),
        }
        at += step;
        progress(at, end);
    }
    Ok(())
}

fn write_zeroes(
    path: &Path,
    file: BorrowedFd<'_>,
    first: u64,
    end: u64,
    total: u64,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let mut zeroes = Aligned::new(WRITE_STEP);
    let mut at = first;
    while at < end {
        let step = (WRITE_STEP as u64).min(end - at);
        write_all(file, at, &zeroes.bytes()[..step as usize])
            .map_err(|error| no_room_or_io(path, end, error))?;
        at += step;
        progress(at, total);
    }
    Ok(())
}

fn no_room_or_io(path: &Path, needed: u64, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::StorageFull {
        Error::new(path, Problem::NoRoom { needed, have: None })
    } else {
        Error::io(path, "writing zeroes")(error)
    }
}

fn write_pages(path: &Path, file: BorrowedFd<'_>, superblock: &Superblock) -> Result<(), Error> {
    let pages = format(superblock);
    let (head, superblocks) = pages.split_at(pages.len() - 2);
    for (offset, page) in head {
        write_page(path, file, *offset, page)?;
    }
    sync(path, file)?;
    for (offset, page) in superblocks {
        write_page(path, file, *offset, page)?;
    }
    sync(path, file)
}

fn write_page(
    path: &Path,
    file: BorrowedFd<'_>,
    offset: u64,
    page: &[u8; PAGE],
) -> Result<(), Error> {
    let mut aligned = Aligned::new(PAGE);
    aligned.bytes().copy_from_slice(page);
    write_all(file, offset, aligned.bytes()).map_err(Error::io(path, "writing its metadata"))
}

fn sync(path: &Path, file: BorrowedFd<'_>) -> Result<(), Error> {
    rustix::fs::fsync(file).map_err(Error::io(path, "making it durable"))
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io(path, "making its name durable"))
}
