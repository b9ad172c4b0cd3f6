//! What the control interface may ask of the daemon, and where the daemon tells what happens.
//!
//! The core's driver holds the `ControlSeat`: it answers each `Command` and pushes each event. The
//! server holds `ControlHandle`s. A status is asked for and not kept, so that what a person reads
//! is of this moment.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

use super::event::{Event, News};
use crate::status::Status;
use crate::types::Time;

/// Most events that are kept; who reads slower than this misses some, and is told.
pub const EVENTS_MAX: usize = 4096;

/// Commands that may wait for the core's driver.
const COMMANDS_MAX: usize = 64;

/// What may be asked of the daemon.
#[derive(Debug)]
pub enum Command {
    /// The status now.
    Status {
        /// Answer here.
        reply: oneshot::Sender<Status>,
    },
    /// Hand the volume over: see `handover::plan`. The answer says that it was begun.
    Handover {
        /// Name of the volume.
        volume: String,
        /// Name of the node that shall be primary; any other in-sync one if none.
        to: Option<String>,
        /// Answer here.
        reply: oneshot::Sender<Result<super::handover::Handover, super::handover::Refused>>,
    },
}

/// The server's end.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    /// To the core's driver.
    commands: mpsc::Sender<Command>,
    /// What happened.
    events: EventLog,
}

/// The daemon's end.
#[derive(Debug)]
pub struct ControlSeat {
    /// To be answered, in order.
    pub commands: mpsc::Receiver<Command>,
    /// Where to tell what happens.
    pub events: EventLog,
}

/// Both ends.
#[must_use]
pub fn control() -> (ControlHandle, ControlSeat) {
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let events = EventLog::new(EVENTS_MAX);
    let handle = ControlHandle {
        commands: sender,
        events: events.clone(),
    };
    (handle, ControlSeat { commands, events })
}

/// The daemon is stopping and answers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl ControlHandle {
    /// The status now.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub async fn status(&self) -> Result<Status, Gone> {
        self.ask(|reply| Command::Status { reply }).await
    }

    /// Asks for a handover.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub async fn handover(
        &self,
        volume: String,
        to: Option<String>,
    ) -> Result<Result<super::handover::Handover, super::handover::Refused>, Gone> {
        self.ask(|reply| Command::Handover { volume, to, reply })
            .await
    }

    /// What happened.
    #[must_use]
    pub const fn events(&self) -> &EventLog {
        &self.events
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}

/// The newest events, in order, numbered. Cheap to clone; all clones are one log.
#[derive(Clone, Debug)]
pub struct EventLog {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Event>,
    newest: u64,
    capacity: usize,
}

/// What a reader gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In order.
    pub events: Vec<Event>,
    /// Events before them were dropped because the reader was too slow, or the daemon restarted.
    pub missed: bool,
}

impl EventLog {
    /// An empty log that keeps `capacity` events.
    ///
    /// Numbers begin at the microseconds since 1970, so that they also grow from one run of the
    /// daemon to the next, and a reader that asks for what came after an event of an older run
    /// gets everything of this one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let newest = unix_nanos() / 1000;
        Self {
            ring: Arc::new(Mutex::new(Ring {
                events: VecDeque::with_capacity(capacity),
                newest,
                capacity,
            })),
            newest: watch::Sender::new(newest),
        }
    }

    /// Adds what happened on `node` at `now`, wakes those who follow, and writes it to the log.
    pub fn push(&self, node: &str, now: Time, news: News) {
        tracing::info!(kind = news.kind, "{}", news.text);
        let mut ring = self.lock();
        ring.newest += 1;
        let event = Event {
            index: ring.newest,
            unix_ns: unix_nanos(),
            boottime_ns: now.0,
            node: node.to_owned(),
            kind: news.kind.to_owned(),
            text: news.text,
            fields: news.fields,
        };
        if ring.events.len() == ring.capacity {
            ring.events.pop_front();
        }
        ring.events.push_back(event);
        let newest = ring.newest;
        drop(ring);
        self.newest.send_replace(newest);
    }

    /// Events with a number above `after`.
    #[must_use]
    pub fn since(&self, after: u64) -> Batch {
        let ring = self.lock();
        let events: Vec<_> = ring
            .events
            .iter()
            .filter(|event| event.index > after)
            .cloned()
            .collect();
        let missed = after != 0
            && events
                .first()
                .is_some_and(|first| first.index > after.saturating_add(1));
        Batch { events, missed }
    }

    /// Tells when there is a newer event.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// A panic while it was held cannot leave the ring half changed in a way that matters.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(kind: &'static str) -> News {
        News::new(kind, kind.to_owned())
    }

    #[test]
    fn events_are_numbered_and_resumable() {
        let log = EventLog::new(8);
        for kind in ["a", "b", "c"] {
            log.push("n1", Time(5), news(kind));
        }
        let all = log.since(0);
        assert_eq!(all.events.len(), 3);
        assert!(!all.missed);
        let rest = log.since(all.events[0].index);
        assert_eq!(rest.events, all.events[1..]);
        assert!(!rest.missed);
        assert_eq!(log.since(all.events[2].index), Batch::default());
        assert_eq!(*log.watch().borrow(), all.events[2].index);
    }

    #[test]
    fn a_slow_reader_is_told() {
        let log = EventLog::new(2);
        log.push("n1", Time(1), news("a"));
        let first = log.since(0).events[0].index;
        for _ in 0..3 {
            log.push("n1", Time(2), news("b"));
        }
        let batch = log.since(first);
        assert!(batch.missed);
        assert_eq!(batch.events.len(), 2);
    }

    #[test]
    fn numbers_grow_from_run_to_run() {
        let old = EventLog::new(2);
        old.push("n1", Time(1), news("a"));
        let seen = old.since(0).events[0].index;
        std::thread::sleep(std::time::Duration::from_millis(2));
        let new = EventLog::new(2);
        new.push("n1", Time(1), news("b"));
        assert_eq!(new.since(seen).events.len(), 1);
    }
}
