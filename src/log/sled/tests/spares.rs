//! The store that stands ready before a range is full.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::{cuts::open_by, *};
use crate::{
    conformance::{append_all, read_all},
    samples::small,
};

fn which(dir: &Path) -> u64 {
    fs::metadata(dir.join("db")).unwrap().ino()
}

/// At the end of each range the batch that met it waited until a store had been made, with every sync that this takes.
#[test]
fn the_next_range_begins_in_the_store_that_stood_ready() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    let spare = dir.path().join("spare");
    assert!(log.make_spare().unwrap() && !log.make_spare().unwrap(), "one is enough");
    let made = which(&spare);
    append_all(&log, (0..15).map(small).collect());
    assert_eq!(which(&dir.path().join("log/2")), made);
    // Without one the next store is made as it is needed.
    assert!(!spare.exists());
    append_all(&log, (15..25).map(small).collect());
    assert!(dir.path().join("log/3").exists());
    assert!(log.make_spare().unwrap());
    let history = read_all(&log);
    log.close().unwrap();
    assert_eq!(read_all(&open_by(dir.path(), 10).unwrap()), history);
}

#[test]
fn a_start_uses_no_spare_store_of_the_process_before() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    append_all(&log, (0..5).map(small).collect());
    log.make_spare().unwrap();
    log.close().unwrap();
    let spare = dir.path().join("spare");
    fs::write(spare.join("db"), b"half of it").unwrap();
    fs::create_dir(dir.path().join("spare.new")).unwrap();
    let log = open_by(dir.path(), 10).unwrap();
    assert!(!spare.exists() && !dir.path().join("spare.new").exists());
    append_all(&log, (5..15).map(small).collect());
    log.close().unwrap();
    assert_eq!(read_all(&open_by(dir.path(), 10).unwrap()).len(), 15);
}

/// A log that is not cut has no next range.
#[test]
fn a_log_that_is_not_cut_keeps_no_spare_store() {
    let dir = tempfile::tempdir().unwrap();
    let log = SledLog::open(dir.path(), SegmentEvents::Uncut, &mut |_| Ok(())).unwrap();
    assert!(!log.make_spare().unwrap() && !dir.path().join("spare").exists());
}
