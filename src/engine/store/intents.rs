//! The write-intent table: regions in which replicas may differ, by slot of the on-disk ring.
//!
//! Pure bookkeeping: decides which slot a region gets, what the next ring record changes and when a
//! region may be cleared; `Store` writes the records.
//!
//! A region may be cleared when nothing in flight uses it, its last change is below the watermark
//! (durable on every in-sync replica), it is not *held* (brought along from a time whose differences
//! have not been reconciled), and no bitmap page that it stands in for is still unwritten.

mod record;
mod slot;

use slot::{FREE, Slot, State};

use crate::meta::ring::{CHANGES_MAX, SLOTS};
use crate::types::Seq;

/// Active regions above which records clear others along the way: what is left then has room for
/// everything that a replica brings along from an earlier time.
const ACTIVE_SOFT: usize = SLOTS / 4 * 3;
/// Active regions beyond which a region gets a slot only from one that can be cleared. The rest is
/// for what comes while regions are held: a table that was full when its daemon or its power went
/// would take no change of another region until everything is reconciled, and without such changes
/// it may never be.
const ACTIVE_HARD: usize = SLOTS / 8 * 7;
/// So many regions more may become active while others are held; each crash, or new link to a
/// primary, before all is reconciled takes up to as many of the rest.
const RESERVE: usize = 128;
const NONE: u16 = u16::MAX;

const _: () = assert!(SLOTS < NONE as usize);

/// What a slot holds from a record on.
pub(super) type Entry = (u16, Option<u32>);

/// What a region's intent is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Durable: go on.
    Active,
    /// Part of the next record.
    Soon,
    /// No slot can be cleared now.
    Full,
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Intents {
    slots: Vec<Slot>,
    /// By region.
    index: Vec<u16>,
    free: Vec<u16>,
    /// What is on disk, as of the record that is being written.
    table: Vec<Option<u32>>,
    batch: Vec<Entry>,
    next: Vec<Entry>,
    writing: bool,
    record: u64,
    hand: usize,
    active: usize,
    /// Active regions beyond which none is added: in normal running, and now.
    hard: usize,
    limit: usize,
    /// Regions that the next record takes up around each one that is asked for, itself included:
    /// the more, the more records were needed since everything was last cleared.
    ahead: u32,
    /// Kinds of bitmap pages that are in use.
    kinds: u16,
}

impl Intents {
    /// From what the ring said: every region in it is held.
    pub fn new(table: Vec<Option<u32>>, record: u64, regions: u64) -> Self {
        assert_eq!(table.len(), SLOTS);
        let mut slots = vec![FREE; SLOTS];
        let mut index = vec![NONE; regions as usize];
        let mut free = Vec::with_capacity(SLOTS);
        for at in (0..SLOTS).rev() {
            match table[at] {
                Some(region) => {
                    slots[at] = Slot {
                        state: State::Active,
                        region,
                        held: true,
                        unwritten: u16::MAX,
                        ..FREE
                    };
                    index[region as usize] = at as u16;
                }
                None => free.push(at as u16),
            }
        }
        let active = SLOTS - free.len();
        Self {
            active,
            hard: ACTIVE_HARD,
            limit: limit_beside(active),
            slots,
            index,
            free,
            table,
            batch: Vec::with_capacity(CHANGES_MAX),
            next: Vec::with_capacity(SLOTS),
            writing: false,
            record,
            hand: 0,
            ahead: 1,
            kinds: 0,
        }
    }

    /// The kinds of bitmap pages that are in use.
    pub fn set_kinds(&mut self, kinds: u16) {
        self.kinds = kinds;
    }

    /// A change of the region begins. Unless `Full`, it counts as a user until `leave`.
    pub fn enter(&mut self, region: u32, seq: Seq, watermark: Seq, bits: u16) -> Use {
        let mut at = self.index[region as usize];
        if at == NONE {
            let free = self.has_room().then(|| self.free.pop()).flatten();
            at = match free.or_else(|| self.evict(watermark)) {
                Some(at) => at,
                None => return Use::Full,
            };
            self.take(at, region);
            self.next.push((at, Some(region)));
        }
        let slot = &mut self.slots[usize::from(at)];
        slot.users += 1;
        slot.last = slot.last.max(seq);
        slot.unwritten |= bits;
        if slot.state == State::Active {
            Use::Active
        } else {
            Use::Soon
        }
    }

    /// A change of the region has ended.
    pub fn leave(&mut self, region: u32) {
        let at = self.index[region as usize];
        assert!(at != NONE, "region {region} is in use and not active");
        let slot = &mut self.slots[usize::from(at)];
        assert!(slot.users > 0, "region {region} is not in use");
        slot.users -= 1;
    }

    /// Bits of the region were set that only its intent stands for.
    pub fn mark(&mut self, region: u32, bits: u16) {
        let at = self.index[region as usize];
        if at != NONE {
            self.slots[usize::from(at)].unwritten |= bits;
        }
    }

    /// As `mark`, for every active region.
    pub fn mark_all(&mut self, bits: u16) {
        for slot in &mut self.slots {
            slot.unwritten |= bits;
        }
    }

    /// Whether the region's intent is durable.
    pub fn is_active(&self, region: u32) -> bool {
        let at = self.index[region as usize];
        at != NONE && self.slots[usize::from(at)].state == State::Active
    }

    /// Whether the region's intent is on its way to the disk.
    pub fn is_activating(&self, region: u32) -> bool {
        let at = self.index[region as usize];
        at != NONE && self.slots[usize::from(at)].state == State::Activating
    }

    /// The active regions.
    pub fn regions(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.state, State::Active | State::Activating))
            .map(|slot| slot.region)
    }

    /// The region's differences are from a time that has not been reconciled: it stays.
    pub fn hold(&mut self, region: u32) {
        let at = self.index[region as usize];
        if at != NONE {
            self.slots[usize::from(at)].held = true;
        }
    }

    /// All of them stay.
    pub fn hold_all(&mut self) {
        self.limit = self.limit.max(limit_beside(self.active));
        for slot in &mut self.slots {
            slot.held |= slot.state != State::Free;
        }
    }

    /// What was held has been reconciled by changes up to `through`.
    pub fn release(&mut self, through: Seq) {
        self.limit = self.hard;
        for slot in &mut self.slots {
            if slot.held {
                slot.held = false;
                slot.last = slot.last.max(through);
            }
        }
    }

    /// Writing of the bitmap pages of kind `bit` that cover `regions` begins.
    pub fn page_begins(&mut self, regions: std::ops::Range<u32>, bit: u16) {
        self.each_in(regions, |slot| {
            slot.writing |= slot.unwritten & bit;
            slot.unwritten &= !bit;
        });
    }

    /// It has ended.
    pub fn page_ends(&mut self, regions: std::ops::Range<u32>, bit: u16) {
        self.each_in(regions, |slot| slot.writing &= !bit);
    }

    fn each_in(&mut self, regions: std::ops::Range<u32>, mut act: impl FnMut(&mut Slot)) {
        if regions.len() < SLOTS {
            let end = regions.end.min(self.index.len() as u32);
            for region in regions.start..end {
                let at = self.index[region as usize];
                if at != NONE {
                    act(&mut self.slots[usize::from(at)]);
                }
            }
        } else {
            for slot in &mut self.slots {
                if regions.contains(&slot.region) {
                    act(slot);
                }
            }
        }
    }

    /// Whether there are so many that clearing should be helped along.
    pub fn is_crowded(&self) -> bool {
        self.active > ACTIVE_SOFT
    }

    /// Whether another region gets a slot although none can be cleared.
    pub fn has_room(&self) -> bool {
        self.active < self.limit
    }

    /// As if the table were so small: for tests.
    #[cfg(test)]
    pub fn narrow(&mut self, limit: usize) {
        (self.hard, self.limit) = (limit, limit);
    }

    /// How many are active.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Kinds of bitmap pages that keep regions from being cleared which otherwise could be, with
    /// one such region of each kind: `found(region, kinds)`.
    pub fn blocked_by_pages(&self, watermark: Seq, mut found: impl FnMut(u32, u16)) {
        for slot in &self.slots {
            let kinds = slot.unwritten & self.kinds;
            if kinds != 0 && slot.is_old(watermark) {
                found(slot.region, kinds);
            }
        }
    }

    /// Gives a slot to a region; the next record says so.
    fn take(&mut self, at: u16, region: u32) {
        self.slots[usize::from(at)] = Slot {
            state: State::Activating,
            region,
            ..FREE
        };
        self.index[region as usize] = at;
        self.active += 1;
    }

    /// Whether a record is being written or waits.
    pub fn is_busy(&self) -> bool {
        self.writing || !self.next.is_empty()
    }

    fn evict(&mut self, watermark: Seq) -> Option<u16> {
        for _ in 0..SLOTS {
            let at = self.hand;
            self.hand = (at + 1) % SLOTS;
            let slot = &self.slots[at];
            if slot.is_clearable(watermark, self.kinds) {
                self.index[slot.region as usize] = NONE;
                self.active -= 1;
                return Some(at as u16);
            }
        }
        None
    }
}

/// The limit while `held` regions stay.
const fn limit_beside(held: usize) -> usize {
    let limit = held + RESERVE;
    if limit < ACTIVE_HARD {
        ACTIVE_HARD
    } else if limit < SLOTS {
        limit
    } else {
        SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Intents {
        Intents::new(vec![None; SLOTS], 0, 10_000)
    }

    /// Asks for a region and writes the record: how many regions it took up.
    fn ask(intents: &mut Intents, region: u32) -> usize {
        assert_eq!(intents.enter(region, Seq(1), Seq(0), 0), Use::Soon);
        intents.begin_record(Seq(0), false).unwrap();
        let taken = intents.record().0.len();
        intents.end_record();
        assert!(intents.is_active(region));
        intents.leave(region);
        taken
    }

    #[test]
    fn records_take_up_more_and_more_neighbours_until_everything_is_cleared() {
        let mut intents = table();
        let taken: Vec<_> = (0..8).map(|at| ask(&mut intents, at * 1000 + 5)).collect();
        assert_eq!(taken, [1, 2, 4, 8, 16, 32, 64, 64]);
        assert!(intents.is_active(7005 / 64 * 64) && intents.is_active(7005 / 64 * 64 + 63));
        while intents.begin_record(Seq(1), true).is_some() {
            intents.end_record();
        }
        assert_eq!(intents.active(), 0);
        assert_eq!(ask(&mut intents, 5), 1);
    }

    #[test]
    fn what_is_held_leaves_room_for_others() {
        let mut table = vec![None; SLOTS];
        for (region, slot) in (0..SLOTS as u32 - 200).zip(&mut table) {
            *slot = Some(region);
        }
        let mut intents = Intents::new(table, 0, 10_000);
        let mut region = 5000;
        let mut fill = |intents: &mut Intents| {
            let mut taken = 0;
            while intents.enter(region, Seq(9), Seq(0), 0) != Use::Full {
                intents.leave(region);
                region += 1;
                taken += 1;
            }
            taken
        };
        assert_eq!(fill(&mut intents), RESERVE);
        // Its daemon starts again before all is reconciled, or another primary takes it up.
        intents.hold_all();
        assert_eq!(fill(&mut intents), 200 - RESERVE);
        intents.hold_all();
        assert_eq!(fill(&mut intents), 0);
        // In normal running none of the reserve is used.
        let mut intents = self::table();
        assert_eq!(fill(&mut intents), ACTIVE_HARD);
    }

    #[test]
    fn neighbours_leave_room_for_what_is_asked_for() {
        let mut intents = table();
        for at in 0..SLOTS as u32 - 1000 {
            let region = at * 7 % 10_000;
            if !intents.is_active(region) {
                let before = intents.active();
                assert_eq!(intents.enter(region, Seq(1), Seq(0), 0), Use::Soon);
                intents.begin_record(Seq(0), false).unwrap();
                assert!(intents.record().0.len() <= CHANGES_MAX);
                intents.end_record();
                assert!(intents.active() <= ACTIVE_SOFT.max(before + 1));
            }
        }
        assert!(intents.active() > ACTIVE_SOFT - CHANGES_MAX);
    }
}
