//! What a start keeps of a history that is in segments.

use super::*;
use crate::{
    checkpoint::tests::{created, session},
    projections::session_list::SessionList,
};
use tenure_core::{
    Actor, Commit, CommitId, Generation, Seconds, SystemEvent, Timestamp,
    event::{PresentedToken, SubjectProfile, SubjectRegistered, TokensPresented},
};
use tenure_log::{SegmentedLog, encode};

const CUT: SegmentEvents = SegmentEvents::By(1_000);
const SUBJECTS: u32 = 100;
/// Those of which something is said again and again.
const NAMED: u32 = 50;

fn as_size(count: u32) -> usize {
    usize::try_from(count).unwrap()
}

/// What happens at this place: subjects begin with a session each, and then their tokens are presented.
fn events(number: u64) -> (StreamId, Vec<Event>) {
    if number < SUBJECTS.into() {
        let registered = SubjectRegistered { profile: SubjectProfile::default() };
        let registered = Event::Subject(SubjectEvent::SubjectRegistered(registered));
        let subject = format!("agent-{number}").parse().unwrap();
        return (StreamId::Subject(subject), vec![registered, created(number)]);
    }
    let generation = Generation::FIRST;
    let presented = vec![PresentedToken { session_id: session(number % u64::from(NAMED)), generation }];
    (StreamId::System, vec![Event::System(SystemEvent::TokensPresented(TokensPresented { presented }))])
}

/// A history of this many commits, all of it in indexed segments but what is behind the last full one.
fn write(data: &Path, commits: u64) {
    let log = tenure_log::open_cut(data, CUT, &mut |_| Ok(())).unwrap();
    let (mut system, mut head) = (Position::ZERO, Position::ZERO);
    let mut batch = vec![];
    for number in 0..commits {
        let (stream, events) = events(number);
        let first = head.next();
        head = head.plus(events.len() as u64);
        let is_system = stream == StreamId::System;
        let expected = if is_system { std::mem::replace(&mut system, first) } else { Position::ZERO };
        let commit = Commit {
            id: CommitId::from_bytes((0x7000_u128 << 64 | u128::from(number) << 16).to_be_bytes()),
            stream,
            expected,
            recorded_at: Timestamp::from_millis(i64::try_from(number).unwrap()),
            actor: Actor::AUTHORITY,
            correlation_id: None,
            idempotency: None,
            events,
        };
        batch.push(encode(&commit).unwrap());
    }
    log.append(Position::ZERO, batch).unwrap();
    while log.seal(log.head().position, &|| true).unwrap().is_some() {}
    while log.index(&|| true).unwrap() {}
}

fn start(data: &Path) -> (SledLog, StartupState) {
    let reads = StartupReads { verify: VerifyScope::Hot, memory: Seconds(86_400), by_snapshot: true };
    open_log(data, CUT, reads, &|| IdempotencyTable::new(Seconds(60), 10)).unwrap()
}

/// A start that read the history from its first event kept where everybody's commits are, and the nodes of the tree,
/// until the last commit was read, although a moment later it let go of all that indexes tell: 3 GB where 0.7 GB are
/// enough.
#[test]
fn a_start_without_a_checkpoint_keeps_only_what_no_index_tells() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 5_121 - u64::from(SUBJECTS));
    let (log, started) = start(dir.path());
    assert_eq!((log.head().position, log.indexed().end()), (Position(5_121), Position(5_000)));
    assert!(started.nodes.nodes_in_memory() < 20, "{} nodes of the tree", started.nodes.nodes_in_memory());
    assert_eq!(started.projections.held().0, as_size(NAMED), "those that the last 121 events are about");

    // Whatever is asked, it is as if all of it were in memory.
    std::fs::remove_dir_all(dir.path().join("indexes")).unwrap();
    drop(log);
    let (whole_log, whole) = start(dir.path());
    assert_eq!(whole.projections.held().0, as_size(SUBJECTS));
    assert_eq!(started.state, whole.state);
    assert_eq!(started.nodes.head(), whole.nodes.head());
    let sessions = |started: &StartupState| started.projections.sessions(SessionList::len);
    assert_eq!(sessions(&started), sessions(&whole));
    drop(whole_log);
}
