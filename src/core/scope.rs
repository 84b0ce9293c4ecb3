//! How much of the history a state is of.

use super::id::SubjectId;

/// The part of the history that a state is folded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoldScope {
    /// All of it.
    Everything,
    /// One subject: its own events, and what the authority's say of its sessions.
    Subject(SubjectId),
    /// The authority itself and some of the subjects.
    Slice(SubjectSlice),
}

impl FoldScope {
    /// Whether a subject is in it.
    pub fn covers(&self, id: &SubjectId) -> bool {
        match self {
            Self::Everything => true,
            Self::Subject(own) => own == id,
            Self::Slice(slice) => slice.has(id),
        }
    }
}

/// Some of the subjects, chosen by a hash of their ids: one of `of` slices of about the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectSlice {
    /// Which, from 0.
    pub number: u64,
    /// How many there are; at least one.
    pub of: u64,
}

impl SubjectSlice {
    /// Whether a subject is in it.
    pub fn has(self, id: &SubjectId) -> bool {
        let hash = blake3::hash(id.as_str().as_bytes());
        let start = hash.as_bytes().first_chunk().copied().map_or(0, u64::from_be_bytes);
        start % self.of == self.number
    }
}
