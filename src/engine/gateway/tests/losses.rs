//! Loss of power of all replicas, and of windows.

use super::*;

#[test]
fn a_power_loss_is_not_noticed_where_nothing_was_promised() {
    let mut bench = Bench::open(false);
    bench.request(1, WRITE_FUA, 0, 4096);
    bench.done(0, 0);
    bench.write(2, 1);
    bench.write(3, 2);
    bench.done(0, 0);
    bench.flush(4);
    bench.done(0, 0);
    // What is left: 3 as number 3; it goes on as number 1 of a new session.
    bench.take();
    bench.lose_power();
    assert!(!bench.disconnected());
    bench.grant_session();
    bench.connect();
    bench.welcome();
    assert_eq!(bench.sent(), [(1, 2, 1, 1)]);
}

#[test]
fn a_power_loss_disconnects_where_acknowledged_changes_are_not_durable() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.flush(2);
    bench.done(0, 0);
    // The flush was asked before the acknowledgement: it promises nothing about it.
    bench.done(1, 0);
    bench.take();
    bench.lose_power();
    assert!(bench.disconnected());
    assert!(bench.gateway.session().is_none());
}

#[test]
fn a_failed_flush_promises_nothing() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.done(0, 0);
    bench.flush(2);
    bench.done(0, EIO);
    bench.lose_power();
    assert!(bench.disconnected());
}

#[test]
fn after_a_power_loss_nothing_is_sent_again_if_others_may_have_written() {
    // Shared: another gateway may have changed the place since.
    let mut bench = Bench::open(true);
    bench.write(1, 1);
    bench.lose_power();
    assert!(bench.disconnected());
    // Shared, but nothing was sent.
    let mut bench = Bench::open(true);
    bench.promote(THIRD);
    bench.write(1, 1);
    bench.lose_power();
    assert!(!bench.disconnected());
    // Another gateway took the volume over before the loss; only the newest record was seen.
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.record.openings += 1;
    bench.lose_power();
    assert!(bench.disconnected());
    // Another takes it over before the new session is open.
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.lose_power();
    assert!(!bench.disconnected());
    bench.open_session(SessionId(99), PEER);
    assert!(bench.disconnected());
    // Another had it for a while before the new session was.
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.lose_power();
    bench.record.openings += 1;
    bench.grant_session();
    assert!(bench.disconnected());
}

#[test]
fn lost_windows_end_the_session_only_where_it_matters() {
    let mut bench = Bench::open(true);
    bench.write(1, 1);
    bench.not_now(Refusal::NoSession);
    assert!(bench.disconnected());

    let mut bench = Bench::open(true);
    let old = bench.gateway.session();
    bench.read(1, 1);
    bench.not_now(Refusal::NoSession);
    assert!(!bench.disconnected());
    assert_ne!(Some(bench.grant_session()), old);
    bench.connect();
    bench.take();
    bench.welcome();
    assert_eq!(bench.sent(), [(0, 1, 0, 1)]);

    let mut bench = Bench::open(false);
    let old = bench.gateway.session();
    bench.write(1, 1);
    bench.not_now(Refusal::NoSession);
    assert!(!bench.disconnected());
    assert_eq!(bench.gateway.session(), old);
}

#[test]
fn this_nodes_primary_tells_of_lost_windows_before_it_serves() {
    let mut bench = Bench::open(true);
    bench.write(1, 1);
    bench.promote(ME);
    bench.gateway.session_lost(bench.now, &mut bench.out);
    assert!(bench.disconnected());
}
