//! What must hold, always and at rest.

use super::*;

impl World {
    pub(super) fn at_rest(&self) -> bool {
        let volumes = self
            .nodes
            .iter()
            .all(|node| node.volume.as_ref().is_some_and(Volume::at_rest) && node.disk.is_empty());
        let sync = self.log.record.replicas.iter().all(|replica| {
            let boot = self.nodes[replica.node.0 as usize].boot;
            replica.state == ReplicaState::InSync { boot }
        });
        volumes && sync && self.requests.is_empty()
    }

    /// At rest all replicas have the same content, and nothing is marked any more.
    pub(super) fn check_rest(&self) -> Result<(), String> {
        let data = layout(layout_size()).data;
        let images: Vec<&Image> = self.nodes.iter().filter_map(|n| n.image.as_ref()).collect();
        let offsets: BTreeSet<u64> = images.iter().flat_map(|i| i.touched(data)).collect();
        for offset in offsets {
            for image in &images[1..] {
                if image.page(offset) != images[0].page(offset) {
                    let block = (offset - data) / BLOCK;
                    return Err(format!("replicas differ in block {block}"));
                }
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(volume) = &node.volume {
                for other in 0..self.nodes.len() as u8 {
                    if volume.dirty(NodeId(other)).is_some() {
                        return Err(format!("n{at} keeps a bitmap for n{other}"));
                    }
                }
            }
            if !node.buffers.is_empty() {
                return Err(format!("n{at} keeps {} buffers", node.buffers.len()));
            }
        }
        Ok(())
    }

    /// Whenever two replicas differ, an active intent or a dirty bit on an in-sync replica, or an
    /// intent on the one that is out, says so.
    pub fn check_invariant(&self) -> Result<(), String> {
        let data = layout(layout_size()).data;
        let marks: Vec<Option<Marks<'_>>> = self.nodes.iter().map(Marks::of).collect();
        let in_sync: Vec<usize> = self
            .log
            .record
            .in_sync()
            .map(|replica| replica.node.0 as usize)
            .collect();
        let first = self.nodes[in_sync[0]].image.as_ref().expect("no store");
        for replica in &self.log.record.replicas {
            let at = replica.node.0 as usize;
            if replica.state == ReplicaState::New || at == in_sync[0] {
                continue;
            }
            let image = self.nodes[at].image.as_ref().expect("no store");
            let offsets: BTreeSet<u64> = first.touched(data).chain(image.touched(data)).collect();
            for offset in offsets {
                if image.page(offset) == first.page(offset) {
                    continue;
                }
                let block = (offset - data) / BLOCK;
                let told = in_sync.iter().any(|one| {
                    let marks = marks[*one].as_ref();
                    marks.is_some_and(|m| m.active(block) || m.dirty(replica.node, block))
                });
                let own = marks[at].as_ref().is_some_and(|m| m.active(block));
                if !told && !own {
                    return Err(format!(
                        "at {}: n{at} and n{} differ in block {block}, and nothing says so",
                        self.clock, in_sync[0]
                    ));
                }
            }
        }
        Ok(())
    }

    pub fn describe(&self) -> String {
        let mut text = format!("{:?}\n{} requests", self.log.record, self.requests.len());
        for (at, node) in self.nodes.iter().enumerate() {
            let volume = node.volume.as_ref();
            text += &format!(
                "\n n{at} {:?} {:?} rest {:?} serving {:?} disk {} told {} lease {} member {}",
                node.incarnation,
                node.boot,
                volume.map(Volume::at_rest),
                volume.map(Volume::serving),
                node.disk.len(),
                node.told.len(),
                node.lease,
                self.is_member(at)
            );
        }
        text
    }
}

/// What a node would say of its store, running or not.
enum Marks<'a> {
    Up(&'a Volume),
    Down(Box<meta::recovered::Recovered>),
}

impl<'a> Marks<'a> {
    fn of(node: &'a Node) -> Option<Self> {
        if let Some(volume) = &node.volume {
            return Some(Self::Up(volume));
        }
        let image = node.image.as_ref()?;
        let mut read = |offset: u64, into: &mut [u8]| {
            image.read(offset, into);
            Ok(())
        };
        let recovered = meta::recover(&mut read, image.bytes).expect("refused");
        Some(Self::Down(Box::new(recovered)))
    }

    fn active(&self, block: u64) -> bool {
        let region = (block * BLOCK / REGION) as u32;
        match self {
            Self::Up(volume) => volume.is_active(region),
            Self::Down(recovered) => recovered.active.contains(&Some(region)),
        }
    }

    fn dirty(&self, replica: NodeId, block: u64) -> bool {
        match self {
            Self::Up(volume) => volume.dirty(replica).is_some_and(|d| d.1.get(block)),
            Self::Down(recovered) => recovered
                .dirty
                .iter()
                .flatten()
                .any(|slot| slot.replica == replica && slot.bits.get(block)),
        }
    }
}
