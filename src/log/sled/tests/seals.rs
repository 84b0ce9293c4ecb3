//! What happens to a log while its ranges become segments, whole or cut short at any step, and to a segment that is
//! damaged.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    cuts::{of_format_1, open_by},
    *,
};
use crate::{
    ScrubResult, SealError, SegmentedLog,
    conformance::{append_all, read_all},
    samples::small,
};

const EVERYTHING: Position = Position(u64::MAX);

pub(super) fn seal_all(log: &SledLog) -> Vec<u64> {
    std::iter::from_fn(|| log.seal(EVERYTHING, &|| true).unwrap()).map(|last| last.0).collect()
}

pub(super) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A log of 45 events that is cut by ten, with four segments, and how it reads.
pub(super) fn sealed(data: &Path) -> Vec<StoredCommit> {
    let log = open_by(data, 10).unwrap();
    for batch in 0..9 {
        append_all(&log, (batch * 5..batch * 5 + 5).map(small).collect());
    }
    assert_eq!(seal_all(&log), [10, 20, 30, 40]);
    let history = read_all(&log);
    log.close().unwrap();
    history
}

#[test]
fn a_full_range_becomes_a_segment_and_its_store_goes() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..25).map(small).collect());
    let (history, head) = (read_all(&log), log.head());
    // Nothing vouches for the second one yet.
    assert_eq!(log.seal(Position(19), &|| true).unwrap(), Some(Position(10)));
    assert_eq!(log.seal(Position(19), &|| true).unwrap(), None);
    assert_eq!(names(&dir.path().join("segments")), ["00000000000000000001.segment"]);
    assert_eq!(names(&dir.path().join("log")), ["2", "3"]);
    assert_eq!(log.seal(Position(20), &|| true).unwrap(), Some(Position(20)));
    assert_eq!(names(&dir.path().join("log")), ["3"]);
    assert_eq!((read_all(&log), log.head()), (history.clone(), head));
    assert_eq!(log.read(Position(7), 5).unwrap(), history[7..12]);
    assert_eq!(log.read_commits(&[3, 10, 11, 24].map(Position)).unwrap().len(), 4);
    assert_eq!(log.read_bytes(Position(9), 2).unwrap()[1].bytes, small(10).bytes);
    log.close().unwrap();
    // A start hands over all of it, in order.
    let mut folded = vec![];
    let log = SledLog::open(dir.path(), SegmentEvents::By(10), &mut |stored| {
        folded.push(stored);
        Ok(())
    });
    assert_eq!((folded, log.unwrap().head()), (history, head));
}

#[test]
fn a_range_that_ends_where_the_log_does_is_sealed_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..20).map(small).collect());
    assert_eq!(seal_all(&log), [10, 20]);
    assert_eq!(names(&dir.path().join("log")), ["3"]);
    log.close().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    assert_eq!(log.head().position, Position(20));
    append_all(&log, (20..35).map(small).collect());
    assert_eq!(seal_all(&log), [30]);
    log.close().unwrap();
    assert_eq!(read_all(&open_by(dir.path(), 10).unwrap()).len(), 35);
}

/// Every machine makes the same bytes, however the commits came in.
#[test]
fn the_same_history_makes_the_same_segments() {
    let dir = tempfile::tempdir().unwrap();
    let made = [1, 4, 45].map(|batch: usize| {
        let data = dir.path().join(batch.to_string());
        let log = open_by(&data, 10).unwrap();
        let all: Vec<_> = (0..45).map(small).collect();
        for batch in all.chunks(batch) {
            append_all(&log, batch.to_vec());
        }
        seal_all(&log);
        let names = names(&data.join("segments"));
        names.into_iter().map(|name| fs::read(data.join("segments").join(name)).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made[0].len(), 4);
    assert!(made[0] == made[1] && made[1] == made[2]);
}

#[test]
fn a_reader_that_began_before_the_store_went_reads_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..25).map(small).collect());
    let kept = Arc::clone(&log.stores.read()[0]);
    assert_eq!(seal_all(&log), [10, 20]);
    assert_eq!(names(&dir.path().join("log")), ["1", "3"]);
    assert!(kept.store.frames_from(Position(4)).unwrap().next(Position(4)).is_ok());
    drop(kept);
    assert_eq!(seal_all(&log), [0; 0]);
    assert_eq!(names(&dir.path().join("log")), ["3"]);
}

#[test]
fn a_directory_of_format_1_is_sealed_behind_its_end() {
    let dir = tempfile::tempdir().unwrap();
    of_format_1(dir.path(), 35);
    let log = open_by(dir.path(), 10).unwrap();
    assert_eq!(log.unsealed(), 3);
    assert_eq!(seal_all(&log), [10, 20, 30]);
    // Its range is not at its end, so the old store stays.
    assert_eq!(names(&dir.path().join("log")), ["1"]);
    log.close().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    assert_eq!(read_all(&log).len(), 35);
    append_all(&log, (35..42).map(small).collect());
    assert_eq!(seal_all(&log), [40]);
    assert_eq!(names(&dir.path().join("log")), ["2"]);
    log.close().unwrap();
    assert_eq!(read_all(&open_by(dir.path(), 10).unwrap()).len(), 42);
}

#[test]
fn a_sealing_that_is_told_to_stop_begins_again_later() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..25).map(small).collect());
    assert!(matches!(log.seal(EVERYTHING, &|| false), Err(SealError::Stopped)));
    log.close().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    assert_eq!(names(&dir.path().join("segments")), [""; 0]);
    assert_eq!(seal_all(&log), [10, 20]);
}

/// A copy of the directory after each step is what a kill at that step leaves.
#[test]
fn a_kill_after_any_step_loses_nothing_and_the_next_start_goes_on() {
    static COPIES: AtomicU32 = AtomicU32::new(0);
    fn copy_step(segments: &Path, step: &str) {
        let data = segments.parent().unwrap();
        let number = COPIES.fetch_add(1, Ordering::SeqCst);
        copy_dir(data, &data.parent().unwrap().join(format!("copy-{number:02}-{step}")));
    }
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(&dir.path().join("data"), 10).unwrap();
    append_all(&log, (0..20).map(small).collect());
    let history = read_all(&log);
    log.sealing.lock().on_step = Some(copy_step);
    assert_eq!(seal_all(&log), [10, 20]);
    let copies: Vec<PathBuf> = names(dir.path())
        .into_iter()
        .filter(|name| name != "data")
        .map(|name| dir.path().join(name))
        .collect();
    for step in ["switched", "written", "checked", "renamed", "removed"] {
        assert!(copies.iter().any(|copy| copy.to_str().unwrap().ends_with(step)), "{step}: {copies:?}");
    }
    for copy in &copies {
        goes_on(copy, &history);
    }
    // In the middle of a removal there are a name for it and some of its files.
    let half_removed = copies.iter().find(|copy| copy.to_str().unwrap().ends_with("renamed")).unwrap();
    let log = open_by(half_removed, 10).unwrap();
    let longer = read_all(&log);
    log.close().unwrap();
    fs::create_dir(half_removed.join("log/gone-1")).unwrap();
    fs::write(half_removed.join("log/gone-1/db"), b"what is left").unwrap();
    goes_on(half_removed, &longer);
    assert!(!half_removed.join("log/gone-1").exists());
}

/// It has this history, takes more, and seals what is full, over restarts.
fn goes_on(data: &Path, history: &[StoredCommit]) {
    let log = open_by(data, 10).unwrap_or_else(|error| panic!("{}: {error}", data.display()));
    assert!(read_all(&log) == history, "{}", data.display());
    let next = log.head().position.0;
    append_all(&log, (next..next + 15).map(small).collect());
    log.close().unwrap();
    let log = open_by(data, 10).unwrap();
    seal_all(&log);
    assert_eq!(log.unsealed(), 0);
    assert_eq!(names(&data.join("log")).len(), 1, "{}", data.display());
    let longer = read_all(&log);
    assert!(longer[..history.len()] == *history && longer.len() == history.len() + 15);
    log.close().unwrap();
    assert!(read_all(&open_by(data, 10).unwrap()) == longer);
}

pub(super) fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

/// Reads all segments again; gives how many there were.
fn scrub_all(log: &SledLog) -> Result<usize, LogError> {
    let mut count = 0;
    while log.scrub(count, &mut |_| true)? == ScrubResult::Sound {
        count += 1;
    }
    Ok(count)
}

/// Wherever it is: a start names the file, and a log that is open never answers with it.
#[test]
fn a_flipped_byte_of_a_segment_is_named_and_never_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let history = sealed(&data);
    let path = data.join("segments/00000000000000000011.segment");
    let length = fs::metadata(&path).unwrap().len();
    // Of its one block the table says where it is, when it began, and its check.
    let table = length - (8 + 8 + 8 + 4 + 16);
    for at in (0..length).step_by(97).chain([length - 1]) {
        let log = open_by(&data, 10).unwrap();
        flip(&path, at);
        // What is in the header is in memory already, and where the blocks are may be.
        match log.read(Position(10), 10) {
            Ok(read) => assert!((at < 4096 || at >= table) && read == history[10..20], "byte {at}"),
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        LogError::Damaged { first: Position(11), .. }
                            | LogError::Damaged { last: Position(20), .. }
                    ),
                    "byte {at}: {error}"
                );
                let said = error.to_string();
                assert!(
                    said.contains("positions 11 to 20") && said.contains("11.segment"),
                    "byte {at}: {said}"
                );
            }
        }
        // A damaged part of the past stops no writing, and hides nothing else.
        assert_eq!(log.stopped(), None);
        let scrubbed = scrub_all(&log);
        assert!(matches!(scrubbed, Err(LogError::Damaged { .. })), "byte {at}: {scrubbed:?}");
        let damage = log.damage();
        assert!(
            damage.len() == 1 && damage[0].starts_with("segments/00000000000000000011.segment: "),
            "{damage:?}"
        );
        assert_eq!(log.read(Position(20), 100).unwrap(), history[20..]);
        assert_eq!(log.read(Position(0), 10).unwrap(), history[..10]);
        flip(&path, at);
        // Put right, it is no alarm any more.
        assert_eq!((scrub_all(&log).unwrap(), log.damage()), (4, vec![]));
        log.close().unwrap();
        flip(&path, at);
        let error = open_by(&data, 10).unwrap_err().to_string();
        assert!(error.contains("00000000000000000011.segment"), "byte {at}: {error}");
        flip(&path, at);
    }
    assert!(read_all(&open_by(&data, 10).unwrap()) == history);
}

#[test]
fn a_missing_cut_or_foreign_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, other) = (dir.path().join("data"), dir.path().join("other"));
    let history = sealed(&data);
    let log = open_by(&other, 10).unwrap();
    append_all(&log, (100..145).map(small).collect());
    seal_all(&log);
    log.close().unwrap();
    let at = |data: &Path, first: u64| data.join(format!("segments/{first:020}.segment"));
    let refused = |says: &str| {
        let error = open_by(&data, 10).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    };
    for first in [1, 11, 31] {
        let bytes = fs::read(at(&data, first)).unwrap();
        fs::remove_file(at(&data, first)).unwrap();
        refused(&format!("position {first}: is missing"));
        fs::write(at(&data, first), &bytes[..bytes.len() - 1]).unwrap();
        refused(&format!("{first:020}.segment: position {first}: has another length"));
        fs::write(at(&data, first), &bytes[..100]).unwrap();
        refused("is cut short");
        fs::copy(at(&other, first), at(&data, first)).unwrap();
        refused(".segment: position");
        fs::write(at(&data, first), &bytes).unwrap();
    }
    let second = fs::read(at(&data, 11)).unwrap();
    fs::copy(at(&data, 21), at(&data, 11)).unwrap();
    refused("the segment says that it begins at 21");
    fs::write(at(&data, 11), second).unwrap();
    assert!(read_all(&open(&data).unwrap()) == history);
}
