//! A checkpoint is what the history leads to, whatever the history and wherever its segments end.

use std::{collections::BTreeMap, fs, path::PathBuf};

use tenure::{
    core::{Event, Position, Seconds, StreamId, SubjectEvent, eviction::evict_ended},
    log::{EventLog, MemoryLog, SegmentEnd, StoredCommit, TreeEdge, codec},
    projections::{history, pulse::DayPulse},
    server::checkpoint::{Checkpoint, CheckpointError, make},
};

use crate::rebuild::Life;

/// The end of every segment of so many commits, as its header would say it.
pub(crate) fn ends(log: &dyn EventLog, commits: usize) -> Vec<SegmentEnd> {
    let all = log.read(Position::ZERO, usize::MAX).unwrap();
    let log_id = all[0].record_hashes[0];
    let (mut tree, mut ends) = (TreeEdge::new(), vec![]);
    for (stored, number) in all.iter().zip(1..) {
        stored.record_hashes.iter().for_each(|hash| tree.append(hash));
        if number % commits == 0 {
            let (position, recorded_at) = (stored.last(), stored.commit.recorded_at);
            ends.push(SegmentEnd { log_id, position, recorded_at, tree: tree.clone() });
        }
    }
    ends
}

/// What a fold of the commits gives beside the state.
fn beside(commits: &[StoredCommit]) -> (BTreeMap<String, Position>, DayPulse) {
    let (mut erased, mut pulse) = (BTreeMap::new(), DayPulse::default());
    for stored in commits {
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            if DayPulse::is_one(event) {
                pulse.add(&stored.commit.stream, stored.commit.recorded_at, event);
            }
            if let (StreamId::Subject(id), Event::Subject(SubjectEvent::SubjectErased(_))) =
                (&stored.commit.stream, event)
            {
                erased.insert(id.to_string(), position);
            }
        }
    }
    (erased, pulse)
}

fn expect_right(checkpoint: &Checkpoint, log: &dyn EventLog) {
    let end = checkpoint.end();
    let mut kept = checkpoint.read_for(Seconds(86_400)).unwrap();
    let mut trimmed = history::state_at(log, end.position).unwrap();
    evict_ended(&mut trimmed, kept.state.horizon);
    kept.state.horizon = trimmed.horizon;
    assert!(kept.state == trimmed, "at {}", end.position);
    let read = checkpoint.read().unwrap();
    assert!(read.state == history::state_at(log, end.position).unwrap(), "at {}", end.position);
    let commits = log.read(Position::ZERO, usize::try_from(end.position.0).unwrap()).unwrap();
    let (erased, pulse) = beside(&commits);
    let read_erased: BTreeMap<_, _> =
        read.erased.iter().map(|(id, position)| (id.to_string(), *position)).collect();
    assert_eq!(read_erased, erased);
    assert_eq!(read.pulse.day(end.recorded_at), pulse.day(end.recorded_at));
    assert_eq!(
        (read.pulse.renewed(), read.pulse.used(), read.pulse.suspended()),
        (pulse.renewed(), pulse.used(), pulse.suspended())
    );
}

#[test]
fn checkpoint_after_checkpoint_holds_what_a_fold_from_the_first_event_gives() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, commits) in [(1, 7), (2, 23), (3, 1), (4, 60)] {
        let mut life = Life::new(seed);
        (0..250).for_each(|_| life.step());
        let (log, mut before) = (&*life.log, None);
        for end in ends(log, commits) {
            let at = |name: &str| dir.path().join(format!("{seed}-{}-{name}", end.position));
            let made = make(log, before.as_ref(), &end, &at("after"), &mut |_| true).unwrap();
            expect_right(&made, log);
            make(log, None, &end, &at("anew"), &mut |_| true).unwrap();
            assert!(
                fs::read(at("after")).unwrap() == fs::read(at("anew")).unwrap(),
                "{seed} at {}",
                end.position
            );
            before = Some(made);
        }
        let last = before.expect("the history has commits").read_for(Seconds(86_400)).unwrap();
        assert!(last.left.count > 3, "seed {seed} tells nothing");
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/checkpoints").join(name)
}

/// The history that the frozen sample is of: each commit in a line, in hex.
fn frozen_history() -> MemoryLog {
    let log = MemoryLog::new();
    for line in fs::read_to_string(fixture("history.hex")).unwrap().lines() {
        let bytes = (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap());
        let commit = codec::adopt(bytes.collect()).unwrap();
        log.append(log.head().position, vec![commit]).unwrap();
    }
    log
}

/// Samples are never edited. When this fails, what a checkpoint holds has changed: it needs another version, in its
/// first eight bytes, so that those of before are folded again. `TENURE_WRITE_SAMPLES=1` writes what is missing.
#[test]
fn the_frozen_checkpoint_is_read_and_made_again_byte_by_byte() {
    let sample = fixture("v2.checkpoint");
    if std::env::var_os("TENURE_WRITE_SAMPLES").is_some() && !sample.exists() {
        write_sample(&sample);
    }
    let dir = tempfile::tempdir().unwrap();
    let log = frozen_history();
    let frozen = Checkpoint::open(&sample).unwrap();
    expect_right(&frozen, &log);
    let again = dir.path().join("again");
    make(&log, None, frozen.end(), &again, &mut |_| true).unwrap();
    assert!(fs::read(again).unwrap() == fs::read(&sample).unwrap());
}

fn write_sample(sample: &std::path::Path) {
    let log = frozen_history();
    let count = log.read(Position::ZERO, usize::MAX).unwrap().len();
    make(&log, None, &ends(&log, count).remove(0), sample, &mut |_| true).unwrap();
}

/// One that a newer program wrote may hold what this one would lose.
#[test]
fn a_checkpoint_of_another_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("newer.checkpoint");
    let mut bytes = fs::read(fixture("v2.checkpoint")).unwrap();
    bytes[7] = b'3';
    fs::write(&path, bytes).unwrap();
    let error = Checkpoint::open(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
    assert_eq!(error.to_string(), "checkpoints/newer.checkpoint: is of another version, or no checkpoint");
    let error = Checkpoint::open(&fixture("v1.checkpoint")).unwrap_err();
    assert_eq!(error.to_string(), "checkpoints/v1.checkpoint: is of another version, or no checkpoint");
}
