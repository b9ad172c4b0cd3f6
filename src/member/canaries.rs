//! Planted bugs of the membership core.

/// Rules that the membership core breaks on purpose, so that the simulator can prove that its
/// oracles notice. Each is one `if` at the place that keeps the rule. All off in a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches, one for each rule"
)]
pub struct Canaries {
    /// A voter acknowledges an exclusion before its pulse has promised it.
    pub vote_without_promise: bool,
    /// A replica that is behind may be promoted.
    pub promote_behind_replica: bool,
    /// An entry about a volume applies although it names an older entry (row 4).
    pub ignore_prev: bool,
    /// A replica that was not heard counts as having lost its power (row 8).
    pub unheard_counts_as_lost: bool,
    /// After a loss of power all in-sync replicas stay in sync (row 9).
    pub both_in_sync_after_loss: bool,
    /// A voter that was restarted acknowledges again what it had promised not to (row 15).
    pub forget_promise_at_restart: bool,
    /// A lease runs for longer than silence that ends it.
    pub long_lease: bool,
    /// A voter acknowledges entries before they are durable.
    pub acknowledge_before_durable: bool,
    /// A vote counts, and is told, before it is durable (row 23).
    pub vote_before_durable: bool,
    /// A vote counts for every run of its candidate (row 23).
    pub vote_for_any_run: bool,
    /// A log that was made anew counts like the one that was lost.
    pub trust_any_log: bool,
    /// A voter whose log was made anew acknowledges heartbeats before it knows what it has promised.
    pub acknowledge_unenrolled: bool,
    /// A voter votes twice in a term.
    pub double_vote: bool,
}
