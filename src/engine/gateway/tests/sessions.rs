//! Sessions: opened, kept, displaced.

use super::*;
use crate::engine::io::Note;

#[test]
fn the_first_client_opens_a_session_and_the_last_leaves_it_open() {
    let mut bench = Bench::new(false);
    assert!(bench.take().is_empty());
    bench.came(1);
    let id = bench.grant_session();
    assert_eq!(bench.gateway.session(), Some(id));
    assert!(bench.has(Effect::Connect { peer: PEER }));
    bench.take();
    bench.came(2);
    assert_eq!(bench.gateway.clients(), 2);
    bench.gateway.client_went(ClientId(1));
    bench.gateway.client_went(ClientId(2));
    bench.came(3);
    assert_eq!(bench.gateway.session(), Some(id));
    assert!(bench.take().is_empty());
}

#[test]
fn the_proposal_is_repeated_and_names_the_newest_entry() {
    let mut bench = Bench::new(false);
    bench.came(1);
    let first = bench.proposed();
    bench.take();
    bench.pass(29);
    assert!(bench.take().is_empty());
    assert_eq!(
        bench.gateway.deadline(),
        bench.now.after(Duration::from_millis(1))
    );
    bench.pass(1);
    assert_eq!(bench.proposed(), first);
    bench.take();
    bench.tell();
    assert_eq!(bench.proposed(), first);
    bench.take();
    // The client went before: nobody needs it.
    bench.gateway.client_went(ClientId(1));
    bench.pass(30);
    assert!(bench.take().is_empty());
    assert_eq!(bench.gateway.deadline(), Time::MAX);
    bench.came(2);
    assert_ne!(bench.proposed(), first);
}

#[test]
fn session_numbers_differ_between_nodes_runs_and_sessions() {
    let id = |node, incarnation, count| {
        Session::new(NodeId(node), Incarnation(incarnation), count, None).id
    };
    let ids = [
        id(0, 1, 1),
        id(0, 1, 2),
        id(0, 2, 1),
        id(1, 1, 1),
        id(127, 1 << 39, 65_536),
    ];
    for (at, one) in ids.iter().enumerate() {
        assert!(!ids[..at].contains(one) && one.0 != 0);
    }
}

#[test]
fn a_request_waits_for_session_and_primary() {
    let mut bench = Bench::new(false);
    bench.record.primary = None;
    bench.tell();
    bench.came(1);
    bench.write(1, 5);
    bench.grant_session();
    assert!(!bench.has(Effect::Connect { peer: PEER }));
    bench.promote(PEER);
    bench.connect();
    assert!(bench.sent().is_empty());
    bench.welcome();
    assert_eq!(bench.sent(), [(0, 5, 1, 1)]);
    bench.done(0, 0);
    assert_eq!(bench.replies(), [(1, 0)]);
    assert_eq!(bench.released(), [1]);
    assert!(bench.gateway.at_rest());
}

#[test]
fn displaced_by_another_gateway() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.write(2, 1);
    bench.take();
    bench.open_session(SessionId(99), PEER);
    assert!(bench.disconnected());
    assert!(bench.has(Effect::Note(Note::SessionEnded)));
    assert!(bench.has(Effect::Close { link: LinkId(1) }));
    assert_eq!(bench.replies(), [(1, ESHUTDOWN), (2, ESHUTDOWN)]);
    assert_eq!(bench.released(), [1, 2]);
    assert!(bench.gateway.at_rest() && bench.gateway.session().is_none());
    bench.take();
    // No new session for clients that are on their way out; a new one takes the volume back.
    bench.write(3, 1);
    assert_eq!(bench.replies(), [(3, ESHUTDOWN)]);
    assert_eq!(bench.released(), [3]);
    bench.gateway.client_went(ClientId(1));
    bench.pass(100);
    assert_eq!(bench.take().len(), 2);
    bench.came(2);
    bench.grant_session();
    bench.connect();
    bench.write(4, 1);
    bench.welcome();
    assert_eq!(bench.sent(), [(bench.sent()[0].0, 1, 1, 1)]);
}

#[test]
fn in_a_shared_volume_others_come_and_go() {
    let mut bench = Bench::open(true);
    bench.open_session(SessionId(99), PEER);
    assert!(bench.take().is_empty());
}
