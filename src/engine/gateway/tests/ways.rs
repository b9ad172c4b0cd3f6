//! Ways to the primary: broken, replaced, refused; and the answers that come by them.

use super::*;

#[test]
fn what_a_broken_link_leaves_unanswered_is_sent_again() {
    let mut bench = Bench::open(false);
    for (tag, block) in [(1, 10), (2, 11), (3, 11), (4, 12)] {
        bench.write(tag, block);
    }
    bench.read(5, 20);
    bench.done(0, 0);
    bench.take();
    let down = Some(LinkId(1));
    bench
        .gateway
        .link_down(bench.now, down, PEER, &mut bench.out);
    bench.write(6, 13);
    assert!(bench.take().is_empty());
    bench.pass(9);
    assert!(bench.take().is_empty());
    bench.pass(1);
    assert_eq!(bench.take(), [Effect::Connect { peer: PEER }]);
    bench
        .gateway
        .link_down(bench.now, None, PEER, &mut bench.out);
    assert!(bench.take().is_empty());
    bench.pass(10);
    bench.connect();
    bench.welcome();
    // 11 under its old number before 12, then what is new; the second write of 11 is still held.
    let sent: Vec<(u64, u64)> = bench.sent().iter().map(|s| (s.1, s.2)).collect();
    assert_eq!(sent, [(11, 2), (12, 3), (13, 4), (20, 0)]);
}

#[test]
fn a_new_primary_is_entered_at_once_and_an_old_one_left() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.take();
    bench.promote(THIRD);
    assert_eq!(
        bench.take(),
        [
            Effect::Close { link: LinkId(1) },
            Effect::Connect { peer: THIRD }
        ]
    );
    // An attempt that was on its way to somebody else.
    bench.promote(PEER);
    assert!(!bench.gateway.wants(THIRD) && bench.gateway.wants(PEER));
    let link = bench.connect();
    bench.take();
    let term = Term(bench.record.term.0 - 1);
    bench.frame(Frame::Welcome { term }, Buf::NONE);
    assert_eq!(bench.take(), [Effect::Close { link }]);
    // The same node under a new grant: no need to wait.
    bench.promote(PEER);
    assert_eq!(bench.take(), [Effect::Connect { peer: PEER }]);
    let link = bench.connect();
    bench.welcome();
    assert_eq!(bench.sent(), [(0, 1, 1, 1)]);
    bench.take();
    bench.promote(PEER);
    assert_eq!(
        bench.take(),
        [Effect::Close { link }, Effect::Connect { peer: PEER }]
    );
    assert!(bench.gateway.at_rest() || bench.gateway.route.link().is_none());
}

#[test]
fn a_primary_that_is_ahead_of_this_nodes_record_is_kept() {
    let mut bench = Bench::new(false);
    bench.came(1);
    bench.grant_session();
    bench.connect();
    let term = Term(bench.record.term.0 + 1);
    bench.frame(Frame::Welcome { term }, Buf::NONE);
    bench.take();
    bench.promote(PEER);
    assert!(bench.take().is_empty());
}

#[test]
fn not_now_means_later() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.take();
    bench.not_now(Refusal::NotPrimary);
    assert_eq!(bench.take(), [Effect::Close { link: LinkId(1) }]);
    bench.pass(10);
    bench.connect();
    bench.take();
    bench.not_now(Refusal::TooEarly);
    assert_eq!(bench.take(), [Effect::Close { link: LinkId(2) }]);
    // Hearing it again is a reason to try at once.
    bench.gateway.hearing(bench.now, PEER, true, &mut bench.out);
    assert_eq!(bench.take(), [Effect::Connect { peer: PEER }]);
}

#[test]
fn a_link_over_a_long_silence_is_replaced() {
    let mut bench = Bench::open(false);
    let hear = |bench: &mut Bench, heard| {
        bench
            .gateway
            .hearing(bench.now, PEER, heard, &mut bench.out);
        bench.take()
    };
    assert!(hear(&mut bench, false).is_empty());
    bench.pass(499);
    assert!(hear(&mut bench, false).is_empty());
    assert!(hear(&mut bench, true).is_empty());
    assert!(hear(&mut bench, false).is_empty());
    bench.pass(500);
    assert_eq!(
        hear(&mut bench, true),
        [
            Effect::Close { link: LinkId(1) },
            Effect::Connect { peer: PEER }
        ]
    );
}

#[test]
fn a_read_brings_its_data() {
    let mut bench = Bench::open(false);
    bench.request(1, Ask::Read, 4096 + 512, 1024);
    bench.take();
    let frame = Frame::Done {
        tag: 0,
        errno: 0,
        len: 1024,
        skip: 512,
    };
    bench.frame(frame, Buf(70));
    assert_eq!(
        bench.take(),
        [
            Effect::Reply {
                tag: Tag(1),
                errno: 0,
                buf: Buf(70)
            },
            Effect::Release { buf: Buf(70) }
        ]
    );
}

#[test]
fn an_answer_that_breaks_the_protocol_ends_the_link_only() {
    let done = |tag, errno, len, skip| Frame::Done {
        tag,
        errno,
        len,
        skip,
    };
    let bad = [
        (done(1, 0, 0, 0), Buf::NONE),
        (done(u32::MAX, 0, 0, 0), Buf::NONE),
        (done(0, 0, 1023, 512), Buf(70)),
        (done(0, 0, 1024, 0), Buf(70)),
        (done(0, 0, 0, 512), Buf::NONE),
        (done(0, EIO, 1024, 512), Buf(70)),
        (Frame::ReportEnd { resync: 1 }, Buf::NONE),
        (Frame::Welcome { term: Term(9) }, Buf::NONE),
    ];
    for (frame, buf) in bad {
        let mut bench = Bench::open(false);
        bench.request(1, Ask::Read, 4096 + 512, 1024);
        bench.take();
        bench.frame(frame, buf);
        assert!(bench.has(Effect::Close { link: LinkId(1) }), "{frame:?}");
        assert!(bench.replies().is_empty());
        assert_eq!(
            bench.released(),
            if buf.is_some() { vec![70] } else { vec![] }
        );
        bench.pass(10);
        bench.connect();
        bench.welcome();
        assert_eq!(bench.sent().len(), 1);
    }
}
