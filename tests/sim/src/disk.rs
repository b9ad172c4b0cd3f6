//! A store's disk: what a read returns, what survives a loss of power, and what is on its way.
//!
//! A write that has completed is in a volatile cache, one version per page. The cache is written
//! back at random moments and by a flush, which covers what had completed when it was submitted. A
//! flush that fails drops some of that, as kernels do: it is read as before, no later flush covers
//! it, and it goes with the power. At
//! a loss of power each 512-byte sector of each page that is not durable is old or new by itself;
//! a metadata page in flight may be cut off between two sectors. A killed process loses nothing that it
//! submitted, but it may land much later: until then the store is locked.

mod loss;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use loss::torn;
pub use loss::torn_anywhere;

use crate::random::Random;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes that a disk writes whole or not at all.
pub const SECTOR: usize = 512;

/// A page's bytes; none is all zeroes.
pub type Page = Option<Rc<[u8; PAGE]>>;

/// What a disk is asked to do. Pages count from the beginning of the store.
#[derive(Clone, Debug)]
pub enum Job {
    /// Read pages.
    Read {
        /// First.
        page: u32,
        /// How many.
        count: u32,
    },
    /// Write whole pages.
    Write {
        /// First.
        page: u32,
        /// What; a multiple of the page.
        bytes: Rc<Vec<u8>>,
    },
    /// Make pages read as zeroes.
    Zero {
        /// First.
        page: u32,
        /// How many.
        count: u32,
    },
    /// Make everything durable that has completed.
    Flush,
    /// Write one page durably.
    Meta {
        /// Which.
        page: u32,
        /// What.
        bytes: Rc<[u8; PAGE]>,
    },
}

#[derive(Debug)]
struct Flight {
    job: Job,
    errno: u16,
    orphan: bool,
    /// Of a flush: everything up to this stamp is covered.
    covers: u64,
    /// Of a flush: covered pages that have been overwritten since, with their stamp.
    saved: Vec<(u32, u64, Page)>,
}

/// How a job ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// 0 or an error number.
    pub errno: u16,
    /// Of a successful read.
    pub bytes: Option<Vec<u8>>,
}

/// One store.
#[derive(Debug)]
pub struct Disk {
    live: Vec<Page>,
    stable: Vec<Page>,
    stable_stamp: Vec<u64>,
    dirty: BTreeMap<u32, u64>,
    /// Pages that a failed flush has dropped.
    dropped: BTreeSet<u32>,
    stamp: u64,
    flying: BTreeMap<u64, Flight>,
    next: u64,
    written: BTreeMap<u32, ()>,
}

fn slice(page: &Page) -> &[u8; PAGE] {
    const ZERO: &[u8; PAGE] = &[0; PAGE];
    page.as_ref().map_or(ZERO, |page| page)
}

impl Disk {
    /// All zeroes.
    #[must_use]
    pub fn new(pages: usize) -> Self {
        Self {
            live: vec![None; pages],
            stable: vec![None; pages],
            stable_stamp: vec![0; pages],
            dirty: BTreeMap::new(),
            dropped: BTreeSet::new(),
            stamp: 0,
            flying: BTreeMap::new(),
            next: 0,
            written: BTreeMap::new(),
        }
    }

    /// Bytes of the store.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.live.len() * PAGE) as u64
    }

    /// Whether the store has no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Takes up a job that will end with `errno`; the number is for `finish`.
    pub fn submit(&mut self, job: Job, errno: u16) -> u64 {
        let number = self.next;
        self.next += 1;
        self.flying.insert(
            number,
            Flight {
                job,
                errno,
                orphan: false,
                covers: self.stamp,
                saved: Vec::new(),
            },
        );
        number
    }

    /// Nothing that is in flight will fail.
    pub fn forgive(&mut self) {
        for flight in self.flying.values_mut() {
            flight.errno = 0;
        }
    }

    /// The job has its effect and ends. None if a loss of power or a crash took it.
    pub fn finish(&mut self, number: u64, random: &mut Random) -> Option<Finished> {
        let flight = self.flying.remove(&number)?;
        let mut finished = Finished {
            errno: flight.errno,
            bytes: None,
        };
        let failed = flight.errno != 0;
        match flight.job {
            Job::Read { page, count } => {
                if !failed {
                    finished.bytes = Some(self.read(page, count));
                }
            }
            Job::Write { page, ref bytes } => {
                for (at, bytes) in bytes.chunks_exact(PAGE).enumerate() {
                    let bytes: [u8; PAGE] = bytes.try_into().expect("whole pages");
                    self.store(page + at as u32, Some(Rc::new(bytes)), failed, random);
                }
            }
            Job::Zero { page, count } => {
                for at in page..page + count {
                    self.store(at, None, failed, random);
                }
            }
            Job::Flush => {
                if failed {
                    self.drop_some(flight.covers, random);
                } else {
                    self.flushed(flight.covers, flight.saved);
                }
            }
            Job::Meta { page, bytes } => {
                if failed {
                    self.store(page, Some(bytes), true, random);
                } else {
                    self.settle(page, Some(bytes));
                }
            }
        }
        (!flight.orphan).then_some(finished)
    }

    /// What a dead process submitted lands, if it is still on its way: a loss of power may have
    /// taken it, and the disk may be another one by now, whose numbers say nothing.
    pub fn land(&mut self, number: u64, random: &mut Random) {
        if self.flying.get(&number).is_some_and(|flight| flight.orphan) {
            self.finish(number, random);
        }
    }

    /// What the disk returns for these pages now.
    #[must_use]
    pub fn read(&self, page: u32, count: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count as usize * PAGE);
        for page in &self.live[page as usize..(page + count) as usize] {
            bytes.extend_from_slice(slice(page));
        }
        bytes
    }

    /// As `read`, at any byte.
    ///
    /// # Errors
    /// The range goes beyond the end.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        let end = offset + into.len() as u64;
        if end > self.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let mut offset = offset as usize;
        let mut into = into;
        while !into.is_empty() {
            let (page, at) = (offset / PAGE, offset % PAGE);
            let len = into.len().min(PAGE - at);
            let (head, tail) = into.split_at_mut(len);
            head.copy_from_slice(&slice(&self.live[page])[at..at + len]);
            into = tail;
            offset += len;
        }
        Ok(())
    }

    /// Writes durably and at once (formatting).
    pub fn write_at(&mut self, page: u32, bytes: &[u8; PAGE]) {
        self.settle(page, Some(Rc::new(*bytes)));
    }

    /// A page as a read would see it.
    #[must_use]
    pub fn page(&self, page: u32) -> &[u8; PAGE] {
        slice(&self.live[page as usize])
    }

    /// Whether both are the very same memory (then they need no comparing).
    #[must_use]
    pub fn same(&self, other: &Self, page: u32) -> bool {
        match (&self.live[page as usize], &other.live[page as usize]) {
            (None, None) => true,
            (Some(a), Some(b)) => Rc::ptr_eq(a, b) || a == b,
            (Some(a), None) | (None, Some(a)) => a.iter().all(|byte| *byte == 0),
        }
    }

    /// Pages that have ever been written.
    pub fn touched(&self) -> impl Iterator<Item = u32> {
        self.written.keys().copied()
    }

    fn store(&mut self, page: u32, new: Page, failed: bool, random: &mut Random) {
        let at = page as usize;
        let before = self
            .dirty
            .get(&page)
            .copied()
            .unwrap_or(self.stable_stamp[at]);
        for flight in self.flying.values_mut() {
            let unsaved = !flight.saved.iter().any(|(saved, ..)| *saved == page);
            if matches!(flight.job, Job::Flush) && before <= flight.covers && unsaved {
                flight.saved.push((page, before, self.live[at].clone()));
            }
        }
        self.stamp += 1;
        let new = if failed {
            torn(&self.live[at], &new, random)
        } else {
            new
        };
        self.live[at] = new;
        self.dropped.remove(&page);
        self.dirty.insert(page, self.stamp);
        self.written.insert(page, ());
        // The cache writes back something now and then.
        if random.below(8) == 0 {
            let skip = random.index(self.dirty.len());
            if let Some((&page, &stamp)) = self.dirty.iter().nth(skip) {
                self.stable[page as usize] = self.live[page as usize].clone();
                self.stable_stamp[page as usize] = stamp;
                self.dirty.remove(&page);
            }
        }
    }

    fn settle(&mut self, page: u32, new: Page) {
        self.stamp += 1;
        self.live[page as usize] = new.clone();
        self.stable[page as usize] = new;
        self.stable_stamp[page as usize] = self.stamp;
        self.dirty.remove(&page);
        self.dropped.remove(&page);
        self.written.insert(page, ());
    }

    fn drop_some(&mut self, covers: u64, random: &mut Random) {
        let dropped = &mut self.dropped;
        self.dirty.retain(|&page, &mut stamp| {
            let keep = stamp > covers || random.below(4) == 0;
            if !keep {
                dropped.insert(page);
            }
            keep
        });
    }

    /// Whether a flush has failed, and something that it should have made durable is not.
    #[must_use]
    pub fn has_dropped(&self) -> bool {
        !self.dropped.is_empty()
    }

    /// What a failed flush dropped was not dropped after all.
    pub fn take_up_dropped(&mut self) {
        for page in std::mem::take(&mut self.dropped) {
            self.stamp += 1;
            self.dirty.insert(page, self.stamp);
        }
    }

    fn flushed(&mut self, covers: u64, saved: Vec<(u32, u64, Page)>) {
        for (page, stamp, bytes) in saved {
            if stamp > self.stable_stamp[page as usize] {
                self.stable[page as usize] = bytes;
                self.stable_stamp[page as usize] = stamp;
            }
        }
        let (live, stable, stamps) = (&self.live, &mut self.stable, &mut self.stable_stamp);
        self.dirty.retain(|&page, &mut stamp| {
            if stamp > covers {
                return true;
            }
            stable[page as usize] = live[page as usize].clone();
            stamps[page as usize] = stamp;
            false
        });
    }
}

#[cfg(test)]
mod tests;
