//! A store's disk: what a read returns, what survives a loss of power, and what is on its way.
//!
//! A write that has completed is in a volatile cache, one version per page. The cache is written
//! back at random moments and by a flush, which covers what had completed when it was submitted. A
//! flush that fails drops some of that, as kernels do: it is read as before, no later flush covers
//! it, and it goes with the power. At
//! a loss of power each 512-byte sector of each page that is not durable is old or new by itself;
//! a metadata page in flight may be cut off between two sectors. A killed process loses nothing that it
//! submitted, but it may land much later: until then the store is locked.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

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

/// Each sector of `old` or `new`.
fn torn(old: &Page, new: &Page, random: &mut Random) -> Page {
    let mut mixed = *slice(old);
    let coins = random.draw();
    for (sector, bytes) in mixed.chunks_exact_mut(SECTOR).enumerate() {
        if coins >> sector & 1 == 1 {
            bytes.copy_from_slice(&slice(new)[sector * SECTOR..(sector + 1) * SECTOR]);
        }
    }
    Some(Rc::new(mixed))
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

    /// The process that submitted them is gone; gives the jobs that will still land.
    pub fn orphan(&mut self) -> Vec<u64> {
        self.flying
            .retain(|_, flight| !matches!(flight.job, Job::Read { .. } | Job::Flush));
        for flight in self.flying.values_mut() {
            flight.orphan = true;
        }
        self.flying.keys().copied().collect()
    }

    /// Whether anything of a dead process is still to land.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.flying.values().any(|flight| flight.orphan)
    }

    /// How many pages are not durable.
    #[must_use]
    pub fn volatile(&self) -> usize {
        self.dirty.len()
    }

    /// The machine lost its power.
    pub fn power_loss(&mut self, random: &mut Random) {
        for flight in std::mem::take(&mut self.flying).into_values() {
            match flight.job {
                Job::Write { page, bytes } => {
                    for (at, bytes) in bytes.chunks_exact(PAGE).enumerate() {
                        let bytes: [u8; PAGE] = bytes.try_into().expect("whole pages");
                        self.store(page + at as u32, Some(Rc::new(bytes)), true, random);
                    }
                }
                Job::Zero { page, count } => {
                    for at in page..page + count {
                        self.store(at, None, true, random);
                    }
                }
                Job::Meta { page, bytes } => {
                    let old = self.live[page as usize].clone();
                    let new = torn_anywhere(&old, &bytes, random);
                    self.settle(page, Some(new));
                }
                Job::Read { .. } | Job::Flush => {}
            }
        }
        let dropped = std::mem::take(&mut self.dropped);
        let dirty = std::mem::take(&mut self.dirty);
        for page in dirty.into_keys().chain(dropped) {
            let at = page as usize;
            let kept = torn(&self.stable[at], &self.live[at], random);
            self.settle(page, kept);
        }
    }
}

/// A page whose writing was interrupted: nothing, everything, some sectors or the first ones.
#[must_use]
pub fn torn_anywhere(old: &Page, new: &Rc<[u8; PAGE]>, random: &mut Random) -> Rc<[u8; PAGE]> {
    match random.below(4) {
        0 => old.clone().unwrap_or_else(|| Rc::new([0; PAGE])),
        1 => Rc::clone(new),
        2 => torn(old, &Some(Rc::clone(new)), random).expect("a page"),
        _ => {
            let mut mixed = *slice(old);
            let cut = random.index(PAGE / SECTOR) * SECTOR;
            mixed[..cut].copy_from_slice(&new[..cut]);
            Rc::new(mixed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &mut Disk, page: u32, byte: u8, random: &mut Random) {
        let job = Job::Write {
            page,
            bytes: Rc::new(vec![byte; PAGE]),
        };
        let number = disk.submit(job, 0);
        disk.finish(number, random).unwrap();
    }

    #[test]
    fn flushed_pages_survive_and_others_tear() {
        let mut torn_pages = 0;
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut disk = Disk::new(8);
            write(&mut disk, 1, 1, &mut random);
            let flush = disk.submit(Job::Flush, 0);
            write(&mut disk, 1, 2, &mut random);
            write(&mut disk, 2, 2, &mut random);
            disk.finish(flush, &mut random).unwrap();
            disk.power_loss(&mut random);
            assert!(disk.page(1).iter().all(|b| *b == 1 || *b == 2));
            for sector in disk.page(1).chunks_exact(SECTOR) {
                assert!(sector.iter().all(|b| *b == sector[0]), "sectors are whole");
            }
            assert!(disk.page(2).iter().all(|b| *b == 0 || *b == 2));
            torn_pages += u32::from(disk.page(1).iter().any(|b| *b != disk.page(1)[0]));
        }
        assert!(torn_pages > 30);
    }

    #[test]
    fn a_flush_never_takes_a_newer_version_back() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut disk = Disk::new(8);
            write(&mut disk, 1, 1, &mut random);
            let first = disk.submit(Job::Flush, 0);
            write(&mut disk, 1, 2, &mut random);
            let second = disk.submit(Job::Flush, 0);
            write(&mut disk, 1, 3, &mut random);
            disk.finish(second, &mut random).unwrap();
            disk.finish(first, &mut random).unwrap();
            disk.power_loss(&mut random);
            assert!(disk.page(1).iter().all(|b| *b == 2 || *b == 3));
        }
    }

    #[test]
    fn what_a_failed_flush_drops_no_later_one_covers() {
        let mut lost = 0;
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut disk = Disk::new(8);
            write(&mut disk, 1, 1, &mut random);
            for errno in [5, 0] {
                let flush = disk.submit(Job::Flush, errno);
                disk.finish(flush, &mut random).unwrap();
            }
            assert_eq!(disk.page(1)[0], 1, "it is read all the same");
            disk.power_loss(&mut random);
            lost += u32::from(disk.page(1).contains(&0));
        }
        assert!(lost > 50 && lost < 200, "{lost}");
    }

    #[test]
    fn a_dead_process_locks_the_store_until_its_last_write_landed() {
        let mut random = Random::new(3);
        let mut disk = Disk::new(8);
        let job = Job::Write {
            page: 3,
            bytes: Rc::new(vec![7; PAGE]),
        };
        disk.submit(job, 0);
        disk.submit(Job::Read { page: 0, count: 1 }, 0);
        let orphans = disk.orphan();
        assert_eq!(orphans.len(), 1);
        assert!(disk.locked());
        assert_eq!(disk.finish(orphans[0], &mut random), None);
        assert!(!disk.locked());
        assert_eq!(disk.page(3)[0], 7);
    }
}
