//! Damaged and missing segments, and what another copy of the history makes of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    cuts::open_by,
    seals::{copy_dir, flip, names, seal_all, sealed},
    *,
};
use crate::{conformance::append_all, samples::small};

fn segment(data: &Path, first: u64) -> PathBuf {
    data.join(format!("segments/{first:020}.segment"))
}

/// A directory with four segments, a good copy of it, and a place for others.
fn house() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (good, data) = (dir.path().join("good"), dir.path().join("data"));
    sealed(&good);
    copy_dir(&good, &data);
    (dir, good, data)
}

fn all_bytes(data: &Path) -> Vec<(String, Vec<u8>)> {
    let dir = data.join("segments");
    names(&dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

/// Repairs all that is found; the files that were put in place.
fn repaired(data: &Path, copy: &dyn HistoryCopy) -> Result<Vec<String>, RepairError> {
    let damages = find_damage(data).unwrap();
    let made: Result<Vec<_>, _> = damages.iter().map(|damage| repair(data, damage, copy)).collect();
    Ok(made?.concat())
}

#[test]
fn what_is_sound_needs_no_repair() {
    let (_dir, _, data) = house();
    assert_eq!(find_damage(&data).unwrap(), []);
}

#[test]
fn a_flipped_byte_anywhere_is_made_good_by_the_same_bytes_of_another_directory() {
    let (_dir, good, data) = house();
    let copy = DirectoryCopy::data_dir(&good);
    for first in [1, 11, 21, 31] {
        let length = fs::metadata(segment(&data, first)).unwrap().len();
        // In the header, in a block, in the index.
        for at in [20, 4_100, length - 3] {
            flip(&segment(&data, first), at);
            let named = find_damage(&data).unwrap();
            assert_eq!((named.len(), named[0].first.0, named[0].last), (1, first, Some(Position(first + 9))));
            assert_eq!(repaired(&data, &copy).unwrap(), [format!("{first:020}.segment")]);
            assert_eq!(all_bytes(&data), all_bytes(&good));
        }
    }
}

#[test]
fn missing_segments_are_put_back_also_several_and_the_last_one() {
    let (_dir, good, data) = house();
    let copy = DirectoryCopy::data_dir(&good);
    for missing in [&[1][..], &[11, 21], &[31], &[1, 11, 21, 31]] {
        for first in missing {
            fs::remove_file(segment(&data, *first)).unwrap();
        }
        assert_eq!(repaired(&data, &copy).unwrap().len(), missing.len(), "{missing:?}");
        assert_eq!(all_bytes(&data), all_bytes(&good));
    }
    drop(open_by(&data, 10).unwrap());
}

/// A backup, and a directory that is cut otherwise, have the commits and not the file.
#[test]
fn of_the_same_commits_the_same_bytes_are_made() {
    let (dir, good, data) = house();
    let other = dir.path().join("other");
    let log = open_by(&other, 7).unwrap();
    append_all(&log, (0..45).map(small).collect());
    seal_all(&log);
    log.close().unwrap();
    let copy = DirectoryCopy::data_dir(&other);
    flip(&segment(&data, 1), 4_100);
    fs::remove_file(segment(&data, 21)).unwrap();
    fs::remove_file(segment(&data, 11)).unwrap();
    assert_eq!(repaired(&data, &copy).unwrap().len(), 3);
    assert_eq!(all_bytes(&data), all_bytes(&good));
    // Its last segment ends at 42, and this one at 40: that is enough.
    flip(&segment(&data, 31), 20);
    assert_eq!(repaired(&data, &copy).unwrap().len(), 1);
    assert_eq!(all_bytes(&data), all_bytes(&good));
}

#[test]
fn bytes_that_do_not_fit_are_refused_and_nothing_is_changed() {
    let (dir, good, data) = house();
    let other = dir.path().join("other");
    let log = open_by(&other, 10).unwrap();
    append_all(&log, (1..46).map(small).collect());
    seal_all(&log);
    log.close().unwrap();
    flip(&segment(&data, 11), 4_100);
    let before = all_bytes(&data);
    let refused = repaired(&data, &DirectoryCopy::data_dir(&other)).unwrap_err();
    assert!(matches!(refused, RepairError::Unfit { .. }), "{refused}");
    assert_eq!(all_bytes(&data), before);
    // And of a copy that is damaged in the same place, or ends before it.
    flip(&segment(&good, 11), 4_101);
    let refused = repaired(&data, &DirectoryCopy::data_dir(&good)).unwrap_err();
    assert!(matches!(refused, RepairError::Unreadable(_)), "{refused}");
    fs::remove_file(segment(&good, 11)).unwrap();
    let refused = repaired(&data, &DirectoryCopy::data_dir(&good)).unwrap_err();
    assert!(matches!(refused, RepairError::Lacking(Position(11))), "{refused}");
    assert_eq!(all_bytes(&data), before);
}

/// Where stores follow that are not sealed yet, no record says where the last segment ends.
#[test]
fn what_nothing_vouches_for_is_not_believed() {
    let (dir, _, _) = house();
    let (good, data) = (dir.path().join("open"), dir.path().join("damaged"));
    let log = open_by(&good, 10).unwrap();
    append_all(&log, (0..45).map(small).collect());
    assert_eq!(log.seal(Position(25), &|| true).unwrap(), Some(Position(10)));
    log.close().unwrap();
    copy_dir(&good, &data);
    assert_eq!(find_damage(&data).unwrap(), []);
    flip(&segment(&data, 1), 20);
    let refused = repaired(&data, &DirectoryCopy::data_dir(&good)).unwrap_err();
    assert!(matches!(refused, RepairError::EndUnknown), "{refused}");
    // Its own header does, where it can be read.
    flip(&segment(&data, 1), 20);
    flip(&segment(&data, 1), 4_100);
    assert_eq!(repaired(&data, &DirectoryCopy::data_dir(&good)).unwrap().len(), 1);
}
