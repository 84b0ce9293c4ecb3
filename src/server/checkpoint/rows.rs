//! The rows by which sessions are listed that ended long ago. They stand in one order for all lists, so that a page of
//! any list is a few neighbours.

use std::ops::Range;

use super::{
    CheckpointError,
    format::{SectionEntry, SectionKind},
    reader::Checkpoint,
};
use tenure_core::{
    Digest16, OwnerId, Position, SessionId,
    event::EndTrigger,
    session::{Session, SessionRevocation},
};

/// Rows in one section, but for the last: 64 KiB.
pub(super) const ROWS: usize = 1_920;

/// One session in one list: the list, how the session ended, where it began, and its id. Bytes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndedRow([u8; EndedRow::BYTES]);

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowTable {
    All = 0,
    Owner = 1,
    Device = 2,
    /// Those that one revocation of many subjects ended.
    Bulk = 3,
}

/// How a session ended, as far as lists tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowEnd {
    /// By itself, and it was not revoked later.
    Expired = 0,
    /// It was revoked.
    Revoked = 1,
}

/// Neighbouring rows: those of a list with one end, or all of one list, in the order in which the sessions began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowRange(Vec<u8>);

impl RowRange {
    fn of(table: RowTable, key: [u8; 8], end: RowEnd) -> Self {
        let mut prefix = vec![table as u8];
        prefix.extend_from_slice(&key);
        prefix.push(end as u8);
        Self(prefix)
    }

    /// All sessions that ended so.
    pub(super) fn all(end: RowEnd) -> Self {
        Self::of(RowTable::All, [0; 8], end)
    }

    /// Those of this owner's subjects. There may be some of another owner's among them.
    pub(super) fn of_owner(owner: &OwnerId, end: RowEnd) -> Self {
        Self::of(RowTable::Owner, owner_key(owner), end)
    }

    /// Those of this device. There may be some of another one's among them.
    pub(super) fn of_device(device: Digest16, end: RowEnd) -> Self {
        Self::of(RowTable::Device, device_key(device), end)
    }

    /// Those that revocations of many subjects ended, in the order of the revocations.
    fn of_bulks() -> Self {
        Self(vec![RowTable::Bulk as u8])
    }

    fn at(&self, created: Position) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.extend_from_slice(&created.0.to_be_bytes());
        bytes
    }

    /// What comes behind all of it.
    fn end(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(EndedRow::BYTES, 0xff);
        bytes.push(0);
        bytes
    }
}

fn owner_key(owner: &OwnerId) -> [u8; 8] {
    first_half(blake3::hash(owner.as_str().as_bytes()).as_bytes())
}

fn device_key(device: Digest16) -> [u8; 8] {
    first_half(device.as_bytes())
}

fn first_half(bytes: &[u8]) -> [u8; 8] {
    *bytes.first_chunk().expect("digests are longer")
}

impl EndedRow {
    pub(super) const BYTES: usize = 1 + 8 + 1 + 8 + 16;

    fn of(range: &RowRange, session: &Session) -> Self {
        let mut bytes = range.at(session.created());
        bytes.extend_from_slice(session.id.as_bytes());
        Self(bytes.try_into().expect("its parts have their lengths"))
    }

    pub(super) const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Of bytes of this length.
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self(bytes.try_into().expect("it is cut to this length"))
    }

    fn key(&self) -> Position {
        Position(u64::from_be_bytes(first_half(&self.0[1..])))
    }

    /// Where the session began.
    pub(super) fn created(&self) -> Position {
        Position(u64::from_be_bytes(first_half(&self.0[10..])))
    }

    fn id(&self) -> SessionId {
        SessionId::from_bytes(*self.0[18..].first_chunk().expect("it is the rest"))
    }
}

/// The rows of a session that ended, and whose subject has this owner.
pub(super) fn rows_of(session: &Session, owner: Option<&OwnerId>) -> impl Iterator<Item = EndedRow> {
    let end = if session.revocation().is_some() { RowEnd::Revoked } else { RowEnd::Expired };
    let of_owner = owner.map(|id| RowRange::of_owner(id, end));
    let of_device = session.device_digest().map(|device| RowRange::of_device(device, end));
    let by_bulk = session.revocation().filter(|said| is_of_bulk(said));
    let by_bulk =
        by_bulk.map(|said| RowRange::of(RowTable::Bulk, said.position.0.to_be_bytes(), RowEnd::Revoked));
    let ranges = [Some(RowRange::all(end)), of_owner, of_device, by_bulk];
    ranges.into_iter().flatten().map(|range| EndedRow::of(&range, session))
}

const fn is_of_bulk(said: &SessionRevocation) -> bool {
    matches!(said.trigger, EndTrigger::Bulk | EndTrigger::Restore)
}

/// All rows of a section.
pub(super) fn rows_in(bytes: &[u8]) -> impl DoubleEndedIterator<Item = EndedRow> {
    bytes.chunks_exact(EndedRow::BYTES).map(EndedRow::read)
}

/// How many rows of a section are before these bytes.
fn before(bytes: &[u8], end: &[u8]) -> usize {
    let row = |index: usize| &bytes[index * EndedRow::BYTES..][..EndedRow::BYTES];
    let (mut known, mut beyond) = (0, bytes.len() / EndedRow::BYTES);
    while known < beyond {
        let middle = known + (beyond - known) / 2;
        if row(middle) < end {
            known = middle + 1;
        } else {
            beyond = middle;
        }
    }
    known
}

impl Checkpoint {
    /// The rows of a section.
    pub(super) fn rows_of(&self, section: &SectionEntry) -> Result<Vec<u8>, CheckpointError> {
        let bytes = self.section(section)?;
        let is_whole = bytes.len().is_multiple_of(EndedRow::BYTES) && bytes.starts_with(&section.row);
        if is_whole { Ok(bytes) } else { Err(self.foreign(section)) }
    }

    /// How many sessions of a range there are.
    pub(super) fn count_in(&self, range: &RowRange) -> Result<usize, CheckpointError> {
        Ok(self.place_of(&range.end())? - self.place_of(&range.0)?)
    }

    /// The last sessions of a range that began before this position, the latest first, up to `most`.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub(super) fn latest_in(
        &self,
        range: &RowRange,
        before: Option<Position>,
        most: usize,
    ) -> Result<Vec<(Position, SessionId)>, CheckpointError> {
        let end = before.map_or_else(|| range.end(), |before| range.at(before));
        let rows = self.last_rows(range, &end, most)?;
        Ok(rows.iter().map(|row| (row.created(), row.id())).collect())
    }

    /// The last sessions that stand apart and that revocations of many subjects ended, each with the position of the
    /// revocation, the latest first, up to `most`.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub fn latest_by_bulk(&self, most: usize) -> Result<Vec<(Position, SessionId)>, CheckpointError> {
        let range = RowRange::of_bulks();
        let rows = self.last_rows(&range, &range.end(), most)?;
        Ok(rows.iter().map(|row| (row.key(), row.id())).collect())
    }

    fn last_rows(&self, range: &RowRange, end: &[u8], most: usize) -> Result<Vec<EndedRow>, CheckpointError> {
        let end = self.place_of(end)?;
        let first = self.place_of(&range.0)?.max(end.saturating_sub(most));
        let mut found = Vec::with_capacity(end.saturating_sub(first));
        let Range { start, end: behind } = first / ROWS..end.div_ceil(ROWS);
        for number in (start..behind).rev() {
            let rows = self.rows_of(&self.sections(SectionKind::Rows)[number])?;
            let before = number * ROWS;
            let own = first.saturating_sub(before)..(end - before).min(rows.len() / EndedRow::BYTES);
            found.extend(rows_in(&rows[own.start * EndedRow::BYTES..own.end * EndedRow::BYTES]).rev());
        }
        Ok(found)
    }

    /// How many rows there are before these bytes.
    fn place_of(&self, bytes: &[u8]) -> Result<usize, CheckpointError> {
        let sections = self.sections(SectionKind::Rows);
        let behind = sections.partition_point(|section| section.row.as_slice() < bytes);
        let Some(number) = behind.checked_sub(1) else { return Ok(0) };
        Ok(number * ROWS + before(&self.rows_of(&sections[number])?, bytes))
    }
}

/// Looks for sessions of a range one after the other; neighbours cost one reading.
pub(super) struct RowFinder<'c> {
    checkpoint: &'c Checkpoint,
    range: RowRange,
    section: Option<(usize, Vec<u8>)>,
}

impl<'c> RowFinder<'c> {
    pub(super) const fn new(checkpoint: &'c Checkpoint, range: RowRange) -> Self {
        Self { checkpoint, range, section: None }
    }

    /// Whether the session that began at this position is one of them.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub(super) fn has(&mut self, created: Position) -> Result<bool, CheckpointError> {
        let (sought, behind) = (self.range.at(created), self.range.at(created.next()));
        let sections = self.checkpoint.sections(SectionKind::Rows);
        let number = sections.partition_point(|section| section.row.as_slice() < behind.as_slice());
        let Some(number) = number.checked_sub(1) else { return Ok(false) };
        if self.section.as_ref().is_none_or(|(known, _)| *known != number) {
            self.section = Some((number, self.checkpoint.rows_of(&sections[number])?));
        }
        let rows = &self.section.as_ref().expect("it was read").1;
        let place = before(rows, &behind).checked_sub(1);
        Ok(place.is_some_and(|place| rows[place * EndedRow::BYTES..].starts_with(&sought)))
    }
}
