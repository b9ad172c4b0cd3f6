use super::*;

#[test]
fn a_buffer_is_free_when_its_last_user_has_gone() {
    let mut slab = Slab::new().unwrap();
    let buf = slab.take(4096, User::Client).unwrap();
    slab.retain(buf);
    slab.release(buf);
    assert!(!slab.take_freed());
    assert_eq!(slab.used(), 1);
    slab.release(buf);
    assert!(slab.take_freed());
    assert_eq!(slab.used(), 0);
}

#[test]
fn each_leaves_room_for_those_it_may_wait_for() {
    let mut slab = Slab::new().unwrap();
    let users = [
        User::Client,
        User::Request,
        User::Changed,
        User::Sent,
        User::Late,
        User::Disk,
    ];
    let taken = users.map(|user| {
        let mut taken = 0;
        while slab.take(1 << 20, user).is_some() {
            taken += 1;
        }
        taken
    });
    assert_eq!(taken, [72, 6, 3, 3, 6, 6]);
}

#[test]
fn what_was_promised_is_there_whoever_else_takes_what_he_can() {
    let mut slab = Slab::new().unwrap();
    assert!(slab.promise(1 << 20, 72));
    assert!(!slab.promise(1 << 20, 1));
    assert_eq!(slab.take(1 << 20, User::Client), None);
    for user in [User::Request, User::Sent, User::Disk] {
        while slab.take(1 << 20, user).is_some() {}
    }
    assert_eq!(slab.used(), 24);
    for _ in 0..72 {
        let buf = slab.take(1 << 20, User::Answer).unwrap();
        slab.fulfil(1 << 20, buf);
    }
    assert_eq!(slab.take(1 << 20, User::Answer), None);
    assert_eq!(slab.used(), 96);
}

#[test]
fn a_promise_is_kept_when_its_data_is_lost_on_the_way() {
    let mut slab = Slab::new().unwrap();
    assert!(slab.promise(1 << 20, 1));
    let buf = slab.take(1 << 20, User::Answer).unwrap();
    assert_eq!(slab.take(1 << 20, User::Answer), None);
    slab.release(buf);
    while slab.take(1 << 20, User::Disk).is_some() {}
    let buf = slab.take(1 << 20, User::Answer).unwrap();
    slab.fulfil(1 << 20, buf);
    assert!(!slab.is_promised(1 << 20));
    slab.release(buf);
    assert!(slab.take(1 << 20, User::Disk).is_some());
}

#[test]
fn an_answer_finds_room_where_a_disk_that_hangs_has_what_was_kept_for_it() {
    let mut slab = Slab::new().unwrap();
    assert!(slab.promise(1 << 20, 72));
    for _ in 0..72 {
        slab.take(1 << 20, User::Answer).unwrap();
    }
    // The same reads, answered by the new primary.
    for _ in 0..72 {
        let buf = slab.take_answer(1 << 20).unwrap();
        slab.fulfil(1 << 20, buf);
        slab.release(buf);
    }
    assert!(!slab.is_promised(1 << 20));
    assert_eq!(slab.used(), 72);
}

#[test]
fn what_arrives_for_nobody_is_no_promise_any_more() {
    let mut slab = Slab::new().unwrap();
    assert!(slab.promise(1 << 20, 1));
    let buf = slab.take(1 << 20, User::Answer).unwrap();
    slab.fulfil(1 << 20, Buf::NONE);
    while slab.take(1 << 20, User::Disk).is_some() {}
    slab.release(buf);
    assert!(slab.take(1 << 20, User::Disk).is_some());
    assert_eq!(slab.take(1 << 20, User::Answer), None);
}

#[test]
fn a_crc_is_forgotten_when_the_bytes_change() {
    let mut slab = Slab::new().unwrap();
    let buf = slab.take(8192, User::Client).unwrap();
    slab.bytes_mut(buf, 0, 8192).fill(7);
    let before = slab.crc(buf, 0, 8192);
    assert_eq!(before, crc32fast::hash(&[7; 8192]));
    assert_eq!(slab.crc(buf, 0, 4096), crc32fast::hash(&[7; 4096]));
    slab.copy(buf, 0, buf, 1, 100);
    slab.bytes_mut(buf, 9, 1)[0] = 8;
    assert_ne!(slab.crc(buf, 0, 8192), before);
}

#[test]
#[should_panic(expected = "bytes 8190+3")]
fn bytes_outside_of_a_buffer_are_refused() {
    let mut slab = Slab::new().unwrap();
    let buf = slab.take(8192, User::Client).unwrap();
    slab.bytes(buf, 8190, 3);
}
