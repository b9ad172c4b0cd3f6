//! Who is primary: what the record grants to this run of the daemon, begun and ended.

use super::Volume;
use crate::engine::io::Effects;
use crate::engine::primary::{Cx, Primary};
use crate::types::Time;

impl Volume {
    /// Whether the record grants this run of the daemon, in this incarnation and boot, the term
    /// that it serves or is about to.
    pub(super) fn is_granted(&self) -> bool {
        let Some(record) = &self.record else {
            return false;
        };
        let Some(grant) = record.primary else {
            return false;
        };
        let mine = grant.node == self.config.me
            && (self.config.canaries.ignore_boot
                || grant.boot == self.config.boot && grant.incarnation == self.config.incarnation);
        let term = self.primary.as_ref().map_or(record.term, Primary::term);
        mine && term == record.term
    }

    pub(super) fn become_primary(&mut self, now: Time, out: &mut Effects) {
        if self.primary.is_some() || !self.is_granted() {
            return;
        }
        let (Some(record), Some(store)) = (&self.record, &mut self.store) else {
            return;
        };
        let ours = record
            .replica(self.config.me)
            .is_some_and(|replica| replica.store == store.id && replica.state.is_in_sync());
        let newest = store.term.max(self.replica.term());
        if !ours || record.term <= self.stopped || record.term < newest {
            return;
        }
        self.replica.close(out);
        self.epoch += 1;
        let primary = Primary::new(
            self.epoch,
            &mut Cx {
                now,
                config: &self.config,
                record,
                view: &self.view,
                hearing: self.hearing,
                store,
                entrants: &mut self.entrants,
                local: &mut self.local,
                out,
            },
        );
        self.primary = Some(primary);
    }

    /// The grant is over, if there was one.
    pub(super) fn stop_primary(&mut self, now: Time, out: &mut Effects) {
        let (Some(primary), Some(record), Some(store)) =
            (self.primary.take(), &self.record, &mut self.store)
        else {
            return;
        };
        self.stopped = self.stopped.max(primary.term());
        primary.stop(&mut Cx {
            now,
            config: &self.config,
            record,
            view: &self.view,
            hearing: self.hearing,
            store,
            entrants: &mut self.entrants,
            local: &mut self.local,
            out,
        });
        self.gateway.set_local(now, None, out);
    }
}
