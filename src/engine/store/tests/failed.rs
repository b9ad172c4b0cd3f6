//! A store that fails, and the mark of it.

use super::*;
use crate::meta::superblock::Superblock;

/// The oldest operation that has begun ends with an error.
fn fail_first(disk: &mut Disk) {
    fail_first_with(disk, 5);
}

fn fail_first_with(disk: &mut Disk, errno: u16) {
    let (id, _) = disk.begun.remove(0);
    let what = disk.store.disk.end(id);
    disk.store.disk_ended(what, errno, &mut disk.out);
    disk.store.done.clear();
    disk.collect();
}

fn begin_flush(disk: &mut Disk) {
    let user = FlushUser::Round { epoch: 1, round: 1 };
    disk.store.flush(user, &mut disk.out);
    disk.collect();
}

/// The superblock at the place of a generation.
fn superblock(disk: &Disk, generation: u64) -> Option<Superblock> {
    let layout = crate::meta::layout(REGIONS * REGION);
    let page = disk.pages.get(&layout.superblock(generation))?;
    Some(Superblock::decode(page).unwrap())
}

#[test]
fn a_failed_record_fails_what_waits_for_it_and_all_that_follows() {
    let mut disk = Disk::new(recovered());
    disk.change(7, 0);
    let (id, _) = disk.begun.remove(0);
    let what = disk.store.disk.end(id);
    disk.store.disk_ended(what, 5, &mut disk.out);
    assert_eq!(disk.store.broken, Some(5));
    assert!(matches!(
        disk.store.done[..],
        [Done::Applied { errno: 5, .. }]
    ));
    disk.store.done.clear();
    disk.change(9, 0);
    assert_eq!(disk.applied, 1);
    // Nothing is written any more but that it has failed.
    disk.run();
    let user = FlushUser::Round { epoch: 1, round: 1 };
    disk.store.flush(user, &mut disk.out);
    assert!(matches!(
        disk.store.done[..],
        [Done::Flushed { errno: 5, .. }]
    ));
}

#[test]
fn a_failed_flush_is_marked_on_the_disk() {
    let mut disk = Disk::new(recovered());
    begin_flush(&mut disk);
    fail_first(&mut disk);
    disk.run();
    let marked = superblock(&disk, 2).unwrap();
    assert_eq!((marked.generation, marked.failed), (2, Some(5)));
    assert!(disk.store.at_rest());
}

/// What waits for the next superblock must not take the mark, of the same generation, for it.
#[test]
fn the_mark_makes_nothing_else_durable() {
    let mut disk = Disk::new(recovered());
    begin_flush(&mut disk);
    fail_first(&mut disk);
    let generation = disk.store.set_term(Term(1), &mut disk.out);
    disk.run();
    assert!(superblock(&disk, 2).is_some_and(|marked| marked.failed.is_some()));
    assert!(!disk.store.is_durable(generation));
}

#[test]
fn the_mark_comes_after_the_superblock_that_is_being_written() {
    let mut disk = Disk::new(recovered());
    let generation = disk.store.set_term(Term(1), &mut disk.out);
    begin_flush(&mut disk);
    // The flush is the second of the two.
    disk.begun.swap(0, 1);
    fail_first(&mut disk);
    assert_eq!(disk.begun.len(), 1, "one superblock at a time");
    disk.run();
    assert!(disk.store.is_durable(generation));
    let [before, marked] = [2, 3].map(|generation| superblock(&disk, generation).unwrap());
    assert_eq!((before.term, before.failed), (Term(1), None));
    assert_eq!((marked.generation, marked.failed), (3, Some(5)));
}

#[test]
fn a_superblock_that_fails_is_tried_once_more_with_the_mark() {
    let mut disk = Disk::new(recovered());
    let generation = disk.store.set_term(Term(1), &mut disk.out);
    disk.collect();
    fail_first(&mut disk);
    disk.run();
    assert_eq!(superblock(&disk, 2).unwrap().failed, Some(5));
    assert!(!disk.store.is_durable(generation));
}

#[test]
fn a_disk_that_refuses_the_mark_is_asked_once() {
    let mut disk = Disk::new(recovered());
    begin_flush(&mut disk);
    fail_first(&mut disk);
    assert_eq!(disk.begun.len(), 1);
    fail_first(&mut disk);
    assert!(disk.begun.is_empty() && disk.store.at_rest());
    assert_eq!(disk.store.broken, Some(5));
    disk.store.fail(6, &mut disk.out);
    disk.collect();
    assert!(disk.begun.is_empty());
}

#[test]
fn a_store_with_the_mark_has_failed_from_the_start() {
    let mut disk = Disk::new(Recovered {
        failed: Some(5),
        ..recovered()
    });
    disk.change(7, 0);
    begin_flush(&mut disk);
    disk.store.set_term(Term(1), &mut disk.out);
    disk.run();
    assert!(disk.pages.is_empty(), "it is left as it is");
    assert_eq!((disk.store.broken, disk.applied), (Some(5), 2));
}

#[test]
fn what_found_no_room_is_forgotten_and_a_flush_that_failed_is_not() {
    for (flush, marked) in [(false, false), (true, true)] {
        let mut disk = Disk::new(recovered());
        if flush {
            begin_flush(&mut disk);
        } else {
            disk.store.set_term(Term(1), &mut disk.out);
            disk.collect();
        }
        fail_first_with(&mut disk, 28);
        disk.run();
        assert_eq!(disk.store.broken, Some(28));
        let failed = superblock(&disk, 2).and_then(|it| it.failed);
        assert_eq!(failed.is_some(), marked);
    }
}

/// A primary's change comes with a buffer that only this store gives back.
#[test]
fn what_waited_for_a_record_that_failed_gives_its_buffer_back() {
    let mut disk = Disk::new(recovered());
    for (region, buf) in [(7, Buf(1)), (9, Buf(2))] {
        disk.change_with(region, 0, buf);
    }
    assert_eq!(disk.released, []);
    fail_first(&mut disk);
    assert_eq!(disk.released, [Buf(1), Buf(2)]);
}
