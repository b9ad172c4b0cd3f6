//! Random schedules: anything may fail, in any order, with clocks as wrong as leases allow. Nothing
//! unsound may happen, and when the faults stop, a healthy cluster serves.

use std::time::Duration;

use super::cluster::{Cluster, VOLUME};
use crate::member::io::Proposal;
use crate::record::{SessionRecord, VolumeChange};
use crate::types::{NodeId, SessionId, StoreId};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a primary or a gateway might ask for, from what the node knows.
fn some_change(cluster: &mut Cluster, node: usize) -> Option<Proposal> {
    let record = cluster.known(node)?.clone();
    let replica = NodeId(cluster.network.random.below(2) as u8);
    let term = record.term;
    let grant = record
        .primary
        .filter(|grant| usize::from(grant.node.0) == node);
    let primary = grant.is_some_and(|grant| grant.incarnation == cluster.incarnation(node));
    let change = match cluster.network.random.below(4) {
        0 if primary => VolumeChange::Shrink {
            term,
            replicas: std::iter::once(replica).collect(),
        },
        1 if primary => VolumeChange::Grow {
            term,
            replica,
            boot: cluster.nodes[usize::from(replica.0)].boot,
            store: StoreId(u128::from(replica.0)),
        },
        2 if primary => {
            cluster.stop_serving(node);
            VolumeChange::Demote { term, prefer: None }
        }
        _ => VolumeChange::OpenSession {
            session: SessionRecord {
                id: SessionId(cluster.network.random.next()),
                gateway: NodeId(node as u8),
            },
        },
    };
    Some(Proposal::Volume {
        volume: VOLUME,
        prev: record.last_entry,
        change,
    })
}

/// Whether the others remember enough without this node's log.
fn may_lose_log(cluster: &Cluster, node: usize) -> bool {
    let others = (0..cluster.nodes.len()).filter(|&other| other != node);
    others
        .clone()
        .all(|other| others.clone().all(|voter| cluster.counts(other, voter)))
}

/// Faults for a while, then rest. The violations, if there were any.
fn schedule(seed: u64) -> Vec<String> {
    let nodes = if seed.is_multiple_of(4) { 5 } else { 3 };
    let mut cluster = Cluster::new(nodes, 2, seed);
    for node in 0..nodes {
        cluster.nodes[node].drift = cluster.network.random.below(160) as i64 - 80;
    }
    if seed.is_multiple_of(3) {
        cluster.network.loss = cluster.network.random.below(15);
        cluster.network.twice = cluster.network.random.below(10);
        cluster.network.delay_max = ms(1 + cluster.network.random.below(8));
    }
    cluster.write_time = Duration::from_micros(100 + cluster.network.random.below(4000));
    for node in 0..nodes {
        cluster.start(node);
    }
    for _ in 0..40 {
        let span = cluster.network.random.below(45_000);
        cluster.run(Duration::from_micros(span));
        let node = cluster.network.random.below(nodes as u64) as usize;
        let other = cluster.network.random.below(nodes as u64) as usize;
        let up = cluster.running().any(|running| running == node);
        match cluster.network.random.below(10) {
            0 if up => {
                let incarnation = cluster.incarnation(node);
                cluster.kill(node);
                if cluster.network.random.percent(50) {
                    cluster.death_notice(node, incarnation);
                }
            }
            1 if up && seed.is_multiple_of(2) && may_lose_log(&cluster, node) => {
                cluster.lose_log(node);
            }
            1 if up => cluster.power_off(node),
            0..=3 if !up => cluster.start(node),
            4 => {
                let span = ms(cluster.network.random.below(80));
                cluster.pause(node, span);
            }
            5 => cluster.cut(node, other),
            6 => {
                cluster.network.cut.insert((node, other));
            }
            7 => cluster.heal(),
            _ => {
                if up && let Some(proposal) = some_change(&mut cluster, node) {
                    cluster.propose(node, proposal);
                }
            }
        }
        if !cluster.violations.is_empty() {
            return cluster.violations;
        }
    }
    cluster.network.loss = 0;
    cluster.network.twice = 0;
    cluster.network.delay_max = Duration::from_micros(150);
    cluster.heal();
    for node in 0..nodes {
        if !cluster.running().any(|running| running == node) {
            cluster.start(node);
        }
    }
    let well = |c: &Cluster| {
        let status = c.status(0);
        c.primary().is_some_and(|p| c.may_answer(p))
            && c.running().all(|node| {
                let other = c.status(node);
                other.view.members.len() == nodes && other.committed == status.committed
            })
    };
    for _ in 0..40 {
        if cluster.run_until(ms(50), well) {
            break;
        }
        // Who proposes repeats it.
        for node in (0..nodes)
            .filter(|&node| cluster.has_stopped(node))
            .collect::<Vec<_>>()
        {
            if let Some(record) = cluster.known(node) {
                let (prev, term) = (record.last_entry, record.term);
                let change = VolumeChange::Demote { term, prefer: None };
                cluster.propose(
                    node,
                    Proposal::Volume {
                        volume: VOLUME,
                        prev,
                        change,
                    },
                );
            }
        }
    }
    if !well(&cluster) && cluster.violations.is_empty() {
        cluster
            .violations
            .push(format!("does not recover: {:?}", cluster.status(0)));
    }
    cluster.violations
}

#[test]
fn nothing_unsound_happens() {
    let seeds = std::env::var("SCHEDULES")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(150) {
        let violations = schedule(seed);
        assert_eq!(violations, Vec::<String>::new(), "seed {seed}");
    }
}
