//! A history that is cut into ranges, each in a store of its own; and the one store of data format 1.

use std::{fs, path::Path};

use super::{
    frame::{NO_FRAME, key},
    head_file::encode_as_version_1,
    store_files::StoreFiles,
    *,
};
use crate::{
    conformance::{self, append_all, read_all},
    encode,
    samples::{commit, small, subject},
};

pub(super) fn open_by(dir: &Path, events: u64) -> Result<SledLog, OpenError> {
    SledLog::open(dir, SegmentEvents::By(events), &mut |_| Ok(()))
}

/// The numbers of the stores of a data directory.
fn stores(dir: &Path) -> Vec<u64> {
    let names = fs::read_dir(dir.join("log")).unwrap();
    let mut numbers: Vec<u64> =
        names.filter_map(|name| name.unwrap().file_name().to_str().unwrap().parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn of_events(n: u64, events: u64) -> EncodedCommit {
    encode(&commit(n, subject(n), 0, i64::try_from(n).unwrap(), events)).unwrap()
}

#[test]
fn a_log_in_many_stores_keeps_the_promises() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conformance::check(&|| {
        count.set(count.get() + 1);
        Box::new(open_by(&dir.path().join(count.get().to_string()), 7).unwrap())
    });
}

#[test]
fn a_log_in_many_stores_keeps_them_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    conformance::check_reopen(&|| Box::new(open_by(dir.path(), 50).unwrap()));
    assert_eq!(stores(dir.path()), [1, 2, 3, 4, 5]);
}

#[test]
fn one_batch_may_fill_several_stores_and_a_frame_never_crosses_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    // Ends behind 12, 20 and 30: a commit is never parted.
    append_all(
        &log,
        [7, 5, 8, 3, 3, 4, 2].into_iter().zip(0..).map(|(events, n)| of_events(n, events)).collect(),
    );
    let history = read_all(&log);
    let firsts: Vec<u64> = log.stores.read().iter().map(|range| range.first.0).collect();
    assert_eq!(firsts, [1, 13, 21, 31]);
    assert_eq!(log.read(Position(12), 1).unwrap(), history[2..3]);
    assert_eq!(log.read_commits(&[1, 12, 13, 20, 31].map(Position)).unwrap().len(), 4);
    log.close().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    assert_eq!(read_all(&log), history);
    assert_eq!(log.stores.read().iter().map(|range| range.first.0).collect::<Vec<_>>(), firsts);
}

/// Each machine must cut at the same places, so another number is refused, and by the setting's name.
#[test]
fn a_log_that_is_cut_is_cut_by_no_other_number() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..10).map(small).collect());
    drop(log);
    // Until a second store begins nothing depends on it.
    let log = open_by(dir.path(), 20).unwrap();
    append_all(&log, (10..31).map(small).collect());
    drop(log);
    let error = open_by(dir.path(), 10).unwrap_err();
    assert!(matches!(error, OpenError::CutOtherwise { asked: 10, recorded: 20 }), "{error}");
    assert!(error.to_string().contains("log.segment_events"), "{error}");
    let log = open(dir.path()).unwrap();
    append_all(&log, (31..50).map(small).collect());
    assert_eq!(stores(dir.path()), [1, 2, 3]);
}

#[test]
fn a_batch_that_fails_behind_the_end_of_a_store_is_of_unknown_fate_and_a_prefix_of_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..5).map(small).collect());
    // The barrier of the first store, before the second one begins.
    log.store().faults.next_sync_fails();
    assert_eq!(log.append(Position(5), (5..15).map(small).collect()), Ok(AppendOutcome::Unknown));
    assert!(matches!(log.append(Position(5), vec![small(20)]), Err(LogError::Stopped { .. })));
    drop(log);
    let log = open_by(dir.path(), 10).unwrap();
    let there = log.head().position.0;
    assert!((5..=10).contains(&there), "{there}");
    append_all(&log, (there..30).map(small).collect());
    assert_eq!(read_all(&log).len(), 30);
}

/// What is taken back leaves no trace: neither in the chain of frames nor in where the store ends.
#[test]
fn a_batch_that_was_taken_back_moves_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..5).map(small).collect());
    log.store().faults.next_insert_lacks_descriptors();
    assert!(matches!(
        log.append(Position(5), (50..70).map(small).collect()),
        Err(LogError::Exhausted { .. })
    ));
    append_all(&log, (5..25).map(small).collect());
    log.close().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    assert_eq!(log.stores.read().iter().map(|range| range.first.0).collect::<Vec<_>>(), [1, 11, 21]);
    assert_eq!(read_all(&log).len(), 25);
}

#[test]
fn a_store_that_never_held_anything_is_no_part_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..10).map(small).collect());
    log.close().unwrap();
    // As a crash leaves it that comes before the head record names it.
    StoreFiles::of(2, dir.path().join("log/2")).make().unwrap();
    fs::create_dir(dir.path().join("log/3.new")).unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (10..25).map(small).collect());
    assert_eq!(read_all(&log).len(), 25);
}

#[test]
fn a_missing_or_exchanged_store_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = open_by(&data, 10).unwrap();
    append_all(&log, (0..35).map(small).collect());
    log.close().unwrap();
    let log_dir = data.join("log");
    for (gone, says) in
        [(1, "position 1: is missing"), (2, "position 11: is missing"), (4, "log/4: position 31: is missing")]
    {
        let (from, to) = (log_dir.join(gone.to_string()), dir.path().join("aside"));
        fs::rename(&from, &to).unwrap();
        let error = open_by(&data, 10).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        fs::rename(&to, &from).unwrap();
    }
    fs::rename(log_dir.join("2"), dir.path().join("aside")).unwrap();
    fs::rename(log_dir.join("3"), log_dir.join("2")).unwrap();
    fs::rename(dir.path().join("aside"), log_dir.join("3")).unwrap();
    let error = open_by(&data, 10).unwrap_err().to_string();
    assert!(error.contains("log/2/db: position 11: is missing; the next frame begins at 21"), "{error}");
}

/// With a check computed for its bytes, only the frame behind it shows that a frame was replaced.
#[test]
fn a_frame_that_does_not_continue_the_one_before_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append_all(&log, vec![small(0)]);
    append_all(&log, vec![small(1)]);
    let (frame, _) = frame::pack(&[(Position(1), small(0))]).remove(0).seal(9, NO_FRAME);
    log.store().db().insert(key(Position(1)), frame).unwrap();
    log.close().unwrap();
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("position 2: the frame does not continue the one before it"), "{error}");
}

/// A data directory as a program of format 1 left it: one store, frames and a head record of their first versions.
pub(super) fn of_format_1(data: &Path, commits: u64) {
    fs::create_dir_all(data).unwrap();
    fs::set_permissions(data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let files = StoreFiles::of(1, data.join("log"));
    files.make().unwrap();
    let store = files.open().unwrap();
    let mut tail = LogTail::new();
    let mut frame_bytes = 0;
    for n in 0..commits {
        let staged = tail.stage(Position(n), vec![small(n)]).unwrap();
        let frame = frame::pack(&staged.accepted).remove(0).seal_as_version_1();
        frame_bytes += frame.len() as u64;
        store.db().insert(key(Position(n + 1)), frame).unwrap();
        tail.admit(staged);
    }
    let file_bytes = barrier(&store).unwrap();
    let record = StoreRecord { frame_bytes, file_bytes, ..StoreRecord::new(1, LogTail::new(), NO_FRAME) };
    let LogHead { position, recorded_at, root } = tail.head();
    let (check, term, sequence, segment_events) = (None, 0, 0, 0);
    let record =
        HeadRecord { position, recorded_at, root, check, term, sequence, segment_events, store: record };
    fs::write(data.join("FORMAT"), "tenure-data 1\n").unwrap();
    fs::write(data.join("log.head"), encode_as_version_1(1, &record)).unwrap();
}

fn continues(data: &Path) {
    let log = open_by(data, 10).unwrap();
    assert_eq!(read_all(&log).len(), 25);
    assert_eq!(fs::read_to_string(data.join("FORMAT")).unwrap(), "tenure-data 2\n");
    assert!(
        data.join("log/1/db").exists() && !data.join("log/db").exists() && !data.join("log.moving").exists()
    );
    append_all(&log, (25..45).map(small).collect());
    log.close().unwrap();
    let log = open_by(data, 10).unwrap();
    assert_eq!(read_all(&log).len(), 45);
    // The old store goes on to the end of its range.
    assert_eq!(log.stores.read().iter().map(|range| range.first.0).collect::<Vec<_>>(), [1, 31, 41]);
}

#[test]
fn a_directory_of_format_1_is_read_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    of_format_1(dir.path(), 25);
    continues(dir.path());
}

#[test]
fn a_move_from_format_1_that_was_cut_short_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let begun: [&dyn Fn(&Path); 3] =
        [&|_| (), &|data| fs::rename(data.join("log"), data.join("log.moving")).unwrap(), &|data| {
            fs::rename(data.join("log"), data.join("log.moving")).unwrap();
            fs::create_dir(data.join("log")).unwrap();
        }];
    for (number, begin) in begun.into_iter().enumerate() {
        let data = dir.path().join(number.to_string());
        of_format_1(&data, 25);
        fs::write(data.join("FORMAT"), "tenure-data 2\n").unwrap();
        begin(&data);
        continues(&data);
    }
}

/// A start that is refused leaves the evidence as it was.
#[test]
fn a_damaged_directory_of_format_1_is_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    of_format_1(dir.path(), 25);
    let store = StoreFiles::of(1, dir.path().join("log")).open().unwrap();
    store.db().remove(key(Position(7))).unwrap();
    drop(store);
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("log/db: position 7: is missing"), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("FORMAT")).unwrap(), "tenure-data 1\n");
    assert!(dir.path().join("log/db").exists());
}
