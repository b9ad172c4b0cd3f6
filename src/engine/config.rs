//! What a volume is made from: who it is, its timing, and the switches of the self-test.

use std::time::Duration;

use crate::types::{BootId, Incarnation, NodeId, VolumeId};

/// Everything that does not change while a volume lives (but the incarnation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeConfig {
    /// This node.
    pub me: NodeId,
    /// The boot of this machine.
    pub boot: BootId,
    /// This node's incarnation; later ones come by `Volume::set_incarnation`.
    pub incarnation: Incarnation,
    /// Which volume.
    pub id: VolumeId,
    /// Its name, for messages.
    pub name: String,
    /// Bytes; a multiple of the block.
    pub size: u64,
    /// Whether gateways of several nodes may have it open at once.
    pub shared: bool,
    /// How long things may take.
    pub timing: Timing,
    /// Rules to break, for the self-test of the oracles; none in a product.
    pub canaries: Canaries,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between attempts to connect to a peer.
    pub link_retry: Duration,
    /// A new primary waits so long for the reports of the in-sync replicas that it hears; for those
    /// that it does not hear although the view has them, as long as for a link (`shrink_delay`).
    pub attach_timeout: Duration,
    /// A replica that cannot be reached for so long is shrunk out; one that the view excludes, at
    /// once, or after `link_retry` where a new primary hears it.
    pub shrink_delay: Duration,
    /// A proposal that is still wanted is repeated so often.
    pub propose_every: Duration,
    /// After so long without changes everything is flushed and the intents are cleared.
    pub idle_flush: Duration,
    /// A replica that owes an acknowledgement for so long is given up although it is reachable.
    pub stall: Duration,
}

impl Timing {
    /// The usual values for a detector that suspects after `suspicion` (D).
    #[must_use]
    pub fn for_suspicion(suspicion: Duration) -> Self {
        Self {
            link_retry: (suspicion / 4).max(Duration::from_millis(5)),
            attach_timeout: (suspicion * 2).max(Duration::from_millis(50)),
            shrink_delay: suspicion,
            propose_every: suspicion.max(Duration::from_millis(20)),
            idle_flush: Duration::from_secs(1),
            stall: (suspicion * 30).max(Duration::from_secs(10)),
        }
    }
}

/// Rules that the engine breaks on purpose, so that the simulator can prove that its oracles notice.
/// Each is one `if` at the place that keeps the rule. All off in a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches, one for each rule"
)]
pub struct Canaries {
    /// A change is answered when the local disk has it, without the other in-sync replicas.
    pub ack_before_peer: bool,
    /// Overlapping requests are not put in order.
    pub skip_interval_lock: bool,
    /// An intent is cleared as soon as its changes are stored here, without a flush anywhere.
    pub clear_intent_early: bool,
    /// Answers do not wait for the lease.
    pub answer_without_lease: bool,
    /// A re-sent change is applied again although it took effect before.
    pub reapply_resent: bool,
    /// Some changes are not marked for absent replicas.
    pub forget_dirty_bit: bool,
    /// Changes above stable are not marked for a replica that leaves (row 5).
    pub skip_mark_before_ack: bool,
    /// A replica that grows is not handed the bitmaps of the absent ones (row 6).
    pub skip_grow_bitmaps: bool,
    /// A resynced block is clean as soon as its copy is acknowledged, before the flush (row 7).
    pub clear_bit_before_flush: bool,
    /// A full copy takes every block that it compares for the same.
    pub trust_digest_blindly: bool,
    /// A flush is answered when the local disk has flushed.
    pub skip_peer_flush: bool,
    /// A replica takes frames of older links of the same term (row 11).
    pub keep_old_link_frames: bool,
    /// A gateway sends requests that overlap others that are not answered (row 12).
    pub send_overlapping: bool,
    /// A gateway that loses its primary does not send again what was not answered.
    pub forget_unanswered: bool,
    /// Session windows forget what is stable (row 12).
    pub prune_window_at_stable: bool,
    /// A replica that is taken up, or grows, is not handed the session windows (row 12).
    pub skip_window_handover: bool,
    /// Windows that every replica has lost count as empty, also where others write (row 12).
    pub trust_lost_windows: bool,
    /// A replica grows although it owes changes that were answered before it counted.
    pub grow_unacknowledged: bool,
    /// A new primary serves without reconciling (row 13).
    pub skip_reconcile: bool,
    /// A new primary reconciles what the others report but not what it holds itself (row 14).
    pub reconcile_without_own_window: bool,
    /// A new primary brings its own changes to the others in the order of writes (row 20).
    pub oldest_piece_first: bool,
    /// What was overwritten since it was brought along still counts as applied (row 19).
    pub trust_overwritten: bool,
    /// A replica whose daemon restarted reports nothing in place of its active regions (rows 14 and
    /// 17).
    pub restarted_replica_reports_nothing: bool,
    /// A replica is shrunk out without a flush of the others, and answers go on meanwhile (row 3).
    pub shrink_without_flush: bool,
    /// Replicas leave one after the other (row 18).
    pub shrink_one_by_one: bool,
    /// The flush of those who remain moves the watermark that the one who leaves still hears.
    pub shrink_moves_watermark: bool,
    /// A read does not wait for overlapping changes that are not acknowledged.
    pub read_unacknowledged: bool,
    /// A replica takes frames of a primary of an older term.
    pub accept_old_term: bool,
    /// A restarted daemon takes a store that has failed for a good one (row 21).
    pub forget_failed_store: bool,
    /// A primary that was restarted takes its old grant for its own.
    pub ignore_boot: bool,
}
