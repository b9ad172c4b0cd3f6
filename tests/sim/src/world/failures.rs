//! Stores that have failed, and what a person does about them.

use steadfast::meta::superblock::Superblock;
use steadfast::types::NodeId;

use super::World;
use super::node::Node;
use crate::disk::PAGE;
use crate::queue::MILLI;

impl World {
    /// Whether the node's store has failed, by the word of its daemon or by the mark on its disk.
    #[must_use]
    pub fn has_failed(&self, node: NodeId) -> bool {
        let this = self.node(node);
        let report = this.run.as_ref().and_then(|run| run.volume.report());
        report.is_some_and(|report| report.failed)
            || self.superblock(this).is_some_and(|s| s.failed.is_some())
    }

    /// A node whose store has failed.
    pub(super) fn failed_store(&self) -> Option<NodeId> {
        let mut nodes = self.nodes.iter().map(|node| node.id);
        nodes.find(|&node| self.has_failed(node))
    }

    fn superblock(&self, node: &Node) -> Option<Superblock> {
        let disk = node.disk.as_ref()?;
        let read = |offset| Superblock::decode(disk.page((offset / PAGE as u64) as u32)).ok();
        let intact = self.layout.superblocks.into_iter().filter_map(read);
        intact.max_by_key(|superblock| superblock.generation)
    }

    /// A person replaces the disk, mostly, if its store has failed and can be done without.
    pub(super) fn failed_store_is_replaced(&mut self, node: NodeId) {
        if self.faulty && self.has_failed(node) && self.is_spare(node) && self.random.chance(700) {
            self.marks.count("failed stores replaced");
            self.replace_disk(node);
            let wait = self.random.within(10 * MILLI, 100 * MILLI);
            self.plan_start(node, wait);
        }
    }

    /// The faults are over: a person replaces the disks whose stores have failed. Where no other
    /// copy is known to be whole, what is there has to do: the person takes it as it is. (No command
    /// offers that yet. These disks have not lost it as long as their power stays on.)
    pub(super) fn look_at_failed_stores(&mut self) {
        for at in 0..self.nodes.len() {
            let node = NodeId(at as u8);
            if !self.has_failed(node) {
                continue;
            }
            let record = self.known.record();
            let replica = record.and_then(|record| record.replica(node));
            let counts = replica.is_some_and(|replica| {
                replica.state.is_in_sync() && Some(replica.store) == self.node(node).store
            });
            if counts && !self.is_spare(node) {
                self.marks.count("failed stores taken as they are");
                self.take_as_it_is(node);
            } else {
                self.marks.count("failed stores replaced");
                self.replace_disk(node);
            }
        }
    }

    fn take_as_it_is(&mut self, node: NodeId) {
        self.crash(node, true);
        let this = &mut self.nodes[node.0 as usize];
        let Some(disk) = &mut this.disk else { return };
        // The mark may be on its way still.
        for number in disk.orphan() {
            disk.land(number, &mut this.random);
        }
        disk.take_up_dropped();
        let superblock = self.superblock(self.node(node));
        let disk = self.nodes[node.0 as usize].disk.as_mut();
        if let (Some(failed), Some(disk)) = (superblock, disk)
            && failed.failed.is_some()
        {
            let good = Superblock {
                generation: failed.generation + 1,
                failed: None,
                ..failed
            };
            let mut page = [0; PAGE];
            good.encode(&mut page);
            let offset = good.layout.superblock(good.generation);
            disk.write_at((offset / PAGE as u64) as u32, &page);
        }
    }
}
