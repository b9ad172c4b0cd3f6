//! A node's buffers, as the driver keeps them: the engine owns one until it releases it, the driver
//! lends it to the disk meanwhile. Anything the contract forbids is an error by name.

use std::rc::Rc;

use steadfast::engine::io::Buf;
use steadfast::types::{BLOCK, Extent};

/// What unused memory holds: must never be seen on a disk or by a client.
pub const GARBAGE: u8 = 0xa5;

#[derive(Debug)]
struct Entry {
    bytes: Rc<Vec<u8>>,
    owned: bool,
    lent: u32,
}

/// All buffers of one run of one node.
#[derive(Debug, Default)]
pub struct Slab {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    owned: usize,
}

/// Bytes of the buffer that an operation on `extent` needs.
#[must_use]
pub fn size_of(extent: Extent) -> usize {
    extent.blocks().len as usize
}

/// Where an extent's bytes begin in its buffer.
#[must_use]
pub const fn place(extent: Extent) -> usize {
    (extent.offset % BLOCK) as usize
}

impl Slab {
    /// A buffer that belongs to the engine from now on.
    pub fn give(&mut self, bytes: Rc<Vec<u8>>) -> Buf {
        let entry = Some(Entry {
            bytes,
            owned: true,
            lent: 0,
        });
        self.owned += 1;
        // The slot freed longest ago would hide a use after release; the newest shows it soonest.
        if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = entry;
            return Buf(slot);
        }
        self.entries.push(entry);
        Buf((self.entries.len() - 1) as u32)
    }

    /// How many belong to the engine.
    #[must_use]
    pub const fn owned(&self) -> usize {
        self.owned
    }

    fn entry(&mut self, buf: Buf, what: &str) -> Result<&mut Entry, String> {
        self.entries
            .get_mut(buf.0 as usize)
            .and_then(Option::as_mut)
            .filter(|entry| entry.owned)
            .ok_or_else(|| format!("{what} names buffer {} that the engine does not own", buf.0))
    }

    /// The bytes of an engine's buffer, for an effect that borrows it.
    ///
    /// # Errors
    /// The engine does not own it.
    pub fn bytes(&mut self, buf: Buf, what: &str) -> Result<Rc<Vec<u8>>, String> {
        Ok(Rc::clone(&self.entry(buf, what)?.bytes))
    }

    /// Lends a buffer to the disk.
    ///
    /// # Errors
    /// The engine does not own it.
    pub fn lend(&mut self, buf: Buf) -> Result<Rc<Vec<u8>>, String> {
        let entry = self.entry(buf, "Disk")?;
        entry.lent += 1;
        Ok(Rc::clone(&entry.bytes))
    }

    /// The disk is done with it.
    pub fn back(&mut self, buf: Buf) {
        let slot = &mut self.entries[buf.0 as usize];
        let entry = slot.as_mut().expect("lent buffers stay");
        entry.lent -= 1;
        if entry.lent == 0 && !entry.owned {
            *slot = None;
            self.free.push(buf.0);
        }
    }

    /// The engine gives it up.
    ///
    /// # Errors
    /// It does not own it.
    pub fn release(&mut self, buf: Buf) -> Result<(), String> {
        let entry = self.entry(buf, "Release")?;
        entry.owned = false;
        let idle = entry.lent == 0;
        self.owned -= 1;
        if idle {
            self.entries[buf.0 as usize] = None;
            self.free.push(buf.0);
        }
        Ok(())
    }

    fn writable(&mut self, buf: Buf, end: usize, what: &str) -> Result<&mut [u8], String> {
        let entry = self.entry(buf, what)?;
        if entry.lent > 0 {
            return Err(format!(
                "{what} changes buffer {} while the disk reads it",
                buf.0
            ));
        }
        if end > entry.bytes.len() {
            return Err(format!("{what} goes beyond the end of buffer {}", buf.0));
        }
        Ok(Rc::make_mut(&mut entry.bytes).as_mut_slice())
    }

    /// `Effect::Patch`.
    ///
    /// # Errors
    /// The engine does not own both, or the target is lent, or the range is outside.
    pub fn patch(
        &mut self,
        from: Buf,
        from_at: u32,
        to: Buf,
        to_at: u32,
        len: u32,
    ) -> Result<(), String> {
        let (from_at, to_at, len) = (from_at as usize, to_at as usize, len as usize);
        let source = self.bytes(from, "Patch")?;
        let Some(source) = source.get(from_at..from_at + len) else {
            return Err(format!(
                "Patch reads beyond the end of buffer {} ({from_at}+{len})",
                from.0
            ));
        };
        let target = self.writable(to, to_at + len, "Patch")?;
        target[to_at..to_at + len].copy_from_slice(source);
        Ok(())
    }

    /// `Effect::Clear`.
    ///
    /// # Errors
    /// The engine does not own it, or it is lent, or the range is outside.
    pub fn clear(&mut self, buf: Buf, at: u32, len: u32) -> Result<(), String> {
        let (at, len) = (at as usize, len as usize);
        self.writable(buf, at + len, "Clear")?[at..at + len].fill(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_buffer_outlives_its_release_and_may_not_change() {
        let mut slab = Slab::default();
        let buf = slab.give(Rc::new(vec![1; 8]));
        slab.lend(buf).unwrap();
        assert!(slab.clear(buf, 0, 8).is_err());
        slab.release(buf).unwrap();
        assert!(slab.release(buf).is_err());
        assert_ne!(slab.give(Rc::new(vec![2; 8])), buf);
        slab.back(buf);
        assert_eq!(slab.give(Rc::new(vec![3; 8])), buf);
        assert_eq!(slab.owned(), 2);
    }

    #[test]
    fn patch_copies_and_stays_inside() {
        let mut slab = Slab::default();
        let a = slab.give(Rc::new((0..8).collect()));
        let b = slab.give(Rc::new(vec![9; 8]));
        slab.patch(a, 2, b, 4, 3).unwrap();
        assert_eq!(*slab.bytes(b, "test").unwrap(), [9, 9, 9, 9, 2, 3, 4, 9]);
        assert!(slab.patch(a, 6, b, 0, 3).is_err());
        assert!(slab.patch(a, 0, b, 6, 3).is_err());
    }
}
