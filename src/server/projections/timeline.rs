//! Which commits each stream has, and which of the authority's own say something of a subject's sessions, so that the
//! story of one subject is found without reading all others.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use tenure_core::{Position, Stream};

/// The first positions of the commits that concern each stream.
#[derive(Debug, Default)]
pub struct Timeline {
    hasher: DefaultHashBuilder,
    /// A place in the table costs room whether it is taken or not, so there is no more than a pointer in it.
    streams: HashTable<Box<Places>>,
}

/// Where the commits that concern one stream begin.
#[derive(Debug)]
struct Places {
    stream: Stream,
    last: u64,
    /// Ascending positions, each written as its distance from the one before: two or three bytes instead of eight.
    /// Those of a subject with few commits need no room elsewhere. The lowest bit says that the commit is of another
    /// stream.
    distances: SmallVec<[u8; 16]>,
}

impl Timeline {
    /// Adds a commit of this stream that begins here; they come in order.
    pub fn add(&mut self, stream: &Stream, first: Position) {
        self.places_mut(stream).add(first.0, false);
    }

    /// Adds a commit of another stream that says something of this one. Said twice, it counts once.
    pub fn add_reaching(&mut self, stream: &Stream, first: Position) {
        let places = self.places_mut(stream);
        if places.last != first.0 {
            places.add(first.0, true);
        }
    }

    fn places_mut(&mut self, stream: &Stream) -> &mut Places {
        let hash = self.hasher.hash_one(stream);
        let entry = self.streams.entry(
            hash,
            |places| places.stream == *stream,
            |known| self.hasher.hash_one(&known.stream),
        );
        entry.or_insert_with(|| Box::new(Places::of(stream.clone()))).into_mut()
    }

    /// The first positions of the commits of this stream that begin after `after`, up to `most` of them.
    pub fn commits(&self, stream: &Stream, after: Position, most: usize) -> Vec<Position> {
        let own = self.places(stream).filter(|(_, is_reaching)| !is_reaching);
        first_after(own, after, most)
    }

    /// The first positions of all commits that concern this stream, its own and those that reach it, that begin after
    /// `after`, up to `most` of them.
    pub fn concerning(&self, stream: &Stream, after: Position, most: usize) -> Vec<Position> {
        first_after(self.places(stream), after, most)
    }

    fn places(&self, stream: &Stream) -> impl Iterator<Item = (u64, bool)> {
        let hash = self.hasher.hash_one(stream);
        let places = self.streams.find(hash, |places| places.stream == *stream);
        places.into_iter().flat_map(|places| places.iter())
    }
}

fn first_after(places: impl Iterator<Item = (u64, bool)>, after: Position, most: usize) -> Vec<Position> {
    let firsts = places.map(|(first, _)| Position(first));
    firsts.skip_while(|first| *first <= after).take(most).collect()
}

impl Places {
    fn of(stream: Stream) -> Self {
        Self { stream, last: 0, distances: SmallVec::new() }
    }

    /// The distance in groups of seven bits, the lowest first; the high bit says that more follow (LEB128).
    fn add(&mut self, first: u64, is_reaching: bool) {
        let mut distance = (first - self.last) << 1 | u64::from(is_reaching);
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

    fn iter(&self) -> impl Iterator<Item = (u64, bool)> {
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
                    at += distance >> 1;
                    return Some((at, distance & 1 == 1));
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
    fn what_reaches_a_stream_from_another_is_told_apart() {
        let (mut timeline, stream) = (Timeline::default(), Stream::Subject("a".parse().unwrap()));
        timeline.add(&stream, Position(3));
        timeline.add_reaching(&stream, Position(70));
        timeline.add_reaching(&stream, Position(70));
        timeline.add(&stream, Position(9_000));
        assert_eq!(timeline.commits(&stream, Position::ZERO, 9), [Position(3), Position(9_000)]);
        let all = [Position(3), Position(70), Position(9_000)];
        assert_eq!(timeline.concerning(&stream, Position::ZERO, 9), all);
        assert_eq!(timeline.concerning(&stream, Position(3), 1), [Position(70)]);
    }

    #[test]
    fn the_places_of_a_short_story_fit_in_40_bytes() {
        // One of the allocator's classes; the room for short stories is made to fill it.
        assert!(size_of::<Places>() <= 40, "{}", size_of::<Places>());
    }
}
