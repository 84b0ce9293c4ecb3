//! Neighbours in the list of sessions: when each began, whose it is, and how it stands.

use tenure_core::{Position, SubjectId};

/// Sessions in one stretch: few enough that reserving the last one whole costs nothing.
const STRETCH: usize = 1_024;

/// Neighbours in the list. A distance from the first of them takes half the room of a position.
#[derive(Debug)]
pub(super) struct SessionStretch {
    pub(super) first: Position,
    /// The number of the first of them.
    pub(super) number: u32,
    /// How many there were: each has a place, by its number.
    pub(super) places: usize,
    /// Where those began that are still there, and their subjects.
    distances: Vec<u32>,
    subjects: Vec<SubjectId>,
    pub(super) present: MarkBits,
    pub(super) expired: MarkBits,
    pub(super) revoked: MarkBits,
}

/// A bit for each session of a stretch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MarkBits([u64; STRETCH / 64]);

impl MarkBits {
    pub(super) fn set(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn clear(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    /// How many have it before this one.
    fn before(&self, index: usize) -> usize {
        let whole = self.0[..index / 64].iter().map(|word| word.count_ones() as usize).sum::<usize>();
        let rest = self.0.get(index / 64).map_or(0, |word| word & ((1 << (index % 64)) - 1));
        whole + rest.count_ones() as usize
    }

    /// The one that has it, with this number of others before it.
    fn nth(&self, mut number: usize) -> Option<usize> {
        for (place, word) in self.0.iter().enumerate() {
            let count = word.count_ones() as usize;
            if number < count {
                let bit = (0..64).filter(|bit| word >> bit & 1 == 1).nth(number)?;
                return Some(place * 64 + bit);
            }
            number -= count;
        }
        None
    }
}

/// How sessions are marked: as what was recorded of their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndMark {
    /// In any way.
    #[default]
    Anyhow,
    /// As neither revoked nor expired.
    Open,
    /// As revoked.
    Revoked,
    /// As expired, and not as revoked.
    Expired,
    /// Not as revoked.
    NotRevoked,
}

impl EndMark {
    /// Which of 64 sessions it admits, a bit for each.
    const fn among(self, expired: u64, revoked: u64) -> u64 {
        match self {
            Self::Anyhow => u64::MAX,
            Self::Open => !expired & !revoked,
            Self::Revoked => revoked,
            Self::Expired => expired & !revoked,
            Self::NotRevoked => !revoked,
        }
    }

    pub(super) fn admits(self, expired: bool, revoked: bool) -> bool {
        self.among(expired.into(), revoked.into()) & 1 == 1
    }
}

pub(super) fn as_number(place: usize) -> u32 {
    u32::try_from(place).expect("a stretch is short")
}

impl SessionStretch {
    pub(super) fn begin(first: Position, number: u32, subject: SubjectId) -> Self {
        let mut run = Self {
            first,
            number,
            places: 0,
            distances: Vec::with_capacity(STRETCH),
            subjects: Vec::with_capacity(STRETCH),
            present: MarkBits::default(),
            expired: MarkBits::default(),
            revoked: MarkBits::default(),
        };
        run.push(0, subject);
        run
    }

    fn push(&mut self, distance: u32, subject: SubjectId) {
        self.distances.push(distance);
        self.subjects.push(subject);
        self.present.set(self.places);
        self.places += 1;
    }

    /// Whether there was room for it here.
    pub(super) fn add(&mut self, position: Position, subject: &SubjectId) -> bool {
        match u32::try_from(position.0 - self.first.0) {
            Ok(distance) if self.places < STRETCH => {
                self.push(distance, subject.clone());
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// How many are still there.
    pub(super) fn len(&self) -> usize {
        self.distances.len()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.distances.shrink_to_fit();
        self.subjects.shrink_to_fit();
    }

    pub(super) fn take_out(&mut self, place: usize) {
        let index = self.present.before(place);
        self.distances.remove(index);
        drop(self.subjects.remove(index));
        for marks in [&mut self.present, &mut self.expired, &mut self.revoked] {
            marks.clear(place);
        }
    }

    pub(super) fn holds(&self, number: u32) -> bool {
        (self.number..self.number + as_number(self.places)).contains(&number)
    }

    /// The places of those that are marked so.
    pub(super) fn places_marked(&self, marked: EndMark) -> impl Iterator<Item = usize> {
        let words = self.present.0.iter().zip(self.expired.0.iter().zip(&self.revoked.0)).enumerate();
        words.flat_map(move |(number, (present, (expired, revoked)))| {
            let mut left = present & marked.among(*expired, *revoked);
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(number * 64 + bit)
            })
        })
    }

    /// Where the session of this place began, and whose it is.
    pub(super) fn entry(&self, place: usize) -> Option<(Position, &SubjectId)> {
        if place >= self.places || !self.present.has(place) {
            return None;
        }
        let index = self.present.before(place);
        Some((self.first.plus(u64::from(self.distances[index])), &self.subjects[index]))
    }

    /// The place of the first of its sessions that did not begin before this position, which is not before its first.
    pub(super) fn place_before(&self, position: Position) -> usize {
        let distance = position.0 - self.first.0;
        let before = self.distances.partition_point(|known| u64::from(*known) < distance);
        self.present.nth(before).unwrap_or(self.places)
    }
}
