//! Disks: operations that end in any order.

use super::*;
use crate::engine::io::Content;
use crate::engine::tests::look;

impl World {
    pub(super) fn disk_begins(&mut self, at: usize, id: DiskId, op: DiskOp) {
        let bytes = match op {
            DiskOp::Write { buf, .. } => Some(self.buffer(at, buf)),
            DiskOp::Read { .. } | DiskOp::Zero { .. } | DiskOp::Flush | DiskOp::Meta { .. } => None,
        };
        let node = &mut self.nodes[at];
        let image = node
            .image
            .as_ref()
            .expect("a disk operation without a store");
        let (meta, flushing) = match op {
            DiskOp::Meta { page, .. } => {
                let volume = node.volume.as_ref().expect("down");
                (Some(Box::new(*volume.page(page))), None)
            }
            DiskOp::Flush => (None, Some(image.flush_begin())),
            DiskOp::Read { .. } | DiskOp::Write { .. } | DiskOp::Zero { .. } => (None, None),
        };
        for running in node.disk.values() {
            if let (Some((one, a)), Some((other, b))) = (touches(op), touches(running.op)) {
                let clash = a && b && one.0 < other.1 && other.0 < one.1;
                assert!(!clash, "n{at}: {op:?} beside {:?}", running.op);
            }
        }
        let running = Running {
            op,
            bytes,
            meta,
            flushing,
        };
        let known = node.disk.insert(id.0, running);
        assert!(known.is_none(), "n{at}: {id:?} is in use");
    }

    pub(super) fn disk_ends(&mut self, at: usize, id: u32) {
        let Some(running) = self.nodes[at].disk.remove(&id) else {
            return;
        };
        if self.bad_disk == Some(at) && self.rng.once_in(3) {
            self.disk_fails(at, id, running);
            return;
        }
        let node = &mut self.nodes[at];
        let image = node.image.as_mut().expect("no store");
        let data = layout(layout_size()).data;
        let (mut buf, mut content) = (Buf::NONE, Content::Data);
        match running.op {
            DiskOp::Read { extent, probe, .. } => {
                assert!(extent.is_aligned());
                let mut bytes = vec![0; extent.len as usize];
                image.read(data + extent.offset, &mut bytes);
                content = look(probe, &bytes);
                buf = self.new_buffer(at, bytes);
            }
            DiskOp::Write { extent, .. } => {
                assert!(extent.is_aligned());
                let bytes = running.bytes.expect("no bytes");
                image.write(data + extent.offset, &bytes.borrow()[..extent.len as usize]);
            }
            DiskOp::Zero { extent, change } => {
                assert!(extent.is_aligned() && change != Change::Write);
                image.write(data + extent.offset, &vec![0; extent.len as usize]);
            }
            DiskOp::Flush => image.flush_end(running.flushing.expect("no pages")),
            DiskOp::Meta { offset, page } => {
                let bytes = running.meta.expect("no page");
                if let Some(volume) = &node.volume {
                    assert!(
                        *volume.page(page) == *bytes,
                        "n{at}: page {page} has changed"
                    );
                }
                assert!(offset + PAGE as u64 <= data, "metadata in the data");
                image.write_durable(offset, &bytes);
            }
        }
        self.disk_tells(at, id, 0, buf, content);
    }

    /// It fails; a write may have happened all the same, in part.
    fn disk_fails(&mut self, at: usize, id: u32, running: Running) {
        let image = self.nodes[at].image.as_mut().expect("no store");
        if let (DiskOp::Write { extent, .. }, Some(bytes)) = (running.op, running.bytes) {
            let offset = layout(layout_size()).data + extent.offset;
            let bytes = &bytes.borrow()[..extent.len as usize];
            image.write_torn(offset, bytes, &mut self.rng);
        }
        self.disk_tells(at, id, EIO, Buf::NONE, Content::Data);
    }

    fn disk_tells(&mut self, at: usize, id: u32, errno: u16, buf: Buf, content: Content) {
        let id = DiskId(id);
        self.event(
            at,
            Event::Disk {
                id,
                errno,
                buf,
                content,
            },
        );
    }
}

/// The bytes of the volume that an operation touches, and whether it changes them.
fn touches(op: DiskOp) -> Option<((u64, u64), bool)> {
    match op {
        DiskOp::Read { extent, .. } => Some(((extent.offset, extent.end()), false)),
        DiskOp::Write { extent, .. } | DiskOp::Zero { extent, .. } => {
            Some(((extent.offset, extent.end()), true))
        }
        // Two writes of one page at once have no order; told apart from data by their place.
        DiskOp::Meta { offset, .. } => {
            let at = offset | 1 << 63;
            Some(((at, at + PAGE as u64), true))
        }
        DiskOp::Flush => None,
    }
}
