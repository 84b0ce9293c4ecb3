//! A start that has what some segments lead to: it reads their headers, and everything behind them.

use std::{fs, os::unix::fs::FileExt, path::Path};

use super::{
    cuts::open_by,
    seals::{copy_dir, sealed},
    *,
};
use crate::{
    RootHash, SegmentedLog,
    conformance::{append_all, read_all},
    samples::small,
};

/// A start that goes on behind this many segments.
struct Behind {
    count: usize,
    ends: Vec<SegmentEnd>,
    folded: Vec<StoredCommit>,
}

impl StartupFold for Behind {
    fn begin(&mut self, sealed: &SealedHistory<'_>) -> Result<usize, OpenError> {
        self.ends = sealed.ends();
        Ok(self.count)
    }

    fn add(&mut self, stored: StoredCommit, _: &[[u8; 32]]) -> Result<(), String> {
        self.folded.push(stored);
        Ok(())
    }
}

fn open_behind(data: &Path, count: usize) -> Result<(SledLog, Behind), OpenError> {
    let mut behind = Behind { count, ends: vec![], folded: vec![] };
    let log = SledLog::open_for(data, SegmentEvents::By(10), &mut behind)?;
    Ok((log, behind))
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

#[test]
fn a_start_behind_any_segment_gives_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    let history = sealed(&dir.path().join("data"));
    let head = open_by(&dir.path().join("data"), 10).unwrap().head();
    for count in 0..=4 {
        let data = dir.path().join(count.to_string());
        copy_dir(&dir.path().join("data"), &data);
        let (log, behind) = open_behind(&data, count).unwrap();
        assert_eq!(behind.folded, history[count * 10..], "{count}");
        assert_eq!(behind.ends.len(), 4);
        assert_eq!(behind.ends, log.segment_ends());
        assert_eq!((log.head(), read_all(&log)), (head, history.clone()), "{count}");
        // It is cut at the same places as ever.
        append_all(&log, (45..67).map(small).collect());
        while log.seal(Position(u64::MAX), &|| true).unwrap().is_some() {}
        assert_eq!(log.segment_ends().len(), 6, "{count}");
        log.close().unwrap();
        assert_eq!(read_all(&open_by(&data, 10).unwrap()).len(), 67, "{count}");
    }
}

/// Its commits are not read; a later read of them fails.
#[test]
fn damage_in_a_segment_that_is_passed_by_is_no_matter_of_the_start_and_never_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    sealed(dir.path());
    flip(&dir.path().join("segments/00000000000000000011.segment"), 4_200);
    assert!(open_behind(dir.path(), 1).is_err());
    let (log, behind) = open_behind(dir.path(), 2).unwrap();
    assert_eq!(behind.folded.len(), 25);
    assert!(matches!(log.read(Position(10), 1), Err(LogError::Damaged { .. })));
    assert!(log.read(Position(20), 1).is_ok());
}

#[test]
fn a_start_that_passes_segments_by_refuses_what_their_headers_show() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    sealed(&data);
    let segment = |first: u64| data.join(format!("segments/{first:020}.segment"));
    let refused = || open_behind(&data, 4).map(drop).unwrap_err().to_string();
    // A flipped byte of a header.
    flip(&segment(11), 100);
    assert!(refused().contains("00000000000000000011.segment"), "{}", refused());
    flip(&segment(11), 100);
    // A segment that is missing.
    fs::rename(segment(21), dir.path().join("aside")).unwrap();
    assert!(refused().contains("position 21: is missing"), "{}", refused());
    fs::rename(dir.path().join("aside"), segment(21)).unwrap();
    assert!(open_behind(&data, 4).is_ok());
}

/// The segments of another history, whole as they are.
#[test]
fn segments_of_two_histories_are_not_passed_by_together() {
    let dir = tempfile::tempdir().unwrap();
    let (data, other) = (dir.path().join("data"), dir.path().join("other"));
    sealed(&data);
    let log = open_by(&other, 10).unwrap();
    append_all(&log, (100..145).map(small).collect());
    while log.seal(Position(u64::MAX), &|| true).unwrap().is_some() {}
    log.close().unwrap();
    let name = "segments/00000000000000000021.segment";
    fs::copy(other.join(name), data.join(name)).unwrap();
    let refused = open_behind(&data, 4).map(drop).unwrap_err().to_string();
    assert!(refused.contains("does not continue the one before it"), "{refused}");
}

/// What the head record says of a position that would be passed by is compared all the same.
#[test]
fn no_start_goes_on_behind_what_the_head_record_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let history = sealed(dir.path());
    let with_record = |root: RootHash| {
        let file = fs::File::options().read(true).write(true).open(dir.path().join("log.head")).unwrap();
        let mut head_file = HeadFile::read(file).unwrap();
        let record = head_file.record().unwrap().clone();
        let recorded_at = history[24].commit.recorded_at;
        head_file
            .write(HeadRecord { position: Position(25), recorded_at, root, check: None, ..record })
            .unwrap();
        head_file.sync().unwrap();
    };
    with_record(RootHash::from_bytes([7; 32]));
    let refused = open_behind(dir.path(), 4).map(drop).unwrap_err().to_string();
    assert!(refused.contains("not the one that log.head was written of"), "{refused}");
    let mut tree = crate::TreeEdge::new();
    history[..25].iter().flat_map(|stored| &stored.record_hashes).for_each(|hash| tree.append(hash));
    with_record(tree.root());
    let (_, behind) = open_behind(dir.path(), 4).unwrap();
    assert!(behind.folded == history[20..]);
}
