//! How many failures a volume survives, and the one sentence that says so.

use super::{ReplicaShown, ReplicaStatus};

/// The copies of a volume.
pub(super) struct Copies<'a> {
    /// Each.
    pub replicas: &'a [ReplicaStatus],
    /// Why nobody serves it now, if so.
    pub unserved: Option<&'a str>,
    /// Why a failure could not be followed by any decision, if so.
    pub undecided: Option<&'a str>,
}

/// The votes of the cluster, by name.
pub(super) struct Votes {
    /// Voters that take part.
    pub up: Vec<String>,
    /// Voters that are there, but do not answer the leader.
    pub silent: Vec<String>,
    /// Voters that do not.
    pub down: Vec<String>,
}

/// The judgement.
pub(super) struct Survivable {
    /// How many nodes, whichever, may fail.
    pub failures: u32,
    /// In one sentence.
    pub sentence: String,
}

/// A failure is survived if an in-sync copy and a majority of the votes remain, whichever nodes
/// fail.
pub(super) fn judge(copies: &Copies<'_>, votes: &Votes) -> Survivable {
    if let Some(why) = copies.unserved {
        return Survivable {
            failures: 0,
            sentence: format!("no failure can be survived: not served now, {why}"),
        };
    }
    if let Some(why) = copies.undecided {
        return Survivable {
            failures: 0,
            sentence: format!("no failure can be survived: {why}"),
        };
    }
    let in_sync = copies
        .replicas
        .iter()
        .filter(|replica| replica.state == ReplicaShown::InSync && !replica.store_failed)
        .count();
    let by_copies = in_sync.saturating_sub(1);
    let all = votes.up.len() + votes.silent.len() + votes.down.len();
    let by_votes = votes.up.len().saturating_sub(all / 2 + 1);
    let failures = by_copies.min(by_votes);

    let mut reasons: Vec<_> = copies.replicas.iter().filter_map(trouble).collect();
    for voter in &votes.down {
        if !copies.replicas.iter().any(|replica| replica.node == *voter) {
            reasons.push(format!("{voter} is down"));
        }
    }
    for voter in &votes.silent {
        reasons.push(format!(
            "{voter} does not answer the leader, though its heartbeats come (is a packet filter in the \
             way of the port `core`?)"
        ));
    }
    // What the configuration lacks is worth saying only where nothing can be survived by it.
    if failures == 0 && copies.replicas.len() == 1 {
        reasons.push("there is only one copy".into());
    }
    if failures == 0 && reasons.is_empty() && votes.down.is_empty() {
        reasons.push(match votes.up.as_slice() {
            [only] => format!("{only} alone has a vote"),
            [one, other] => format!("{one} and {other} must both vote (a witness would help)"),
            several => format!("a majority of {} voters is just there", several.len()),
        });
    }
    let sentence = match failures {
        0 => "no failure can be survived".to_owned(),
        1 => "1 failure can be survived".to_owned(),
        n => format!("{n} failures can be survived"),
    };
    let sentence = match (failures, reasons.join("; ")) {
        (_, reasons) if reasons.is_empty() => sentence,
        (0, reasons) => format!("{sentence}: {reasons}"),
        (_, reasons) => format!("{sentence}; {reasons}"),
    };
    Survivable {
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        sentence,
    }
}

/// What is wrong with a copy.
fn trouble(replica: &ReplicaStatus) -> Option<String> {
    let node = &replica.node;
    if replica.store_failed {
        return Some(format!("the store of {node} has failed"));
    }
    Some(match replica.state {
        ReplicaShown::InSync => return None,
        ReplicaShown::Offline => format!("{node} is down"),
        ReplicaShown::Behind => format!("{node} is behind and waits to be resynced"),
        ReplicaShown::New => format!("{node} is new and waits to be filled"),
        ReplicaShown::Resyncing => {
            let what = if replica.recorded == ReplicaShown::New {
                "new"
            } else {
                "behind"
            };
            let percent = replica.percent.unwrap_or(0.0).floor();
            let left = left(replica.seconds_left);
            format!("{node} is {what}, {percent} %, {left}")
        }
    })
}

/// How long a copy still takes, as people say it.
#[must_use]
pub fn left(seconds: Option<u64>) -> String {
    seconds.map_or_else(
        || "stalled".into(),
        |seconds| format!("{} left", rough(seconds)),
    )
}

/// A time as people say it.
fn rough(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
