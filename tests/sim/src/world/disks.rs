//! What a volume does on its node's disk: how long it takes, and how it ends.

use std::rc::Rc;

use steadfast::engine::io::{Buf, Content, DiskId, DiskOp, Event as EngineEvent, Probe};
use steadfast::types::{Extent, NodeId};
use steadfast::wire::digest::digest;

use super::World;
use super::event::{Event, Happening, Part, Place};
use super::node::{Health, Job};
use crate::disk::{self, PAGE};
use crate::queue::{MICRO, SECOND};

/// `EIO`
const EIO: u16 = 5;

impl World {
    pub(super) fn disk_begins(
        &mut self,
        node: NodeId,
        id: DiskId,
        op: DiskOp,
    ) -> Result<(), String> {
        let now = self.now();
        let times = self.options.disk;
        let size = self.options.size;
        let this = &mut self.nodes[node.0 as usize];
        let Some(run) = this.run.as_mut() else {
            return Ok(());
        };
        let disk = this.disk.as_mut().ok_or("a disk effect without a store")?;
        let data = (self.layout.data / PAGE as u64) as u32;
        let pages = |extent: Extent| -> Result<(u32, u32), String> {
            if !extent.is_aligned() || extent.len == 0 || extent.end() > size {
                return Err(format!("{op:?} is not of whole blocks inside the volume"));
            }
            let first = (extent.offset / PAGE as u64) as u32;
            Ok((data + first, extent.len / PAGE as u32))
        };
        let mut lent = None;
        let mut probe = Probe::Nothing;
        let mut where_to = Extent::default();
        let mut mean = times.io;
        let job = match op {
            DiskOp::Read {
                extent,
                probe: asked,
                ..
            } => {
                probe = asked;
                where_to = extent;
                let (page, count) = pages(extent)?;
                disk::Job::Read { page, count }
            }
            DiskOp::Write { extent, buf } => {
                let (page, count) = pages(extent)?;
                let bytes = run.slab.lend(buf)?;
                lent = Some(buf);
                if bytes.len() < count as usize * PAGE {
                    return Err(format!("{op:?} has too small a buffer"));
                }
                let bytes = if bytes.len() == count as usize * PAGE {
                    bytes
                } else {
                    Rc::new(bytes[..count as usize * PAGE].to_vec())
                };
                disk::Job::Write { page, bytes }
            }
            DiskOp::Zero { extent, .. } => {
                let (page, count) = pages(extent)?;
                disk::Job::Zero { page, count }
            }
            DiskOp::Flush => {
                mean = times.flush;
                disk::Job::Flush
            }
            DiskOp::Meta { offset, page } => {
                mean = times.page;
                if !offset.is_multiple_of(PAGE as u64) || offset >= self.layout.data {
                    return Err(format!("{op:?} is not a page of metadata"));
                }
                let bytes = Rc::new(*run.volume.page(page));
                disk::Job::Meta {
                    page: (offset / PAGE as u64) as u32,
                    bytes,
                }
            }
        };
        let mut took = 2 * MICRO + this.random.around(mean);
        let mut errno = 0;
        match this.health {
            Health::Slow(times) => took *= times,
            Health::Uneven(times) => {
                if this.random.chance(100) {
                    took *= times;
                }
            }
            Health::SlowPages(times) if matches!(job, disk::Job::Meta { .. }) => took *= times,
            Health::NoFlush if matches!(job, disk::Job::Flush) => {
                errno = EIO;
            }
            Health::Well | Health::SlowPages(_) | Health::NoFlush => {}
            Health::Stuck => took = 1000 * SECOND,
            Health::Bad(permille) => {
                if this.random.chance(permille) {
                    errno = EIO;
                }
            }
        }
        if errno != 0 {
            self.disks_failed = true;
            self.marks.count("disk operations failed");
        }
        let number = disk.submit(job, errno);
        let before = run.jobs.insert(
            id.0,
            Job {
                number,
                lent,
                extent: where_to,
                probe,
                since: now,
            },
        );
        if before.is_some() {
            return Err(format!("{op:?} uses the number {id:?} twice"));
        }
        let place = Place {
            node,
            run: run.number,
            part: Part::Reactor,
        };
        self.trace(node, || format!("disk {} {op:?}", id.0));
        self.queue
            .after(took, Event::At(place, Happening::Disk { number, id }));
        Ok(())
    }

    pub(super) fn disk_ends(&mut self, node: NodeId, number: u64, id: DiskId) {
        let this = &mut self.nodes[node.0 as usize];
        let Some(run) = this.run.as_mut() else { return };
        let Some(job) = run.jobs.get(&id.0).copied() else {
            return;
        };
        if job.number != number {
            // The disk was stuck and is not any more: this one has ended already.
            return;
        }
        run.jobs.remove(&id.0);
        let Some(disk) = this.disk.as_mut() else {
            return;
        };
        let Some(finished) = disk.finish(number, &mut this.random) else {
            return;
        };
        if let Some(buf) = job.lent {
            run.slab.back(buf);
        }
        let mut content = Content::Data;
        let buf = finished.bytes.map_or(Buf::NONE, |bytes| {
            let zero = || bytes.iter().all(|byte| *byte == 0);
            content = match job.probe {
                Probe::Zero | Probe::Digest if zero() => Content::Zero,
                Probe::Digest => Content::Digest(digest(&bytes)),
                Probe::Nothing | Probe::Zero => Content::Data,
            };
            run.slab.give(Rc::new(bytes))
        });
        self.reactor_event(
            node,
            EngineEvent::Disk {
                id,
                errno: finished.errno,
                buf,
                content,
            },
        );
    }
}
