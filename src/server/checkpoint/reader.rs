//! A checkpoint that is read. Nothing of it is believed that its digests do not say.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, available_parallelism},
};

use minicbor::{Decode, Encode};

use super::{
    CheckpointError,
    format::{CheckpointHeader, HEADER_BYTES, SectionEntry, SectionKind},
    writer::ErasedSubjects,
};
use crate::projections::pulse::DayPulse;
use tenure_core::{Position, SubjectId, state::AuthorityState, subject::Subject, system::SystemState};
use tenure_log::SegmentEnd;

/// Threads that read subjects at a start.
const MOST_THREADS: usize = 4;

/// A checkpoint by its header and its table. The file stays open, so that it can be read for as long as this is kept.
#[derive(Debug)]
pub struct Checkpoint {
    /// Below the data directory.
    name: String,
    file: File,
    header: CheckpointHeader,
    table: Vec<SectionEntry>,
}

/// All that a checkpoint holds.
#[derive(Debug)]
pub struct CheckpointState {
    /// The state of every stream.
    pub state: AuthorityState,
    /// The subjects that were erased, and the last event that says so.
    pub erased: HashMap<SubjectId, Position>,
    /// What happened in the last day.
    pub pulse: DayPulse,
}

impl Checkpoint {
    /// Reads header and table, and looks at the length of the file.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let name = name_of(path);
        let io = |source| CheckpointError::Io { name: name.clone(), source };
        let damaged = |why: &str| CheckpointError::Damaged { name: name.clone(), why: why.to_owned() };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length < HEADER_BYTES as u64 {
            return Err(damaged("is cut short"));
        }
        let mut bytes = vec![0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(io)?;
        let header = CheckpointHeader::read(&bytes).map_err(damaged)?;
        if header.table_at.checked_add(header.table_bytes) != Some(length) {
            return Err(damaged("has another length than it was written with"));
        }
        let mut checkpoint = Self { name, file, header, table: Vec::new() };
        let CheckpointHeader { table_at, table_bytes, table_digest, .. } = checkpoint.header;
        let table = checkpoint.bytes(table_at, table_bytes, &table_digest, "the table")?;
        checkpoint.table = checkpoint.exact(&table, "the table")?;
        Ok(checkpoint)
    }

    /// Its file, below the data directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The end of the segment at which it stands.
    pub const fn end(&self) -> &SegmentEnd {
        &self.header.end
    }

    /// How many bytes it has on disk.
    pub const fn bytes_on_disk(&self) -> u64 {
        self.header.table_at + self.header.table_bytes
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub fn read(&self) -> Result<CheckpointState, CheckpointError> {
        let end = self.end();
        let mut state = AuthorityState {
            position: end.position,
            recorded_at: end.recorded_at,
            ..AuthorityState::default()
        };
        state.system = self.system()?;
        let read = self.all_subjects()?;
        let sessions = read.iter().flatten().map(|subject| subject.sessions.len()).sum();
        state.holders.reserve(sessions);
        state.subjects.reserve(read.iter().map(Vec::len).sum());
        for subject in read.into_iter().flatten() {
            add_to(&mut state, subject);
        }
        let erased = self.erased()?.into_iter().collect();
        Ok(CheckpointState { state, erased, pulse: self.pulse()? })
    }

    /// Reads all of it against its digests, and stops when asked to.
    ///
    /// # Errors
    /// A section is not as it was written, in the file as it is now.
    pub fn read_whole(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), CheckpointError> {
        let mut header = vec![0; HEADER_BYTES];
        let read = self.file.read_exact_at(&mut header, 0);
        read.map_err(|source| CheckpointError::Io { name: self.name.clone(), source })?;
        if CheckpointHeader::read(&header).as_ref() != Ok(&self.header) {
            return Err(self.damaged("the header's check does not match its bytes"));
        }
        let CheckpointHeader { table_at, table_bytes, table_digest, .. } = self.header;
        self.bytes(table_at, table_bytes, &table_digest, "the table")?;
        for section in &self.table {
            self.section(section)?;
            if !pace(section.length) {
                return Err(CheckpointError::Stopped);
            }
        }
        Ok(())
    }

    /// Reads the subject of this id; `None` if the history up to here knows none.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub fn subject(&self, id: &SubjectId) -> Result<Option<Subject>, CheckpointError> {
        let sections = self.sections_of_subjects();
        let behind =
            sections.partition_point(|section| section.first.as_ref().is_some_and(|first| first <= id));
        let Some(section) = behind.checked_sub(1).map(|index| sections[index]) else { return Ok(None) };
        Ok(self.subjects_of(section)?.into_iter().find(|subject| subject.id == *id))
    }

    /// What differs in another one of the same position; `None` if nothing does.
    pub fn difference_to(&self, other: &Self) -> Option<String> {
        if self.header == other.header {
            return None;
        }
        let digests = |checkpoint: &Self| {
            let mut digests: BTreeMap<SectionKind, Vec<[u8; 32]>> = BTreeMap::new();
            for section in &checkpoint.table {
                digests.entry(section.kind).or_default().push(section.digest);
            }
            digests
        };
        let (own, others) = (digests(self), digests(other));
        let kinds = [SectionKind::System, SectionKind::Subjects, SectionKind::Erased, SectionKind::Pulse];
        let differing: Vec<_> = kinds
            .into_iter()
            .filter(|kind| own.get(kind) != others.get(kind))
            .map(SectionKind::name)
            .collect();
        Some(if differing.is_empty() { "header".to_owned() } else { differing.join(", ") })
    }

    pub(super) fn system(&self) -> Result<SystemState, CheckpointError> {
        self.value(SectionKind::System)
    }

    pub(super) fn erased(&self) -> Result<ErasedSubjects, CheckpointError> {
        self.value(SectionKind::Erased)
    }

    pub(super) fn pulse(&self) -> Result<DayPulse, CheckpointError> {
        self.value(SectionKind::Pulse)
    }

    /// Where the subjects are, in the order of their ids.
    pub(super) fn sections_of_subjects(&self) -> Vec<&SectionEntry> {
        self.table.iter().filter(|section| section.kind == SectionKind::Subjects).collect()
    }

    /// The subjects of a section.
    pub(super) fn subjects_of(&self, section: &SectionEntry) -> Result<Vec<Subject>, CheckpointError> {
        let bytes = self.section(section)?;
        let mut decoder = minicbor::Decoder::new(&bytes);
        let (mut subjects, mut again) = (Vec::new(), Vec::with_capacity(bytes.len()));
        while decoder.position() < bytes.len() {
            let subject: Subject = decoder.decode().map_err(|error| self.unreadable(section, &error))?;
            minicbor::encode(&subject, &mut again).map_err(|_| self.foreign(section))?;
            subjects.push(subject);
        }
        // A field of a newer program would be lost without a word.
        if again == bytes { Ok(subjects) } else { Err(self.foreign(section)) }
    }

    fn all_subjects(&self) -> Result<Vec<Vec<Subject>>, CheckpointError> {
        let sections = self.sections_of_subjects();
        let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let next = AtomicUsize::new(0);
        let read = || {
            let mut read = Vec::new();
            while let Some(section) = sections.get(next.fetch_add(1, Ordering::Relaxed)) {
                read.push(self.subjects_of(section)?);
            }
            Ok(read)
        };
        let parts = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(read)).collect();
            let mut parts = vec![read()];
            parts.extend(
                others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(self.given_up()))),
            );
            parts
        });
        parts.into_iter().collect::<Result<Vec<_>, _>>().map(|parts| parts.into_iter().flatten().collect())
    }

    fn value<T>(&self, kind: SectionKind) -> Result<T, CheckpointError>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let mut found = self.table.iter().filter(|section| section.kind == kind);
        let (Some(section), None) = (found.next(), found.next()) else {
            return Err(self.damaged(&format!("has not one section of {}", kind.name())));
        };
        self.exact(&self.section(section)?, kind.name())
    }

    /// The value of exactly these bytes.
    fn exact<T>(&self, bytes: &[u8], what: &str) -> Result<T, CheckpointError>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let value = minicbor::decode(bytes).map_err(|error| self.damaged(&format!("{what}: {error}")))?;
        match minicbor::to_vec(&value) {
            Ok(again) if again == bytes => Ok(value),
            Ok(_) | Err(_) => Err(self.damaged(&format!("{what} is not as this program writes it"))),
        }
    }

    fn section(&self, section: &SectionEntry) -> Result<Vec<u8>, CheckpointError> {
        self.bytes(section.offset, section.length, &section.digest, section.kind.name())
    }

    /// What was read, if it is good; else once more, because a cable may have been at fault and not the disk.
    fn bytes(
        &self,
        offset: u64,
        length: u64,
        digest: &[u8; 32],
        what: &str,
    ) -> Result<Vec<u8>, CheckpointError> {
        let is_inside = offset.checked_add(length).is_some_and(|end| end <= self.bytes_on_disk());
        let Some(length) = usize::try_from(length).ok().filter(|_| is_inside) else {
            return Err(self.damaged(&format!("{what} is not inside of the file")));
        };
        for _ in 0..2 {
            let mut bytes = vec![0; length];
            match self.file.read_exact_at(&mut bytes, offset) {
                Ok(()) if blake3::hash(&bytes).as_bytes() == digest => return Ok(bytes),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(source) => return Err(CheckpointError::Io { name: self.name.clone(), source }),
            }
        }
        Err(self.damaged(&format!("the digest of {what} does not match its bytes")))
    }

    fn unreadable(&self, section: &SectionEntry, error: &minicbor::decode::Error) -> CheckpointError {
        self.damaged(&format!("{}: {error}", section.kind.name()))
    }

    fn foreign(&self, section: &SectionEntry) -> CheckpointError {
        self.damaged(&format!("{} is not as this program writes it", section.kind.name()))
    }

    fn given_up(&self) -> CheckpointError {
        self.damaged("a thread that read it gave up")
    }

    fn damaged(&self, why: &str) -> CheckpointError {
        CheckpointError::Damaged { name: self.name.clone(), why: why.to_owned() }
    }
}

/// Adds a subject as it was read.
pub(super) fn add_to(state: &mut AuthorityState, subject: Subject) {
    for session in &subject.sessions {
        state.holders.insert(session.id, subject.id.clone());
    }
    state.subjects.insert(subject.id.clone(), subject);
}

/// A file of the folder, below the data directory.
pub(super) fn name_of(path: &Path) -> String {
    format!("checkpoints/{}", path.file_name().unwrap_or_default().to_string_lossy())
}
