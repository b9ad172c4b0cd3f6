//! Partitions, pauses, restarts, loss: who is excluded, who comes back, and what stays sound.

use std::time::Duration;

use super::cluster::{Cluster, VOLUME};
use crate::member::io::{CoreNote, Proposal, Timing};
use crate::record::{SessionRecord, VolumeChange};
use crate::types::{NodeId, SessionId};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn open_session(cluster: &Cluster, id: u64, node: usize) -> Proposal {
    Proposal::Volume {
        volume: VOLUME,
        prev: cluster.record().unwrap().last_entry,
        change: VolumeChange::OpenSession {
            session: SessionRecord {
                id: SessionId(id),
                gateway: NodeId(node as u8),
            },
        },
    }
}

#[test]
fn leases_end_before_the_silence_that_ends_them() {
    for interval in [10, 11, 100, 333, 1000] {
        let timing = Timing::every(ms(interval));
        assert!(timing.is_safe());
        let long = timing.suspicion() * 85 / 100;
        assert!(
            !Timing {
                lease: long,
                ..timing
            }
            .is_safe()
        );
    }
}

#[test]
fn a_cut_between_two_that_hear_the_third_excludes_nobody() {
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let mut cluster = Cluster::serving(3, 2, 3);
        let view = cluster.view(0).number;
        cluster.cut(a, b);
        cluster.run(ms(500));
        assert!(
            cluster
                .running()
                .all(|node| cluster.view(node).number == view)
        );
        assert!(cluster.primary().is_some_and(|p| cluster.may_answer(p)));
        // Either side's proposals reach the leader, and what commits comes back.
        for (id, node) in [(1, a), (2, b)] {
            let proposal = open_session(&cluster, id, node);
            cluster.propose(node, proposal);
            let reached = cluster.run_until(ms(30), |c| {
                c.running().all(|node| {
                    let volumes = c.status(node).volumes;
                    volumes[0].0.sessions.iter().any(|s| s.id == SessionId(id))
                })
            });
            assert!(reached, "cut {a}-{b}, from {node}");
        }
        cluster.heal();
        cluster.run(ms(200));
        assert!(
            cluster
                .running()
                .all(|node| cluster.view(node).number == view)
        );
        cluster.assert_sound();
    }
}

#[test]
fn one_way_cuts_end_with_one_that_serves() {
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let mut cluster = Cluster::serving(3, 2, 5);
        cluster.network.cut.insert((from, to));
        cluster.run(ms(300));
        assert!(cluster.run_until(ms(300), |c| c.primary().is_some_and(|p| c.may_answer(p))));
        cluster.heal();
        let whole = cluster.run_until(ms(500), |c| {
            c.running().all(|node| c.view(node).members.len() == 3)
        });
        assert!(whole, "{from} to {to}");
        cluster.assert_sound();
    }
}

#[test]
fn a_deaf_leader_is_replaced() {
    let mut cluster = Cluster::serving(3, 2, 6);
    let leader = cluster.leader().unwrap();
    for other in (0..3).filter(|&node| node != leader) {
        cluster.network.cut.insert((other, leader));
    }
    let replaced = cluster.run_until(ms(300), |c| {
        c.primary().is_some_and(|p| p != leader && c.may_answer(p))
    });
    assert!(replaced);
    cluster.assert_sound();
}

#[test]
fn a_paused_primary_is_replaced_and_comes_back_in_place() {
    for seed in 0..10 {
        let mut cluster = Cluster::serving(3, 2, seed);
        let primary = cluster.primary().unwrap();
        let before = cluster.incarnation(primary);
        cluster.pause(primary, Duration::from_secs(2));
        let replaced = cluster.run_until(ms(60), |c| {
            c.primary().is_some_and(|p| p != primary && c.may_answer(p))
        });
        assert!(replaced, "seed {seed}");
        cluster.run(Duration::from_secs(2));
        let back = cluster.run_until(ms(200), |c| {
            c.running().all(|node| c.view(node).members.len() == 3)
        });
        assert!(back, "seed {seed}");
        assert!(cluster.incarnation(primary) > before);
        assert_ne!(
            cluster.primary(),
            Some(primary),
            "nothing moves back by itself"
        );
        cluster.assert_sound();
    }
}

#[test]
fn two_that_wake_at_once_are_taken_in_without_a_quarrel() {
    for seed in 0..10 {
        let mut cluster = Cluster::serving(3, 2, seed);
        let primary = cluster.primary().unwrap();
        let others: Vec<_> = (0..3).filter(|&node| node != primary).collect();
        cluster.pause(others[0], ms(600));
        cluster.run(ms(300));
        cluster.pause(others[1], ms(300));
        cluster.run(ms(299));
        let term = cluster.status(primary).term;
        let whole = cluster.run_until(ms(400), |c| {
            c.running().all(|node| c.view(node).members.len() == 3)
                && c.primary().is_some_and(|p| c.may_answer(p))
        });
        assert!(whole, "seed {seed}");
        let terms = cluster.status(primary).term - term;
        assert!(terms <= 6, "seed {seed}: {terms} terms");
        cluster.assert_sound();
    }
}

/// The newest term of anybody.
fn newest_term(cluster: &Cluster) -> u64 {
    let terms = cluster.running().map(|node| cluster.status(node).term);
    terms.max().unwrap()
}

/// A cluster whose heartbeats are so far apart that a quarrel has the time to go through many terms.
fn settled_slow(nodes: usize, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(nodes, 2, seed);
    cluster.timing = Timing::every(ms(100));
    for node in 0..nodes {
        cluster.start(node);
    }
    let settled = cluster.run_until(ms(10_000), |c| {
        c.primary().is_some_and(|p| c.may_answer(p))
            && c.running().all(|node| c.view(node).members.len() == nodes)
    });
    assert!(settled, "seed {seed}");
    let span = 1_000_000 + cluster.network.random.below(100_000);
    cluster.run(Duration::from_micros(span));
    cluster
}

#[test]
fn voters_that_find_each_other_again_do_not_quarrel() {
    for seed in 0..50 {
        let nodes = if seed % 2 == 0 { 3 } else { 5 };
        let mut cluster = settled_slow(nodes, seed);
        for node in 0..nodes {
            (0..node).for_each(|other| cluster.cut(node, other));
        }
        cluster.run(ms(1_000));
        let term = newest_term(&cluster);
        // Until the next heartbeats each takes all the others for dead, also the one that it votes
        // for.
        cluster.heal();
        cluster.run(ms(2_000));
        let terms = newest_term(&cluster) - term;
        assert!(terms <= 8, "seed {seed}: {terms} terms");
        assert!(cluster.primary().is_some_and(|p| cluster.may_answer(p)));
        cluster.assert_sound();
    }
}

#[test]
fn a_leader_that_comes_back_amid_an_election_does_not_quarrel() {
    for seed in 0..100 {
        let mut cluster = settled_slow(3, seed);
        // Messages are slower than writes: a leader is deposed before it is heard to lead.
        cluster.network.delay_min = ms(1);
        cluster.network.delay_max = ms(2);
        let leader = cluster.leader().unwrap();
        let term = cluster.status(leader).term;
        for other in (0..3).filter(|&node| node != leader) {
            cluster.cut(leader, other);
        }
        let asked = cluster.run_until(ms(1_000), |c| newest_term(c) > term);
        assert!(asked, "seed {seed}");
        let back = cluster.network.random.below(5_000);
        cluster.run(Duration::from_micros(back));
        cluster.heal();
        // What it proposes makes the others tell it that its term is over.
        for id in 0..4 {
            let soon = cluster.network.random.below(2_000);
            cluster.run(Duration::from_micros(soon));
            let proposal = open_session(&cluster, id + 1, leader);
            cluster.propose(leader, proposal);
        }
        cluster.run(ms(1_000));
        let terms = newest_term(&cluster) - term;
        assert!(terms <= 4, "seed {seed}: {terms} terms");
        assert!(cluster.primary().is_some_and(|p| cluster.may_answer(p)));
        cluster.assert_sound();
    }
}

#[test]
fn short_pauses_exclude_nobody() {
    for seed in 0..10 {
        let mut cluster = Cluster::serving(3, 2, seed);
        let view = cluster.view(0).number;
        for node in [0, 1, 2, 0, 1, 2] {
            cluster.pause(node, ms(9));
            cluster.run(ms(50));
        }
        assert_eq!(cluster.view(0).number, view, "seed {seed}");
        cluster.assert_sound();
    }
}

#[test]
fn everybody_paused_at_once_suspects_nobody_for_it() {
    for seed in 0..10 {
        let mut cluster = Cluster::serving(3, 2, seed);
        let view = cluster.view(0).number;
        for node in 0..3 {
            cluster.pause(node, ms(400));
        }
        cluster.run(ms(600));
        assert_eq!(cluster.view(0).number, view, "seed {seed}");
        assert!(cluster.primary().is_some_and(|p| cluster.may_answer(p)));
        cluster.assert_sound();
    }
}

#[test]
fn a_restarted_voter_keeps_its_promise() {
    // A voter acknowledges the exclusion of a primary that lives on, and restarts at once: the
    // primary must not get its lease from it.
    for seed in 0..30 {
        let mut cluster = Cluster::serving(3, 2, seed);
        let primary = cluster.primary().unwrap();
        let others: Vec<_> = (0..3).filter(|&node| node != primary).collect();
        cluster.cut(primary, others[0]);
        cluster.cut(primary, others[1]);
        let at = 28 + cluster.network.random.below(8);
        cluster.run(ms(at));
        cluster.heal();
        cluster.kill(others[1]);
        cluster.start(others[1]);
        cluster.run(ms(300));
        assert!(
            cluster.primary().is_some_and(|p| cluster.may_answer(p)),
            "seed {seed}"
        );
        cluster.assert_sound();
    }
}

#[test]
fn a_restarted_voter_keeps_its_promise_before_it_hears_anybody() {
    let mut cluster = Cluster::serving(3, 2, 1);
    let primary = cluster.primary().unwrap();
    let others: Vec<_> = (0..3).filter(|&node| node != primary).collect();
    cluster.cut(primary, others[0]);
    cluster.cut(primary, others[1]);
    let moved = cluster.run_until(ms(100), |c| c.primary().is_some_and(|p| p != primary));
    assert!(moved);
    let voter = others[1];
    cluster.kill(voter);
    cluster.start(voter);
    // No signal of the core has reached the pulse yet; a heartbeat of the old primary could.
    assert!(cluster.refuses(voter, primary));
}

#[test]
fn a_dead_witness_changes_nothing_for_the_volume() {
    let mut cluster = Cluster::serving(3, 2, 8);
    let primary = cluster.primary();
    let term = cluster.record().unwrap().term;
    cluster.kill(2);
    for _ in 0..100 {
        cluster.run(ms(2));
        assert!(cluster.may_answer(primary.unwrap()), "the lease never ends");
    }
    assert_eq!(cluster.view(0).members.len(), 2);
    assert_eq!(cluster.record().unwrap().term, term);
    cluster.assert_sound();
}

#[test]
fn without_a_witness_a_dead_peer_leaves_all_waiting_and_says_why() {
    let mut cluster = Cluster::serving(2, 2, 9);
    let primary = cluster.primary().unwrap();
    cluster.kill(primary);
    cluster.run(ms(500));
    let other = 1 - primary;
    assert!(!cluster.may_answer(other));
    let waiting = cluster.status(other).waiting;
    let name = format!("n{}", primary + 1);
    assert_eq!(
        waiting[0].1,
        format!("no quorum: 1 of 2 voters heard; waiting for {name}")
    );
    cluster.start(primary);
    assert!(cluster.run_until(ms(200), |c| c.primary().is_some_and(|p| c.may_answer(p))));
    cluster.assert_sound();
}

#[test]
fn all_restart_at_once() {
    for seed in 0..20 {
        let mut cluster = Cluster::serving(3, 2, seed);
        for node in 0..3 {
            cluster.kill(node);
        }
        cluster.run(ms(5));
        for node in 0..3 {
            cluster.start(node);
        }
        let served = cluster.run_until(ms(200), |c| {
            c.primary().is_some_and(|p| c.may_answer(p))
                && c.running().all(|node| c.view(node).members.len() == 3)
        });
        assert!(served, "seed {seed}");
        cluster.assert_sound();
    }
}

#[test]
fn loss_delay_and_doubles_end_in_agreement() {
    for seed in 0..30 {
        let mut cluster = Cluster::new(3 + 2 * (seed as usize % 2), 2, seed);
        cluster.network.loss = 10;
        cluster.network.twice = 10;
        cluster.network.delay_max = ms(3);
        for node in 0..cluster.nodes.len() {
            cluster.start(node);
        }
        for round in 0..20 {
            let node = cluster.network.random.below(cluster.nodes.len() as u64) as usize;
            match cluster.network.random.below(4) {
                0 => cluster.pause(node, ms(60)),
                1 => {
                    cluster.kill(node);
                    cluster.run(ms(15));
                    cluster.start(node);
                }
                2 => cluster.cut(node, (node + 1) % 3),
                _ => cluster.heal(),
            }
            if let Some(record) = cluster.record() {
                let _known = record.last_entry;
                let proposal = open_session(&cluster, round + 1, node);
                cluster.propose(node, proposal);
            }
            cluster.run(ms(70));
        }
        cluster.network.loss = 0;
        cluster.network.twice = 0;
        cluster.heal();
        let agreed = cluster.run_until(Duration::from_secs(1), |c| {
            let nodes = c.nodes.len();
            let committed = c.status(0).committed;
            c.primary().is_some_and(|p| c.may_answer(p))
                && c.running().all(|node| {
                    let status = c.status(node);
                    status.view.members.len() == nodes && status.committed == committed
                })
        });
        assert!(agreed, "seed {seed}");
        cluster.assert_sound();
    }
}

#[test]
fn a_node_that_was_away_for_long_gets_the_state() {
    let mut cluster = Cluster::serving(3, 2, 11);
    cluster.kill(2);
    cluster.run(ms(100));
    for id in 0..700 {
        let primary = cluster.primary().unwrap();
        let proposal = open_session(&cluster, id + 1, primary);
        let before = cluster.record().unwrap().last_entry;
        cluster.propose(primary, proposal);
        assert!(cluster.run_until(ms(20), |c| c.record().unwrap().last_entry > before));
    }
    cluster.start(2);
    let there = cluster.run_until(ms(300), |c| {
        c.status(2).committed == c.status(0).committed && c.view(2).members.len() == 3
    });
    assert!(there);
    assert_eq!(cluster.status(2).volumes, cluster.status(0).volumes);
    cluster.assert_sound();
    // Its own file holds it too.
    cluster.kill(2);
    cluster.start(2);
    assert!(cluster.status(2).view.number > 0, "from the snapshot");
    cluster.run(ms(100));
    cluster.assert_sound();
}

#[test]
fn a_late_proposal_is_void() {
    let mut cluster = Cluster::serving(3, 2, 12);
    let late = open_session(&cluster, 1, 0);
    let newer = open_session(&cluster, 2, 1);
    cluster.propose(1, newer);
    cluster.run(ms(20));
    cluster.propose(0, late);
    cluster.run(ms(50));
    let sessions = &cluster.record().unwrap().sessions;
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].id, SessionId(2));
    let void = cluster.noted(|note| matches!(note, CoreNote::Void { .. }));
    assert_eq!(void, None, "the leader does not even write it down");
}
