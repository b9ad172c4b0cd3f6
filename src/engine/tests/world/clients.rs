//! What clients ask, and what they and the replicas have in the end.

use super::{Item, World};
use crate::engine::io::*;
use crate::meta;
use crate::types::*;
use crate::wire::frame::{Ask, Change};

impl World {
    pub fn ask(&mut self, node: usize, ask: Ask, offset: u64, data: &[u8], len: u32) -> u32 {
        self.next_tag += 1;
        let tag = self.next_tag;
        let extent = Extent { offset, len };
        let buf = if matches!(
            ask,
            Ask::Change {
                change: Change::Write,
                ..
            }
        ) {
            let mut bytes = vec![0xee; extent.blocks().len as usize];
            let skip = (offset % BLOCK) as usize;
            bytes[skip..skip + len as usize].copy_from_slice(data);
            self.nodes[node].buf(bytes)
        } else {
            Buf::NONE
        };
        let n = &mut self.nodes[node];
        if n.client.is_none() {
            self.client(node);
        }
        self.nodes[node].asked.insert(tag, (ask, extent));
        let event = Event::Request {
            tag: Tag(tag),
            ask,
            extent,
            buf,
        };
        self.queue.push_back(Item::Event(node, event));
        tag
    }

    fn client(&mut self, node: usize) {
        self.next_tag += 1;
        let client = ClientId(self.next_tag);
        self.nodes[node].client = Some(client);
        self.queue
            .push_back(Item::Event(node, Event::ClientCame { client }));
        self.run();
    }

    pub fn write_begin(&mut self, node: usize, offset: u64, data: &[u8]) -> u32 {
        let ask = Ask::Change {
            change: Change::Write,
            fua: false,
        };
        self.ask(node, ask, offset, data, data.len() as u32)
    }

    /// A write that must succeed.
    pub fn write(&mut self, node: usize, offset: u64, data: &[u8]) {
        let tag = self.write_begin(node, offset, data);
        self.run();
        assert_eq!(self.result(node, tag), Some(0), "write at {offset}");
    }

    pub fn change(&mut self, node: usize, change: Change, offset: u64, len: u32) {
        let tag = self.ask(node, Ask::Change { change, fua: false }, offset, &[], len);
        self.run();
        assert_eq!(self.result(node, tag), Some(0));
    }

    pub fn flush(&mut self, node: usize) {
        let tag = self.ask(node, Ask::Flush, 0, &[], 0);
        self.run();
        assert_eq!(self.result(node, tag), Some(0));
    }

    pub fn read(&mut self, node: usize, offset: u64, len: u32) -> Vec<u8> {
        let tag = self.ask(node, Ask::Read, offset, &[], len);
        self.run();
        let (errno, data) = self.nodes[node]
            .replies
            .get(&tag)
            .cloned()
            .expect("read was not answered");
        assert_eq!(errno, 0);
        data
    }

    pub fn result(&self, node: usize, tag: u32) -> Option<u16> {
        self.nodes[node].replies.get(&tag).map(|reply| reply.0)
    }

    /// What a replica's disk holds.
    pub fn data(&self, node: usize, offset: u64, len: usize) -> &[u8] {
        let at = meta::layout(self.size).data + offset;
        &self.nodes[node].store[at as usize..at as usize + len]
    }

    /// Every in-sync replica holds the same.
    pub fn assert_equal(&self, nodes: &[usize]) {
        for pair in nodes.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let size = self.size as usize;
            let block = self
                .data(a, 0, size)
                .chunks(BLOCK as usize)
                .zip(self.data(b, 0, size).chunks(BLOCK as usize))
                .position(|(x, y)| x != y);
            assert_eq!(block, None, "nodes {a} and {b} differ in this block");
        }
    }
}
