//! A checkpoint is made: the fold of the one before it and of the segments since.
//!
//! Only the subjects that these segments touch are in memory; all others go from file to file, as they are, but for the
//! bulk revocations that reach them. Of the sessions that stand apart ([`ended`](super::ended)), those of a subject are
//! in memory only if something was said that may change them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs, io,
    path::Path,
};

use super::{
    CheckpointError,
    ended::{self, EndedOfSubject, KeptSubject},
    ended_split::EndedSplit,
    format::{SectionEntry, SectionKind},
    reader::{Checkpoint, add_to, name_of},
    rows::rows_in,
    writer::CheckpointWriter,
};
use crate::projections::pulse::DayPulse;
use tenure_core::{
    Event, OwnerId, Position, SessionId, StreamId, SubjectEvent, SubjectId, SystemEvent,
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
    folding.write(path, folded)?;
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

/// The furthest of these ends, all of them behind a checkpoint, that can be reached in one go.
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
    made.past()?;
    made.erased()?;
    made.pulse()?;
    let mut last: Option<SubjectId> = None;
    for section in made.sections(SectionKind::Subjects) {
        for KeptSubject { subject, .. } in made.subjects_of(section)? {
            if last.as_ref().is_some_and(|last| *last >= subject.id) {
                return Err(damaged("its subjects are not in their order"));
            }
            last = Some(subject.id);
        }
    }
    let mut last: Option<SubjectId> = None;
    for section in made.sections(SectionKind::Ended) {
        for (id, _) in made.ended_in(section)? {
            if last.as_ref().is_some_and(|last| *last >= id) {
                return Err(damaged("what ended is not in its order"));
            }
            last = Some(id);
        }
    }
    let mut last = None;
    for section in made.sections(SectionKind::Rows) {
        for row in rows_in(&made.rows_of(section)?) {
            if last.is_some_and(|last| last >= row) {
                return Err(damaged("its rows are not in their order"));
            }
            last = Some(row);
        }
    }
    Ok(())
}

/// What the segments since the checkpoint before are about.
#[derive(Debug, Default)]
struct TouchedIds {
    subjects: HashMap<SubjectId, TouchedSubject>,
    /// Whose subject is not said.
    sessions: HashSet<SessionId>,
    begun: HashSet<SessionId>,
}

/// What is said of a subject.
#[derive(Debug, Default)]
struct TouchedSubject {
    /// Of which of its sessions something is said.
    named: HashSet<SessionId>,
    /// Its owner, if it was registered.
    registered: Option<RegisteredOwner>,
    is_erased: bool,
}

/// Whose a subject is by its latest registration.
#[derive(Debug)]
struct RegisteredOwner(Option<OwnerId>);

impl TouchedIds {
    fn note(&mut self, stored: &StoredCommit) {
        match &stored.commit.stream {
            StreamId::Subject(id) => {
                if !self.subjects.contains_key(id) {
                    self.subjects.insert(id.clone(), TouchedSubject::default());
                }
                let touched = self.subjects.get_mut(id).expect("it is there");
                for event in &stored.commit.events {
                    touched.note(event, &mut self.begun);
                }
            }
            StreamId::System => {
                for event in &stored.commit.events {
                    if let Event::System(event) = event {
                        self.sessions.extend(event.sessions_named());
                    }
                }
            }
        }
    }

    /// Another subject's session of the same id as one that began would be a contradiction, which has to be seen.
    fn has(&self, subject: &Subject) -> bool {
        let is_named = |id: &SessionId| self.sessions.contains(id) || self.begun.contains(id);
        self.subjects.contains_key(&subject.id)
            || subject.sessions.iter().any(|session| is_named(&session.id))
    }

    /// Whether something is said that may change sessions of a subject that stand apart.
    fn reaches_ended(&self, kept: &Subject) -> bool {
        let Some(touched) = self.subjects.get(&kept.id) else { return false };
        let owner = || kept.profile().and_then(|profile| profile.owner_id.as_ref());
        let is_apart = |id: &SessionId| !self.begun.contains(id) && kept.session(*id).is_none();
        touched.is_erased
            || touched.registered.as_ref().is_some_and(|new| new.0.as_ref() != owner())
            || touched.named.iter().any(is_apart)
    }
}

impl TouchedSubject {
    fn note(&mut self, event: &Event, begun: &mut HashSet<SessionId>) {
        let Event::Subject(event) = event else { return };
        match event {
            SubjectEvent::SessionCreated(created) => {
                begun.insert(created.session_id);
            }
            SubjectEvent::SubjectRegistered(registered) => {
                self.registered = Some(RegisteredOwner(registered.profile.owner_id.clone()));
            }
            SubjectEvent::SubjectErased(_) => self.is_erased = true,
            SubjectEvent::SessionRenewed(_)
            | SubjectEvent::RenewalRejected(_)
            | SubjectEvent::SessionRevoked(_)
            | SubjectEvent::SessionsRevoked(_)
            | SubjectEvent::SessionExpired(_)
            | SubjectEvent::UsageRecorded(_)
            | SubjectEvent::SessionRefreshed(_)
            | SubjectEvent::SubjectSuspended(_)
            | SubjectEvent::SubjectResumed(_) => self.named.extend(event.session_id()),
        }
    }
}

/// What is in memory of a checkpoint in the making.
struct GatheredState {
    /// The authority, and the subjects that are touched: without the sessions that stand apart, but for the subjects of
    /// which these may change.
    state: AuthorityState,
    apart: ApartSessions,
    erased: BTreeMap<SubjectId, Position>,
    pulse: DayPulse,
}

/// What is known of sessions that stand apart.
#[derive(Debug, Default)]
pub(super) struct ApartSessions {
    /// What is known of those of a touched subject, if they are not in the state.
    pub(super) counts: HashMap<SubjectId, EndedOfSubject>,
    /// The subjects of which they are in the state.
    pub(super) joined: BTreeSet<SubjectId>,
    /// Where those began.
    pub(super) began: HashSet<Position>,
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

impl CheckpointFold<'_, '_> {
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
        let mut apart = ApartSessions::default();
        let Some(before) = self.before else {
            return Ok(GatheredState { state, apart, erased: BTreeMap::new(), pulse: DayPulse::default() });
        };
        state.system = before.system()?;
        (state.position, state.recorded_at) = (before.end().position, before.end().recorded_at);
        for section in before.sections(SectionKind::Subjects) {
            for KeptSubject { subject, ended } in before.subjects_of(section)? {
                if self.touched.has(&subject) {
                    if ended.count > 0 && self.touched.reaches_ended(&subject) {
                        apart.joined.insert(subject.id.clone());
                    } else if ended.count > 0 {
                        apart.counts.insert(subject.id.clone(), ended);
                    }
                    add_to(&mut state, subject);
                }
            }
        }
        self.find_named(before, &mut state, &mut apart)?;
        join_ended(before, &mut state, &mut apart)?;
        let erased = before.erased()?.into_iter().collect();
        Ok(GatheredState { state, apart, erased, pulse: before.pulse()? })
    }

    /// The authority hardly ever says something of a session that ended long ago; if it does, all are looked through.
    fn find_named(
        &self,
        before: &Checkpoint,
        state: &mut AuthorityState,
        apart: &mut ApartSessions,
    ) -> Result<(), CheckpointError> {
        let is_known = |id: &&SessionId| self.touched.begun.contains(id) || state.holders.contains_key(id);
        let sought: HashSet<SessionId> =
            self.touched.sessions.iter().filter(|id| !is_known(id)).copied().collect();
        if sought.is_empty() {
            return Ok(());
        }
        for section in before.sections(SectionKind::Ended) {
            for (id, sessions) in before.ended_in(section)? {
                if sessions.iter().any(|session| sought.contains(&session.id)) {
                    if !state.subjects.contains_key(&id) {
                        before.kept(&id)?.into_iter().for_each(|subject| add_to(state, subject));
                    }
                    apart.counts.remove(&id);
                    apart.joined.insert(id);
                }
            }
        }
        Ok(())
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

    fn write(&mut self, path: &Path, folded: GatheredState) -> Result<(), CheckpointError> {
        let at = |source| io_at(path, source);
        let mut writer = CheckpointWriter::begin(path).map_err(at)?;
        writer.value(SectionKind::System, &folded.state.system).map_err(at)?;
        let mut split = EndedSplit::new(ended::horizon_at(self.end), self.before, folded.apart)?;
        self.write_subjects(path, &mut writer, folded.state, &mut split)?;
        split.write(path, &mut writer, &mut || (self.pace)(0))?;
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
        mut state: AuthorityState,
        split: &mut EndedSplit<'_>,
    ) -> Result<(), CheckpointError> {
        let at = |source| io_at(path, source);
        let folded: BTreeSet<SubjectId> = state.subjects.keys().cloned().collect();
        let mut left = folded.iter().peekable();
        let before = self.before;
        let sections = before.map_or(&[][..], |before| before.sections(SectionKind::Subjects));
        for section in sections {
            if !(self.pace)(0) {
                return Err(CheckpointError::Stopped);
            }
            let before = before.expect("it has this section");
            for KeptSubject { subject, ended } in self.untouched_of(before, section, &folded)? {
                while let Some(id) = left.next_if(|id| **id < subject.id) {
                    split.write_folded(writer, &mut state, id).map_err(at)?;
                }
                split.write_kept(writer, subject, ended).map_err(at)?;
            }
        }
        left.try_for_each(|id| split.write_folded(writer, &mut state, id)).map_err(at)?;
        writer.end_filling(SectionKind::Subjects).map_err(at)
    }

    /// The subjects of a section that were not folded, with the bulk revocations since.
    fn untouched_of(
        &self,
        before: &Checkpoint,
        section: &SectionEntry,
        folded: &BTreeSet<SubjectId>,
    ) -> Result<Vec<KeptSubject>, CheckpointError> {
        let mut subjects = before.subjects_of(section)?;
        subjects.retain(|kept| !folded.contains(&kept.subject.id));
        for kept in &mut subjects {
            bulk::settle(&self.bulks, &mut kept.subject);
        }
        Ok(subjects)
    }
}

/// Reads the sessions that stand apart, of those subjects of which they may change.
fn join_ended(
    before: &Checkpoint,
    state: &mut AuthorityState,
    apart: &mut ApartSessions,
) -> Result<(), CheckpointError> {
    let sections = before.sections(SectionKind::Ended);
    for (number, section) in sections.iter().enumerate() {
        let behind = sections.get(number + 1).and_then(|next| next.first.as_ref());
        let Some(first) = section.first.as_ref() else { continue };
        let own = apart.joined.range(first..).next();
        if own.is_none_or(|id| behind.is_some_and(|behind| id >= behind)) {
            continue;
        }
        for (id, sessions) in before.ended_in(section)? {
            let Some(subject) = state.subjects.get_mut(&id).filter(|_| apart.joined.contains(&id)) else {
                continue;
            };
            for session in &sessions {
                apart.began.insert(session.created());
                state.holders.insert(session.id, id.clone());
            }
            ended::join(subject, sessions);
        }
    }
    Ok(())
}

pub(super) fn io_at(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io { name: name_of(path), source }
}
