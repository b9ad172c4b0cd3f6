//! Numbered places that are reused: what is in flight is named by its place.

/// Items by number; a number is free again as soon as its item is taken out.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Room for `depth` items; grows beyond that if it must.
    pub fn new(depth: usize) -> Self {
        Self {
            items: Vec::with_capacity(depth),
            free: Vec::with_capacity(depth),
        }
    }

    /// Puts an item in and names it.
    pub fn insert(&mut self, item: T) -> u32 {
        if let Some(id) = self.free.pop() {
            let place = &mut self.items[id as usize];
            assert!(place.is_none(), "place {id} is taken");
            *place = Some(item);
            id
        } else {
            self.items.push(Some(item));
            (self.items.len() - 1) as u32
        }
    }

    /// Takes an item out. Panics if there is none of that name.
    pub fn remove(&mut self, id: u32) -> T {
        let Some(item) = self.items[id as usize].take() else {
            panic!("place {id} is empty");
        };
        self.free.push(id);
        item
    }

    /// The item of that name. Panics if there is none.
    pub fn at(&mut self, id: u32) -> &mut T {
        match self.items[id as usize].as_mut() {
            Some(item) => item,
            None => panic!("place {id} is empty"),
        }
    }

    /// The item of that name, if there is one.
    pub fn get(&self, id: u32) -> Option<&T> {
        self.items.get(id as usize)?.as_ref()
    }

    /// The items and their names, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.items)
            .filter_map(|(id, item)| Some((id, item.as_ref()?)))
    }

    /// As `iter`.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0..)
            .zip(&mut self.items)
            .filter_map(|(id, item)| Some((id, item.as_mut()?)))
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// One more than the largest name ever given out.
    pub fn end(&self) -> u32 {
        self.items.len() as u32
    }
}
