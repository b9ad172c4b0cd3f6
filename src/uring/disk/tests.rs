use std::os::fd::AsRawFd;

use super::*;

struct Bench {
    ring: Ring,
    slab: Slab,
    disk: Disk,
    file: std::fs::File,
}

impl Bench {
    fn new(bytes: u64) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(bytes).unwrap();
        Self {
            ring: Ring::new().unwrap(),
            slab: Slab::new().unwrap(),
            disk: Disk::new(false),
            file,
        }
    }

    /// Does one operation: its errno, buffer and what is told of it.
    fn run(&mut self, work: Work) -> (u16, Buf, Content) {
        let owner = Owner {
            volume: 0,
            id: DiskId(7),
            file: self.file.as_raw_fd(),
            data: 8192,
        };
        self.disk
            .begin(&mut self.ring, &mut self.slab, Time(5), owner, work);
        assert_eq!(self.disk.oldest(), Some(Time(5)));
        let mut completions = Vec::new();
        loop {
            self.ring.wait(None).unwrap();
            self.ring.reap(&mut completions, usize::MAX);
            for completion in completions.drain(..) {
                let Token::Disk(slot) = completion.token else {
                    panic!("{completion:?}");
                };
                let ended =
                    self.disk
                        .ended(&mut self.ring, &mut self.slab, slot, completion.count());
                if let Some((
                    0,
                    Event::Disk {
                        id: DiskId(7),
                        errno,
                        buf,
                        content,
                    },
                )) = ended
                {
                    assert_eq!(self.disk.oldest(), None);
                    return (errno, buf, content);
                }
            }
        }
    }
}

fn extent(offset: u64, len: u32) -> Extent {
    Extent { offset, len }
}

#[test]
fn what_is_written_is_read_and_what_is_zeroed_is_zero() {
    let mut bench = Bench::new(4 << 20);
    let buf = bench.slab.take(8192, User::Client).unwrap();
    bench.slab.bytes_mut(buf, 0, 8192).fill(0x5a);
    let at = extent(1 << 20, 8192);
    assert_eq!(bench.run(Work::Write { extent: at, buf }).0, 0);
    assert_eq!(bench.run(Work::Flush).0, 0);
    let read = Work::Read {
        extent: at,
        probe: Probe::Zero,
        fate: Fate::Dropped,
    };
    let (errno, data, content) = bench.run(read);
    assert_eq!((errno, content), (0, Content::Data));
    assert_eq!(bench.slab.bytes(data, 0, 8192), [0x5a; 8192]);
    bench.slab.release(data);
    let compare = Work::Read {
        extent: at,
        probe: Probe::Digest,
        fate: Fate::Dropped,
    };
    let (errno, data, content) = bench.run(compare);
    let expected = Content::Digest(digest(&[0x5a; 8192]));
    assert_eq!((errno, content), (0, expected));
    bench.slab.release(data);
    for change in [Change::Trim, Change::ZeroAllocated] {
        assert_eq!(bench.run(Work::Write { extent: at, buf }).0, 0);
        assert_eq!(bench.run(Work::Zero { extent: at, change }).0, 0);
        for read in [read, compare] {
            let (errno, data, content) = bench.run(read);
            assert_eq!((errno, content), (0, Content::Zero));
            bench.slab.release(data);
        }
    }
    bench.slab.release(buf);
    assert_eq!(bench.slab.used(), 0);
}

#[test]
fn a_read_past_the_end_of_the_store_is_an_error() {
    let mut bench = Bench::new(12288);
    let (errno, ..) = bench.run(Work::Read {
        extent: extent(0, 8192),
        probe: Probe::Nothing,
        fate: Fate::Dropped,
    });
    assert_eq!(errno, 5);
    assert_eq!(bench.slab.used(), 0);
}

#[test]
fn metadata_goes_to_its_own_place() {
    use std::os::unix::fs::FileExt;
    let mut bench = Bench::new(1 << 20);
    let page = [9_u8; 4096];
    let work = Work::Meta {
        offset: 4096,
        page: page.as_ptr(),
    };
    assert_eq!(bench.run(work).0, 0);
    let mut back = [0; 4096];
    bench.file.read_exact_at(&mut back, 4096).unwrap();
    assert_eq!(back, page);
}
