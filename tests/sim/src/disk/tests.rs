use super::*;

fn write(disk: &mut Disk, page: u32, byte: u8, random: &mut Random) {
    let job = Job::Write {
        page,
        bytes: Rc::new(vec![byte; PAGE]),
    };
    let number = disk.submit(job, 0);
    disk.finish(number, random).unwrap();
}

#[test]
fn flushed_pages_survive_and_others_tear() {
    let mut torn_pages = 0;
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut disk = Disk::new(8);
        write(&mut disk, 1, 1, &mut random);
        let flush = disk.submit(Job::Flush, 0);
        write(&mut disk, 1, 2, &mut random);
        write(&mut disk, 2, 2, &mut random);
        disk.finish(flush, &mut random).unwrap();
        disk.power_loss(&mut random);
        assert!(disk.page(1).iter().all(|b| *b == 1 || *b == 2));
        for sector in disk.page(1).chunks_exact(SECTOR) {
            assert!(sector.iter().all(|b| *b == sector[0]), "sectors are whole");
        }
        assert!(disk.page(2).iter().all(|b| *b == 0 || *b == 2));
        torn_pages += u32::from(disk.page(1).iter().any(|b| *b != disk.page(1)[0]));
    }
    assert!(torn_pages > 30);
}

#[test]
fn a_flush_never_takes_a_newer_version_back() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut disk = Disk::new(8);
        write(&mut disk, 1, 1, &mut random);
        let first = disk.submit(Job::Flush, 0);
        write(&mut disk, 1, 2, &mut random);
        let second = disk.submit(Job::Flush, 0);
        write(&mut disk, 1, 3, &mut random);
        disk.finish(second, &mut random).unwrap();
        disk.finish(first, &mut random).unwrap();
        disk.power_loss(&mut random);
        assert!(disk.page(1).iter().all(|b| *b == 2 || *b == 3));
    }
}

#[test]
fn what_a_failed_flush_drops_no_later_one_covers() {
    let mut lost = 0;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut disk = Disk::new(8);
        write(&mut disk, 1, 1, &mut random);
        for errno in [5, 0] {
            let flush = disk.submit(Job::Flush, errno);
            disk.finish(flush, &mut random).unwrap();
        }
        assert_eq!(disk.page(1)[0], 1, "it is read all the same");
        disk.power_loss(&mut random);
        lost += u32::from(disk.page(1).contains(&0));
    }
    assert!(lost > 50 && lost < 200, "{lost}");
}

#[test]
fn a_dead_process_locks_the_store_until_its_last_write_landed() {
    let mut random = Random::new(3);
    let mut disk = Disk::new(8);
    let job = Job::Write {
        page: 3,
        bytes: Rc::new(vec![7; PAGE]),
    };
    disk.submit(job, 0);
    disk.submit(Job::Read { page: 0, count: 1 }, 0);
    let orphans = disk.orphan();
    assert_eq!(orphans.len(), 1);
    assert!(disk.locked());
    assert_eq!(disk.finish(orphans[0], &mut random), None);
    assert!(!disk.locked());
    assert_eq!(disk.page(3)[0], 7);
}
