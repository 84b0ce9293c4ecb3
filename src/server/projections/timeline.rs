//! Which commits each stream has, and which of the authority's own say something of a subject's sessions, so that the
//! story of one subject is found without reading all others.

use std::{collections::VecDeque, hash::BuildHasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use tenure_core::{Position, StreamId};

/// Number of tables: letting old positions go walks through one at a time.
pub(super) const SHARDS: usize = 256;

/// The first positions of the commits that concern each stream, of those behind some position: what is before can be
/// asked of the files of the log.
#[derive(Debug)]
pub struct StreamTimeline {
    hasher: DefaultHashBuilder,
    /// A place in a table costs room whether it is taken or not, so there is no more than a pointer in it.
    shards: Box<[HashTable<Box<StreamPositions>>]>,
    /// Positions up to here are answered elsewhere, whether they were already removed or not.
    after: Position,
}

impl Default for StreamTimeline {
    fn default() -> Self {
        Self::behind(Position::ZERO)
    }
}

/// Where the commits that concern one stream begin.
#[derive(Debug)]
struct StreamPositions {
    stream: StreamId,
    distances: Distances,
}

/// Ascending positions, each written as its distance from the one before: two or three bytes instead of eight. The lowest
/// bit says that the commit is of another stream.
#[derive(Debug)]
enum Distances {
    /// Those of a subject with few commits need no room elsewhere.
    Few {
        length: u8,
        bytes: [u8; FEW],
    },
    Many(Box<ManyDistances>),
}

/// So many bytes make it as long as three pointers.
const FEW: usize = 22;

#[derive(Debug)]
struct ManyDistances {
    last: u64,
    bytes: SmallVec<[u8; 48]>,
}

impl Distances {
    const NONE: Self = Self::Few { length: 0, bytes: [0; FEW] };

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Few { length, bytes } => &bytes[..usize::from(*length)],
            Self::Many(many) => &many.bytes,
        }
    }

    fn push(&mut self, position: u64, written: &[u8]) {
        match self {
            Self::Few { length, bytes } => {
                let end = usize::from(*length) + written.len();
                if let Some(room) = bytes.get_mut(usize::from(*length)..end) {
                    room.copy_from_slice(written);
                    *length += u8::try_from(written.len()).expect("a distance is short");
                } else {
                    let mut all = SmallVec::from_slice(self.as_slice());
                    all.extend_from_slice(written);
                    *self = Self::Many(Box::new(ManyDistances { last: position, bytes: all }));
                }
            }
            Self::Many(many) => {
                many.last = position;
                many.bytes.extend_from_slice(written);
            }
        }
    }
}

impl StreamTimeline {
    /// Of what is behind this position.
    pub fn behind(after: Position) -> Self {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { hasher: DefaultHashBuilder::default(), shards, after }
    }

    /// Positions up to here are not held any more.
    pub const fn after(&self) -> Position {
        self.after
    }

    /// Adds a commit of this stream that begins here; they come in order.
    pub fn add(&mut self, stream: &StreamId, first: Position) {
        self.places_mut(stream).add(first.0, false);
    }

    /// Adds a commit of another stream that says something of this one. Said twice, it counts once.
    pub fn add_reaching(&mut self, stream: &StreamId, first: Position) {
        let places = self.places_mut(stream);
        if places.last() != first.0 {
            places.add(first.0, true);
        }
    }

    /// From now on nothing up to this position is answered from here. What was known of it goes with `remove_old`.
    pub fn let_go(&mut self, until: Position) {
        self.after = self.after.max(until);
    }

    /// Removes what is no longer answered from here from one of the tables.
    pub(super) fn remove_old(&mut self, shard: usize) {
        let table = &mut self.shards[shard];
        table.retain(|places| places.let_go(self.after.0));
        if table.len() * 4 < table.capacity() {
            table.shrink_to(table.len() * 2, |known| self.hasher.hash_one(&known.stream));
        }
    }

    /// How many streams something is known of.
    pub fn streams(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }

    fn places_mut(&mut self, stream: &StreamId) -> &mut StreamPositions {
        let hash = self.hasher.hash_one(stream);
        let entry = self.shards[shard_of(hash)].entry(
            hash,
            |places| places.stream == *stream,
            |known| self.hasher.hash_one(&known.stream),
        );
        entry.or_insert_with(|| Box::new(StreamPositions::of(stream.clone()))).into_mut()
    }

    /// The first positions of the commits of this stream that begin after `after`, up to `most` of them.
    pub fn commits(&self, stream: &StreamId, after: Position, most: usize) -> Vec<Position> {
        let own = self.places(stream).filter(|(_, is_reaching)| !is_reaching);
        first_after(own, after.max(self.after), most)
    }

    /// The first positions of all commits that concern this stream, its own and those that reach it, that begin after
    /// `after`, up to `most` of them.
    pub fn concerning(&self, stream: &StreamId, after: Position, most: usize) -> Vec<Position> {
        first_after(self.places(stream), after.max(self.after), most)
    }

    /// The last `most` of them that begin up to `until`.
    pub fn last_concerning(&self, stream: &StreamId, until: Position, most: usize) -> Vec<Position> {
        let firsts = self.places(stream).map(|(first, _)| Position(first));
        let mut last = VecDeque::with_capacity(most.min(1_024));
        for first in firsts.skip_while(|first| *first <= self.after).take_while(|first| *first <= until) {
            if last.len() == most {
                last.pop_front();
            }
            last.push_back(first);
        }
        last.into()
    }

    fn places(&self, stream: &StreamId) -> impl Iterator<Item = (u64, bool)> {
        let hash = self.hasher.hash_one(stream);
        let places = self.shards[shard_of(hash)].find(hash, |places| places.stream == *stream);
        places.into_iter().flat_map(|places| places.iter())
    }
}

/// The tables themselves place by the highest and the lowest bits.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 32).expect("it is half as long") % SHARDS
}

fn first_after(places: impl Iterator<Item = (u64, bool)>, after: Position, most: usize) -> Vec<Position> {
    let firsts = places.map(|(first, _)| Position(first));
    firsts.skip_while(|first| *first <= after).take(most).collect()
}

impl StreamPositions {
    fn of(stream: StreamId) -> Self {
        Self { stream, distances: Distances::NONE }
    }

    /// The last position; 0 for none.
    fn last(&self) -> u64 {
        match &self.distances {
            Distances::Few { .. } => self.iter().last().map_or(0, |(last, _)| last),
            Distances::Many(many) => many.last,
        }
    }

    /// The distance in groups of seven bits, the lowest first; the high bit says that more follow (LEB128).
    fn add(&mut self, first: u64, is_reaching: bool) {
        let mut distance = (first - self.last()) << 1 | u64::from(is_reaching);
        let (mut written, mut length) = ([0; 10], 0);
        loop {
            let group = u8::try_from(distance & 0x7f).expect("seven bits fit in a byte");
            distance >>= 7;
            written[length] = if distance == 0 { group } else { group | 0x80 };
            length += 1;
            if distance == 0 {
                return self.distances.push(first, &written[..length]);
            }
        }
    }

    /// Removes the positions up to this one; whether others are left.
    fn let_go(&mut self, until: u64) -> bool {
        if self.last() <= until {
            return false;
        }
        if self.iter().next().is_some_and(|(first, _)| first <= until) {
            let kept: Vec<_> = self.iter().skip_while(|(first, _)| *first <= until).collect();
            self.distances = Distances::NONE;
            for (first, is_reaching) in kept {
                self.add(first, is_reaching);
            }
            if let Distances::Many(many) = &mut self.distances {
                many.bytes.shrink_to_fit();
            }
        }
        true
    }

    fn iter(&self) -> impl Iterator<Item = (u64, bool)> {
        let mut at = 0;
        let mut bytes = self.distances.as_slice().iter();
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
        let mut timeline = StreamTimeline::default();
        let places = [1, 2, 129, 130, 20_000, 20_001, u64::from(u32::MAX) * 5];
        for place in places {
            timeline.add(&StreamId::System, Position(place));
        }
        let all: Vec<_> = timeline.commits(&StreamId::System, Position::ZERO, 100);
        assert_eq!(all, places.map(Position));
        assert_eq!(timeline.commits(&StreamId::System, Position(129), 2), [Position(130), Position(20_000)]);
        let other = StreamId::Subject("a".parse().unwrap());
        assert!(timeline.commits(&other, Position::ZERO, 1).is_empty());
    }

    #[test]
    fn what_reaches_a_stream_from_another_is_told_apart() {
        let (mut timeline, stream) = (StreamTimeline::default(), StreamId::Subject("a".parse().unwrap()));
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
    fn what_is_let_go_is_not_told_and_what_comes_later_is() {
        let (mut timeline, stream) = (StreamTimeline::default(), StreamId::Subject("a".parse().unwrap()));
        let other = StreamId::Subject("b".parse().unwrap());
        let firsts = [3, 70, 9_000, 9_001];
        for first in firsts {
            timeline.add(&stream, Position(first));
        }
        for first in firsts {
            timeline.add_reaching(&stream, Position(first + 100_000));
        }
        timeline.add(&other, Position(5));
        for until in [0, 2, 3, 100, 9_000, 100_003] {
            timeline.let_go(Position(until));
            let told = |timeline: &StreamTimeline| {
                (timeline.commits(&stream, Position(1), 9), timeline.concerning(&stream, Position(1), 9))
            };
            let before = told(&timeline);
            assert!(before.1.iter().all(|first| first.0 > until), "{before:?}");
            (0..SHARDS).for_each(|shard| timeline.remove_old(shard));
            assert_eq!(told(&timeline), before, "{until}");
        }
        assert_eq!(timeline.concerning(&stream, Position(1), 9).len(), 3);
        assert_eq!((timeline.streams(), timeline.after()), (1, Position(100_003)));
        timeline.add(&other, Position(200_000));
        assert_eq!(timeline.commits(&other, Position(0), 9), [Position(200_000)]);
    }

    #[test]
    fn the_places_of_a_story_fit_in_a_class_of_the_allocator() {
        // The room is made to fill it.
        assert_eq!((size_of::<StreamPositions>(), size_of::<ManyDistances>()), (32, 64));
    }
}
