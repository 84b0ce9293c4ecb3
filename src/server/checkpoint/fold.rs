//! A checkpoint is made: the fold of the one before it and of the segments since.
//!
//! Only the subjects that these segments touch are in memory; all others go from file to file, as they are, but for the
//! bulk revocations that reach them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    path::Path,
};

use super::{
    CheckpointError,
    format::{SectionEntry, SectionKind},
    reader::{Checkpoint, add_to, name_of},
    writer::CheckpointWriter,
};
use crate::projections::pulse::DayPulse;
use tenure_core::{
    Event, Position, SessionId, StreamId, SubjectEvent, SubjectId, SystemEvent,
    bulk::{self, BulkRevocation},
    commit::EventMeta,
    state::AuthorityState,
    subject::Subject,
};
use tenure_log::{EventLog, SegmentEnd, StoredCommit, TreeEdge};

/// Events read at a time.
const PAGE: usize = 2_000;
/// Segments folded in one go: what they touch is in memory.
const SEGMENTS_AT_ONCE: usize = 8;

/// Says, after a number of events, whether to go on.
pub type FoldPace<'p> = dyn FnMut(u64) -> bool + 'p;

/// Makes the checkpoint of this end of a segment in this file, from the one before and the log, and reads it back.
///
/// # Errors
/// See [`CheckpointError`]; what is in the file then is nothing.
pub fn make(
    log: &dyn EventLog,
    before: Option<&Checkpoint>,
    end: &SegmentEnd,
    path: &Path,
    pace: &mut FoldPace<'_>,
) -> Result<Checkpoint, CheckpointError> {
    let mut folding =
        CheckpointFold { log, before, end, pace, touched: TouchedIds::default(), bulks: Vec::new() };
    folding.survey()?;
    let gathered = folding.gather()?;
    let folded = folding.fold(gathered)?;
    folding.write(path, &folded)?;
    let made = Checkpoint::open(path)?;
    check(&made, end)?;
    Ok(made)
}

/// The same without any before, in steps: each is a checkpoint of its own, in the same file.
///
/// # Errors
/// See [`CheckpointError`].
pub fn fold_from_the_first_event(
    log: &dyn EventLog,
    ends: &[SegmentEnd],
    path: &Path,
    pace: &mut FoldPace<'_>,
) -> Result<Option<Checkpoint>, CheckpointError> {
    let mut before: Option<Checkpoint> = None;
    let unfinished = path.with_extension("next");
    for end in steps(ends) {
        let made = make(log, before.as_ref(), end, &unfinished, pace)?;
        fs::rename(&unfinished, path).map_err(|source| io_at(path, source))?;
        before = Some(made);
    }
    Ok(before)
}

/// At which of these ends a checkpoint is made on the way to the last one.
fn steps(ends: &[SegmentEnd]) -> impl Iterator<Item = &SegmentEnd> {
    ends.chunks(SEGMENTS_AT_ONCE).filter_map(<[SegmentEnd]>::last)
}

/// The furthest of these ends, all of them behind a checkpoint, that is reached in one go.
pub(super) fn next_of(ends: &[SegmentEnd]) -> Option<&SegmentEnd> {
    steps(ends).next()
}

/// That what is on disk reads as it was written, in order.
fn check(made: &Checkpoint, end: &SegmentEnd) -> Result<(), CheckpointError> {
    let damaged = |why: &str| CheckpointError::Damaged { name: made.name().to_owned(), why: why.to_owned() };
    if made.end() != end {
        return Err(damaged("does not read as it was written"));
    }
    made.system()?;
    made.erased()?;
    made.pulse()?;
    let mut last: Option<SubjectId> = None;
    for section in made.sections_of_subjects() {
        for subject in made.subjects_of(section)? {
            if last.as_ref().is_some_and(|last| *last >= subject.id) {
                return Err(damaged("its subjects are not in their order"));
            }
            last = Some(subject.id);
        }
    }
    Ok(())
}

/// What the segments since the checkpoint before are about.
#[derive(Debug, Default)]
struct TouchedIds {
    subjects: HashSet<SubjectId>,
    /// Whose subject is not said.
    sessions: HashSet<SessionId>,
}

impl TouchedIds {
    fn note(&mut self, stored: &StoredCommit) {
        if let StreamId::Subject(id) = &stored.commit.stream
            && !self.subjects.contains(id)
        {
            self.subjects.insert(id.clone());
        }
        for event in &stored.commit.events {
            match event {
                // Another subject's session of this id would be a contradiction, which has to be seen.
                Event::Subject(SubjectEvent::SessionCreated(created)) => {
                    self.sessions.insert(created.session_id);
                }
                Event::Subject(_) => {}
                Event::System(event) => self.sessions.extend(event.sessions_named()),
            }
        }
    }

    fn has(&self, subject: &Subject) -> bool {
        self.subjects.contains(&subject.id)
            || subject.sessions.iter().any(|session| self.sessions.contains(&session.id))
    }
}

/// What is in memory of a checkpoint that is made.
struct GatheredState {
    /// The authority, and the subjects that are touched.
    state: AuthorityState,
    erased: BTreeMap<SubjectId, Position>,
    pulse: DayPulse,
}

impl GatheredState {
    fn add(&mut self, stored: &StoredCommit) -> Result<(), CheckpointError> {
        self.state.apply_at(stored.first, &stored.commit)?;
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            if DayPulse::is_one(event) {
                self.pulse.add(&stored.commit.stream, stored.commit.recorded_at, event);
            }
            if let (Event::Subject(SubjectEvent::SubjectErased(_)), StreamId::Subject(id)) =
                (event, &stored.commit.stream)
            {
                self.erased.insert(id.clone(), position);
            }
        }
        Ok(())
    }
}

struct CheckpointFold<'f, 'p> {
    log: &'f dyn EventLog,
    before: Option<&'f Checkpoint>,
    end: &'f SegmentEnd,
    pace: &'f mut FoldPace<'p>,
    touched: TouchedIds,
    bulks: Vec<BulkRevocation>,
}

impl<'f> CheckpointFold<'f, '_> {
    fn base(&self) -> Position {
        self.before.map_or(Position::ZERO, |before| before.end().position)
    }

    /// Hands over every commit since the checkpoint before.
    fn read(
        &mut self,
        take: &mut dyn FnMut(&mut Self, &StoredCommit) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let mut after = self.base();
        while after < self.end.position {
            let left = usize::try_from(self.end.position.0 - after.0).unwrap_or(usize::MAX);
            let page = self.log.read(after, left.min(PAGE))?;
            let Some(last) = page.last().map(StoredCommit::last) else { return Err(self.untrue()) };
            if !(self.pace)(last.0 - after.0) {
                return Err(CheckpointError::Stopped);
            }
            page.iter().try_for_each(|stored| take(self, stored))?;
            after = last;
        }
        Ok(())
    }

    /// Which subjects have to be in memory, and which bulk revocations reach all others.
    fn survey(&mut self) -> Result<(), CheckpointError> {
        self.read(&mut |folding, stored| {
            folding.touched.note(stored);
            for (position, event) in stored.positions().zip(&stored.commit.events) {
                if let Event::System(SystemEvent::SelectionRevoked(event)) = event {
                    let recorded = EventMeta { position, at: stored.commit.recorded_at };
                    folding.bulks.push(BulkRevocation::of(event, recorded));
                }
            }
            Ok(())
        })
    }

    fn gather(&self) -> Result<GatheredState, CheckpointError> {
        let mut state = AuthorityState::default();
        let Some(before) = self.before else {
            return Ok(GatheredState { state, erased: BTreeMap::new(), pulse: DayPulse::default() });
        };
        state.system = before.system()?;
        (state.position, state.recorded_at) = (before.end().position, before.end().recorded_at);
        for section in before.sections_of_subjects() {
            let subjects = before.subjects_of(section)?.into_iter();
            subjects.filter(|subject| self.touched.has(subject)).for_each(|it| add_to(&mut state, it));
        }
        let erased = before.erased()?.into_iter().collect();
        Ok(GatheredState { state, erased, pulse: before.pulse()? })
    }

    fn fold(&mut self, mut gathered: GatheredState) -> Result<GatheredState, CheckpointError> {
        let mut tree = self.before.map_or_else(TreeEdge::new, |before| before.end().tree.clone());
        self.read(&mut |_, stored| {
            stored.record_hashes.iter().for_each(|record| tree.append(record));
            gathered.add(stored)
        })?;
        let is_true = tree == self.end.tree && gathered.state.recorded_at == self.end.recorded_at;
        if is_true { Ok(gathered) } else { Err(self.untrue()) }
    }

    fn untrue(&self) -> CheckpointError {
        CheckpointError::Untrue { first: self.base().next(), last: self.end.position }
    }

    fn write(&mut self, path: &Path, folded: &GatheredState) -> Result<(), CheckpointError> {
        let at = |source| io_at(path, source);
        let mut writer = CheckpointWriter::begin(path).map_err(at)?;
        writer.value(SectionKind::System, &folded.state.system).map_err(at)?;
        self.write_subjects(path, &mut writer, &folded.state)?;
        let erased: Vec<_> = folded.erased.iter().collect();
        writer.value(SectionKind::Erased, &erased).map_err(at)?;
        writer.value(SectionKind::Pulse, &folded.pulse).map_err(at)?;
        writer.end(self.end.clone()).map_err(at)
    }

    /// Those that were folded, and between them those of the checkpoint before.
    fn write_subjects(
        &mut self,
        path: &Path,
        writer: &mut CheckpointWriter,
        state: &AuthorityState,
    ) -> Result<(), CheckpointError> {
        let at = |source| io_at(path, source);
        let folded: BTreeSet<_> = state.subjects.keys().collect();
        let mut folded = folded.into_iter().peekable();
        for (before, section) in self.sections_before() {
            if !(self.pace)(0) {
                return Err(CheckpointError::Stopped);
            }
            for subject in self.untouched_of(before, section, state)? {
                while let Some(id) = folded.next_if(|id| **id < subject.id) {
                    writer.subject(&state.subjects[id]).map_err(at)?;
                }
                writer.subject(&subject).map_err(at)?;
            }
        }
        folded.try_for_each(|id| writer.subject(&state.subjects[id])).map_err(at)?;
        writer.end_subjects().map_err(at)
    }

    fn sections_before(&self) -> Vec<(&'f Checkpoint, &'f SectionEntry)> {
        let Some(before) = self.before else { return Vec::new() };
        before.sections_of_subjects().into_iter().map(|section| (before, section)).collect()
    }

    /// The subjects of a section that were not folded, with the bulk revocations since.
    fn untouched_of(
        &self,
        before: &Checkpoint,
        section: &SectionEntry,
        state: &AuthorityState,
    ) -> Result<Vec<Subject>, CheckpointError> {
        let mut subjects = before.subjects_of(section)?;
        subjects.retain(|subject| !state.subjects.contains_key(&subject.id));
        for subject in &mut subjects {
            bulk::settle(&self.bulks, subject);
        }
        Ok(subjects)
    }
}

pub(super) fn io_at(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io { name: name_of(path), source }
}
