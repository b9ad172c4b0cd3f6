//! A table whose places are numbered and used again; it allocates only while it grows.

/// Places numbered from 0.
#[derive(Debug)]
pub(super) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Puts `value` into a free place.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.places[slot as usize] = Some(value);
            return slot;
        }
        self.places.push(Some(value));
        (self.places.len() - 1) as u32
    }

    /// Empties a place.
    ///
    /// # Panics
    /// It is empty.
    pub(super) fn remove(&mut self, slot: u32) -> T {
        let value = self.places[slot as usize].take();
        self.free.push(slot);
        value.expect("slot is in use")
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.places.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.as_mut()
    }

    /// How many places are in use.
    pub(super) const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// One more than the largest place ever used.
    pub(super) const fn end(&self) -> u32 {
        self.places.len() as u32
    }

    /// The places in use.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(slot, place)| Some((slot as u32, place.as_ref()?)))
    }
}

impl<T> std::ops::Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        self.get(slot).expect("slot is in use")
    }
}

impl<T> std::ops::IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        self.get_mut(slot).expect("slot is in use")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        let second = slots.insert('b');
        assert_eq!(slots.remove(first), 'a');
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.insert('c'), first);
        assert_eq!(slots[second], 'b');
        assert_eq!((slots.len(), slots.end()), (2, 2));
    }
}
