//! What is left of a disk's writes when a process or a machine dies.

use std::rc::Rc;

use super::{Disk, Job, PAGE, Page, SECTOR, slice};
use crate::random::Random;

/// Each sector of `old` or `new`.
pub(super) fn torn(old: &Page, new: &Page, random: &mut Random) -> Page {
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
