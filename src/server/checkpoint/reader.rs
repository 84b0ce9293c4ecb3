//! A checkpoint open for reading. Nothing of it is believed that its digests do not say.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    thread::available_parallelism,
};

use minicbor::{Decode, Encode};

use super::{
    CheckpointError,
    ended::{self, KeptSubject},
    format::{CheckpointHeader, EndedSummary, ErasedSubjects, HEADER_BYTES, SectionEntry, SectionKind},
};
use crate::projections::pulse::DayPulse;
use tenure_core::{
    Position, Seconds, SubjectId, eviction::EvictionHorizon, session::Session, state::AuthorityState,
    subject::Subject, system::SystemState,
};
use tenure_log::SegmentEnd;
use tenure_threads::parallel::in_parallel;

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

/// What a checkpoint holds: all of it, or what a start needs.
#[derive(Debug)]
pub struct CheckpointState {
    /// The state of every stream, with all sessions or without those that ended long ago.
    pub state: AuthorityState,
    /// What is known of those that are not in the state.
    pub left: EndedBefore,
    /// The subjects that were erased, and the last event that says so.
    pub erased: HashMap<SubjectId, Position>,
    /// What happened in the last day.
    pub pulse: DayPulse,
}

/// What is known of sessions that stand apart and were not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedBefore {
    /// The subjects that have some.
    pub subjects: Vec<SubjectId>,
    /// Those of them that have some with text about people.
    pub with_text: Vec<SubjectId>,
    /// The longest period of all of them.
    pub longest_ttl: Seconds,
    /// How many they are.
    pub count: u64,
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

    /// Sessions behind this are kept apart.
    fn horizon(&self) -> EvictionHorizon {
        ended::horizon_at(self.end())
    }

    /// Reads what a start needs that keeps ended sessions in memory for this time.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub fn read_for(&self, memory: Seconds) -> Result<CheckpointState, CheckpointError> {
        if memory > ended::KEPT { self.read() } else { self.read_kept() }
    }

    /// Reads all of it but the sessions that ended long ago, however many they are.
    fn read_kept(&self) -> Result<CheckpointState, CheckpointError> {
        let mut state = self.empty_state()?;
        let past: EndedSummary = self.value(SectionKind::Past)?;
        let read = self.in_parallel(SectionKind::Subjects, |section| self.subjects_of(section))?;
        state.subjects.reserve(read.iter().map(Vec::len).sum());
        let EndedSummary { count, longest_ttl } = past;
        let mut left = EndedBefore { longest_ttl, count, ..EndedBefore::default() };
        for KeptSubject { subject, ended } in read.into_iter().flatten() {
            if ended.count > 0 {
                left.subjects.push(subject.id.clone());
            }
            if ended.has_text {
                left.with_text.push(subject.id.clone());
            }
            add_to(&mut state, subject);
        }
        if past.count > 0 {
            state.horizon = self.horizon();
        }
        Ok(CheckpointState {
            state,
            left,
            erased: self.erased()?.into_iter().collect(),
            pulse: self.pulse()?,
        })
    }

    fn empty_state(&self) -> Result<AuthorityState, CheckpointError> {
        let (position, recorded_at) = (self.end().position, self.end().recorded_at);
        Ok(AuthorityState { position, recorded_at, system: self.system()?, ..AuthorityState::default() })
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub fn read(&self) -> Result<CheckpointState, CheckpointError> {
        let CheckpointState { mut state, erased, pulse, .. } = self.read_kept()?;
        state.horizon = EvictionHorizon::default();
        let ended = self.in_parallel(SectionKind::Ended, |section| self.ended_in(section))?;
        for (id, sessions) in ended.into_iter().flatten() {
            let subject = state.subjects.get_mut(&id);
            let subject = subject.ok_or_else(|| self.damaged("has sessions of a subject that it has not"))?;
            for session in &sessions {
                state.holders.insert(session.id, id.clone());
            }
            ended::join(subject, sessions);
        }
        Ok(CheckpointState { state, left: EndedBefore::default(), erased, pulse })
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

    /// Reads the subject of this id with all of its sessions; `None` if the history up to here knows none.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub fn subject(&self, id: &SubjectId) -> Result<Option<Subject>, CheckpointError> {
        let Some(KeptSubject { mut subject, ended }) = self.kept_with_count(id)? else { return Ok(None) };
        if ended.count > 0 {
            ended::join(&mut subject, self.ended_of(id)?);
        }
        Ok(Some(subject))
    }

    /// The subject of this id without the sessions that stand apart.
    pub(super) fn kept(&self, id: &SubjectId) -> Result<Option<Subject>, CheckpointError> {
        Ok(self.kept_with_count(id)?.map(|kept| kept.subject))
    }

    fn kept_with_count(&self, id: &SubjectId) -> Result<Option<KeptSubject>, CheckpointError> {
        let Some(section) = self.section_of(SectionKind::Subjects, id) else { return Ok(None) };
        Ok(self.subjects_of(section)?.into_iter().find(|kept| kept.subject.id == *id))
    }

    /// The sessions of a subject that ended long ago.
    ///
    /// # Errors
    /// A section is not as it was written.
    pub(super) fn ended_of(&self, id: &SubjectId) -> Result<Vec<Session>, CheckpointError> {
        let Some(section) = self.section_of(SectionKind::Ended, id) else { return Ok(Vec::new()) };
        let found = self.ended_in(section)?.into_iter().find(|(known, _)| known == id);
        Ok(found.map(|(_, sessions)| sessions).unwrap_or_default())
    }

    fn section_of(&self, kind: SectionKind, id: &SubjectId) -> Option<&SectionEntry> {
        let sections = self.sections(kind);
        let behind =
            sections.partition_point(|section| section.first.as_ref().is_some_and(|first| first <= id));
        sections.get(behind.checked_sub(1)?)
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
        let differing: Vec<_> = SectionKind::ALL
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

    pub(super) fn past(&self) -> Result<EndedSummary, CheckpointError> {
        self.value(SectionKind::Past)
    }

    /// The sections of a kind, in their order. They are neighbours.
    pub(super) fn sections(&self, kind: SectionKind) -> &[SectionEntry] {
        let first = self.table.iter().position(|section| section.kind == kind).unwrap_or(self.table.len());
        let count = self.table[first..].iter().take_while(|section| section.kind == kind).count();
        &self.table[first..first + count]
    }

    /// The subjects of a section.
    pub(super) fn subjects_of(&self, section: &SectionEntry) -> Result<Vec<KeptSubject>, CheckpointError> {
        let bytes = self.section(section)?;
        let mut decoder = minicbor::Decoder::new(&bytes);
        let (mut subjects, mut again) = (Vec::new(), Vec::with_capacity(bytes.len()));
        while decoder.position() < bytes.len() {
            let subject: KeptSubject = decoder.decode().map_err(|error| self.unreadable(section, &error))?;
            minicbor::encode(&subject, &mut again).map_err(|_| self.foreign(section))?;
            subjects.push(subject);
        }
        // A field of a newer program would be lost without a word.
        if again == bytes { Ok(subjects) } else { Err(self.foreign(section)) }
    }

    /// The sessions of a section that ended long ago, subject by subject.
    pub(super) fn ended_in(
        &self,
        section: &SectionEntry,
    ) -> Result<Vec<(SubjectId, Vec<Session>)>, CheckpointError> {
        let bytes = self.section(section)?;
        let mut again = Vec::with_capacity(bytes.len());
        let mut found = Vec::new();
        for (id, place) in ended::places(&bytes).map_err(|error| self.unreadable(section, &error))? {
            let sessions =
                ended::sessions_of(&bytes[place]).map_err(|error| self.unreadable(section, &error))?;
            again.extend_from_slice(&ended::bytes_of(&id, &sessions));
            found.push((id, sessions));
        }
        if again == bytes { Ok(found) } else { Err(self.foreign(section)) }
    }

    /// Reads the sections of a kind in several threads.
    fn in_parallel<T: Send>(
        &self,
        kind: SectionKind,
        read: impl Fn(&SectionEntry) -> Result<T, CheckpointError> + Sync,
    ) -> Result<Vec<T>, CheckpointError> {
        let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        in_parallel(self.sections(kind), threads, read).ok_or_else(|| self.given_up())?
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

    pub(super) fn section(&self, section: &SectionEntry) -> Result<Vec<u8>, CheckpointError> {
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

    pub(super) fn unreadable(
        &self,
        section: &SectionEntry,
        error: &minicbor::decode::Error,
    ) -> CheckpointError {
        self.damaged(&format!("{}: {error}", section.kind.name()))
    }

    pub(super) fn foreign(&self, section: &SectionEntry) -> CheckpointError {
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
