//! One volume of the reactor: the engine and what belongs to it.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};

use super::config::VolumeSetup;
use super::disk::{Owner, Work};
use super::requests::Requests;
use super::slab::Slab;
use crate::engine::io::{Buf, DiskId, DiskOp, Effect, Effects, Event};
use crate::engine::{Volume, VolumeConfig};
use crate::member::io::CoreEvent;
use crate::node::Told;
use crate::types::{Term, Time, VolumeId};

/// The engine of one volume, its store, and what it wants done.
pub(super) struct Served {
    pub(super) id: VolumeId,
    /// Bytes.
    pub(super) size: u64,
    pub(super) engine: Volume,
    /// Not carried out yet.
    pub(super) effects: Effects,
    /// Requests that may have more pieces, the longest waiting first.
    pub(super) listed: VecDeque<u32>,
    /// What the core has been told.
    told: Told,
    store: Option<OwnedFd>,
    data: u64,
    /// Something has happened since the last `settle`.
    pub(super) stepped: bool,
    /// Something has happened since the last `tell`.
    moved: bool,
    /// What was served, and whether the store had failed, at the last `tell`.
    state: (Option<Term>, bool),
}

impl Served {
    pub(super) fn new(setup: VolumeSetup, config: VolumeConfig, now: Time) -> Self {
        let (file, recovered) = match setup.store {
            Some(store) => (Some(store.file), Some(store.recovered)),
            None => (None, None),
        };
        let data = recovered.as_ref().map_or(0, |store| store.layout.data);
        Self {
            id: setup.id,
            size: setup.size,
            engine: Volume::new(config, recovered, now),
            effects: Effects::new(),
            listed: VecDeque::new(),
            told: Told::default(),
            store: file,
            data,
            stepped: true,
            moved: true,
            state: (None, false),
        }
    }

    /// Steps the engine. True if connections are to be closed: that comes before anything else.
    pub(super) fn event(&mut self, now: Time, event: Event) -> bool {
        let from = self.effects.len();
        self.engine.step(now, event, &mut self.effects);
        self.stepped = true;
        self.moved = true;
        self.effects[from..]
            .iter()
            .any(|effect| matches!(effect, Effect::Close { .. } | Effect::DisconnectClients))
    }

    /// Asks the engine for more pieces of a request, as far as it has room. True if connections are
    /// to be closed first.
    pub(super) fn pieces(&mut self, now: Time, requests: &mut Requests, slot: u32) -> bool {
        loop {
            if self.engine.room() == 0 {
                if requests.list(slot) {
                    self.listed.push_back(slot);
                }
                return false;
            }
            let Some((tag, ask, extent)) = requests.piece(slot) else {
                return false;
            };
            let request = Event::Request {
                tag,
                ask,
                extent,
                buf: Buf::NONE,
            };
            if self.event(now, request) {
                if requests.list(slot) {
                    self.listed.push_back(slot);
                }
                return true;
            }
        }
    }

    /// Goes on with the requests that had to wait. True if connections are to be closed first.
    pub(super) fn pump(&mut self, now: Time, slab: &mut Slab, requests: &mut Requests) -> bool {
        for _ in 0..self.listed.len() {
            if self.engine.room() == 0 {
                break;
            }
            if let Some(slot) = self.listed.pop_front()
                && requests.unlist(slab, slot)
                && self.pieces(now, requests, slot)
            {
                return true;
            }
        }
        false
    }

    fn state(&self) -> (Option<Term>, bool) {
        let failed = self.engine.report().is_some_and(|report| report.failed);
        (self.engine.serving(), failed)
    }

    /// Whether something has happened that nobody should wait to hear.
    pub(super) fn is_urgent(&self) -> bool {
        self.moved && self.state() != self.state
    }

    /// Whether something has happened since the last `tell`.
    pub(super) const fn has_moved(&self) -> bool {
        self.moved
    }

    /// Tells the core what is new.
    pub(super) fn tell(&mut self, now: Time, signal: impl FnMut(CoreEvent)) {
        self.moved = false;
        self.state = self.state();
        // A node without a replica has nothing to tell: it never is primary.
        if let Some(report) = self.engine.report() {
            let progress = self.engine.progress(now);
            self.told.changes(report, progress, signal);
        }
    }

    /// A disk operation of the engine, as the disk takes it.
    ///
    /// # Panics
    /// The engine has no store: it asks for none then.
    pub(super) fn disk_work(&self, volume: usize, id: DiskId, op: DiskOp) -> (Owner, Work) {
        let file = self.store.as_ref().expect("only a replica uses the disk");
        let owner = Owner {
            volume,
            id,
            file: file.as_raw_fd(),
            data: self.data,
        };
        let work = match op {
            DiskOp::Read {
                extent,
                probe,
                fate,
            } => Work::Read {
                extent,
                probe,
                fate,
            },
            DiskOp::Write { extent, buf } => Work::Write { extent, buf },
            DiskOp::Zero { extent, change } => Work::Zero { extent, change },
            DiskOp::Flush => Work::Flush,
            DiskOp::Meta { offset, page } => Work::Meta {
                offset,
                page: self.engine.page(page).as_ptr(),
            },
        };
        (owner, work)
    }
}
