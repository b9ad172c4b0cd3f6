//! The next record of the ring: which regions it takes up, and which it clears along the way.

use super::slot::{FREE, State};
use super::{ACTIVE_SOFT, Entry, Intents, NONE};
use crate::meta::ring::{CHANGES_MAX, SLOTS};
use crate::types::Seq;

/// Slots that are looked at for clearing along with one record.
const SWEEP: usize = 256;
/// Regions that a record takes up around one that is asked for, at most: they cost nothing there,
/// and each record that they save would hold up a change by the time of a durable write.
const AHEAD_MAX: u32 = 64;

impl Intents {
    /// Takes up the next record if there is something to record: returns its number.
    pub fn begin_record(&mut self, watermark: Seq, clear_all: bool) -> Option<u64> {
        if self.writing || (self.next.is_empty() && !clear_all) {
            return None;
        }
        let count = self.next.len().min(CHANGES_MAX);
        self.batch.clear();
        self.batch.extend(self.next.drain(..count));
        self.take_neighbours(count);
        if clear_all {
            self.ahead = 1;
        }
        if clear_all || self.is_crowded() {
            let sweep = if clear_all { SLOTS } else { SWEEP };
            self.sweep(watermark, sweep);
        }
        if self.batch.is_empty() {
            return None;
        }
        for &(slot, region) in &self.batch {
            self.table[usize::from(slot)] = region;
        }
        self.writing = true;
        Some(self.record + 1)
    }

    /// Takes up regions next to the first `asked` ones of the record, as far as it has room: what is
    /// changed next is likely to be near.
    fn take_neighbours(&mut self, asked: usize) {
        if self.ahead > 1 {
            for at in 0..asked {
                let Some(region) = self.batch[at].1 else {
                    continue;
                };
                let first = region / self.ahead * self.ahead;
                let end = (first + self.ahead).min(self.index.len() as u32);
                for region in first..end {
                    if self.active >= ACTIVE_SOFT || self.batch.len() == CHANGES_MAX {
                        break;
                    }
                    if self.index[region as usize] == NONE
                        && let Some(at) = self.free.pop()
                    {
                        self.take(at, region);
                        self.batch.push((at, Some(region)));
                    }
                }
            }
        }
        if asked > 0 {
            self.ahead = (self.ahead * 2).min(AHEAD_MAX);
        }
    }

    /// The changes of the record that is being written, and the table after them.
    pub fn record(&self) -> (&[Entry], &[Option<u32>]) {
        (&self.batch, &self.table)
    }

    /// The record is durable.
    pub fn end_record(&mut self) {
        assert!(self.writing);
        self.writing = false;
        self.record += 1;
        for &(at, region) in &self.batch {
            let slot = &mut self.slots[usize::from(at)];
            if region.is_some() {
                assert!(slot.state == State::Activating);
                slot.state = State::Active;
            } else {
                assert!(slot.state == State::Clearing);
                *slot = FREE;
                self.free.push(at);
            }
        }
        self.batch.clear();
    }

    fn sweep(&mut self, watermark: Seq, most: usize) {
        for _ in 0..most {
            if self.batch.len() == CHANGES_MAX {
                return;
            }
            let at = self.hand;
            self.hand = (at + 1) % SLOTS;
            let kinds = self.kinds;
            let slot = &mut self.slots[at];
            if slot.is_clearable(watermark, kinds) {
                slot.state = State::Clearing;
                self.index[slot.region as usize] = NONE;
                self.active -= 1;
                self.batch.push((at as u16, None));
            }
        }
    }
}
