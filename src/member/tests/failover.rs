//! Death of a primary, with and without a notice, leader or not: decided in time.

use std::time::Duration;

use super::cluster::Cluster;
use crate::member::io::{CoreNote, Timing};
use crate::record::VolumeChange;
use crate::types::Time;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn promoted(cluster: &Cluster, after: Time) -> Option<Time> {
    let promotions = cluster.notes.iter().filter(|(at, _, note)| {
        let promote = matches!(
            note,
            CoreNote::Volume {
                change: VolumeChange::Promote { .. },
                ..
            }
        );
        promote && *at > after
    });
    promotions.map(|(at, _, _)| *at).min()
}

/// Time from the death of the primary to the committed promotion of the other.
fn failover(seed: u64, notice: bool, leader_too: bool) -> Duration {
    let mut cluster = Cluster::serving(3, 2, seed);
    let mut primary = cluster.primary().unwrap();
    if (cluster.leader() == Some(primary)) != leader_too {
        // Let another node lead.
        let leader = cluster.leader().unwrap();
        cluster.kill(leader);
        cluster.run_until(ms(500), |c| {
            c.primary().is_some_and(|p| c.may_answer(p)) && c.leader().is_some()
        });
        cluster.start(leader);
        cluster.run_until(ms(500), |c| {
            c.running().all(|node| c.view(node).members.len() == 3)
        });
        primary = cluster.primary().unwrap();
    }
    let phase = cluster.network.random.below(10_000);
    cluster.run(Duration::from_micros(100_000 + phase));
    let incarnation = cluster.incarnation(primary);
    let death = cluster.now;
    cluster.kill(primary);
    if notice {
        cluster.death_notice(primary, incarnation);
    }
    assert!(
        cluster.run_until(ms(300), |c| promoted(c, death).is_some()),
        "seed {seed}"
    );
    cluster.assert_sound();
    let span = promoted(&cluster, death).unwrap().since(death);
    assert!(cluster.run_until(ms(50), |c| c.primary().is_some_and(|p| c.may_answer(p))));
    assert_ne!(cluster.primary(), Some(primary));
    cluster.assert_sound();
    span
}

#[test]
fn silence_of_a_primary_that_leads_is_decided_within_d_and_two_writes() {
    for seed in 0..40 {
        let span = failover(seed, false, true);
        assert!(span > ms(19) && span < ms(33), "seed {seed}: {span:?}");
    }
}

#[test]
fn a_death_notice_saves_the_wait() {
    for seed in 0..40 {
        let span = failover(seed, true, true);
        assert!(span < ms(3), "seed {seed}: {span:?}");
    }
}

/// Five that have just elected a leader. Heartbeats are far apart, so that any wait shows.
fn slow_five(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(5, 3, seed);
    cluster.timing = Timing::every(ms(300));
    for node in 0..5 {
        cluster.start(node);
    }
    cluster.run(ms(2_000));
    cluster
}

/// The node dies, and the others are told.
fn kill_with_notice(cluster: &mut Cluster, node: usize) {
    let incarnation = cluster.incarnation(node);
    cluster.kill(node);
    cluster.death_notice(node, incarnation);
}

/// Time from the death of the leader, of which the others are told, to the next leader.
fn succession(cluster: &mut Cluster) -> Duration {
    let (leader, death) = (cluster.leader().unwrap(), cluster.now);
    kill_with_notice(cluster, leader);
    cluster.run_until(ms(10_000), |c| c.leader().is_some());
    cluster.now.since(death)
}

#[test]
fn a_leader_that_dies_soon_after_its_election_is_replaced_as_fast() {
    for seed in 0..50 {
        let mut cluster = slow_five(seed);
        for _ in 0..2 {
            let span = succession(&mut cluster);
            assert!(span < ms(3), "seed {seed}: {span:?}");
            // Less than a voter waits for the one that it has voted for.
            cluster.run(ms(350));
        }
        cluster.assert_sound();
    }
}

#[test]
fn a_leader_that_falls_silent_soon_after_its_election_is_replaced_within_d() {
    for seed in 0..50 {
        let mut cluster = slow_five(seed);
        succession(&mut cluster);
        cluster.run(ms(50));
        let (leader, death) = (cluster.leader().unwrap(), cluster.now);
        cluster.kill(leader);
        cluster.run_until(ms(10_000), |c| c.leader().is_some());
        let span = cluster.now.since(death);
        assert!(
            span < cluster.timing.suspicion() + ms(3),
            "seed {seed}: {span:?}"
        );
        cluster.assert_sound();
    }
}

#[test]
fn a_candidate_that_dies_is_replaced_as_fast() {
    for seed in 0..50 {
        let mut cluster = slow_five(seed);
        let (leader, death) = (cluster.leader().unwrap(), cluster.now);
        let term = cluster.status(leader).term;
        kill_with_notice(&mut cluster, leader);
        let first = |c: &Cluster| c.running().find(|&node| c.status(node).term > term);
        assert!(cluster.run_until(ms(300), |c| first(c).is_some()));
        let candidate = first(&cluster).unwrap();
        // It has asked for votes, and none is durable yet.
        cluster.run(Duration::from_micros(200));
        kill_with_notice(&mut cluster, candidate);
        cluster.run_until(ms(10_000), |c| c.leader().is_some());
        let span = cluster.now.since(death);
        assert!(span < ms(4), "seed {seed}: {span:?}");
        cluster.assert_sound();
    }
}

#[test]
fn votes_are_not_asked_for_through_the_dead() {
    for seed in 0..50 {
        let mut cluster = Cluster::new(3, 2, seed);
        cluster.timing = Timing::every(ms(300));
        (0..3).for_each(|node| cluster.start(node));
        cluster.run(ms(5_000));
        let leader = cluster.leader().unwrap();
        let others: Vec<_> = (0..3).filter(|&node| node != leader).collect();
        cluster.cut(others[0], others[1]);
        cluster.run(ms(5_000));
        assert_eq!(cluster.leader(), Some(leader));
        cluster.heal();
        // Some hear from the others before they hear of the death.
        cluster.network.delay_max = ms(2);
        let span = succession(&mut cluster);
        assert!(span < ms(20), "seed {seed}: {span:?}");
        cluster.assert_sound();
    }
}

#[test]
fn a_split_vote_costs_no_wait() {
    for seed in 0..50 {
        // Four are left, and two of them may ask for votes before they hear of each other.
        let mut cluster = slow_five(seed);
        cluster.run(ms(3_000));
        let span = succession(&mut cluster);
        assert!(span < ms(3), "seed {seed}: {span:?}");
        cluster.assert_sound();
    }
}

#[test]
fn death_of_a_primary_that_does_not_lead() {
    for seed in 0..20 {
        let span = failover(seed, false, false);
        assert!(span > ms(19) && span < ms(33), "seed {seed}: {span:?}");
        let span = failover(seed, true, false);
        assert!(span < ms(3), "seed {seed}: {span:?}");
    }
}

#[test]
fn five_voters_decide_in_time_too() {
    for seed in 0..20 {
        let mut cluster = Cluster::serving(5, 3, seed);
        let primary = cluster.primary().unwrap();
        let death = cluster.now;
        cluster.kill(primary);
        assert!(
            cluster.run_until(ms(34), |c| promoted(c, death).is_some()),
            "seed {seed}"
        );
        cluster.assert_sound();
    }
}

#[test]
fn a_new_run_of_the_daemon_proves_the_death_of_the_old() {
    let mut cluster = Cluster::serving(3, 2, 1);
    let primary = cluster.primary().unwrap();
    let before = cluster.incarnation(primary);
    cluster.kill(primary);
    cluster.start(primary);
    assert!(cluster.incarnation(primary) > before);
    // Who is promoted depends on who is heard first; nobody waits for D.
    let served = cluster.run_until(ms(10), |c| {
        let grant = c.record().and_then(|record| record.primary);
        let newer = grant.is_some_and(|grant| grant.incarnation != before);
        newer && c.primary().is_some_and(|p| c.may_answer(p))
    });
    assert!(served);
    let back = cluster.run_until(ms(50), |c| c.view(0).members.len() == 3);
    assert!(back);
    cluster.assert_sound();
}
