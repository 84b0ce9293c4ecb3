//! A sorted list in chunks: a page of it, and a change, cost little however long it is, and it takes little more room
//! than what is in it.

/// Entries in one chunk.
const CHUNK: usize = 512;
/// A chunk that is full reserves room for this many more.
const GROWTH: usize = CHUNK / 8;

/// Things in order, each once.
#[derive(Debug)]
pub(super) struct SortedChunks<T> {
    /// None is empty, and none has more than [`CHUNK`].
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for SortedChunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Ord> SortedChunks<T> {
    /// Adds one; whether it is new.
    pub(super) fn insert(&mut self, one: T) -> bool {
        let place = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| *last < one));
        if place == self.chunks.len() {
            self.append(one);
            return true;
        }
        let Err(at) = self.chunks[place].binary_search(&one) else { return false };
        self.len += 1;
        if self.chunks[place].len() < CHUNK {
            insert(&mut self.chunks[place], at, one);
        } else {
            self.insert_in_full(place, at, one);
        }
        true
    }

    /// Into a chunk that is full: the one before takes some of it if it has room, so that what is added in order in the
    /// middle of others fills its chunks, too. Otherwise there are two where it was.
    fn insert_in_full(&mut self, place: usize, at: usize, one: T) {
        let (known, behind) = self.chunks.split_at_mut(place);
        let chunk = &mut behind[0];
        let before = known.last_mut().filter(|before| before.len() < CHUNK);
        match before {
            Some(before) if at == 0 => insert(before, before.len(), one),
            Some(before) => {
                let moved = (CHUNK - before.len()).min(CHUNK / 2).min(at);
                before.reserve_exact(moved);
                before.extend(chunk.drain(..moved));
                chunk.insert(at - moved, one);
            }
            None => {
                let mut half = chunk.split_off(CHUNK / 2);
                chunk.shrink_to_fit();
                match at.checked_sub(CHUNK / 2) {
                    Some(at) => insert(&mut half, at, one),
                    None => insert(chunk, at, one),
                }
                self.chunks.insert(place + 1, half);
            }
        }
    }

    /// Behind all others: chunks only ever appended to are full.
    fn append(&mut self, one: T) {
        self.len += 1;
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => insert(last, last.len(), one),
            Some(_) | None => self.chunks.push(vec![one]),
        }
    }

    /// Takes one out; whether it was there.
    pub(super) fn remove(&mut self, one: &T) -> bool {
        let place = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last < one));
        let Some(chunk) = self.chunks.get_mut(place) else { return false };
        let Ok(at) = chunk.binary_search(one) else { return false };
        chunk.remove(at);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(place);
        }
        true
    }

    /// How many chunks there are, for [`SortedChunks::retain`].
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Takes out of one chunk what is not to stay. Chunks behind it may move up.
    pub(super) fn retain(&mut self, place: usize, stays: impl FnMut(&T) -> bool) {
        let Some(chunk) = self.chunks.get_mut(place) else { return };
        let before = chunk.len();
        chunk.retain(stays);
        self.len -= before - chunk.len();
        if chunk.is_empty() {
            self.chunks.remove(place);
        } else if chunk.len() < before {
            chunk.shrink_to_fit();
        }
    }

    pub(super) fn contains(&self, one: &T) -> bool {
        self.from(|known| known < one).next() == Some(one)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// In order, from the first one not before some place.
    pub(super) fn from<'a>(&'a self, is_before: impl Fn(&T) -> bool + 'a) -> impl Iterator<Item = &'a T> {
        let first = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&is_before));
        let begun =
            self.chunks.get(first).map_or(&[][..], |chunk| &chunk[chunk.partition_point(&is_before)..]);
        begun.iter().chain(self.chunks.iter().skip(first + 1).flatten())
    }

    /// Backwards, from the last one before some place.
    pub(super) fn back_from<'a>(
        &'a self,
        is_before: impl Fn(&T) -> bool + 'a,
    ) -> impl Iterator<Item = &'a T> {
        let last = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&is_before));
        let begun =
            self.chunks.get(last).map_or(&[][..], |chunk| &chunk[..chunk.partition_point(&is_before)]);
        begun.iter().rev().chain(self.chunks[..last].iter().rev().flat_map(|chunk| chunk.iter().rev()))
    }
}

/// Half of what a vector reserves by itself would be unused.
fn insert<T>(chunk: &mut Vec<T>, at: usize, one: T) {
    if chunk.len() == chunk.capacity() {
        chunk.reserve_exact(chunk.len().clamp(4, GROWTH).min(CHUNK - chunk.len()));
    }
    chunk.insert(at, one);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_set(changes in prop::collection::vec((any::<bool>(), 0_u16..3_000), 0..6_000), at in 0_u16..3_000) {
            let (mut sorted, mut model) = (SortedChunks::default(), BTreeSet::new());
            for (inserts, one) in changes {
                if inserts {
                    prop_assert_eq!(sorted.insert(one), model.insert(one));
                } else {
                    prop_assert_eq!(sorted.remove(&one), model.remove(&one));
                }
            }
            prop_assert!(sorted.from(|one| *one < at).eq(model.range(at..)));
            prop_assert!(sorted.back_from(|one| *one < at).eq(model.range(..at).rev()));
            prop_assert_eq!(sorted.contains(&at), model.contains(&at));
            prop_assert_eq!((sorted.len(), sorted.is_empty()), (model.len(), model.is_empty()));
        }
    }

    #[test]
    fn what_is_added_in_order_fills_its_chunks() {
        let mut sorted = SortedChunks::default();
        for one in 0..100_000_u32 {
            assert!(sorted.insert(one));
        }
        assert_eq!(sorted.chunks.len(), 100_000_usize.div_ceil(CHUNK));
        let room: usize = sorted.chunks.iter().map(Vec::capacity).sum();
        assert!(room < 101_000, "{room}");
    }

    /// As names that end with a number come: `a-9`, `a-10`.
    #[test]
    fn what_is_added_in_another_order_takes_little_more_room() {
        let mut sorted = SortedChunks::default();
        for number in 0..100_000_u32 {
            assert!(sorted.insert(number.to_string()));
        }
        let room: usize = sorted.chunks.iter().map(Vec::capacity).sum();
        assert!(room < 115_000, "{room}");
        let mut scattered = SortedChunks::default();
        for number in 0..100_000_u32 {
            assert!(scattered.insert(number.wrapping_mul(2_654_435_761)));
        }
        let room: usize = scattered.chunks.iter().map(Vec::capacity).sum();
        assert!(room < 140_000, "{room}");
    }
}
