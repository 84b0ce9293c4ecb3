//! Which commits each stream has, so that the story of one subject is found without reading all others.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use crate::domain::{Position, Stream};

/// The first positions of the commits of each stream.
#[derive(Debug, Default)]
pub struct Timeline {
    hasher: DefaultHashBuilder,
    /// A place in the table costs room whether it is taken or not, so there is no more than a pointer in it.
    streams: HashTable<Box<Places>>,
}

/// Where the commits of one stream begin.
#[derive(Debug)]
struct Places {
    stream: Stream,
    last: u64,
    /// Ascending positions, each written as its distance from the one before: two or three bytes instead of eight.
    /// Those of a subject with few commits need no room elsewhere.
    distances: SmallVec<[u8; 16]>,
}

impl Timeline {
    /// Adds a commit that begins here; they come in order.
    pub fn add(&mut self, stream: &Stream, first: Position) {
        let hash = self.hasher.hash_one(stream);
        if let Some(places) = self.streams.find_mut(hash, |places| places.stream == *stream) {
            places.add(first.0);
        } else {
            let mut places = Box::new(Places::of(stream.clone()));
            places.add(first.0);
            self.streams.insert_unique(hash, places, |known| self.hasher.hash_one(&known.stream));
        }
    }

    /// The first positions of the commits of this stream that begin after `after`, up to `most` of them.
    pub fn commits(&self, stream: &Stream, after: Position, most: usize) -> Vec<Position> {
        let hash = self.hasher.hash_one(stream);
        let places = self.streams.find(hash, |places| places.stream == *stream);
        let firsts = places.into_iter().flat_map(|places| places.iter());
        firsts.skip_while(|first| *first <= after.0).take(most).map(Position).collect()
    }
}

impl Places {
    fn of(stream: Stream) -> Self {
        Self { stream, last: 0, distances: SmallVec::new() }
    }

    /// The distance in groups of seven bits, the lowest first; the high bit says that more follow (LEB128).
    fn add(&mut self, first: u64) {
        let mut distance = first - self.last;
        self.last = first;
        loop {
            let group = u8::try_from(distance & 0x7f).expect("seven bits fit in a byte");
            distance >>= 7;
            if distance == 0 {
                self.distances.push(group);
                return;
            }
            self.distances.push(group | 0x80);
        }
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        let mut at = 0;
        let mut bytes = self.distances.iter();
        std::iter::from_fn(move || {
            let mut distance = 0;
            let mut shift = 0;
            loop {
                let byte = *bytes.next()?;
                distance |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    at += distance;
                    return Some(at);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_a_stream_come_back_in_order() {
        let mut timeline = Timeline::default();
        let places = [1, 2, 129, 130, 20_000, 20_001, u64::from(u32::MAX) * 5];
        for place in places {
            timeline.add(&Stream::System, Position(place));
        }
        let all: Vec<_> = timeline.commits(&Stream::System, Position::ZERO, 100);
        assert_eq!(all, places.map(Position));
        assert_eq!(timeline.commits(&Stream::System, Position(129), 2), [Position(130), Position(20_000)]);
        let other = Stream::Subject("a".parse().unwrap());
        assert!(timeline.commits(&other, Position::ZERO, 1).is_empty());
    }

    #[test]
    fn the_places_of_a_short_story_fit_in_40_bytes() {
        // One of the allocator's classes; the room for short stories is made to fill it.
        assert!(size_of::<Places>() <= 40, "{}", size_of::<Places>());
    }
}
