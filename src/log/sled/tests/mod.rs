//! What is particular to the log on disk.

mod cuts;
mod damage;
mod indexes;
mod kills;
mod repairs;
mod resumes;
mod seals;
mod spares;

use std::path::Path;

use super::*;
use crate::{
    conformance::{self, append_all, read_all},
    samples::{largest, small},
};

pub(super) fn open(dir: &Path) -> Result<SledLog, OpenError> {
    SledLog::open(dir, SegmentEvents::AsRecorded, &mut |_| Ok(()))
}

impl SledLog {
    /// The store that is written to.
    pub(super) fn store(&self) -> StoreInUse {
        StoreInUse(Arc::clone(&self.writer.lock().range))
    }
}

/// Keeps it, but not the writer.
pub(super) struct StoreInUse(Arc<StoreRange>);

impl std::ops::Deref for StoreInUse {
    type Target = SledStore;

    fn deref(&self) -> &SledStore {
        &self.0.store
    }
}

#[test]
fn it_keeps_the_promises() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conformance::check(&|| {
        count.set(count.get() + 1);
        Box::new(open(&dir.path().join(count.get().to_string())).unwrap())
    });
}

#[test]
fn it_keeps_them_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    conformance::check_reopen(&|| Box::new(open(dir.path()).unwrap()));
}

#[test]
fn a_start_hands_over_every_commit_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append_all(&log, (0..50).map(small).collect());
    let history = read_all(&log);
    log.close().unwrap();
    let mut folded = vec![];
    let fold = &mut |stored| {
        folded.push(stored);
        Ok(())
    };
    drop(SledLog::open(dir.path(), SegmentEvents::AsRecorded, fold).unwrap());
    assert_eq!(folded, history);
}

#[test]
fn a_start_stops_where_the_fold_does() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append_all(&log, (0..9).map(small).collect());
    drop(log);
    let fold =
        &mut |stored: StoredCommit| if stored.first == Position(4) { Err("no".to_owned()) } else { Ok(()) };
    let error = SledLog::open(dir.path(), SegmentEvents::AsRecorded, fold).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { position: Some(Position(4)), .. }), "{error}");
}

#[test]
fn a_second_opener_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(log);
    open(dir.path()).unwrap();
}

/// After a failed sync the kernel may have dropped what was to be written; the next sync would succeed all
/// the same.
#[test]
fn after_a_failed_write_nothing_is_written_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append_all(&log, (0..10).map(small).collect());
    let head = log.head();
    log.store().faults.next_sync_fails();
    assert_eq!(log.append(head.position, vec![small(20)]), Ok(AppendOutcome::Unknown));
    for _ in 0..3 {
        assert!(matches!(log.append(head.position, vec![small(30)]), Err(LogError::Stopped { .. })));
    }
    assert!(log.stopped().unwrap().contains("the disk did not answer"));
    assert_eq!(log.head(), head);
    assert_eq!(read_all(&log).len(), 10);
    assert!(matches!(log.close(), Err(LogError::Stopped { .. })));

    // The fate of the batch is whole or absent.
    let log = open(dir.path()).unwrap();
    let there = log.head().position;
    assert!(there == Position(10) || there == Position(11), "{there}");
    assert_eq!(read_all(&log).len() as u64, there.0);
}

/// A thousand silent connections once took every descriptor, the next commit could not open a directory, and the log
/// was stopped until a restart. What passes before anything is on its way to the disk is no reason to stop.
#[test]
fn a_moment_without_descriptors_writes_nothing_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append_all(&log, (0..10).map(small).collect());
    log.store().faults.next_insert_lacks_descriptors();
    // The next batch is another one, and must not find frames of this one.
    let error = log.append(Position(10), (20..420).map(small).collect()).unwrap_err();
    assert!(matches!(error, LogError::Exhausted { .. }), "{error}");
    assert_eq!((log.stopped(), log.head().position), (None, Position(10)));
    append_all(&log, vec![small(500)]);
    log.close().unwrap();
    let log = open(dir.path()).unwrap();
    assert_eq!(read_all(&log).last().unwrap().first, Position(11));
    assert_eq!(log.head().position, Position(11));
}

#[test]
fn a_value_in_blobs_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    std::fs::write(dir.path().join("log/1/blobs/123"), b"x").unwrap();
    assert_eq!(log.append(Position::ZERO, vec![small(1)]), Ok(AppendOutcome::Unknown));
    assert!(log.stopped().unwrap().contains("blobs"));
}

/// Leaves of the largest frames stay inline, also when they are split and written again.
#[test]
fn the_largest_frames_do_not_reach_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    for n in 0..60 {
        append_all(&log, (n * 20..n * 20 + 20).map(largest).collect());
    }
    log.close().unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("log/1/blobs")).unwrap().count(), 0);
    // More than the start reads through one handle.
    let mut next = 0;
    let fold = &mut |stored: StoredCommit| {
        assert_eq!(crate::encode(&stored.commit).unwrap(), largest(next));
        next += 1;
        Ok(())
    };
    let log = SledLog::open(dir.path(), SegmentEvents::AsRecorded, fold).unwrap();
    assert_eq!(next, 1200);
    assert_eq!(log.head().position, Position(1200));
    assert_eq!(log.read(Position(1198), 10).unwrap().len(), 2);
}

#[test]
fn a_new_data_directory_is_marked_and_a_foreign_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let format = dir.path().join("FORMAT");
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "tenure-data 2\n");
    for (content, words) in
        [("tenure-data 3\n", "newer"), ("hello\n", "no data directory"), ("", "no data directory")]
    {
        std::fs::write(&format, content).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::ForeignFormat { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A start that is interrupted before the first commit leaves something that the next start completes.
#[test]
fn an_interrupted_first_start_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    std::fs::rename(dir.path().join("log/1"), dir.path().join("log/1.new")).unwrap();
    std::fs::write(dir.path().join("log/1.new/conf"), b"seg").unwrap();
    let log = open(dir.path()).unwrap();
    append_all(&log, vec![small(1)]);
    drop(log);
    assert_eq!(open(dir.path()).unwrap().head().position, Position(1));
}
