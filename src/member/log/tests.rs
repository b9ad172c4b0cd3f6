use super::*;
use crate::member::entry::Command;
use crate::member::state::State;
use crate::types::{Incarnation, Index, LogId};

const CLUSTER: u128 = 9;
const ME: NodeId = NodeId(1);
const GEOMETRY: Geometry = Geometry::SMALL;
const SECTOR: usize = 512;

/// A log file, and a run that writes to it.
struct File(Vec<u8>);

impl File {
    fn new() -> Self {
        let mut file = Self(vec![0; GEOMETRY.pages() as usize * PAGE]);
        let birth = Birth {
            id: LogId(7),
            used: Incarnation(3),
        };
        for page in format(CLUSTER, ME, GEOMETRY, birth) {
            file.put(&page, PAGE);
        }
        file
    }

    /// Writes the first bytes of a page.
    fn put(&mut self, page: &Page, bytes: usize) {
        let at = page.number as usize * PAGE;
        self.0[at..at + bytes].copy_from_slice(&page.bytes[..bytes]);
    }

    fn recover(&self) -> Result<RecoveredLog, LogRefused> {
        recover(&self.0, CLUSTER, ME)
    }

    /// A new run. Its first write, of the incarnation, is done.
    fn run(&mut self) -> Log {
        let mut log = Log::new(self.recover().unwrap());
        log.set_incarnation(Incarnation(log.incarnation().0 + 1));
        self.write(&mut log);
        log
    }

    /// All that the log wants written is.
    fn write(&mut self, log: &mut Log) {
        while let Some((ticket, pages)) = log.write() {
            pages.iter().for_each(|page| self.put(page, PAGE));
            log.written(ticket);
        }
    }

    /// The power goes after so many sectors of the page that the log wants written.
    fn tear(&mut self, log: &mut Log, sectors: usize) {
        let (_, pages) = log.write().unwrap();
        assert_eq!(pages.len(), 1);
        self.put(&pages[0], sectors * SECTOR);
    }
}

fn vote(log: &mut Log, term: u64) {
    let vote = Some(NodeId((term % 3) as u8));
    log.set_ballot(Ballot { term, vote });
}

#[test]
fn what_was_written_is_there_again() {
    let mut file = File::new();
    let mut log = file.run();
    // More than once around the ring, with snapshots in between.
    for term in 1..400 {
        vote(&mut log, term);
        let index = log.append(Command::Noop);
        if log.is_full() {
            log.compact(Index(index.0 - 1), State::default().encode());
        }
        file.write(&mut log);
        let found = Log::new(file.recover().unwrap());
        assert_eq!(found.ballot(), log.ballot());
        assert_eq!((found.last(), found.base()), (log.last(), log.base()));
        assert_eq!(found.durable_base(), log.durable_base());
        assert_eq!(
            (found.id(), found.incarnation()),
            (LogId(7), Incarnation(4))
        );
    }
    assert!(log.base().index > Index(0), "there was a snapshot");
}

#[test]
fn an_entry_of_another_term_takes_the_place_of_what_followed() {
    let mut file = File::new();
    let mut log = file.run();
    vote(&mut log, 1);
    for _ in 0..5 {
        log.append(Command::Noop);
    }
    file.write(&mut log);
    vote(&mut log, 2);
    let command = Command::Noop;
    assert!(log.put(Index(3), Entry { term: 2, command }));
    file.write(&mut log);
    let found = Log::new(file.recover().unwrap());
    let end = LogEnd {
        term: 2,
        index: Index(3),
    };
    assert_eq!(found.last(), end);
}

#[test]
fn a_page_that_was_torn_is_as_if_it_had_not_been_written() {
    for rounds in [1, 200] {
        let mut file = File::new();
        let mut log = file.run();
        for term in 1..=rounds {
            vote(&mut log, term);
            if log.is_full() {
                log.append(Command::Noop);
                log.compact(log.last().index, State::default().encode());
            }
            file.write(&mut log);
        }
        let before = (log.ballot(), log.last());
        for sectors in 0..PAGE / SECTOR {
            let mut torn = File(file.0.clone());
            let mut log = torn.run();
            vote(&mut log, 900);
            torn.tear(&mut log, sectors);
            let found = Log::new(torn.recover().unwrap());
            assert_eq!((found.ballot(), found.last()), before);
        }
    }
}

/// Without the zeroes in between, sectors of both writes would look like one that was changed since.
#[test]
fn a_page_may_be_torn_again_and_again() {
    let mut file = File::new();
    for (term, sectors) in [(5, 0..7), (6, 1..8), (7, 0..1), (8, 3..8)] {
        let mut log = file.run();
        vote(&mut log, term);
        let (_, pages) = log.write().unwrap();
        let at = pages[0].number as usize * PAGE;
        let bytes = sectors.start * SECTOR..sectors.end * SECTOR;
        let arrived = &pages[0].bytes[bytes.clone()];
        file.0[at + bytes.start..at + bytes.end].copy_from_slice(arrived);
        assert_eq!(Log::new(file.recover().unwrap()).ballot().term, 0);
    }
    let mut log = file.run();
    vote(&mut log, 9);
    file.write(&mut log);
    assert_eq!(Log::new(file.recover().unwrap()).ballot().term, 9);
}

/// A vote that is forgotten could be given twice.
#[test]
fn no_bit_that_rots_in_the_newest_page_goes_unnoticed() {
    for rounds in [3, 300] {
        let mut file = File::new();
        let mut log = file.run();
        for term in 1..=rounds {
            vote(&mut log, term);
            let index = log.append(Command::Noop);
            if log.is_full() {
                log.compact(index, State::default().encode());
            }
            file.write(&mut log);
        }
        let whole = Log::new(file.recover().unwrap());
        let page = GEOMETRY.slot(file.recover().unwrap().sequence) as usize * PAGE;
        for bit in 0..PAGE * 8 {
            let byte = page + bit / 8;
            file.0[byte] ^= 1 << (bit % 8);
            match file.recover() {
                Err(LogRefused::Damaged { .. } | LogRefused::Version { .. }) => {}
                Err(other) => panic!("bit {bit}: {other}"),
                // What is behind the body belongs to nothing.
                Ok(found) => assert_eq!(Log::new(found).ballot(), whole.ballot(), "bit {bit}"),
            }
            file.0[byte] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn one_header_is_enough_and_none_is_not() {
    let mut file = File::new();
    file.run();
    for damaged in [0, PAGE] {
        let mut one = File(file.0.clone());
        one.0[damaged + 45] ^= 1;
        let found = one.recover().unwrap();
        assert_eq!((found.incarnation, found.id), (Incarnation(4), LogId(7)));
    }
    file.0[45] ^= 1;
    file.0[PAGE + 45] ^= 1;
    let what = "the header";
    let damaged = LogRefused::Damaged { page: 0, what };
    assert_eq!(file.recover().unwrap_err(), damaged);
}

#[test]
fn what_is_not_this_nodes_log_is_refused_by_name() {
    let file = File::new();
    let refused = |image: &[u8], cluster, node| recover(image, cluster, node).unwrap_err();
    let image = &file.0[..];
    let cluster = LogRefused::Cluster { found: CLUSTER };
    assert_eq!(refused(image, 8, ME), cluster);
    let node = LogRefused::Node { found: ME.0 };
    assert_eq!(refused(image, CLUSTER, NodeId(0)), node);
    let half = &image[..image.len() / 2];
    let short = refused(half, CLUSTER, ME);
    assert!(matches!(short, LogRefused::Short { .. }), "{short}");
    assert_eq!(refused(&[], CLUSTER, ME), LogRefused::Foreign);
    let blank = vec![0; image.len()];
    assert_eq!(refused(&blank, CLUSTER, ME), LogRefused::Blank);
    let foreign = vec![b'x'; image.len()];
    assert_eq!(refused(&foreign, CLUSTER, ME), LogRefused::Foreign);
    let mut other = image.to_vec();
    other[8] = 9;
    other[PAGE + 8] = 9;
    let version = LogRefused::Version { found: 9 };
    assert_eq!(refused(&other, CLUSTER, ME), version);
}

#[test]
fn a_snapshot_that_rotted_is_refused() {
    let mut file = File::new();
    let mut log = file.run();
    vote(&mut log, 1);
    let index = log.append(Command::Noop);
    let mut state = State::default();
    state.view.number = 77;
    log.compact(index, state.encode());
    file.write(&mut log);
    let found = file.recover().unwrap();
    assert_eq!(State::decode(&found.state), Some(state));
    let page = GEOMETRY.area(found.snapshot.area);
    file.0[page as usize * PAGE + 1] ^= 1;
    let what = "a snapshot";
    assert_eq!(
        file.recover().unwrap_err(),
        LogRefused::Damaged { page, what }
    );
}

#[test]
fn a_snapshot_of_the_leader_is_no_new_beginning() {
    let last = LogEnd {
        term: 3,
        index: Index(50),
    };
    let mut file = File::new();
    let mut log = file.run();
    log.install(last, State::default().encode());
    assert!(!log.is_durably_begun(), "it was blank");
    file.write(&mut log);
    assert!(log.is_durably_begun());

    let mut file = File::new();
    let mut log = file.run();
    vote(&mut log, 1);
    log.append(Command::Noop);
    file.write(&mut log);
    log.install(last, State::default().encode());
    assert!(
        log.is_durably_begun(),
        "the old pages count until all is written"
    );
    assert!(file.run().is_durably_begun());
}
