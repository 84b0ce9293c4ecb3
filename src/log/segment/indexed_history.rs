//! The part of the history that can be asked by key: all segments from the first one on that have an index.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use super::{
    Segment,
    damage::below_data,
    index::{
        self, BLOCK_LEVEL, IndexReader, IndexSection, PositionRange, SegmentIndex, key_of_session,
        key_of_stream,
    },
};
use crate::{LogError, RecordHash, StoredCommit, TreeEdge};
use tenure_core::{Position, SessionId, StreamId};

/// What the index of a segment finds by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexedKind {
    /// What ended sessions, or suspended a subject.
    Revocations,
    /// What ended sessions of any subjects at once.
    Bulks,
    /// The beginnings of sessions.
    Creations,
    /// The erasures of subjects.
    Erasures,
}

impl IndexedKind {
    const fn section(self) -> IndexSection {
        match self {
            Self::Revocations => IndexSection::Revocations,
            Self::Bulks => IndexSection::Bulks,
            Self::Creations => IndexSection::Creations,
            Self::Erasures => IndexSection::Erasures,
        }
    }
}

/// The history up to the end of some segment, in files that never change and can be asked by key. It is a view: what is
/// sealed and indexed later is not in it, and nothing ever leaves it.
///
/// A position found by a key counts only if the commit there confirms it: keys are the beginnings of hashes. Every
/// question is about the positions after one, up to another.
///
/// # Errors
/// All questions: [`LogError::Damaged`] with the file, where a page does not match its check or a part is in no index;
/// [`LogError::Exhausted`] for the moment.
#[derive(Clone, Debug, Default)]
pub struct IndexedHistory {
    segments: Arc<Vec<Arc<Segment>>>,
    /// How many of them have an index, from the first one on.
    count: usize,
}

impl IndexedHistory {
    /// Of these segments, the first one of the log before the others.
    pub(crate) fn of_segments(segments: Arc<Vec<Arc<Segment>>>) -> Self {
        let count = segments.iter().take_while(|segment| segment.index().is_some()).count();
        Self { segments, count }
    }

    /// The last position in it: the end of a segment.
    pub fn end(&self) -> Position {
        self.all().last().map_or(Position::ZERO, |last| last.header.last())
    }

    /// The part that ends here; `None` where no segment ends.
    pub fn up_to(&self, end: Position) -> Option<Self> {
        let count = self.all().partition_point(|segment| segment.header.last() <= end);
        let part = Self { segments: Arc::clone(&self.segments), count };
        (part.end() == end).then_some(part)
    }

    /// Where its segments end, of those that reach beyond this position.
    pub fn ends_after(&self, position: Position) -> impl Iterator<Item = Position> {
        let first = self.all().partition_point(|segment| segment.header.last() <= position);
        self.all()[first..].iter().map(|segment| segment.header.last())
    }

    /// The tree over all records in it.
    pub fn tree(&self) -> &TreeEdge {
        static EMPTY: LazyLock<TreeEdge> = LazyLock::new(TreeEdge::new);
        self.all().last().map_or(&EMPTY, |last| last.header.end.tree())
    }

    /// Where commits of a subject's stream begin, up to `most`.
    pub fn commits(
        &self,
        stream: &StreamId,
        span: PositionRange,
        most: usize,
    ) -> Result<Vec<Position>, LogError> {
        let key = key_of_stream(stream);
        self.gather(span, most, |reader, most| reader.with_key(IndexSection::Streams, key, span, most))
    }

    /// Where commits of the authority itself begin that name one of these sessions, in order.
    pub fn naming(&self, sessions: &[SessionId], span: PositionRange) -> Result<Vec<Position>, LogError> {
        let mut keys: Vec<_> = sessions.iter().map(|id| key_of_session(*id)).collect();
        keys.sort_unstable();
        self.gather(span, usize::MAX, |reader, most| {
            let mut found = Vec::new();
            for key in &keys {
                found.extend(reader.with_key(IndexSection::Named, *key, span, most)?);
            }
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
    }

    /// Where a session may have begun.
    pub fn beginning(&self, session: SessionId) -> Result<Vec<Position>, LogError> {
        let span = (Position::ZERO, self.end());
        let key = key_of_session(session);
        self.gather(span, usize::MAX, |reader, most| reader.with_key(IndexSection::Created, key, span, most))
    }

    /// Where events of a kind stand, up to `most`.
    pub fn listed(
        &self,
        kind: IndexedKind,
        span: PositionRange,
        most: usize,
    ) -> Result<Vec<Position>, LogError> {
        self.gather(span, most, |reader, most| reader.listed(kind.section(), span, most))
    }

    /// Where the last events of a kind stand, up to `most`, ascending.
    pub fn latest(&self, kind: IndexedKind, most: usize) -> Result<Vec<Position>, LogError> {
        let mut found: Vec<Position> = Vec::new();
        for segment in self.all().iter().rev() {
            if found.len() >= most {
                break;
            }
            let mut last = segment.asked()?.last_listed(kind.section(), most - found.len())?;
            last.append(&mut found);
            found = last;
        }
        Ok(found)
    }

    /// A node of the tree: of level 0 the root of a block of 256 records, by its number from 0 on, and so on up.
    pub fn node(&self, level: u32, index: u64) -> Result<[u8; 32], LogError> {
        let (ordinal, complete) = index::ordinal(level, index);
        let at = self.all().partition_point(|segment| segment.header.last() < complete);
        let segment = self.all().get(at).ok_or_else(|| self.missing(complete))?;
        let node = segment.asked()?.node(ordinal)?;
        node.ok_or_else(|| segment.untrue().into())
    }

    /// The hashes of the records behind the last whole block of 256.
    pub fn open_records(&self) -> Result<Vec<RecordHash>, LogError> {
        let end = self.end();
        let after = Position(end.0 >> BLOCK_LEVEL << BLOCK_LEVEL);
        let mut found = Vec::new();
        self.each_commit(after, &mut |stored| {
            let records = stored.positions().zip(&stored.record_hashes);
            found.extend(records.filter(|(position, _)| *position > after).map(|(_, record)| *record));
        })?;
        Ok(found)
    }

    /// Hands over every commit in it whose last event is after this position, in order.
    fn each_commit(&self, after: Position, take: &mut dyn FnMut(&StoredCommit)) -> Result<(), LogError> {
        let first = self.all().partition_point(|segment| segment.header.last() <= after);
        for segment in &self.all()[first..] {
            segment.each_commit(after, take)?;
        }
        Ok(())
    }

    /// The commits that hold these positions, which ascend; each commit once, and none for what is not in it.
    pub fn read_commits(&self, positions: &[Position]) -> Result<Vec<StoredCommit>, LogError> {
        let mut found: Vec<StoredCommit> = Vec::with_capacity(positions.len());
        for position in positions.iter().filter(|position| **position > Position::ZERO) {
            if found.last().is_some_and(|last| last.last() >= *position) {
                continue;
            }
            let at = self.all().partition_point(|segment| segment.header.last() < *position);
            if let Some(segment) = self.all().get(at) {
                found.push(segment.commit_at(*position)?);
            }
        }
        Ok(found)
    }

    fn all(&self) -> &[Arc<Segment>] {
        &self.segments[..self.count]
    }

    /// Asks each segment that the span touches.
    fn gather(
        &self,
        (after, until): PositionRange,
        most: usize,
        ask: impl Fn(&mut IndexReader<'_>, usize) -> Result<Vec<Position>, super::SegmentError>,
    ) -> Result<Vec<Position>, LogError> {
        if until > self.end() && until > after {
            return Err(self.missing(until));
        }
        let mut found = Vec::new();
        let first = self.all().partition_point(|segment| segment.header.last() <= after);
        for segment in self.all()[first..].iter().take_while(|segment| segment.header.first() <= until) {
            if found.len() >= most {
                break;
            }
            found.append(&mut ask(&mut segment.asked()?, most - found.len())?);
        }
        Ok(found)
    }

    fn missing(&self, last: Position) -> LogError {
        let why = "this part of the history has no index".to_owned();
        let index = self.segments.get(self.count).map(|segment| below_data(&index::path_of(&segment.path)));
        LogError::Damaged { first: self.end().next(), last, why, index }
    }
}

impl Segment {
    /// Its index, once there is one.
    pub(crate) fn index(&self) -> Option<&Arc<SegmentIndex>> {
        self.index.get()
    }

    /// Finds the index beside it, if there is one that can be believed.
    pub(crate) fn attach_index(&self) {
        let path = index::path_of(&self.path);
        match SegmentIndex::open(path.clone(), &self.header) {
            Ok(index) => drop(self.index.set(Arc::new(index))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the index of a segment is made again");
            }
        }
    }

    /// Its index was made.
    pub(crate) fn has_index(&self, made: SegmentIndex) {
        match self.index() {
            Some(index) => index.is_sound(),
            None => drop(self.index.set(Arc::new(made))),
        }
    }

    /// Opens its index for questions.
    fn asked(&self) -> Result<IndexReader<'_>, LogError> {
        let index = self.index().expect("only segments with an index are counted");
        Ok(index.reader()?)
    }

    /// The commit that holds this position, which is in it.
    fn commit_at(&self, position: Position) -> Result<StoredCommit, LogError> {
        let blocks = self.some_blocks()?;
        let number = blocks.at(position);
        let bytes = blocks.read(number)?;
        let held = blocks
            .commits(number, &bytes)?
            .into_iter()
            .find(|(first, end, _)| (*first..*end).contains(&position));
        let decoded = held.and_then(|(first, _, bytes)| StoredCommit::decode(first, bytes).ok());
        decoded.ok_or_else(|| self.untrue().into())
    }

    fn each_commit(&self, after: Position, take: &mut dyn FnMut(&StoredCommit)) -> Result<(), LogError> {
        let blocks = self.blocks()?;
        for number in blocks.at(after.next())..blocks.len() {
            let bytes = blocks.read(number)?;
            for (first, end, bytes) in blocks.commits(number, &bytes)? {
                if end > after.next() {
                    take(&StoredCommit::decode(first, bytes).map_err(|_| self.untrue())?);
                }
            }
        }
        Ok(())
    }
}
