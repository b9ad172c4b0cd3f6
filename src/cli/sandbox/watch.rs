//! How the sandbox is, looked at again and again.

use std::time::Duration;

use tokio::sync::mpsc;

use super::ground::Ground;
use crate::api::client::Client;
use crate::cli::target::{Peer, Target};
use crate::status::{Health, ReplicaShown, Status};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(250);

/// What was seen.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// Served and as redundant as it was made.
    Ready(Box<Status>),
    /// A copy is being filled or brought up to date.
    Syncing {
        /// The sentence on redundancy.
        sentence: String,
        /// Of the copy that has most before it.
        percent: f64,
        /// Seconds until it has caught up; none while it makes no progress.
        seconds_left: Option<u64>,
    },
    /// Not there yet.
    Waiting(String),
}

impl Look {
    /// The sentence on redundancy, where one is known.
    pub(super) fn sentence(&self) -> Option<String> {
        match self {
            Self::Ready(status) => Some(sentence(status)),
            Self::Syncing { sentence, .. } => Some(sentence.clone()),
            Self::Waiting(why) => Some(why.clone()),
        }
    }
}

/// Looks in the background until the receiver is dropped.
pub(super) fn start(ground: &Ground) -> mpsc::Receiver<Look> {
    let peers = ground.nodes().iter().map(|config| Peer {
        name: Some(config.node.name.clone()),
        client: Client::new(&config.api()),
    });
    let target = Target::of(peers.collect());
    let (sender, looks) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut answered = false;
        loop {
            let look = match target.status().await {
                Ok((status, _)) => {
                    answered = true;
                    judge(status)
                }
                Err(_) if answered => Look::Waiting("no node answers".into()),
                Err(_) => Look::Waiting("the nodes are starting".into()),
            };
            if sender.send(look).await.is_err() {
                return;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
    looks
}

fn judge(status: Status) -> Look {
    if status.health == Health::Healthy {
        return Look::Ready(Box::new(status));
    }
    let copies = status.volumes.iter().flat_map(|volume| &volume.replicas);
    let slowest = copies
        .filter(|replica| replica.state == ReplicaShown::Resyncing)
        .filter_map(|replica| Some((replica.percent?, replica.seconds_left)))
        .min_by(|(one, _), (other, _)| one.total_cmp(other));
    match slowest {
        Some((percent, seconds_left)) => Look::Syncing {
            sentence: sentence(&status),
            percent,
            seconds_left,
        },
        None => Look::Waiting(sentence(&status)),
    }
}

/// The sentence on redundancy of the sandbox's volume.
pub(super) fn sentence(status: &Status) -> String {
    match status.volumes.first() {
        Some(volume) if volume.replicas.is_empty() && status.quorum => {
            "the volume is being created".into()
        }
        Some(volume) if !volume.replicas.is_empty() => {
            format!("{}: {}", volume.name, volume.redundancy)
        }
        _ => "the nodes are looking for each other".into(),
    }
}

/// A sentence without its numbers: two of one kind differ in progress only.
pub(in crate::cli) fn kind(sentence: &str) -> String {
    let (head, numbers) = sentence
        .split_once(" is behind, ")
        .or_else(|| sentence.split_once(" is new, "))
        .unwrap_or((sentence, ""));
    if numbers.is_empty() {
        head.to_owned()
    } else {
        format!("{head} is resynced")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_alone_is_no_news() {
        let at = |percent| {
            format!("data: no failure can be survived: n2 is behind, {percent} %, 2 s left")
        };
        assert_eq!(kind(&at(3)), kind(&at(40)));
        assert_ne!(kind(&at(3)), kind("data: 1 failure can be survived"));
        assert_ne!(
            kind("data: no failure can be survived: n2 is down"),
            kind("data: no failure can be survived: w1 is down")
        );
    }
}
