//! Changes on their way to the disk.

use super::bitmaps::WRITTEN;
use super::intents::Use;
use super::{Done, Store, release};
use crate::engine::disk::DiskUse;
use crate::engine::io::{Buf, DiskOp, Effect, Effects, LinkId};
use crate::engine::unstable::Held;
use crate::engine::window::Known;
use crate::types::{Extent, Seq, SessionId};
use crate::wire::frame::{Change, Origin};

/// Who wants to know when a change is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Owner {
    /// An operation of the primary of this epoch.
    Primary { epoch: u32, op: u32 },
    /// A primary, by this link: a change.
    Change { link: LinkId, seq: Seq },
    /// A primary, by this link: a copy.
    Copy { link: LinkId, resync: u32, id: u32 },
}

/// A change to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Job {
    pub owner: Owner,
    /// 0 for copies, which need no intent (the source has marked the blocks) but where the region
    /// was never written: that it is must be known before its first data is.
    pub seq: Seq,
    pub change: Change,
    /// Whole blocks.
    pub extent: Extent,
    pub buf: Buf,
    /// The buffer is given up as soon as the disk has it.
    pub release: bool,
    pub origin: Origin,
    /// Bitmaps in which the change is marked, as bits.
    pub kinds: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No slot for its region.
    Starved,
    /// Its region's record is not durable.
    Recording,
    /// On the disk.
    Started,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Apply {
    pub owner: Owner,
    job: Job,
    stage: Stage,
    /// Its session's window did not have it before.
    fresh: bool,
    /// It uses its region's intent.
    intent: bool,
    /// Kinds of bitmap pages that its intent stands for.
    bits: u16,
}

impl Store {
    /// Stores a change: notes it, marks it for absent replicas, makes its region's intent durable,
    /// then writes. `done` tells the end.
    pub fn apply(&mut self, job: Job, out: &mut Effects) {
        let region = job.extent.region();
        let mut fresh = false;
        if job.seq != Seq(0) {
            self.seq = self.seq.max(job.seq);
            self.unstable.note(Held {
                seq: job.seq,
                extent: job.extent,
                origin: job.origin,
            });
            if job.origin.session != SessionId(0) {
                fresh = self.windows.look_up(self.term, job.origin) == Known::New;
                self.windows.note(self.term, job.origin);
            }
        }
        if job.change != Change::Write && !self.is_written(region) {
            // It reads as zeroes here, on the disk as well.
            self.finish(&job, 0, out);
            return;
        }
        if let Some(errno) = self.broken {
            if fresh {
                self.windows.forget(job.origin);
            }
            self.unstable.disown(job.seq);
            self.finish(&job, errno, out);
            return;
        }
        if job.seq == Seq(0) && self.is_proven(region) {
            let apply = self.insert(job, Stage::Started, false, 0);
            self.applies.at(apply).intent = false;
            self.start(apply, out);
            return;
        }
        let mut bits = 0;
        let forget = self.canaries.forget_dirty_bit && job.seq.0.is_multiple_of(4);
        if job.kinds != 0 && !forget {
            bits = self.bitmaps.mark(job.kinds, job.extent, false);
        }
        if self.bitmaps.set_written(region) {
            bits |= WRITTEN;
        }
        bits |= self.take_unproven(region);
        match self.intents.enter(region, job.seq, self.watermark(), bits) {
            Use::Active => {
                let apply = self.insert(job, Stage::Started, fresh, bits);
                self.start(apply, out);
            }
            Use::Soon => {
                let apply = self.insert(job, Stage::Recording, fresh, bits);
                self.waiting.push(apply);
                self.write_record(out);
            }
            Use::Full => {
                let apply = self.insert(job, Stage::Starved, fresh, bits);
                self.waiting.push(apply);
                self.starved = true;
                self.queue_blocking_pages();
                self.write_pages(out);
            }
        }
    }

    /// Whether the region is known as written, durably.
    fn is_proven(&self, region: u32) -> bool {
        let starved = |&at: &u32| {
            let apply = self.applies.get(at);
            apply.is_some_and(|a| a.stage == Stage::Starved && a.job.extent.region() == region)
        };
        let waits = self.starved && self.waiting.iter().any(starved);
        let dropped = self.unproven.iter().any(|&(of, _)| of == region);
        let activating = self.intents.is_activating(region);
        self.is_written(region) && !(activating || waits || dropped)
    }

    /// The bits that changes of the region left behind when they were dropped.
    fn take_unproven(&mut self, region: u32) -> u16 {
        let mut bits = 0;
        self.unproven.retain(|&(of, kinds)| {
            let other = of != region;
            bits |= if other { 0 } else { kinds };
            other
        });
        bits
    }

    /// Notes a change whose data this replica has already: a primary's reconciling.
    pub fn note(&mut self, held: Held) {
        self.seq = self.seq.max(held.seq);
        self.unstable.note(held);
        if held.origin.session != SessionId(0) {
            self.windows.note(self.term, held.origin);
        }
    }

    /// Whatever waits for metadata waits for ever.
    pub(super) fn fail_waiting(&mut self, errno: u16, out: &mut Effects) {
        for at in std::mem::take(&mut self.waiting) {
            let apply = self.applies.remove(at);
            if apply.fresh {
                self.windows.forget(apply.job.origin);
            }
            self.unstable.disown(apply.job.seq);
            if apply.job.release {
                release(apply.job.buf, out);
            }
            let owner = apply.owner;
            self.done.push(Done::Applied { owner, errno });
        }
    }

    /// Drops every change that has not been given to the disk; nobody was told of any of them.
    pub fn cancel_waiting(&mut self, out: &mut Effects) {
        for at in std::mem::take(&mut self.waiting) {
            let apply = self.applies.remove(at);
            if apply.stage == Stage::Recording {
                self.intents.leave(apply.job.extent.region());
            } else if apply.bits != 0 {
                self.unproven.push((apply.job.extent.region(), apply.bits));
            }
            if apply.fresh {
                self.windows.forget(apply.job.origin);
            }
            self.unstable.forget(apply.job.seq);
            if apply.job.release {
                release(apply.job.buf, out);
            }
        }
        self.starved = false;
    }

    fn insert(&mut self, job: Job, stage: Stage, fresh: bool, bits: u16) -> u32 {
        self.applies.insert(Apply {
            owner: job.owner,
            job,
            stage,
            fresh,
            intent: true,
            bits,
        })
    }

    fn finish(&mut self, job: &Job, errno: u16, out: &mut Effects) {
        if job.release {
            release(job.buf, out);
        }
        let owner = job.owner;
        self.done.push(Done::Applied { owner, errno });
    }

    fn start(&mut self, at: u32, out: &mut Effects) {
        let extent = self.applies.at(at).job.extent;
        self.overwritten(extent);
        let apply = self.applies.at(at);
        apply.stage = Stage::Started;
        let Job {
            change,
            extent,
            buf,
            ..
        } = apply.job;
        let op = if change == Change::Write {
            DiskOp::Write { extent, buf }
        } else {
            DiskOp::Zero { extent, change }
        };
        let done_with = if apply.job.release { buf } else { Buf::NONE };
        let id = self.disk.begin(DiskUse::Apply(at));
        out.push(Effect::Disk { id, op });
        release(done_with, out);
    }

    /// This holds what the primary has there.
    pub(super) fn overwritten(&mut self, extent: Extent) {
        let windows = &self.windows;
        let noted = |origin| windows.has(origin);
        let left = !self.canaries.trust_overwritten && self.unstable.overwrite(extent, noted);
        if left {
            // A change of which a part is left is neither applied nor not.
            self.windows.missed_changes();
        }
    }

    pub(super) fn applied(&mut self, at: u32, errno: u16) {
        let apply = self.applies.remove(at);
        if apply.intent {
            self.intents.leave(apply.job.extent.region());
        }
        if errno != 0 {
            // It did not take effect, and is tried again if it is sent again, be it in a later term.
            if apply.fresh {
                self.windows.forget(apply.job.origin);
            }
            self.unstable.disown(apply.job.seq);
        }
        let owner = apply.owner;
        self.done.push(Done::Applied { owner, errno });
    }

    /// A record is durable: starts what waited for it.
    pub(super) fn start_waiting(&mut self, out: &mut Effects) {
        let mut ready = std::mem::take(&mut self.scratch);
        let (applies, intents) = (&mut self.applies, &self.intents);
        self.waiting.retain(|&at| {
            let apply = applies.at(at);
            let go =
                apply.stage == Stage::Recording && intents.is_active(apply.job.extent.region());
            if go {
                ready.push(at);
            }
            !go
        });
        for at in ready.drain(..) {
            self.start(at, out);
        }
        self.scratch = ready;
    }

    /// Slots may be free: tries again what is starved, and records what is to be recorded.
    pub(super) fn retry_waiting(&mut self, out: &mut Effects) {
        if self.starved {
            self.starved = false;
            let mut entered = false;
            let watermark = self.watermark();
            for &at in &self.waiting {
                let apply = self.applies.at(at);
                if apply.stage != Stage::Starved {
                    continue;
                }
                let region = apply.job.extent.region();
                match self
                    .intents
                    .enter(region, apply.job.seq, watermark, apply.bits)
                {
                    Use::Full => {
                        self.starved = true;
                        break;
                    }
                    Use::Active | Use::Soon => {
                        apply.stage = Stage::Recording;
                        entered = true;
                    }
                }
            }
            if entered {
                self.start_waiting(out);
            }
            if self.starved {
                self.queue_blocking_pages();
                self.write_pages(out);
            }
        }
        self.write_record(out);
    }
}
