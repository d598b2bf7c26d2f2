//! Values by small reused number, so that sets of them fit roaring bitmaps.

/// A slab: numbers of removed values are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Stores a value; returns its number. Above four thousand million values the last number is used twice, which
    /// memory forbids long before.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            if let Some(place) = self.items.get_mut(index(at)) {
                *place = Some(value);
            }
            return at;
        }
        self.items.push(Some(value));
        u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
    }

    /// Takes the value out.
    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let value = self.items.get_mut(index(at))?.take()?;
        self.free.push(at);
        Some(value)
    }

    /// The value at a number.
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.items.get(index(at))?.as_ref()
    }

    /// The value at a number, to change it.
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.items.get_mut(index(at))?.as_mut()
    }

    /// Numbers and values, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..)
            .zip(&self.items)
            .filter_map(|(at, item)| Some((at, item.as_ref()?)))
    }

    /// Numbers and values, by number, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0u32..)
            .zip(&mut self.items)
            .filter_map(|(at, item)| Some((at, item.as_mut()?)))
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }
}

/// A number as an index; both are at least 32 bits wide on every platform this is built for.
fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
