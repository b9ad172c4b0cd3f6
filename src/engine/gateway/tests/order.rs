//! What may be out at once, and in which order.

use super::*;

#[test]
fn overlapping_requests_are_held_back() {
    let mut bench = Bench::open(false);
    bench.write(1, 1);
    bench.read(2, 1);
    bench.read(3, 1);
    bench.write(4, 1);
    bench.write(5, 2);
    bench.flush(6);
    assert_eq!(bench.sent(), [(0, 1, 1, 1), (4, 2, 2, 1), (5, 0, 0, 1)]);
    bench.take();
    bench.done(0, 0);
    assert_eq!(bench.sent(), [(1, 1, 0, 2), (2, 1, 0, 2)]);
    bench.take();
    bench.done(1, EIO);
    assert!(bench.sent().is_empty());
    bench.done(2, EIO);
    assert_eq!(bench.sent(), [(3, 1, 3, 2)]);
    assert_eq!(bench.replies(), [(2, EIO), (3, EIO)]);
}

#[test]
fn a_session_has_no_more_changes_unconfirmed_than_the_window_is_wide() {
    let mut bench = Bench::open(false);
    for tag in 0..WINDOW as u32 + 3 {
        bench.write(tag, u64::from(tag));
    }
    bench.read(1000, 1000);
    assert_eq!(bench.sent().len(), WINDOW as usize + 1);
    bench.take();
    bench.done(1, 0);
    assert!(bench.sent().is_empty());
    bench.done(0, 0);
    let numbers: Vec<u64> = bench.sent().iter().map(|sent| sent.2).collect();
    assert_eq!(numbers, [WINDOW + 1, WINDOW + 2]);
    assert!(bench.sent().iter().all(|sent| sent.3 == 3));
}

#[test]
fn room_is_what_the_table_has() {
    let mut bench = Bench::open(false);
    for tag in 0..PIECES as u32 {
        assert_eq!(bench.gateway.room(), PIECES - tag as usize);
        bench.read(tag, 0);
    }
    assert_eq!(bench.gateway.room(), 0);
    bench.done(7, EIO);
    assert_eq!(bench.gateway.room(), 1);
}
