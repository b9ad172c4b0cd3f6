//! The file of the cluster log: 4 KiB pages, each durable when its write ends.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::disk::{PAGE, torn_anywhere};
use crate::random::Random;

/// Pages to write, in this order.
#[derive(Debug)]
struct Writing {
    number: u64,
    pages: Vec<(u32, Rc<[u8; PAGE]>)>,
}

/// One node's log file.
#[derive(Debug, Default)]
pub struct LogFile {
    bytes: Vec<u8>,
    writing: VecDeque<Writing>,
    next: u64,
    orphaned: bool,
}

impl LogFile {
    /// A new file with these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// What it holds.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins to write; the number is for `finish`. One after the other, in order.
    pub fn submit(&mut self, pages: Vec<(u32, Rc<[u8; PAGE]>)>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.writing.push_back(Writing { number, pages });
        number
    }

    /// The oldest write ends. False if a crash or a loss of power has taken it.
    pub fn finish(&mut self, number: u64) -> bool {
        let oldest = self.writing.front().is_some_and(|w| w.number == number);
        if oldest && let Some(writing) = self.writing.pop_front() {
            for (page, bytes) in writing.pages {
                self.put(page, &bytes);
            }
        }
        oldest
    }

    /// Writes at once (formatting, and what a starting daemon writes before it steps anything).
    pub fn put(&mut self, page: u32, bytes: &[u8; PAGE]) {
        let at = page as usize * PAGE;
        if self.bytes.len() < at + PAGE {
            self.bytes.resize(at + PAGE, 0);
        }
        self.bytes[at..at + PAGE].copy_from_slice(bytes);
    }

    /// The process is dead: what it had submitted, or a first part of it, lands later.
    pub fn orphan(&mut self, random: &mut Random) {
        let keep = random.index(self.writing.len() + 1);
        self.writing.truncate(keep);
        self.orphaned = !self.writing.is_empty();
    }

    /// Everything of the dead process has landed.
    pub fn land(&mut self) {
        for writing in std::mem::take(&mut self.writing) {
            for (page, bytes) in writing.pages {
                self.put(page, &bytes);
            }
        }
        self.orphaned = false;
    }

    /// Whether a dead process' writes are still to land.
    #[must_use]
    pub const fn locked(&self) -> bool {
        self.orphaned
    }

    /// The machine lost its power: a prefix of the pages is there, the next one may be torn.
    pub fn power_loss(&mut self, random: &mut Random) {
        let pages: Vec<_> = std::mem::take(&mut self.writing)
            .into_iter()
            .flat_map(|writing| writing.pages)
            .collect();
        let whole = random.index(pages.len() + 1);
        for (page, bytes) in &pages[..whole] {
            self.put(*page, bytes);
        }
        if let Some((page, bytes)) = pages.get(whole) {
            let at = *page as usize * PAGE;
            let old = self.bytes.get(at..at + PAGE).map(|old| {
                let old: [u8; PAGE] = old.try_into().expect("a page");
                Rc::new(old)
            });
            let mixed = torn_anywhere(&old, bytes, random);
            self.put(*page, &mixed);
        }
        self.orphaned = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_loss_keeps_a_prefix() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut file = LogFile::new(vec![0; 4 * PAGE]);
            file.submit(vec![(1, Rc::new([1; PAGE])), (2, Rc::new([2; PAGE]))]);
            file.submit(vec![(3, Rc::new([3; PAGE]))]);
            file.power_loss(&mut random);
            let at = |page: usize| file.bytes()[page * PAGE];
            let last = |page: usize| file.bytes()[(page + 1) * PAGE - 1];
            assert!(at(3) == 0 || last(2) == 2, "in order");
            assert!(at(2) == 0 || last(1) == 1, "in order");
        }
    }
}
