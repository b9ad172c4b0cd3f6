//! The core's log file: locked, preallocated, written page by page with `O_DIRECT | O_DSYNC`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::member::io::Page;

/// How long a start waits for the lock of a run that has just been killed: its last writes land
/// some 100 ms after it was reaped (measured), a stuck disk may take longer.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long it does so without a word.
const QUIET: Duration = Duration::from_secs(1);
const PAGE: usize = 4096;

/// A page at an address that `O_DIRECT` accepts.
struct AlignedPage {
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedPage {
    fn new() -> Self {
        let bytes = vec![0; 2 * PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start }
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + PAGE]
    }
}

/// An open, locked log file.
pub struct LogFile {
    fd: OwnedFd,
    path: PathBuf,
}

impl LogFile {
    /// Opens and locks the log file of `path`.
    ///
    /// # Errors
    ///
    /// It does not exist, cannot be opened, or another process holds it for longer than the last
    /// writes of a killed run can take.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::DSYNC;
        let fd = rustix::fs::open(path, flags | OFlags::DIRECT, Mode::empty())
            // tmpfs of older kernels knows no O_DIRECT; durability there is moot anyway.
            .or_else(|_| rustix::fs::open(path, flags, Mode::empty()))?;
        let start = Instant::now();
        let mut told = false;
        while let Err(error) = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(error.into());
            }
            if start.elapsed() > LOCK_PATIENCE {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another process holds the log: is this node running already?",
                ));
            }
            if !told && start.elapsed() > QUIET {
                told = true;
                tracing::warn!(
                    "waiting for {}, which another process holds: is this node running already?",
                    path.display()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Every byte of the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        // A reader of its own, without O_DIRECT: alignment does not matter at start.
        std::fs::read(&self.path)
    }

    /// Writes pages durably, in order.
    ///
    /// # Errors
    ///
    /// The write failed or was short; what is on disk is unknown then.
    pub fn write(&self, pages: &[Page]) -> io::Result<()> {
        let mut buffer = AlignedPage::new();
        for page in pages {
            buffer.get_mut().copy_from_slice(&page.bytes[..]);
            let at = u64::from(page.number) * PAGE as u64;
            let written = rustix::io::pwrite(&self.fd, buffer.get_mut(), at)?;
            if written != PAGE {
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    "short write of the log",
                ));
            }
        }
        Ok(())
    }

    /// Starts the thread that writes what the core wants durable. `done` is called with each
    /// ticket, or with the error that ended the thread.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn writer(
        self,
        done: impl Fn(io::Result<u64>) + Send + 'static,
    ) -> io::Result<Sender<(u64, Vec<Page>)>> {
        let (sender, receiver): (_, Receiver<(u64, Vec<Page>)>) = channel();
        thread::Builder::new().name("log".into()).spawn(move || {
            super::priority::raise("log", super::priority::CORE);
            for (ticket, pages) in receiver {
                let result = self.write(&pages).map(|()| ticket);
                let failed = result.is_err();
                done(result);
                if failed {
                    return;
                }
            }
        })?;
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forks::directory;

    fn made(path: &Path, pages: usize) -> LogFile {
        std::fs::write(path, vec![0; pages * PAGE]).unwrap();
        LogFile::open(path).unwrap()
    }

    fn page(number: u32, fill: u8) -> Page {
        Page {
            number,
            bytes: Box::new([fill; PAGE]),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = directory();
        let log = made(&dir.path().join("log"), 4);
        log.write(&[page(1, 7), page(0, 8), page(1, 9)]).unwrap();
        let bytes = log.read().unwrap();
        assert_eq!(bytes.len(), 4 * PAGE);
        assert_eq!(
            [bytes[0], bytes[PAGE], bytes[2 * PAGE - 1], bytes[2 * PAGE]],
            [8, 9, 9, 0]
        );
    }

    #[test]
    fn a_log_that_is_held_is_not_opened_until_it_is_free() {
        let dir = directory();
        let path = dir.path().join("log");
        let first = made(&path, 1);
        let (told, opened) = channel();
        let other = path.clone();
        let second = thread::spawn(move || {
            let log = LogFile::open(&other).unwrap();
            told.send(()).unwrap();
            drop(log);
        });
        assert!(
            opened.recv_timeout(Duration::from_millis(100)).is_err(),
            "two held it"
        );
        drop(first);
        opened.recv_timeout(Duration::from_secs(10)).unwrap();
        second.join().unwrap();
    }

    #[test]
    fn tickets_come_back_in_order() {
        let dir = directory();
        let log = made(&dir.path().join("log"), 4);
        let (told, tickets) = channel();
        let writer = log
            .writer(move |done| told.send(done.unwrap()).unwrap())
            .unwrap();
        for ticket in 1..=5 {
            writer.send((ticket, vec![page(1, ticket as u8)])).unwrap();
        }
        drop(writer);
        assert_eq!(tickets.iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
