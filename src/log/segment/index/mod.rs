//! The index of a segment: which commits a stream has in it, which name a session, where things of some kinds stand,
//! and the upper nodes of the tree, each found with a few reads.
//!
//! It is a file of its own, in `indexes/` beside `segments/`, and follows from its commits alone, so it can be made
//! again at any time, and a segment without one is as good as before. Every page has a check that also says of which
//! segment it is and where it stands. Keys are the beginnings of hashes: two of them may be equal by chance, so what is
//! found is believed only when the commit says so. The bytes are described in `docs/log-format.md`.

mod build;
mod layout;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use self::layout::{BODY, IndexLayout, PAGE, check, nodes_over};
pub(crate) use self::{build::IndexBuilder, layout::IndexSection};
use super::{
    SegmentError,
    damage::{DamageFlag, PositionSpan, read_at, second_time},
    header::SegmentHeader,
};
use crate::StreamKey;
use tenure_core::{Position, SessionId, StreamId};

/// The nodes of the tree that are kept are the roots of blocks of 2⁸ records, and all above them.
pub(crate) const BLOCK_LEVEL: u32 = 8;

/// Positions after the first of these, up to the second.
pub(crate) type PositionRange = (Position, Position);

/// The index of a segment, by its first page.
#[derive(Debug)]
pub(crate) struct SegmentIndex {
    path: PathBuf,
    /// The check of the segment's header.
    segment: [u8; 32],
    layout: IndexLayout,
    /// Nodes that are complete before the segment.
    nodes_before: u64,
    damage: DamageFlag,
}

/// Where the index of a segment is, or is to be.
pub(crate) fn path_of(segment: &Path) -> PathBuf {
    let name = Path::new(segment.file_name().unwrap_or_default()).with_extension("index");
    let data = segment.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    data.join("indexes").join(name)
}

pub(crate) fn key_of_stream(stream: &StreamId) -> u64 {
    key(StreamKey::of(stream).as_bytes())
}

fn key_of_subject(id: &str) -> u64 {
    key(StreamKey::of_subject(id).as_bytes())
}

pub(crate) fn key_of_session(id: SessionId) -> u64 {
    static KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context("tenure v1 index session"));
    key(blake3::Hasher::new_from_context_key(&KEY).update(id.as_bytes()).finalize().as_bytes())
}

fn key(hash: &[u8]) -> u64 {
    u64::from_be_bytes(*hash.first_chunk().expect("a hash is longer"))
}

impl SegmentIndex {
    /// Reads the first page, and looks at the length of the file.
    ///
    /// # Errors
    /// `InvalidData` where it is no index of the segment with this header, or not a whole one.
    pub(crate) fn open(path: PathBuf, header: &SegmentHeader) -> io::Result<Self> {
        let segment = header.check();
        let file = File::open(&path)?;
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        let length = file.metadata()?.len();
        if length < PAGE as u64 {
            return Err(damaged("is cut short"));
        }
        let page = read_at(&file, 0, PAGE, 0)?;
        let layout = body_of(&segment, 0, &page).and_then(IndexLayout::read);
        let layout = layout.filter(|layout| layout.range == (header.first(), header.last()));
        let layout = layout.ok_or_else(|| damaged("is not the index of its segment"))?;
        if length != layout.pages() * PAGE as u64 {
            return Err(damaged("has another length than it was written with"));
        }
        let nodes_before = nodes_over(header.base.position().0 >> BLOCK_LEVEL);
        Ok(Self { path, segment, layout, nodes_before, damage: DamageFlag::of_index() })
    }

    /// What was wrong with it, named below the data directory; `None` if it was sound when it was last read.
    pub(crate) fn damage(&self) -> Option<String> {
        self.damage.said()
    }

    /// It was made again.
    pub(crate) fn is_sound(&self) {
        if self.damage.clear() {
            tracing::info!(path = %self.path.display(), "the index was made again");
        }
    }

    /// How many bytes it has on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.layout.pages() * PAGE as u64
    }

    /// Reads every page; whether it came to the end.
    pub(crate) fn read_whole(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<bool, SegmentError> {
        let mut reader = self.reader()?;
        for page in 0..self.layout.pages() {
            reader.load(page)?;
            if !go_on(PAGE as u64) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens it for questions.
    pub(crate) fn reader(&self) -> Result<IndexReader<'_>, SegmentError> {
        let open = second_time(|_| File::open(&self.path));
        let file = open.map_err(|error| self.damage.trouble(self.place(), &error))?;
        Ok(IndexReader { index: self, file, loaded: None })
    }

    fn place(&self) -> (&Path, PositionSpan) {
        (&self.path, self.layout.range)
    }
}

fn body_of<'p>(segment: &[u8; 32], number: u64, page: &'p [u8]) -> Option<&'p [u8]> {
    let (body, stated) = page.split_at_checked(BODY)?;
    (stated == check(segment, number, body)).then_some(body)
}

/// An open index, with the page read last.
pub(crate) struct IndexReader<'i> {
    index: &'i SegmentIndex,
    file: File,
    loaded: Option<(u64, Vec<u8>)>,
}

impl IndexReader<'_> {
    /// The positions in the span that stand with this key, up to `most`.
    pub(crate) fn with_key(
        &mut self,
        section: IndexSection,
        key: u64,
        span: PositionRange,
        most: usize,
    ) -> Result<Vec<Position>, SegmentError> {
        let Some((from, to)) = self.places(span) else { return Ok(Vec::new()) };
        let count = u128::from(self.index.layout.entries(section));
        let guess = u64::try_from((u128::from(key) * count) >> 64).expect("it is less than the count");
        let begin = self.partition(section, guess, |entry| pair(entry) < (key, from))?;
        self.collect(section, begin, most, |entry| {
            let (known, place) = pair(entry);
            (known == key && place <= to).then_some(place)
        })
    }

    /// The positions in the span in a table of positions, up to `most`.
    pub(crate) fn listed(
        &mut self,
        section: IndexSection,
        span: PositionRange,
        most: usize,
    ) -> Result<Vec<Position>, SegmentError> {
        let Some((from, to)) = self.places(span) else { return Ok(Vec::new()) };
        let begin = self.partition(section, 0, |entry| place(entry) < from)?;
        self.collect(section, begin, most, |entry| Some(place(entry)).filter(|place| *place <= to))
    }

    /// The last positions in a table of positions, up to `most`, ascending.
    pub(crate) fn last_listed(
        &mut self,
        section: IndexSection,
        most: usize,
    ) -> Result<Vec<Position>, SegmentError> {
        let begin = self.index.layout.entries(section).saturating_sub(most as u64);
        self.collect(section, begin, most, |entry| Some(place(entry)))
    }

    /// The node of the tree at this place among all that are kept, if it was completed here.
    pub(crate) fn node(&mut self, ordinal: u64) -> Result<Option<[u8; 32]>, SegmentError> {
        let Some(number) = ordinal.checked_sub(self.index.nodes_before) else { return Ok(None) };
        if number >= self.index.layout.entries(IndexSection::Nodes) {
            return Ok(None);
        }
        self.entry(IndexSection::Nodes, number).map(|entry| entry.try_into().ok())
    }

    /// The first and the last place in the segment that lie in the span.
    fn places(&self, (after, until): PositionRange) -> Option<(u32, u32)> {
        let (first, last) = self.index.layout.range;
        let from = after.0.saturating_add(1).max(first.0);
        let to = until.0.min(last.0);
        let place = |position: u64| u32::try_from(position - first.0).ok();
        if from <= to { Some((place(from)?, place(to)?)) } else { None }
    }

    fn collect(
        &mut self,
        section: IndexSection,
        begin: u64,
        most: usize,
        wanted: impl Fn(&[u8]) -> Option<u32>,
    ) -> Result<Vec<Position>, SegmentError> {
        let first = self.index.layout.range.0;
        let mut found = Vec::new();
        for number in begin..self.index.layout.entries(section) {
            if found.len() == most {
                break;
            }
            let Some(place) = wanted(self.entry(section, number)?) else { break };
            found.push(first.plus(place.into()));
        }
        Ok(found)
    }

    /// How many entries come before some place. Looks where it is thought to be, then further and further away, then
    /// by halves.
    fn partition(
        &mut self,
        section: IndexSection,
        guess: u64,
        is_before: impl Fn(&[u8]) -> bool,
    ) -> Result<u64, SegmentError> {
        let count = self.index.layout.entries(section);
        let (mut low, mut high, mut step) = (0, count, section.per_page() as u64 / 2);
        let mut probe = guess;
        while low < high {
            let probed = probe.clamp(low, high - 1);
            if is_before(self.entry(section, probed)?) {
                low = probed + 1;
                probe = if high == count { low + step } else { low + (high - low) / 2 };
            } else {
                high = probed;
                probe = if low == 0 { high.saturating_sub(step) } else { low + (high - low) / 2 };
            }
            step *= 2;
        }
        Ok(low)
    }

    fn entry(&mut self, section: IndexSection, number: u64) -> Result<&[u8], SegmentError> {
        let (per_page, bytes) = (section.per_page() as u64, section.entry_bytes());
        let page = self.index.layout.page_of(section) + number / per_page;
        let at = usize::try_from(number % per_page).expect("a page is small") * bytes;
        Ok(&self.load(page)?[at..at + bytes])
    }

    fn load(&mut self, number: u64) -> Result<&[u8], SegmentError> {
        if self.loaded.as_ref().is_none_or(|(known, _)| *known != number) {
            let is_good = |page: &[u8]| body_of(&self.index.segment, number, page).is_some();
            let read = |time| read_at(&self.file, number * PAGE as u64, PAGE, time);
            let page = self.index.damage.twice(self.index.place(), read, is_good, "a page of the index")?;
            self.loaded = Some((number, page));
        }
        Ok(&self.loaded.as_ref().expect("it was loaded").1)
    }
}

fn pair(entry: &[u8]) -> (u64, u32) {
    (key(entry), place(&entry[8..]))
}

fn place(entry: &[u8]) -> u32 {
    u32::from_be_bytes(*entry.first_chunk().expect("a place has four bytes"))
}

/// Where a node stands among all that are kept, in the order in which they were completed, and with which record it
/// was.
pub(crate) const fn ordinal(level: u32, index: u64) -> (u64, Position) {
    let blocks = (index + 1) << level;
    (nodes_over(blocks - 1) + level as u64, Position(blocks << BLOCK_LEVEL))
}
