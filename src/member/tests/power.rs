//! Loss of power: whose copy counts, and what the log file survives.

use std::time::Duration;

use super::cluster::{Cluster, VOLUME};
use crate::member::Canaries;
use crate::member::io::{ReplicaReport, StoreFault};
use crate::types::{NodeId, Seq, StoreId};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn serves(cluster: &mut Cluster, span: u64) -> bool {
    cluster.run_until(ms(span), |c| c.primary().is_some_and(|p| c.may_answer(p)))
}

#[test]
fn one_machine_down_is_a_failover() {
    let mut cluster = Cluster::serving(3, 2, 1);
    let primary = cluster.primary().unwrap();
    cluster.power_off(primary);
    assert!(serves(&mut cluster, 60));
    cluster.start(primary);
    cluster.run(ms(100));
    assert_ne!(
        cluster.primary(),
        Some(primary),
        "its boot is not the in-sync one"
    );
    let losses = cluster.record().unwrap().losses;
    assert_eq!(losses, 0);
    cluster.assert_sound();
}

#[test]
fn who_lost_power_waits_for_who_may_not_have() {
    // Row 8: one machine is back without what it had not flushed; the other is only unreachable.
    for canary in [false, true] {
        let canaries = Canaries {
            unheard_counts_as_lost: canary,
            ..Canaries::default()
        };
        let mut cluster = Cluster::serving_with(3, 2, 2, canaries);
        let primary = cluster.primary().unwrap();
        let other = 1 - primary;
        cluster.power_off(other);
        cluster.kill(primary);
        cluster.run(ms(100));
        cluster.start(other);
        cluster.run(ms(300));
        assert_eq!(
            cluster.primary().is_some(),
            canary,
            "the planted bug promotes it"
        );
        if !canary {
            let (lost, down) = (format!("n{}", other + 1), format!("n{}", primary + 1));
            assert_eq!(
                cluster.status(2).waiting[0].1,
                format!(
                    "{lost} lost its unflushed writes when its machine went down; {down}, which \
                     may still have them, is down; waiting for it"
                )
            );
            cluster.start(primary);
            assert!(serves(&mut cluster, 200));
            assert_eq!(cluster.primary(), Some(primary));
        }
        cluster.assert_sound();
    }
}

#[test]
fn after_a_loss_of_all_the_newest_goes_on_alone() {
    for canary in [false, true] {
        let canaries = Canaries {
            both_in_sync_after_loss: canary,
            ..Canaries::default()
        };
        let mut cluster = Cluster::serving_with(3, 2, 3, canaries);
        for node in 0..3 {
            cluster.power_off(node);
        }
        for (node, seq) in [(0, 5), (1, 9)] {
            cluster.nodes[node].report.as_mut().unwrap().seq = Seq(seq);
            cluster.nodes[node].report.as_mut().unwrap().term.0 = 1;
        }
        for node in 0..3 {
            cluster.start(node);
            cluster.run(ms(30));
        }
        assert!(serves(&mut cluster, 300));
        assert_eq!(cluster.primary(), Some(1));
        let record = cluster.record().unwrap();
        assert_eq!(record.losses, 1);
        assert_eq!(record.in_sync().count(), if canary { 2 } else { 1 });
        cluster.assert_sound();
    }
}

/// A cluster in which one copy alone is in sync: the primary's, which is returned.
fn with_one_copy(seed: u64) -> (Cluster, usize) {
    use crate::member::io::Proposal;
    use crate::record::VolumeChange;
    let mut cluster = Cluster::serving(3, 2, seed);
    let primary = cluster.primary().unwrap();
    let other = 1 - primary;
    let record = cluster.record().unwrap();
    let shrink = Proposal::Volume {
        volume: VOLUME,
        prev: record.last_entry,
        change: VolumeChange::Shrink {
            term: record.term,
            replicas: std::iter::once(NodeId(other as u8)).collect(),
        },
    };
    cluster.propose(primary, shrink);
    cluster.run(ms(20));
    (cluster, primary)
}

#[test]
fn a_copy_whose_store_cannot_be_used_is_waited_for_by_name() {
    let (mut cluster, primary) = with_one_copy(5);
    let (node, other) = (NodeId(primary as u8), 1 - primary);
    let name = format!("n{}", primary + 1);
    let usable = cluster.nodes[primary].report.unwrap();
    for (fault, report, words) in [
        (
            StoreFault::Another,
            ReplicaReport {
                store: StoreId(77),
                ..usable
            },
            "now has another store; the one that was in sync has to be put back",
        ),
        (
            StoreFault::Failed,
            ReplicaReport {
                failed: true,
                ..usable
            },
            "has failed",
        ),
    ] {
        cluster.kill(primary);
        cluster.nodes[primary].report = Some(report);
        cluster.run(ms(50));
        cluster.start(primary);
        cluster.run(ms(200));
        assert_eq!(cluster.primary(), None);
        for at in [primary, other] {
            let status = cluster.status(at);
            assert_eq!(status.store_faults, [(VOLUME, node, fault)]);
            let said = &status.waiting[0].1;
            assert!(said.starts_with("no in-sync copy can be used: "), "{said}");
            assert!(said.contains(&name) && said.ends_with(words), "{said}");
        }
    }
    cluster.kill(primary);
    cluster.nodes[primary].report = Some(usable);
    cluster.run(ms(50));
    cluster.start(primary);
    assert!(serves(&mut cluster, 200));
    assert_eq!(cluster.status(other).store_faults, []);
    cluster.assert_sound();
}

#[test]
fn the_only_copy_is_waited_for_by_name() {
    let (mut cluster, primary) = with_one_copy(4);
    let other = 1 - primary;
    cluster.kill(primary);
    cluster.run(ms(200));
    assert_eq!(cluster.primary(), None);
    let name = format!("n{}", primary + 1);
    assert_eq!(
        cluster.status(other).waiting[0].1,
        format!("{name} holds the only in-sync copy and is down; waiting for it")
    );
    cluster.start(primary);
    assert!(serves(&mut cluster, 200));
    cluster.assert_sound();
}

#[test]
fn power_fails_at_any_time() {
    for seed in 0..60 {
        let mut cluster = Cluster::serving(3, 2, seed);
        for _ in 0..8 {
            let node = cluster.network.random.below(3) as usize;
            let span = cluster.network.random.below(60_000);
            cluster.run(Duration::from_micros(span));
            cluster.power_off(node);
            let span = cluster.network.random.below(60_000);
            cluster.run(Duration::from_micros(span));
            cluster.start(node);
        }
        cluster.run(ms(300));
        cluster.assert_sound();
        let members = cluster.view(0).members.len();
        assert_eq!(members, 3, "seed {seed}");
    }
}

#[test]
fn a_failed_store_has_been_heard_and_is_not_promoted() {
    let mut cluster = Cluster::serving(3, 2, 4);
    let failed = cluster.primary().unwrap();
    for node in 0..3 {
        cluster.power_off(node);
    }
    if let Some(report) = &mut cluster.nodes[failed].report {
        report.failed = true;
    }
    cluster.start(1 - failed);
    cluster.start(2);
    cluster.run(ms(300));
    assert_eq!(cluster.primary(), None, "the other may have kept its power");
    cluster.start(failed);
    assert!(serves(&mut cluster, 300));
    assert_eq!(cluster.primary(), Some(1 - failed));
    assert_eq!(cluster.record().unwrap().losses, 1);
    cluster.assert_sound();
}
