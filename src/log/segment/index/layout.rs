//! Where things stand in the file of an index.

use blake3::Hasher;

use crate::record::first_half;
use tenure_core::Position;

/// Every page has its check at the end, and is read and judged apart from the others.
pub(super) const PAGE: usize = 4096;
/// What a page holds before its check.
pub(super) const BODY: usize = PAGE - CHECK;
const CHECK: usize = 16;
const MAGIC: &[u8; 8] = b"TENUREX1";

/// A table of the index: entries of one size, in order, from the beginning of a page on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexSection {
    /// The key of a subject's stream, and where a commit of it begins.
    Streams = 0,
    /// The key of a session, and the position of the event that began it.
    Created = 1,
    /// The key of a session, and where a commit of the authority itself begins that names it.
    Named = 2,
    /// The positions of what ended sessions, or suspended a subject.
    Revocations = 3,
    /// The positions of what ended sessions of any subjects at once.
    Bulks = 4,
    /// The positions at which sessions began.
    Creations = 5,
    /// The positions at which subjects were erased.
    Erasures = 6,
    /// The nodes of the tree over whole blocks of 256 records that were completed here.
    Nodes = 7,
}

impl IndexSection {
    pub(super) const ALL: [Self; 8] = [
        Self::Streams,
        Self::Created,
        Self::Named,
        Self::Revocations,
        Self::Bulks,
        Self::Creations,
        Self::Erasures,
        Self::Nodes,
    ];

    pub(super) const fn entry_bytes(self) -> usize {
        match self {
            Self::Streams | Self::Created | Self::Named => 8 + 4,
            Self::Revocations | Self::Bulks | Self::Creations | Self::Erasures => 4,
            Self::Nodes => 32,
        }
    }

    pub(super) const fn per_page(self) -> usize {
        BODY / self.entry_bytes()
    }
}

/// What stands on the first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IndexLayout {
    /// The positions of the first and the last event of the segment.
    pub(super) range: (Position, Position),
    /// How many entries each table has.
    pub(super) entries: [u64; IndexSection::ALL.len()],
}

impl IndexLayout {
    pub(super) const fn entries(&self, section: IndexSection) -> u64 {
        self.entries[section as usize]
    }

    /// The page on which a table begins.
    pub(super) fn page_of(&self, section: IndexSection) -> u64 {
        let before = &IndexSection::ALL[..section as usize];
        1 + before.iter().map(|section| self.pages_of(*section)).sum::<u64>()
    }

    fn pages_of(&self, section: IndexSection) -> u64 {
        self.entries(section).div_ceil(section.per_page() as u64)
    }

    /// How many pages there are.
    pub(super) fn pages(&self) -> u64 {
        1 + IndexSection::ALL.iter().map(|section| self.pages_of(*section)).sum::<u64>()
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for number in [self.range.0.0, self.range.1.0].iter().chain(&self.entries) {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out
    }

    /// The layout of this first page, which was judged by its check.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut numbers = body
            .strip_prefix(MAGIC)?
            .chunks_exact(8)
            .map(|number| u64::from_be_bytes(number.try_into().expect("it has eight bytes")));
        let range = (Position(numbers.next()?), Position(numbers.next()?));
        let mut entries = [0; IndexSection::ALL.len()];
        for entry in &mut entries {
            *entry = numbers.next().filter(|count| *count < u64::from(u32::MAX) * 64)?;
        }
        Some(Self { range, entries })
    }
}

/// The check of a page: it is of this segment, and stands at this place.
pub(super) fn check(segment: &[u8; 32], page: u64, body: &[u8]) -> [u8; CHECK] {
    let mut hasher = Hasher::new_derive_key("tenure v1 index page");
    hasher.update(segment).update(&page.to_be_bytes()).update(body);
    first_half(&hasher.finalize())
}

/// How many nodes above level 8 there are over a number of whole blocks of 256 records.
pub(super) const fn nodes_over(blocks: u64) -> u64 {
    2 * blocks - blocks.count_ones() as u64
}
