//! The end of a sandbox's processes: asked for, waited for, and forced where a person insists.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::daemon::stop::Stop;

/// Longer than a parent gives its daemon.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long is waited without a word.
const QUIET: Duration = Duration::from_secs(2);
/// A second signal so soon after the first is the same one: `timeout` sends its own to the child,
/// and to the group that the child is in.
const ECHO: Duration = Duration::from_millis(100);

/// Whoever looks after a node's daemon.
pub(super) struct Parent {
    /// The node.
    pub name: String,
    /// The process.
    pub process: Child,
}

/// Asks the nodes of each group to stop, one group after the other, and returns when all have
/// ended. When a person asks once more, those that are left are killed.
pub(super) async fn end(groups: [Vec<Parent>; 2], stop: &mut Stop) {
    let (force, forced) = watch::channel(false);
    let insisted = async {
        let echoes = async {
            loop {
                stop.insisted().await;
            }
        };
        let _: Result<(), _> = timeout(ECHO, echoes).await;
        stop.insisted().await;
    };
    tokio::pin!(insisted);
    for group in groups {
        let mut left: BTreeSet<_> = group.iter().map(|parent| parent.name.clone()).collect();
        let mut ends = JoinSet::new();
        for Parent { name, mut process } in group {
            ask(&process);
            let mut forced = forced.clone();
            ends.spawn(async move {
                // The other end of the channel lasts until this has ended.
                let given_up = timeout(PATIENCE, forced.wait_for(|forced| *forced));
                let ended = tokio::select! {
                    _ = process.wait() => true,
                    _ = given_up => false,
                };
                if !ended {
                    // Its daemon is killed with it.
                    let _ = process.kill().await;
                }
                name
            });
        }
        let quiet = sleep(QUIET);
        tokio::pin!(quiet);
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                ended = ends.join_next() => match ended {
                    Some(Ok(name)) => drop(left.remove(&name)),
                    Some(Err(_)) => {}
                    None => break,
                },
                () = &mut insisted, if !*force.borrow() => {
                    say!("killing {}", list(&left));
                    // Whoever is to be asked later hears of it too.
                    force.send_replace(true);
                }
                () = &mut quiet, if !told && !*force.borrow() => {
                    told = true;
                    say!(
                        "still waiting for {} to stop; another Ctrl-C kills what is left at once",
                        list(&left)
                    );
                }
            }
        }
    }
}

fn ask(process: &Child) {
    let pid = process
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
