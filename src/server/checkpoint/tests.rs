//! Checkpoints that are cut short at any step, damaged, or of another history. That they are right is shown over random
//! histories in `tests/authority`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use tenure_core::{
    Actor, Commit, CommitId, Event, Generation, Position, Seconds, SessionId, SessionMode, StreamId,
    SubjectEvent, SubjectId, SystemEvent, Timestamp,
    bulk::SessionSelector,
    event::{
        PresentedToken, SelectionRevoked, SessionCreated, SessionTerms, SubjectProfile, SubjectRegistered,
        TokensPresented,
    },
    eviction::evict_ended,
    state::AuthorityState,
    subject::Subject,
};
use tenure_log::{EventLog, MemoryLog, SegmentEnd, TreeEdge, encode};

/// Commits before the end of a segment.
const SEGMENT: u64 = 10;
/// Between two commits: what ended 24 of them ago stands apart.
const HOUR: i64 = 3_600_000;

fn subject(number: u64) -> SubjectId {
    format!("agent-{number:03}").parse().unwrap()
}

pub(crate) fn session(number: u64) -> SessionId {
    SessionId::from_bytes((u128::from(number) << 64 | 0x7000).to_be_bytes())
}

/// Subjects that are registered one after the other with a session each; in between the tokens of old ones are
/// presented, and a bulk revocation reaches them all.
struct Story {
    log: MemoryLog,
    state: AuthorityState,
}

impl Story {
    fn new(commits: u64) -> Self {
        let mut story = Self { log: MemoryLog::new(), state: AuthorityState::default() };
        story.goes_on(0..commits);
        story
    }

    fn goes_on(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let (stream, events) = match number % 10 {
                7 => (StreamId::System, vec![Event::System(presented(number / 20 * 10))]),
                9 if number > 30 => (StreamId::System, vec![Event::System(all_revoked())]),
                _ => (StreamId::Subject(subject(number)), vec![registered(), created(number)]),
            };
            self.append(number, stream, events);
        }
    }

    fn append(&mut self, number: u64, stream: StreamId, events: Vec<Event>) {
        let expected = match &stream {
            StreamId::System => self.state.system.version,
            StreamId::Subject(id) => self.state.subjects.get(id).map_or(Position::ZERO, Subject::version),
        };
        let commit = Commit {
            id: CommitId::from_bytes((0x7000_u128 << 64 | u128::from(number) << 16).to_be_bytes()),
            stream,
            expected,
            recorded_at: Timestamp::from_millis(i64::try_from(number).unwrap() * HOUR),
            actor: Actor::AUTHORITY,
            correlation_id: None,
            idempotency: None,
            events,
        };
        self.state.apply(&commit).unwrap();
        self.log.append(self.log.head().position, vec![encode(&commit).unwrap()]).unwrap();
    }

    /// The ends of segments, as their headers would say them.
    fn ends(&self) -> Vec<SegmentEnd> {
        let all = self.log.read(Position::ZERO, usize::MAX).unwrap();
        let (mut tree, mut ends) = (TreeEdge::new(), vec![]);
        for (stored, number) in all.iter().zip(1..) {
            stored.record_hashes.iter().for_each(|hash| tree.append(hash));
            if number % SEGMENT == 0 {
                let recorded_at = stored.commit.recorded_at;
                let log_id = all[0].record_hashes[0];
                ends.push(SegmentEnd { log_id, position: stored.last(), recorded_at, tree: tree.clone() });
            }
        }
        ends
    }
}

fn registered() -> Event {
    Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile: SubjectProfile::default() }))
}

pub(crate) fn created(number: u64) -> Event {
    let terms = SessionTerms {
        ttl: Seconds(30 * 86_400),
        max_renewals: 3,
        absolute_lifetime: Seconds(30 * 86_400),
        renewal_reject_window: Seconds(0),
        idle_timeout: None,
        on_reuse: None,
        purpose: None,
        mode: SessionMode::Fixed,
    };
    Event::Subject(SubjectEvent::SessionCreated(SessionCreated {
        session_id: session(number),
        terms,
        expires_at: Timestamp::from_millis(1_000_000_000),
        renew_at: None,
        device: None,
        scopes: vec![],
        metadata: None,
        constraints: None,
    }))
}

fn presented(number: u64) -> SystemEvent {
    let presented = vec![PresentedToken { session_id: session(number), generation: Generation::FIRST }];
    SystemEvent::TokensPresented(TokensPresented { presented })
}

fn all_revoked() -> SystemEvent {
    let selector = Box::new(SessionSelector::default());
    SystemEvent::SelectionRevoked(SelectionRevoked {
        selector,
        matched: 1,
        reason: None,
        owners: None,
        cause: None,
    })
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("checkpoints")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn name(end: &SegmentEnd) -> String {
    format!("{:020}.checkpoint", end.position.0)
}

/// The newest that can be read whole, as a start would find it.
fn newest(folder: &CheckpointFolder, ends: &[SegmentEnd]) -> Option<(Checkpoint, CheckpointState)> {
    let mut found = folder.find(ends, &mut |_, _| ()).into_iter();
    found.find_map(|found| found.read().ok().map(|read| (found, read)))
}

fn advance(folder: &CheckpointFolder, story: &Story, ends: &[SegmentEnd]) -> Checkpoint {
    let before = newest(folder, ends).map(|(checkpoint, _)| checkpoint);
    folder.advance(&story.log, before.as_ref(), ends, &mut |_| true).unwrap().unwrap()
}

#[test]
fn the_last_two_are_kept_and_the_same_bytes_come_out_in_one_step_or_in_many() {
    let dir = tempfile::tempdir().unwrap();
    let story = Story::new(105);
    let (folder, ends) = (CheckpointFolder::of(dir.path()), story.ends());
    for known in 1..=ends.len() {
        let made = advance(&folder, &story, &ends[..known]);
        let place = dir.path().join("again.new");
        let again = make(&story.log, None, &ends[known - 1], &place, &mut |_| true).unwrap();
        assert_eq!(made.difference_to(&again), None);
        let path = dir.path().join("checkpoints").join(name(&ends[known - 1]));
        assert!(fs::read(path).unwrap() == fs::read(&place).unwrap(), "segment {known}");
    }
    assert_eq!(names(dir.path()), [name(&ends[8]), name(&ends[9])]);
    let place = folder.place_for_a_fold().unwrap();
    let again = fold_from_the_first_event(&story.log, &ends, &place, &mut |_| true).unwrap().unwrap();
    assert_eq!(newest(&folder, &ends).unwrap().0.difference_to(&again), None);
}

#[test]
fn what_a_checkpoint_holds_is_what_a_fold_gives() {
    let dir = tempfile::tempdir().unwrap();
    let mut story = Story::new(70);
    let folder = CheckpointFolder::of(dir.path());
    let ends = story.ends();
    let (_, made) = (advance(&folder, &story, &ends[..3]), advance(&folder, &story, &ends));
    assert_eq!(made.end(), &ends[6]);
    assert!(made.read().unwrap().state == story.state);
    let kept = made.read_for(Seconds(86_400)).unwrap();
    let mut trimmed = story.state.clone();
    evict_ended(&mut trimmed, kept.state.horizon);
    assert!(
        kept.state == trimmed
            && kept.left.count == (story.state.holders.len() - trimmed.holders.len()) as u64
    );
    assert!(kept.left.count > 20, "{:?}", kept.left);
    for number in [0, 7, 12, 64, 69, 500] {
        let id = subject(number);
        assert_eq!(made.subject(&id).unwrap().as_ref(), story.state.subjects.get(&id), "{number}");
    }
    // A session of another subject is named by what follows, and that subject is not touched otherwise.
    story.goes_on(70..80);
    assert!(advance(&folder, &story, &story.ends()).read().unwrap().state == story.state);
}

/// What may not follow is refused, also where it is about a subject that the segment does not touch otherwise.
#[test]
fn a_contradiction_in_what_follows_is_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::of(dir.path());
    let mut story = Story::new(10);
    advance(&folder, &story, &story.ends());
    story.goes_on(10..19);
    // The session is agent-002's. The log takes it: it knows no sessions.
    let expected = story.state.clone();
    let twice = Story { log: story.log, state: AuthorityState::default() };
    let commit = Commit {
        id: CommitId::from_bytes((0x7000_u128 << 64 | 99_u128 << 16).to_be_bytes()),
        stream: StreamId::Subject("other".parse().unwrap()),
        expected: Position::ZERO,
        recorded_at: expected.recorded_at,
        actor: Actor::AUTHORITY,
        correlation_id: None,
        idempotency: None,
        events: vec![created(2)],
    };
    twice.log.append(twice.log.head().position, vec![encode(&commit).unwrap()]).unwrap();
    let ends = twice.ends();
    let (before, _) = newest(&folder, &ends).unwrap();
    let error = folder.advance(&twice.log, Some(&before), &ends, &mut |_| true).unwrap_err();
    assert!(matches!(error, CheckpointError::Illegal(_)), "{error}");
    assert_eq!(names(dir.path()), [name(&ends[0])]);
}

#[test]
fn what_does_not_lead_to_the_segments_header_is_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::of(dir.path());
    let story = Story::new(20);
    let mut ends = story.ends();
    ends[1].tree = ends[0].tree.clone();
    let error = folder.advance(&story.log, None, &ends, &mut |_| true).unwrap_err();
    assert!(matches!(error, CheckpointError::Untrue { .. }), "{error}");
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_checkpoint_with_one_flipped_byte_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    // Some sessions stand apart.
    let (folder, story) = (CheckpointFolder::of(dir.path()), Story::new(70));
    let ends = story.ends();
    let made = advance(&folder, &story, &ends);
    assert!(made.read_for(Seconds(86_400)).unwrap().left.count > 20);
    let path = dir.path().join(made.name());
    let good = fs::read(&path).unwrap();
    let is_believed = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let found = folder.find(&ends, &mut |_, _| ()).into_iter();
        let is_whole = |found: &Checkpoint| found.read_whole(&mut |_| true).is_ok() && found.read().is_ok();
        found.filter(is_whole).count() == 1
    };
    assert!(is_believed(&good));
    // Between the end of the peaks and the check of the header all bytes are alike.
    for place in (0..200).chain(4_000..4_100).chain((4_100..good.len()).step_by(3)) {
        let mut bad = good.clone();
        bad[place] ^= 1;
        assert!(!is_believed(&bad), "byte {place}");
    }
    for length in [0, 10, 4_095, 4_096, good.len() - 1] {
        assert!(!is_believed(&good[..length]), "{length} bytes");
    }
    assert!(!is_believed(&[&good[..], b"x"].concat()));
}

/// A whole one that stands where no segment ends, is of another history, or of another log.
#[test]
fn a_checkpoint_that_does_not_fit_the_header_of_its_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, story) = (CheckpointFolder::of(dir.path()), Story::new(20));
    let ends = story.ends();
    let made = advance(&folder, &story, &ends);
    let said = |ends: &[SegmentEnd]| {
        let mut said = vec![];
        assert!(folder.find(ends, &mut |name, why| said.push(format!("{name}: {why}"))).is_empty());
        said.join(", ")
    };
    let name = made.name();
    let position = ends[1].position;
    assert_eq!(
        said(&ends[..1]),
        format!("{name}: no segment ends at position {position}, at which it stands")
    );
    let other = |change: &dyn Fn(&mut SegmentEnd)| {
        let mut other = ends.clone();
        other.iter_mut().for_each(change);
        other
    };
    let another = format!("{name}: is not of the history that the segment up to position {position} ends");
    assert_eq!(said(&other(&|end| end.recorded_at = end.recorded_at.plus_millis(1))), another);
    assert_eq!(said(&other(&|end| end.tree = TreeEdge::new())), another);
    let id = |end: &mut SegmentEnd| end.log_id = tenure_log::RecordHash::from_bytes([7; 32]);
    assert_eq!(said(&other(&id)), format!("{name}: is of another log"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A kill at any step leaves a directory with a checkpoint to believe, the new one or those before, and the next making
/// ends what was begun.
#[test]
fn a_making_that_is_cut_short_at_any_step_is_made_up_for() {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    fn keep(dir: &Path, step: &str) {
        let number = STEPS.fetch_add(1, Ordering::Relaxed);
        copy(dir, &dir.parent().unwrap().join("steps").join(format!("{number}-{step}")).join("checkpoints"));
    }
    let dir = tempfile::tempdir().unwrap();
    let story = Story::new(40);
    let ends = story.ends();
    let mut folder = CheckpointFolder::of(dir.path());
    advance(&folder, &story, &ends[..1]);
    advance(&folder, &story, &ends[..2]);
    folder.on_step = Some(keep);
    advance(&folder, &story, &ends[..3]);
    let steps: Vec<PathBuf> =
        fs::read_dir(dir.path().join("steps")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(steps.len(), 3, "{steps:?}");
    for left in steps {
        let folder = CheckpointFolder::of(&left);
        // The beginning of one that is half written is no checkpoint either.
        let half = left.join("checkpoints/00000000000000000099.new");
        fs::write(&half, [7; 5_000]).unwrap();
        let (found, read) = newest(&folder, &ends).unwrap();
        assert!([&ends[1], &ends[2]].contains(&found.end()), "{left:?}");
        assert_eq!(read.state.position, found.end().position);
        folder.remove_unfinished().unwrap();
        assert!(advance(&folder, &story, &ends).read().unwrap().state == story.state, "{left:?}");
        let last = names(&left);
        assert!(last.len() == 2 && last[1] == name(&ends[3]), "{last:?}");
    }
}

#[test]
fn a_making_that_is_told_to_stop_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, story) = (CheckpointFolder::of(dir.path()), Story::new(20));
    for most in 0..2 {
        let mut asked = 0;
        let stopped = folder.advance(&story.log, None, &story.ends(), &mut |_| {
            asked += 1;
            asked <= most
        });
        assert!(matches!(stopped, Err(CheckpointError::Stopped)), "{most}");
        assert!(names(dir.path()).is_empty());
    }
}
