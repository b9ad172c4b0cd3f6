//! What the parts have for each other: ended disk operations, finished work, requests of this node's
//! clients for this node's primary.

use super::{Volume, with_primary, with_replica};
use crate::engine::disk::DiskUse;
use crate::engine::io::{Buf, Content, DiskId, Effects};
use crate::engine::primary::{Cx, Source};
use crate::engine::replica::ReplicaCx;
use crate::engine::store::{Done, FlushUser, Owner, release};
use crate::types::Time;

impl Volume {
    pub(super) fn disk_ended(
        &mut self,
        now: Time,
        id: DiskId,
        errno: u16,
        buf: Buf,
        content: Content,
        out: &mut Effects,
    ) {
        let Some(store) = &mut self.store else {
            panic!("a disk operation of a volume without a store");
        };
        let what = store.disk.end(id);
        let (DiskUse::Read { epoch, .. } | DiskUse::Edge { epoch, .. }) = what else {
            release(buf, out);
            if let DiskUse::Compare(compare) = what {
                store.compared(compare, errno, content);
            } else {
                store.disk_ended(what, errno, out);
            }
            return;
        };
        if !self.primary.as_ref().is_some_and(|p| p.is_epoch(epoch)) {
            release(buf, out);
            return;
        }
        with_primary!(self, now, out, |primary, cx| match what {
            DiskUse::Edge { op, end, .. } => primary.edge_ended(op, end, errno, buf, cx),
            DiskUse::Read { op, .. } => primary.read_ended(op, errno, buf, content, cx),
            _ => unreachable!("a read"),
        });
    }

    pub(super) fn pump(&mut self, now: Time, out: &mut Effects) {
        loop {
            self.take_done(now, out);
            with_replica!(self, out, |cx| self.replica.advance(cx));
            with_primary!(self, now, out, |primary, cx| primary.pump(cx));
            self.tell_local(now, out);
            let submitted = self.submit_local(now, out);
            if !submitted && self.store.as_ref().is_none_or(|s| s.done.is_empty()) {
                return;
            }
        }
    }

    fn take_done(&mut self, now: Time, out: &mut Effects) {
        loop {
            let Some(store) = &mut self.store else { return };
            if store.done.is_empty() {
                return;
            }
            let mut done = std::mem::take(&mut store.done);
            for what in done.drain(..) {
                self.done(now, what, out);
            }
            if let Some(store) = &mut self.store {
                // What came meanwhile goes behind; the longer array is kept.
                done.append(&mut store.done);
                store.done = done;
            }
        }
    }

    fn done(&mut self, now: Time, done: Done, out: &mut Effects) {
        let epoch = match done {
            Done::Applied {
                owner: Owner::Primary { epoch, .. },
                ..
            }
            | Done::Flushed {
                user: FlushUser::Round { epoch, .. },
                ..
            } => epoch,
            Done::Applied { .. } | Done::Compared { .. } | Done::Flushed { .. } => {
                with_replica!(self, out, |cx| self.replica.done(done, cx));
                return;
            }
        };
        if !self.primary.as_ref().is_some_and(|p| p.is_epoch(epoch)) {
            return;
        }
        with_primary!(self, now, out, |primary, cx| match done {
            Done::Applied {
                owner: Owner::Primary { op, .. },
                errno,
            } => primary.applied(op, errno, cx),
            Done::Flushed {
                user: FlushUser::Round { round, .. },
                errno,
            } => primary.round_flushed(round, errno, cx),
            Done::Applied { .. } | Done::Compared { .. } | Done::Flushed { .. } => {
                unreachable!("the replica's")
            }
        });
    }

    /// Tells this node's gateway whether this node's primary serves.
    fn tell_local(&mut self, now: Time, out: &mut Effects) {
        let serving = self.serving();
        if serving.is_some()
            && let (Some(session), Some(store)) = (self.gateway.session(), &self.store)
            && store.windows.is_lost(session)
        {
            self.gateway.session_lost(now, out);
        }
        self.gateway.set_local(now, serving, out);
    }

    /// Hands this node's requests to this node's primary. Whether there were any.
    fn submit_local(&mut self, now: Time, out: &mut Effects) -> bool {
        if self.gateway.submissions().is_empty() {
            return false;
        }
        let mut submissions = std::mem::take(self.gateway.submissions());
        for submission in submissions.drain(..) {
            with_primary!(self, now, out, |primary, cx| {
                primary.submit(
                    Source::Local(submission.slot),
                    submission.ask,
                    submission.extent,
                    submission.origin,
                    submission.buf,
                    cx,
                );
            });
        }
        *self.gateway.submissions() = submissions;
        true
    }
}
