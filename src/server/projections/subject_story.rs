//! The commits that concern one subject, page by page: its own, and those of the authority itself that name one of its
//! sessions.
//!
//! Of the latest part of the history memory knows them. Of the part before, the files of the log are asked segment by
//! segment: for the stream, and for the sessions that its commits so far have begun.

use std::collections::{BTreeSet, HashSet, VecDeque};

use tenure_core::{Event, Position, SessionId, StreamId, SubjectEvent};
use tenure_log::{EventLog, IndexedHistory, LogError, StoredCommit};

use super::{
    Projections,
    fold_marks::FoldedSubject,
    history::{FewSessions, HistoryError, PAGE, WantedCheck, go_on},
};

/// The story of a subject up to a position, as far as it was read.
pub(super) struct SubjectStory<'a> {
    log: &'a dyn EventLog,
    projections: &'a Projections,
    stream: StreamId,
    /// Everything up to here was given out.
    after: Position,
    until: Position,
    /// Those that its commits so far have begun.
    sessions: HashSet<SessionId>,
    /// If not all: the sessions that it is about. What names another one alone may be missing.
    few: Option<FewSessions<'a>>,
    /// The segment being read.
    segment: Option<SegmentCursor>,
}

/// What is still to be read of a segment.
struct SegmentCursor {
    indexed: IndexedHistory,
    end: Position,
    /// Where commits of the stream may begin.
    own: VecDeque<Position>,
    /// Where commits that name one of the sessions may begin.
    naming: BTreeSet<Position>,
}

impl<'a> SubjectStory<'a> {
    /// What is behind the commits that a subject was folded from.
    pub(super) fn behind(
        log: &'a dyn EventLog,
        projections: &'a Projections,
        folded: &FoldedSubject,
        until: Position,
        few: Option<FewSessions<'a>>,
    ) -> Self {
        let (stream, after) = (StreamId::Subject(folded.subject.id.clone()), folded.position);
        let sessions = HashSet::new();
        let mut story = Self { log, projections, stream, after, until, sessions, few, segment: None };
        let known: Vec<_> = folded.subject.sessions.iter().map(|session| session.id).collect();
        story.sessions.extend(story.wanted(known));
        story
    }

    fn wanted(&self, mut sessions: Vec<SessionId>) -> Vec<SessionId> {
        sessions.retain(|id| self.few.is_none_or(|few| few.only.contains(id)));
        sessions
    }

    /// The next commits that begin up to the end, in order. A page may be empty; none is left behind `None`.
    pub(super) fn next_page(
        &mut self,
        is_wanted: WantedCheck<'_>,
    ) -> Result<Option<Vec<StoredCommit>>, HistoryError> {
        go_on(is_wanted)?;
        if self.segment.is_none() {
            let timeline = |stream: &StreamId, after| {
                self.projections
                    .timeline(|timeline| (timeline.after(), timeline.concerning(stream, after, PAGE)))
            };
            let (told_after, firsts) = timeline(&self.stream, self.after);
            let cold = told_after.min(self.until);
            if self.after >= cold {
                return self.known_page(firsts);
            }
            self.segment = Some(self.enter_segment(cold)?);
        }
        let mut segment = self.segment.take().expect("it was entered");
        let page = self.page_of(&mut segment)?;
        if !segment.own.is_empty() {
            self.segment = Some(segment);
        }
        Ok(Some(page))
    }

    /// Of the part of the history that memory knows.
    fn known_page(&mut self, mut firsts: Vec<Position>) -> Result<Option<Vec<StoredCommit>>, HistoryError> {
        firsts.truncate(firsts.partition_point(|first| *first <= self.until));
        let Some(last) = firsts.last() else { return Ok(None) };
        let page = self.log.read_commits(&firsts)?;
        self.after = *last;
        self.sessions.extend(self.wanted(begun_in(&page, &self.stream)));
        Ok(Some(page))
    }

    /// The segment behind what was given out, or what of it memory does not know.
    fn enter_segment(&self, until: Position) -> Result<SegmentCursor, LogError> {
        let indexed = self.log.indexed();
        let end = indexed.ends_after(self.after).next().map_or(until, |end| end.min(until));
        let span = (self.after, end);
        let own = if self.few.is_some_and(|few| few.own.1 <= self.after) {
            VecDeque::new()
        } else {
            indexed.commits(&self.stream, span, usize::MAX)?.into()
        };
        let naming =
            indexed.naming(&self.sessions.iter().copied().collect::<Vec<_>>(), span)?.into_iter().collect();
        Ok(SegmentCursor { indexed, end, own, naming })
    }

    /// The next page of a segment: commits of the stream, and what names its sessions up to the last of them.
    fn page_of(&mut self, segment: &mut SegmentCursor) -> Result<Vec<StoredCommit>, LogError> {
        let firsts: Vec<_> = segment.own.drain(..segment.own.len().min(PAGE)).collect();
        let mut page = self.log.read_commits(&firsts)?;
        page.retain(|stored| stored.commit.stream == self.stream);
        let begun = self.wanted(begun_in(&page, &self.stream));
        segment.naming.extend(segment.indexed.naming(&begun, (self.after, segment.end))?);
        self.sessions.extend(begun);
        let last = firsts.last().copied().filter(|_| !segment.own.is_empty()).unwrap_or(segment.end);
        let behind = segment.naming.split_off(&last.next());
        let naming: Vec<_> = std::mem::replace(&mut segment.naming, behind).into_iter().collect();
        for part in naming.chunks(PAGE) {
            let mut part = self.log.read_commits(part)?;
            part.retain(|stored| self.is_named_in(stored));
            page.append(&mut part);
        }
        page.sort_by_key(|stored| stored.first);
        self.after = last;
        Ok(page)
    }

    fn is_named_in(&self, stored: &StoredCommit) -> bool {
        let named = stored.commit.events.iter().filter_map(|event| match event {
            Event::System(event) => Some(event.sessions_named()),
            Event::Subject(_) => None,
        });
        stored.commit.stream == StreamId::System && named.flatten().any(|id| self.sessions.contains(&id))
    }
}

/// The sessions that commits of a stream among these have begun.
fn begun_in(page: &[StoredCommit], stream: &StreamId) -> Vec<SessionId> {
    let own = page.iter().filter(|stored| stored.commit.stream == *stream);
    let begun = own.flat_map(|stored| &stored.commit.events).filter_map(|event| match event {
        Event::Subject(SubjectEvent::SessionCreated(created)) => Some(created.session_id),
        Event::Subject(_) | Event::System(_) => None,
    });
    begun.collect()
}
