//! Questions about a subject with a long history begin at the last checkpoint, lead to what the whole history leads to,
//! and read no more of a long history than of a short one.

use std::{
    fs,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tenure::{
    core::{
        Actor, Commit, CommitId, Event, Position, StreamId, SubjectEvent, SubjectId, Timestamp,
        event::{SubjectProfile, SubjectRegistered},
        state::AuthorityState,
    },
    log::{EventLog, SegmentedLog, encode},
    projections::{
        Projections,
        fold_marks::{FoldedSubject, SubjectStates},
        history::{self, PartLength},
    },
    server::checkpoint::{TrustedCheckpoints, make},
};

use crate::{
    checkpoints::ends,
    cold_past::{FEW, Made, Told, told},
    faults::FaultyLog,
    rebuild::subjects,
};

/// Checkpoints, and how often a fold began at one.
#[derive(Debug, Default)]
struct CountedStates(TrustedCheckpoints, AtomicUsize);

impl CountedStates {
    fn begun(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

impl SubjectStates for CountedStates {
    fn position_up_to(&self, until: Position) -> Position {
        self.0.position_up_to(until)
    }

    fn disproved(&self) -> u64 {
        self.0.disproved()
    }

    fn subject_between(&self, id: &SubjectId, after: Position, until: Position) -> Option<FoldedSubject> {
        let found = self.0.subject_between(id, after, until);
        self.1.fetch_add(usize::from(found.is_some()), Ordering::Relaxed);
        found
    }
}

/// What a server knows after this history; nobody has asked it anything.
fn fresh(told: &Told, states: &Arc<CountedStates>) -> Made {
    let mut made = Made::new(Projections::keeping(FEW).marking_every(2));
    made.projections.begin_folds_at(Arc::clone(states) as _);
    told.history.iter().for_each(|stored| made.fold(stored));
    made
}

/// A subject whose registration was changed so often, and what a server made of that.
fn history_of(commits: u32) -> (Arc<FaultyLog>, SubjectId, Projections) {
    let (log, id) = (Arc::new(FaultyLog::default()), subjects().next().unwrap());
    let (mut state, projections) = (AuthorityState::default(), Projections::default());
    for number in 1..=commits {
        let profile = SubjectProfile { max_sessions: Some(number), ..SubjectProfile::default() };
        let registered = SubjectRegistered { profile };
        let commit = Commit {
            id: CommitId::from_bytes(u128::from(number).to_be_bytes()),
            stream: StreamId::Subject(id.clone()),
            expected: state.position,
            recorded_at: Timestamp::from_millis(number.into()),
            actor: Actor::AUTHORITY,
            correlation_id: None,
            idempotency: None,
            events: vec![Event::Subject(SubjectEvent::SubjectRegistered(registered))],
        };
        state.apply(&commit).unwrap();
        log.append(log.head().position, vec![encode(&commit).unwrap()]).unwrap();
    }
    log.read(Position::ZERO, usize::MAX).unwrap().iter().for_each(|stored| projections.fold(stored, &state));
    (log, id, projections)
}

/// The first question about a subject with a long history read all of it.
#[test]
fn a_long_fold_begins_at_the_last_checkpoint_and_leads_to_the_same() {
    let (dir, mut shorter) = (tempfile::tempdir().unwrap(), 0);
    let mut is_erased = false;
    for (seed, cut) in [(9, 11), (10, 40), (11, 23)] {
        let told = told(seed, 260, cut);
        let ends = told.log.segment_ends();
        let states = Arc::new(CountedStates::default());
        for number in [ends.len() / 3, ends.len() * 2 / 3] {
            let path = dir.path().join(format!("{seed}-{number}"));
            states.0.add(Arc::new(make(&told.log, None, &ends[number], &path, &mut |_| true).unwrap()));
        }
        let made = fresh(&told, &states);
        shorter += told.history.iter().filter(|stored| has_shorter_part(&told, &made, stored.last())).count();
        // Whoever asked before has left marks, so that each moment is asked about first once.
        for part in [12, 9, 6, 3] {
            let at = told.history[told.history.len() * part / 12 - 1].last();
            for let_go in [false, true] {
                let made = fresh(&told, &states);
                if let_go {
                    made.let_go(told.log.indexed().end());
                }
                subjects().for_each(|id| told.compare_subject(&made, &id, at));
            }
        }
        told.compare(&made);
        assert!(states.begun() > 3, "seed {seed}: {} folds began at a checkpoint", states.begun());
        let mut events = told.history.iter().flat_map(|stored| &stored.commit.events);
        is_erased |= events.any(|event| matches!(event, Event::Subject(SubjectEvent::SubjectErased(_))));
    }
    assert!(shorter > 3, "{shorter} parts were shorter");
    assert!(is_erased, "no subject was erased");
}

/// Whether the last part up to a position of the story of some subject is shorter, and saves a long fold by that.
fn has_shorter_part(told: &Told, made: &Made, until: Position) -> bool {
    let (log, projections) = (&told.log, &made.projections);
    subjects().any(|id| {
        let begin = history::last_commits(log, projections, &id, until, 6).unwrap();
        begin < history::last_part(log, projections, &id, until, PartLength { most: 6, least: 2 }).unwrap()
    })
}

#[test]
fn without_a_checkpoint_that_reads_as_written_the_whole_history_is_folded() {
    let dir = tempfile::tempdir().unwrap();
    let told = told(9, 260, 11);
    let (ends, path) = (told.log.segment_ends(), dir.path().join("checkpoint"));
    let states = Arc::new(CountedStates::default());
    let checkpoint = make(&told.log, None, &ends[ends.len() / 2], &path, &mut |_| true).unwrap();
    states.0.add(Arc::new(checkpoint));
    let end = told.log.head().position;
    // The position is before it.
    let made = fresh(&told, &states);
    subjects().for_each(|id| told.compare_subject(&made, &id, Position(ends[ends.len() / 2].position.0 - 1)));
    assert_eq!((states.begun(), states.0.alarms()), (0, vec![]));
    // A bit of each name in it has flipped.
    let mut bytes = fs::read(&path).unwrap();
    for name in subjects() {
        let name = name.as_str().as_bytes();
        let places: Vec<_> = (0..bytes.len()).filter(|place| bytes[*place..].starts_with(name)).collect();
        assert!(!places.is_empty());
        for place in places {
            bytes[place] ^= 1;
        }
    }
    fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&bytes, 0).unwrap();
    let made = fresh(&told, &states);
    subjects().for_each(|id| told.compare_subject(&made, &id, end));
    assert_eq!(states.begun(), 0);
    assert!(!states.0.findings().is_empty(), "nobody is told of the damage");
}

/// A fold that began at a checkpoint leaves marks, too.
#[test]
fn what_was_folded_from_a_checkpoint_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, id, first) = history_of(5_000);
    let ends = ends(&*log, 2_000);
    let states = Arc::new(CountedStates::default());
    let made = make(&*log, None, &ends[1], &dir.path().join("checkpoint"), &mut |_| true).unwrap();
    let name = made.name().to_owned();
    states.0.add(Arc::new(made));
    first.begin_folds_at(Arc::clone(&states) as _);
    let ask = || history::subject_at(&*log, &first, &id, log.head().position).unwrap();
    let (then, begun) = (ask(), states.begun());
    log.take_reads();
    assert_eq!((ask(), states.begun()), (then.clone(), begun));
    assert!(log.take_reads() < 600, "the marks were not used");
    states.0.distrust(&name, "the test says so");
    assert_eq!((ask(), states.begun()), (then, begun));
    assert!(log.take_reads() >= 5_000, "marks of a checkpoint that is not believed were used");
}

/// It read 100,000 records for the newest 50 of them.
#[test]
fn the_newest_part_of_a_long_story_reads_as_much_as_that_of_one_ten_times_as_long() {
    let dir = tempfile::tempdir().unwrap();
    let read = [3_100, 30_100].map(|length| {
        let (log, id, projections) = history_of(length);
        let ends = ends(&*log, 1_000);
        let states = Arc::new(CountedStates::default());
        // The newest checkpoint is 100 commits old.
        let end = &ends[ends.len() - 1];
        let path = dir.path().join(length.to_string());
        states.0.add(Arc::new(make(&*log, None, end, &path, &mut |_| true).unwrap()));
        projections.begin_folds_at(Arc::clone(&states) as _);
        log.take_reads();
        let (until, length) = (log.head().position, PartLength { most: 500, least: 20 });
        let begin = history::last_part(&*log, &projections, &id, until, length).unwrap();
        let folded = history::folded_subject(&|| true, &*log, &projections, &id, begin).unwrap();
        let commits = history::commits_behind(&|| true, &*log, &projections, &folded, until).unwrap();
        assert!((20..=500).contains(&commits.len()), "{} commits", commits.len());
        let read = log.take_reads();
        assert_eq!(states.begun(), 1);
        assert_eq!(folded.subject, history::state_at(&*log, begin).unwrap().subjects[&id]);
        read
    });
    assert_eq!(read[0], read[1]);
}
