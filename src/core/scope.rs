//! How much of the history a state is of.

use super::id::{SessionId, SubjectId};

/// The part of the history that a state is folded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoldScope {
    /// All of it.
    Everything,
    /// One subject: its own events, and what the authority's say of its sessions.
    Subject(SubjectId),
    /// One subject and some of its sessions: of the others not even their beginning is kept.
    Sessions(SubjectId, Box<[SessionId]>),
    /// The authority itself and some of the subjects.
    Slice(SubjectSlice),
}

impl FoldScope {
    /// Whether a session of a subject that is in it is in it, too.
    pub fn keeps(&self, session: SessionId) -> bool {
        match self {
            Self::Everything | Self::Subject(_) | Self::Slice(_) => true,
            Self::Sessions(_, some) => some.contains(&session),
        }
    }

    /// Whether the authority itself is in it.
    pub const fn has_system(&self) -> bool {
        match self {
            Self::Everything | Self::Slice(_) => true,
            Self::Subject(_) | Self::Sessions(..) => false,
        }
    }

    /// Whether a subject is in it.
    pub fn covers(&self, id: &SubjectId) -> bool {
        match self {
            Self::Everything => true,
            Self::Subject(own) | Self::Sessions(own, _) => own == id,
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
