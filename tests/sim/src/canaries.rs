//! Bugs to plant, one at a time: each breaks one rule, and an oracle must notice.

use crate::world::Planted;

/// A planted bug.
#[derive(Clone, Copy)]
pub struct Canary {
    /// Its name on the command line.
    pub name: &'static str,
    /// Plants it.
    plant: fn(&mut Planted),
}

impl Canary {
    /// A world's bugs: only this one.
    #[must_use]
    pub fn planted(&self) -> Planted {
        let mut planted = Planted::default();
        (self.plant)(&mut planted);
        planted
    }
}

macro_rules! canaries {
    ($($part:ident: $($name:ident)*;)*) => {
        /// All of them.
        pub const ALL: &[Canary] = &[
            $($(Canary {
                name: stringify!($name),
                plant: |planted| planted.$part.$name = true,
            },)*)*
            Canary {
                name: "ignore_lock",
                plant: |planted| planted.ignore_lock = true,
            },
        ];
    };
}

canaries! {
    engine:
        ack_before_peer
        skip_interval_lock
        clear_intent_early
        answer_without_lease
        reapply_resent
        forget_dirty_bit
        skip_mark_before_ack
        skip_grow_bitmaps
        clear_bit_before_flush
        trust_digest_blindly
        skip_peer_flush
        keep_old_link_frames
        send_overlapping
        forget_unanswered
        prune_window_at_stable
        skip_window_handover
        skip_reconcile
        reconcile_without_own_window
        restarted_replica_reports_nothing
        oldest_piece_first
        trust_overwritten
        shrink_without_flush
        read_unacknowledged
        accept_old_term
        ignore_boot
        grow_unacknowledged
        trust_lost_windows
        forget_failed_store
        shrink_moves_watermark
        shrink_one_by_one;
    member:
        vote_without_promise
        promote_behind_replica
        ignore_prev
        unheard_counts_as_lost
        both_in_sync_after_loss
        forget_promise_at_restart
        long_lease
        acknowledge_before_durable
        vote_before_durable
        vote_for_any_run
        double_vote
        trust_any_log
        acknowledge_unenrolled;
}
