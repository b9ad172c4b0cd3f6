//! Planted bugs: what watches the cluster must notice each, and the same schedules without the bug
//! must be sound.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::cluster::Cluster;
use super::faults::open_session;
use crate::member::Canaries;

const OFF: Canaries = Canaries {
    vote_without_promise: false,
    promote_behind_replica: false,
    ignore_prev: false,
    unheard_counts_as_lost: false,
    both_in_sync_after_loss: false,
    forget_promise_at_restart: false,
    long_lease: false,
    acknowledge_before_durable: false,
    vote_before_durable: false,
    vote_for_any_run: false,
    trust_any_log: false,
    acknowledge_unenrolled: false,
    double_vote: false,
};

/// The primary is cut off until it is suspected, and heard again by one voter while the entry that
/// excludes it is on its way to that one.
fn heard_again(seed: u64, canaries: Canaries) -> Vec<String> {
    let mut cluster = Cluster::serving_with(3, 2, seed, canaries);
    cluster.network.delay_min = Duration::from_millis(4);
    cluster.network.delay_max = Duration::from_millis(6);
    cluster.run(Duration::from_millis(100));
    let primary = cluster.primary().expect("one serves");
    let term = cluster.status(2).term;
    cluster.cut(primary, 1 - primary);
    cluster.cut(primary, 2);
    cluster.run_until(Duration::from_millis(100), |c| c.status(2).term > term);
    let after = cluster.network.random.below(10_000);
    cluster.run(Duration::from_micros(after));
    let between_others = |pair: &(usize, usize)| pair.0 != 2 && pair.1 != 2;
    cluster.network.cut.retain(between_others);
    cluster.run(Duration::from_millis(100));
    cluster.violations
}

/// The primary is cut off until it is suspected, and heard again by one voter about when that one
/// is asked to acknowledge its exclusion; then that voter's daemon restarts.
fn heard_after_restart(seed: u64, canaries: Canaries) -> Vec<String> {
    let mut cluster = Cluster::serving_with(3, 2, seed, canaries);
    cluster.write_time = Duration::from_millis(2);
    let primary = cluster.primary().expect("one serves");
    cluster.cut(primary, 1 - primary);
    cluster.cut(primary, 2);
    let after = 20_000 + seed * 97 % 20_000;
    cluster.run(Duration::from_micros(after));
    let between_others = |pair: &(usize, usize)| pair.0 != 2 && pair.1 != 2;
    cluster.network.cut.retain(between_others);
    let later = cluster.network.random.below(8_000);
    cluster.run(Duration::from_micros(later));
    cluster.kill(2);
    cluster.start(2);
    cluster.run(Duration::from_millis(100));
    cluster.violations
}

/// How many of the first `schedules` are noticed to be unsound.
fn noticed(schedules: u64, run: impl Fn(u64) -> Vec<String>) -> usize {
    // An assertion of the product counts too.
    let unsound = |seed: &u64| {
        catch_unwind(AssertUnwindSafe(|| run(*seed))).map_or(true, |wrong| !wrong.is_empty())
    };
    (0..schedules).filter(unsound).count()
}

#[test]
fn vote_without_promise() {
    let canaries = Canaries {
        vote_without_promise: true,
        ..OFF
    };
    assert!(noticed(400, |seed| heard_again(seed, canaries)) > 0);
    assert_eq!(noticed(400, |seed| heard_again(seed, OFF)), 0);
}

#[test]
fn forget_promise_at_restart() {
    let canaries = Canaries {
        forget_promise_at_restart: true,
        ..OFF
    };
    assert!(noticed(800, |seed| heard_after_restart(seed, canaries)) > 0);
    assert_eq!(noticed(800, |seed| heard_after_restart(seed, OFF)), 0);
}

/// All lose their power while an entry is being agreed; the leader comes back last.
fn power_cut(seed: u64, canaries: Canaries) -> Vec<String> {
    let mut cluster = Cluster::serving_with(3, 2, seed, canaries);
    cluster.write_time = Duration::from_millis(3);
    for round in 1..4 {
        let Some(leader) = cluster.leader() else {
            break;
        };
        let session = open_session(&cluster, round, leader);
        cluster.propose(leader, session);
        let at = cluster.network.random.below(6_000);
        cluster.run(Duration::from_micros(at));
        let agreed = cluster.record().expect("it is there").openings;
        let others: Vec<_> = (0..3).filter(|&node| node != leader).collect();
        (0..3).for_each(|node| cluster.power_off(node));
        others.iter().for_each(|&node| cluster.start(node));
        cluster.run(Duration::from_millis(200));
        cluster.start(leader);
        cluster.run(Duration::from_millis(200));
        let openings = cluster.status(others[0]).volumes[0].0.openings;
        if openings < agreed {
            cluster.violations.push(format!("opening {agreed} is lost"));
        }
    }
    cluster.violations
}

#[test]
fn acknowledge_before_durable() {
    let canaries = Canaries {
        acknowledge_before_durable: true,
        ..OFF
    };
    assert!(noticed(50, |seed| power_cut(seed, canaries)) > 0);
    assert_eq!(noticed(50, |seed| power_cut(seed, OFF)), 0);
}

/// All lose their power and come back, and the first two do not hear each other.
fn all_at_once(cluster: &mut Cluster) {
    (0..3).for_each(|node| cluster.power_off(node));
    cluster.cut(0, 1);
    (0..3).for_each(|node| cluster.start(node));
}

/// Two voters that do not hear each other both ask the third for its vote.
fn two_candidates(seed: u64, canaries: Canaries) -> Vec<String> {
    let mut cluster = Cluster::serving_with(3, 2, seed, canaries);
    cluster.write_time = Duration::from_millis(2);
    all_at_once(&mut cluster);
    cluster.run(Duration::from_millis(100));
    cluster.violations
}

#[test]
fn double_vote() {
    let canaries = Canaries {
        double_vote: true,
        ..OFF
    };
    assert!(noticed(100, |seed| two_candidates(seed, canaries)) > 0);
    assert_eq!(noticed(100, |seed| two_candidates(seed, OFF)), 0);
}

/// Two voters that do not hear each other both ask the third for its vote; it loses its power again
/// and again.
fn forgetful_voter(seed: u64, canaries: Canaries) -> Vec<String> {
    let mut cluster = Cluster::serving_with(3, 2, seed, canaries);
    cluster.write_time = Duration::from_millis(4);
    all_at_once(&mut cluster);
    for _ in 0..8 {
        let span = cluster.network.random.below(25_000);
        cluster.run(Duration::from_micros(span));
        cluster.power_off(2);
        cluster.start(2);
    }
    cluster.run(Duration::from_millis(100));
    cluster.violations
}

#[test]
fn vote_before_durable() {
    let canaries = Canaries {
        vote_before_durable: true,
        ..OFF
    };
    assert!(noticed(400, |seed| forgetful_voter(seed, canaries)) > 0);
    assert_eq!(noticed(400, |seed| forgetful_voter(seed, OFF)), 0);
}

/// The third voter is cut off while another is elected with the vote of one that then loses its log;
/// that one and the third hear each other, and nobody else.
fn lost_vote(seed: u64, canaries: Canaries) -> Vec<String> {
    let mut cluster = Cluster::serving_with(3, 2, seed, canaries);
    cluster.cut(0, 2);
    cluster.cut(1, 2);
    cluster.run(Duration::from_millis(100));
    let old = cluster.leader().filter(|&leader| leader != 2).unwrap_or(0);
    let incarnation = cluster.incarnation(old);
    cluster.kill(old);
    cluster.death_notice(old, incarnation);
    cluster.start(old);
    let elected = cluster.run_until(Duration::from_millis(500), |c| {
        c.primary().is_some() && c.leader().is_some_and(|leader| leader != 2)
    });
    assert!(elected, "seed {seed}: two of three are enough");
    let leader = cluster.leader().expect("it was elected");
    let voter = 1 - leader;
    cluster.lose_log(voter);
    cluster.network.cut.clear();
    cluster.cut(leader, voter);
    cluster.cut(leader, 2);
    cluster.start(voter);
    cluster.run(Duration::from_millis(200));
    finds_together(&mut cluster, seed);
    cluster.violations
}

/// The old primary is cut off and excluded; a voter that promised to let its lease end loses its log,
/// and hears it before it hears of that.
fn lost_promise(seed: u64, canaries: Canaries) -> Vec<String> {
    let mut cluster = Cluster::serving_with(3, 2, seed, canaries);
    let primary = cluster.primary().expect("one serves");
    cluster.cut(primary, 1 - primary);
    cluster.cut(primary, 2);
    let moved = cluster.run_until(Duration::from_millis(500), |c| {
        c.primary()
            .is_some_and(|now| now != primary && c.may_answer(now))
    });
    assert!(moved, "seed {seed}: two of three are enough");
    // Just before the old primary's next heartbeat, or not.
    let after = cluster.network.random.below(10_000);
    cluster.run(Duration::from_micros(after));
    cluster.network.delay_max = Duration::from_millis(4);
    cluster.lose_log(2);
    cluster.network.cut.clear();
    cluster.cut(primary, 1 - primary);
    cluster.start(2);
    cluster.run(Duration::from_millis(100));
    finds_together(&mut cluster, seed);
    cluster.violations
}

/// Without faults everybody is a member again, and whoever has a new log counts.
fn finds_together(cluster: &mut Cluster, seed: u64) {
    cluster.heal();
    let whole = |c: &Cluster| {
        c.primary().is_some_and(|now| c.may_answer(now))
            && c.running().all(|node| {
                let counts = (0..3).all(|voter| c.counts(node, voter));
                counts && c.view(node).members.len() == 3
            })
    };
    let whole = cluster.run_until(Duration::from_secs(2), whole);
    if !whole {
        let wrong = format!("seed {seed}: does not find together");
        cluster.violations.push(wrong);
    }
}

#[test]
fn trust_any_log() {
    let canaries = Canaries {
        trust_any_log: true,
        ..OFF
    };
    assert!(noticed(20, |seed| lost_vote(seed, canaries)) > 0);
    assert_eq!(noticed(100, |seed| lost_vote(seed, OFF)), 0);
}

#[test]
fn acknowledge_unenrolled() {
    let canaries = Canaries {
        acknowledge_unenrolled: true,
        ..OFF
    };
    assert!(noticed(100, |seed| lost_promise(seed, canaries)) > 0);
    assert_eq!(noticed(100, |seed| lost_promise(seed, OFF)), 0);
}
