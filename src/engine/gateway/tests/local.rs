//! This node's own primary.

use super::*;

#[test]
fn this_node_becomes_primary_and_stops_again() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.write(2, 2);
    bench.done(0, 0);
    bench.take();
    bench.promote(ME);
    assert_eq!(bench.take(), [Effect::Close { link: LinkId(1) }]);
    assert!(bench.submitted().is_empty());
    let term = Some(bench.record.term);
    bench.gateway.set_local(bench.now, term, &mut bench.out);
    bench.read(3, 3);
    assert_eq!(bench.submitted(), [(1, 2), (0, 0)]);
    bench.gateway.answered(0, 0, Buf(70), &mut bench.out);
    assert_eq!(bench.replies(), [(3, 0)]);
    assert_eq!(bench.released(), [70]);
    bench.take();
    // It loses the grant: what it had is sent to the next one, under the same number.
    bench.gateway.set_local(bench.now, None, &mut bench.out);
    bench.promote(PEER);
    bench.connect();
    bench.welcome();
    assert_eq!(bench.sent(), [(1, 2, 2, 2)]);
    bench.done(1, 0);
    assert_eq!(bench.replies(), [(2, 0)]);
    assert!(bench.gateway.at_rest());
}

#[test]
fn buffers_of_a_displaced_session_stay_while_this_nodes_primary_uses_them() {
    let mut bench = Bench::new(false);
    bench.promote(ME);
    bench.came(1);
    bench.grant_session();
    let term = Some(bench.record.term);
    bench.gateway.set_local(bench.now, term, &mut bench.out);
    bench.write(1, 1);
    bench.write(2, 1);
    bench.write(3, 3);
    assert_eq!(bench.submitted(), [(0, 1), (2, 2)]);
    bench.take();
    bench.open_session(SessionId(99), PEER);
    assert!(bench.disconnected());
    assert_eq!(bench.replies().len(), 3);
    assert_eq!(bench.released(), [2]);
    assert!(!bench.gateway.at_rest());
    bench.take();
    bench.gateway.answered(0, 0, Buf::NONE, &mut bench.out);
    assert_eq!(bench.take(), [Effect::Release { buf: Buf(1) }]);
    // A new session works meanwhile, also over the same bytes.
    bench.came(2);
    bench.grant_session();
    bench.write(4, 3);
    assert_eq!(bench.submitted().len(), 1);
    bench.take();
    bench.gateway.set_local(bench.now, None, &mut bench.out);
    assert_eq!(bench.take(), [Effect::Release { buf: Buf(3) }]);
    assert_eq!(bench.gateway.room(), PIECES - 1);
}
