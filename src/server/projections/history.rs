//! Earlier states: what a subject, or everything, was as of some moment. Folded from the log on demand.

use tenure_core::{
    Event, Position, SessionId, StreamId, SubjectEvent, SubjectId, Timestamp, evolve::IllegalEvent,
    fold::FoldTarget, session::Session, state::AuthorityState, subject::Subject,
};
use tenure_log::{EventLog, LogError, StoredCommit};

use super::{
    Projections,
    fold_marks::{FoldedSubject, SubjectStates},
    subject_story::SubjectStory,
};

/// Events read from the log at a time: as many as are read and folded in about a millisecond.
pub(super) const PAGE: usize = 500;

/// What an answer reflects: all events up to a position, judged at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOfMoment {
    /// The last event that counts.
    pub position: Position,
    /// The time at which expiry is judged.
    pub at: Timestamp,
}

/// Why an earlier state cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log holds what cannot have happened.
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
    /// It was given up: no caller waits for it any more.
    #[error("no caller waits for this answer any more")]
    Unwanted,
}

/// Asks whether a caller still waits for the answer.
pub type WantedCheck<'a> = &'a dyn Fn() -> bool;

pub(super) fn go_on(is_wanted: WantedCheck<'_>) -> Result<(), HistoryError> {
    if is_wanted() { Ok(()) } else { Err(HistoryError::Unwanted) }
}

/// The subject as of a position; as if it had never been heard of when nothing is recorded of it by then.
///
/// # Errors
/// A log that cannot be read or folded.
pub fn subject_at(
    log: &dyn EventLog,
    projections: &Projections,
    id: &SubjectId,
    position: Position,
) -> Result<Subject, HistoryError> {
    subject_at_while(&|| true, log, projections, id, position)
}

/// The same, for as long as it is wanted.
///
/// # Errors
/// As [`subject_at`]; also when it is not wanted any more.
pub fn subject_at_while(
    is_wanted: WantedCheck<'_>,
    log: &dyn EventLog,
    projections: &Projections,
    id: &SubjectId,
    position: Position,
) -> Result<Subject, HistoryError> {
    Ok(folded_subject(is_wanted, log, projections, id, position)?.subject)
}

/// Some sessions of a subject as of a position at which the subject is known. What it costs grows with their number, and
/// not with that of all its sessions.
///
/// # Errors
/// As [`subject_at`].
pub fn sessions_at(
    log: &dyn EventLog,
    projections: &Projections,
    known: &Subject,
    only: &[SessionId],
    position: Position,
) -> Result<Vec<Session>, HistoryError> {
    let registered = known.registration().map_or(Position::ZERO, |registration| registration.created);
    let few = FewSessions { only, own: (before(registered), known.version()) };
    let folded = folded_for(&|| true, log, projections, &known.id, position, Some(few))?;
    let mut sessions = folded.subject.sessions;
    sessions.retain(|session| only.contains(&session.id));
    Ok(sessions)
}

/// Some sessions that a fold is about. What the authority itself said of the others is not read, so they are not folded.
#[derive(Clone, Copy, Debug)]
pub(super) struct FewSessions<'a> {
    pub(super) only: &'a [SessionId],
    /// After which position, and up to which, all of the subject's own commits begin.
    pub(super) own: (Position, Position),
}

/// The same as a fold that can be continued, if a commit ends at this position. It begins at the nearest mark that an
/// earlier question has left, and leaves others on its way: of a long history, the second question reads no more than
/// the part from one mark to the next. A long fold goes on from the last checkpoint up to the position.
///
/// # Errors
/// As [`subject_at_while`].
pub fn folded_subject(
    is_wanted: WantedCheck<'_>,
    log: &dyn EventLog,
    projections: &Projections,
    id: &SubjectId,
    position: Position,
) -> Result<FoldedSubject, HistoryError> {
    folded_for(is_wanted, log, projections, id, position, None)
}

fn folded_for(
    is_wanted: WantedCheck<'_>,
    log: &dyn EventLog,
    projections: &Projections,
    id: &SubjectId,
    position: Position,
    few: Option<FewSessions<'_>>,
) -> Result<FoldedSubject, HistoryError> {
    let states = projections.states.get().map(|states| &**states);
    let trust = states.map_or(0, SubjectStates::disproved);
    let begun = projections.marks.nearest(id, position, trust);
    let fold = SubjectFold { is_wanted, log, projections, position, few, trust };
    let nothing = FoldedSubject::nothing(id.clone());
    let first = few.map_or(Position::ZERO, |few| few.own.0);
    fold.begin_at(begun.unwrap_or(FoldedSubject { position: first, ..nothing }), states)
}

/// The fold of a subject up to a position.
struct SubjectFold<'a> {
    is_wanted: WantedCheck<'a>,
    log: &'a dyn EventLog,
    projections: &'a Projections,
    position: Position,
    /// If not all: the sessions that it is about.
    few: Option<FewSessions<'a>>,
    /// How many of the states that it may begin at were disproved before it began.
    trust: u64,
}

impl SubjectFold<'_> {
    /// Adds what is behind `begun`. A long fold begins anew at a later state of the subject, where there is one.
    fn begin_at(
        &self,
        begun: FoldedSubject,
        mut states: Option<&dyn SubjectStates>,
    ) -> Result<FoldedSubject, HistoryError> {
        let (log, projections, position) = (self.log, self.projections, self.position);
        let (id, marks) = (begun.subject.id.clone(), &projections.marks);
        let mut story = SubjectStory::behind(log, projections, &begun, position, self.few);
        let mut bulks = projections.bulks_between(log, begun.position, position)?.into_iter().peekable();
        let state = match self.few {
            Some(few) => begun.into_state_of_some(few.only),
            None => begun.into_state(),
        };
        let (mut state, mut count) = (state, 0);
        while let Some(page) = story.next_page(self.is_wanted)? {
            for stored in page {
                if count >= marks.long_fold()
                    && let Some(states) = states.take()
                    && let Some(later) = states.subject_between(&id, stored.first, position)
                {
                    return self.begin_at(later, None);
                }
                if self.few.is_some() && ends_the_oldest(&stored) {
                    return folded_for(self.is_wanted, log, projections, &id, position, None);
                }
                while let Some(bulk) = bulks.next_if(|bulk| bulk.position < stored.first) {
                    state.end_selected(bulk);
                }
                apply_until(&mut state, &stored, position)?;
                count += 1;
                if self.few.is_none()
                    && marks.is_due(count)
                    && stored.last() <= position
                    && let Some(subject) = state.subjects.get(&id)
                {
                    let (recorded_at, subject) = (state.recorded_at, subject.clone());
                    marks.keep(FoldedSubject { position: stored.last(), recorded_at, subject }, self.trust);
                }
            }
        }
        bulks.for_each(|bulk| state.end_selected(bulk));
        let subject = state.subjects.remove(&id).unwrap_or_else(|| Subject::new(id));
        Ok(FoldedSubject { position, recorded_at: state.recorded_at, subject })
    }
}

/// Whether a commit ends a number of sessions: which they are depends on all that the subject had.
fn ends_the_oldest(stored: &StoredCommit) -> bool {
    let is_such = |event: &Event| match event {
        Event::Subject(SubjectEvent::SessionsRevoked(event)) => event.oldest.is_some(),
        Event::Subject(_) | Event::System(_) => false,
    };
    stored.commit.events.iter().any(is_such)
}

/// How many of the commits of a subject a part of its story may have.
#[derive(Clone, Copy, Debug)]
pub struct PartLength {
    /// Where the state before the part is near.
    pub most: usize,
    /// In every case, if there are so many.
    pub least: usize,
}

/// Behind which position the last part of the story of a subject up to another position begins. It is shorter where a
/// checkpoint saves a long fold by that: a page then costs what is on it, however long the history.
///
/// # Errors
/// A log that cannot be read.
pub fn last_part(
    log: &dyn EventLog,
    projections: &Projections,
    id: &SubjectId,
    until: Position,
    length: PartLength,
) -> Result<Position, LogError> {
    let begin = last_commits(log, projections, id, until, length.most)?;
    let states = projections.states.get().filter(|_| begin > Position::ZERO);
    let Some(states) = states else { return Ok(begin) };
    if projections.marks.nearest(id, begin, states.disproved()).is_some() {
        return Ok(begin);
    }
    let before_long_fold = last_commits(log, projections, id, begin, projections.marks.long_fold())?;
    if before_long_fold <= states.position_up_to(begin) {
        return Ok(begin);
    }
    let latest = last_commits(log, projections, id, until, length.least)?;
    Ok(begin.max(states.position_up_to(latest)))
}

/// Behind which position the last commits that concern a subject begin, this many of those up to another position.
///
/// # Errors
/// A log that cannot be read.
pub fn last_commits(
    log: &dyn EventLog,
    projections: &Projections,
    id: &SubjectId,
    until: Position,
    count: usize,
) -> Result<Position, LogError> {
    let stream = StreamId::Subject(id.clone());
    let (told_after, known) =
        projections.timeline(|timeline| (timeline.after(), timeline.last_concerning(&stream, until, count)));
    let mut missing = count - known.len();
    if missing == 0 {
        return Ok(before(known[0]));
    }
    let (indexed, mut end) = (log.indexed(), told_after.min(until));
    let ends: Vec<_> = indexed.ends_after(Position::ZERO).take_while(|known| *known < end).collect();
    for begin in ends.into_iter().rev().chain([Position::ZERO]).filter(|_| told_after > Position::ZERO) {
        let own = indexed.commits(&stream, (begin, end), usize::MAX)?;
        if own.len() >= missing {
            return Ok(before(own[own.len() - missing]));
        }
        missing -= own.len();
        end = begin;
    }
    Ok(Position::ZERO)
}

const fn before(position: Position) -> Position {
    Position(position.0.saturating_sub(1))
}

/// The commits behind those that a subject was folded from that say something of it or its sessions, bulk revocations
/// included, in order up to a position.
///
/// # Errors
/// A log that cannot be read; also when it is not wanted any more.
pub fn commits_behind(
    is_wanted: WantedCheck<'_>,
    log: &dyn EventLog,
    projections: &Projections,
    folded: &FoldedSubject,
    until: Position,
) -> Result<Vec<StoredCommit>, HistoryError> {
    let mut commits = Vec::new();
    let mut story = SubjectStory::behind(log, projections, folded, until, None);
    while let Some(page) = story.next_page(is_wanted)? {
        commits.extend(page);
    }
    let bulks = projections.bulks_between(log, folded.position, until)?;
    let bulks: Vec<_> = bulks.into_iter().map(|bulk| bulk.position).collect();
    for page in bulks.chunks(PAGE) {
        go_on(is_wanted)?;
        commits.extend(log.read_commits(page)?);
    }
    commits.sort_by_key(|stored| stored.first);
    commits.dedup_by_key(|stored| stored.first);
    Ok(commits)
}

/// The next commits of a subject's stream that begin after `after`, up to `most`; empty where there are no more.
///
/// # Errors
/// A log that cannot be read.
pub fn stream_after(
    log: &dyn EventLog,
    projections: &Projections,
    stream: &StreamId,
    after: Position,
    most: usize,
) -> Result<Vec<StoredCommit>, LogError> {
    let (mut after, mut found) = (after, Vec::new());
    while found.len() < most {
        let firsts = projections.commits_of(log, stream, after, most - found.len())?;
        let Some(last) = firsts.last() else { break };
        after = *last;
        let read = log.read_commits(&firsts)?;
        // What the files find by a key may be of another stream.
        found.extend(read.into_iter().filter(|stored| stored.commit.stream == *stream));
    }
    Ok(found)
}

/// The commit that holds this position; none beyond the head.
///
/// # Errors
/// A log that cannot be read.
pub fn commit_at(log: &dyn EventLog, position: Position) -> Result<Option<StoredCommit>, LogError> {
    Ok(log.read(before(position), 1)?.into_iter().next())
}

fn apply_until(
    state: &mut AuthorityState,
    stored: &StoredCommit,
    until: Position,
) -> Result<(), IllegalEvent> {
    apply_between(state, stored, Position::ZERO, until)
}

/// Applies what of a commit lies after a position, up to another.
fn apply_between(
    state: &mut AuthorityState,
    stored: &StoredCommit,
    after: Position,
    until: Position,
) -> Result<(), IllegalEvent> {
    let up_to = |end: Position| stored.positions().take_while(|position| *position <= end).count();
    state.apply_part(stored.first, &stored.commit, up_to(after)..up_to(until))
}

/// The state of everything as of a position, folded from the first event.
///
/// # Errors
/// A log that cannot be read or folded.
pub fn state_at(log: &dyn EventLog, position: Position) -> Result<AuthorityState, HistoryError> {
    state_at_while(&|| true, log, position)
}

/// The same, for as long as it is wanted.
///
/// # Errors
/// As [`state_at`]; also when it is not wanted any more.
pub fn state_at_while(
    is_wanted: WantedCheck<'_>,
    log: &dyn EventLog,
    position: Position,
) -> Result<AuthorityState, HistoryError> {
    folded_on_while(is_wanted, log, AuthorityState::default(), position)
}

/// The same from an earlier state of everything, which may lie in the middle of a commit.
///
/// # Errors
/// As [`state_at_while`].
pub fn folded_on_while(
    is_wanted: WantedCheck<'_>,
    log: &dyn EventLog,
    mut state: AuthorityState,
    position: Position,
) -> Result<AuthorityState, HistoryError> {
    while state.position < position {
        go_on(is_wanted)?;
        let page = log.read(state.position, PAGE)?;
        if page.is_empty() {
            break;
        }
        for stored in page.iter().take_while(|stored| stored.first <= position) {
            let after = state.position;
            apply_between(&mut state, stored, after, position)?;
        }
    }
    Ok(state)
}

/// The last position that was recorded at or before a moment: a search by halves, some thirty reads at most.
///
/// # Errors
/// A log that cannot be read.
pub fn position_at(log: &dyn EventLog, moment: Timestamp) -> Result<Position, LogError> {
    let (mut known, mut beyond) = (0, log.head().position.0 + 1);
    while known + 1 < beyond {
        let middle = known + (beyond - known) / 2;
        let Some(stored) = commit_at(log, Position(middle))? else { break };
        if stored.commit.recorded_at <= moment {
            known = stored.last().0;
        } else {
            beyond = stored.first.0;
        }
    }
    Ok(Position(known))
}
