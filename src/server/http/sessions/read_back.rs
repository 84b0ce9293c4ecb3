//! Sessions of a list that left memory, read back from the log together.

use std::collections::BTreeMap;

use crate::authority::CommandError;
use crate::projections::history;
use tenure_core::{Event, Position, SessionId, StreamId, SubjectEvent, SubjectId, session::Session};
use tenure_log::{StoredCommit, waiting_for_disk};
use tenure_threads::parallel::in_parallel;

use crate::http::api::ApiContext;

/// How many threads read at once: what they wait for is mostly the disk, and else the check of what it gave.
const THREADS: usize = 4;
/// Beginnings that one of them reads at a time.
const BEGINNINGS: usize = 8;

/// The sessions that began at these positions, as they are now. Waits for the disk.
///
/// # Errors
/// The log cannot be read.
pub(super) fn sessions_begun_at(api: &ApiContext, began: &[Position]) -> Result<Vec<Session>, CommandError> {
    waiting_for_disk(|| {
        let mut began = began.to_vec();
        began.sort_unstable();
        let some: Vec<_> = began.chunks(BEGINNINGS).collect();
        let commits = at_once(&some, |some| api.authority.log().read_commits(some).map_err(unread))?;
        let commits: Vec<_> = commits.into_iter().flatten().collect();
        let subjects: Vec<_> = begun_in(&commits, &began).into_iter().collect();
        let sessions = at_once(&subjects, |(subject, ids)| sessions_of(api, subject, ids))?;
        Ok(sessions.into_iter().flatten().collect())
    })
}

/// What comes of all items, in no particular order.
fn at_once<I: Sync, T: Send>(
    items: &[I],
    read: impl Fn(&I) -> Result<T, CommandError> + Sync,
) -> Result<Vec<T>, CommandError> {
    in_parallel(items, THREADS, read).unwrap_or_else(|| Err(unread("a thread that reads the log died")))
}

fn sessions_of(
    api: &ApiContext,
    subject: &SubjectId,
    ids: &[SessionId],
) -> Result<Vec<Session>, CommandError> {
    let live = api.authority.live();
    let position = live.position();
    // No subject leaves memory. This one may be newer than the position, and is not older.
    let Some(subject) = live.recorded_subject(subject) else { return Ok(Vec::new()) };
    let position = position.max(subject.version());
    history::sessions_at(api.authority.log(), &api.projections, &subject, ids, position).map_err(unread)
}

/// The sessions that began at some of the positions in these commits, by subject.
fn begun_in(commits: &[StoredCommit], began: &[Position]) -> BTreeMap<SubjectId, Vec<SessionId>> {
    let mut found: BTreeMap<SubjectId, Vec<SessionId>> = BTreeMap::new();
    for stored in commits {
        let StreamId::Subject(subject) = &stored.commit.stream else { continue };
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            if let Event::Subject(SubjectEvent::SessionCreated(created)) = event
                && began.binary_search(&position).is_ok()
            {
                found.entry(subject.clone()).or_default().push(created.session_id);
            }
        }
    }
    found
}

#[expect(clippy::needless_pass_by_value, reason = "it is what a closure of `map_err` gets")]
fn unread(why: impl ToString) -> CommandError {
    CommandError::StorageUnavailable { why: why.to_string() }
}
