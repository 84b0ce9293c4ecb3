//! What is sealed of a log of several machines, and starts that go on behind it.

use std::{fs, path::Path, sync::Arc};

use super::{
    Broker, FrameReader, JetStreamLog, JetStreamOptions, MemberStep, broker, is_of_segments, join_for, led,
    make, names, node, operator, set_segments_aside,
};
use crate::{
    EventLog, OpenError, RootHash, SealedHistory, SegmentedLog, StartupFold, StoredCommit, TreeEdge,
    conformance::{append_all, read_all},
    samples::small,
    sled::waiting_open::open_waiting,
};
use tenure_core::Position;

/// The root as one knows it who has folded these commits.
fn root_of(history: &[StoredCommit], position: Position) -> RootHash {
    let mut tree = TreeEdge::new();
    for stored in history.iter().filter(|stored| stored.last() <= position) {
        stored.record_hashes.iter().for_each(|record| tree.append(record));
    }
    tree.root()
}

/// Seals all that is full, and makes the indexes.
fn seal_all(log: &JetStreamLog) -> Vec<u64> {
    let history = read_all(log);
    assert_eq!(log.cut(Some(10)), 10);
    let seal =
        || log.seal(log.head().position, &|position| Some(root_of(&history, position)), &|| true).unwrap();
    let sealed = std::iter::from_fn(seal).map(|last| last.0).collect();
    while log.index(&|| true).unwrap() {}
    sealed
}

/// A log of 45 events, in frames of seven that hold the ends of ranges amid them.
fn sealed(data: &Path, options: &JetStreamOptions) -> Vec<StoredCommit> {
    let log = led(data, options).unwrap();
    for batch in 0..6 {
        append_all(&log, (batch * 7..batch * 7 + 7).map(small).collect());
    }
    append_all(&log, (42..45).map(small).collect());
    let history = read_all(&log);
    assert_eq!(seal_all(&log), [10, 20, 30, 40]);
    assert_eq!(read_all(&log), history);
    history
}

fn frames(data: &Path) -> usize {
    open_waiting(&::sled::Config::new().path(data.join("copy")).segment_size(8 << 20)).unwrap().len()
}

/// A start that goes on behind all segments.
#[derive(Default)]
struct Behind {
    taken: Vec<StoredCommit>,
}

impl StartupFold for Behind {
    fn begin(&mut self, sealed: &SealedHistory<'_>) -> Result<usize, OpenError> {
        Ok(sealed.ends().len())
    }

    fn add(&mut self, stored: StoredCommit, leaves: &[[u8; 32]]) -> Result<(), String> {
        assert_eq!(leaves.len(), stored.record_hashes.len());
        self.taken.push(stored);
        Ok(())
    }
}

/// What a node folds that goes on behind its segments, once it leads.
fn goes_on(data: &Path, options: &JetStreamOptions) -> Result<Vec<StoredCommit>, OpenError> {
    let mut behind = Behind::default();
    let mut member = join_for(data, options, std::sync::Arc::new(|_| ()), &mut behind)?;
    let mut take = |commits: Vec<StoredCommit>| {
        behind.taken.extend(commits);
        Ok(())
    };
    while member.step(&mut take)? == MemberStep::Follows {}
    let log = member.log();
    assert_eq!(read_all(&**log).len() as u64, log.head().position.0);
    Ok(behind.taken)
}

#[test]
fn full_ranges_leave_the_copy_and_a_start_goes_on_behind_them() {
    let Some(program) = broker::program("that a log of several machines is sealed") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let (dir, options) = (tempfile::tempdir().unwrap(), node(&broker, 1, "a"));
    let data = dir.path();
    let history = sealed(data, &options);
    // Those behind the last segment, and the one that holds its end.
    assert_eq!(frames(data), 2);
    let log = led(data, &options).unwrap();
    assert_eq!(read_all(&log), history);
    assert_eq!(log.read(Position(7), 5).unwrap(), history[7..12]);
    assert_eq!(log.read(Position(38), 4).unwrap(), history[38..42]);
    assert_eq!(log.read_commits(&[3, 10, 11, 41, 44].map(Position)).unwrap().len(), 5);
    assert_eq!((log.indexed().end(), log.segment_ends().len()), (Position(40), 4));
    // What is appended then is sealed too, as if there had been no restart.
    append_all(&log, (45..58).map(small).collect());
    assert_eq!(seal_all(&log), [50]);
    let (head, history) = (log.head(), read_all(&log));
    drop(log);
    assert_eq!(goes_on(data, &options).unwrap(), history[50..]);
    let log = led(data, &options).unwrap();
    assert_eq!((log.head(), read_all(&log)), (head, history));
}

/// Every node cuts at the same places, so that a file of one is good for another.
#[test]
fn two_nodes_make_the_same_segments() {
    let Some(program) = broker::program("that nodes make the same segments") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    sealed(dirs[0].path(), &node(&broker, 1, "a"));
    let second = led(dirs[1].path(), &node(&broker, 1, "b")).unwrap();
    assert_eq!(seal_all(&second), [10, 20, 30, 40]);
    drop(second);
    for first in [1, 11, 21, 31] {
        let file = |data: &Path| fs::read(data.join(format!("segments/{first:020}.segment"))).unwrap();
        assert_eq!(file(dirs[0].path()), file(dirs[1].path()));
    }
}

/// A damaged one could only be made again by a start, which read all of the stream.
#[test]
fn a_damaged_segment_is_made_again_of_the_frames() {
    let Some(program) = broker::program("that a damaged segment is made again of the frames") else { return };
    let broker = Broker::start(&program);
    (1..=2).for_each(|log| make(&broker, log));
    let (dir, options) = (tempfile::tempdir().unwrap(), node(&broker, 1, "a"));
    let data = dir.path();
    let history = sealed(data, &options);
    let log = led(data, &options).unwrap();
    let frames_of = |number| FrameReader::on(Arc::new(operator(&broker)), names(number));
    let (frames, made) = (frames_of(1), data.join("made"));
    for (number, first) in [1, 11, 21, 31].into_iter().enumerate() {
        let path = data.join(format!("segments/{first:020}.segment"));
        let good = fs::read(&path).unwrap();
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        log.rebuild(number, &frames, &made, &|| true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), good);
    }
    assert_eq!(read_all(&log), history);
    assert!(log.rebuild(4, &frames, &made, &|| true).is_err() && !made.exists());
    // Another log is not believed, nor one that is shorter, and a node that stops waits for nothing.
    let path = data.join("segments/00000000000000000011.segment");
    let damaged = b"damaged";
    fs::write(&path, damaged).unwrap();
    let other = tempfile::tempdir().unwrap();
    let foreign = led(other.path(), &node(&broker, 2, "b")).unwrap();
    append_all(&foreign, (50..59).map(small).collect());
    assert!(log.rebuild(1, &frames_of(2), &made, &|| true).is_err());
    append_all(&foreign, (59..90).map(small).collect());
    let refused = log.rebuild(1, &frames_of(2), &made, &|| true).unwrap_err();
    assert!(refused.contains("it is another segment"), "{refused}");
    assert!(log.rebuild(1, &frames, &made, &|| false).unwrap_err().contains("stops"));
    // Nor is a file with the right header and another byte.
    let mut flipped = fs::read(data.join("segments/00000000000000000001.segment")).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&made, flipped).unwrap();
    assert!(log.mend(0, &made).is_err());
    assert_eq!(fs::read(&path).unwrap(), damaged);
    log.rebuild(1, &frames, &made, &|| true).unwrap();
    assert_eq!(read_all(&log), history);
}

#[test]
fn behind_segments_a_copy_that_is_gone_behind_or_damaged_is_filled_again() {
    let Some(program) = broker::program("that a copy behind segments is filled again") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let (dir, options) = (tempfile::tempdir().unwrap(), node(&broker, 1, "a"));
    let data = dir.path();
    let history = sealed(data, &options);
    let copy = data.join("copy");
    let store = || open_waiting(&::sled::Config::new().path(&copy).segment_size(8 << 20)).unwrap();
    let spoil: [&dyn Fn(); 4] = [
        &|| (),
        &|| fs::remove_dir_all(&copy).unwrap(),
        // Without the frame in which the last segment ends.
        &|| drop(store().pop_min().unwrap()),
        &|| {
            let db = store();
            let key = db.iter().keys().next().unwrap().unwrap();
            db.insert(key, b"no frame").unwrap();
        },
    ];
    for spoil in spoil {
        spoil();
        assert_eq!(goes_on(data, &options).unwrap(), history[40..]);
        assert_eq!(read_all(&led(data, &options).unwrap()), history);
    }
    // And all of it, where the segments cannot be used.
    assert!(set_segments_aside(data).unwrap() && !set_segments_aside(data).unwrap());
    assert_eq!(goes_on(data, &options).unwrap(), history);
}

/// A log that ends where a segment does has no frame behind it.
#[test]
fn a_start_finds_its_place_at_the_end_of_the_log() {
    let Some(program) = broker::program("that a start finds its place") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let (dir, options) = (tempfile::tempdir().unwrap(), node(&broker, 1, "a"));
    let log = led(dir.path(), &options).unwrap();
    for batch in 0..4 {
        append_all(&log, (batch * 5..batch * 5 + 5).map(small).collect());
    }
    let history = read_all(&log);
    assert_eq!(seal_all(&log), [10, 20]);
    drop(log);
    for spoils in [false, true] {
        if spoils {
            fs::remove_dir_all(dir.path().join("copy")).unwrap();
        }
        assert_eq!(goes_on(dir.path(), &options).unwrap(), []);
        let log = led(dir.path(), &options).unwrap();
        assert_eq!(read_all(&log), history);
    }
    let log = led(dir.path(), &options).unwrap();
    append_all(&log, vec![small(20)]);
    assert_eq!(read_all(&log).len(), 21);
}

/// A node may have nothing but segments, and the broker less than that, or another log.
#[test]
fn a_broker_that_ends_before_the_segments_or_has_another_log_is_told_apart() {
    let Some(program) = broker::program("that a broker that ends before the segments is noticed") else {
        return;
    };
    let broker = Broker::start(&program);
    (1..=3).for_each(|log| make(&broker, log));
    let dir = tempfile::tempdir().unwrap();
    let history = sealed(dir.path(), &node(&broker, 1, "a"));
    fs::remove_dir_all(dir.path().join("copy")).unwrap();
    // The same log, as long as it was once, and another one.
    for (number, from) in [(2, 0), (3, 50)] {
        let other = tempfile::tempdir().unwrap();
        let log = led(other.path(), &node(&broker, number, "b")).unwrap();
        append_all(&log, (from..from + 9).map(small).collect());
    }
    let refused = goes_on(dir.path(), &node(&broker, 2, "a")).unwrap_err();
    assert!(refused.to_string().contains("the broker has lost a part of the log"), "{refused}");
    assert!(!is_of_segments(dir.path(), &refused));
    let foreign = goes_on(dir.path(), &node(&broker, 3, "a")).unwrap_err();
    assert!(foreign.to_string().contains("the segments are of another log"), "{foreign}");
    assert!(is_of_segments(dir.path(), &foreign));
    assert_eq!(goes_on(dir.path(), &node(&broker, 1, "a")).unwrap(), history[40..]);
}

/// What the tree in memory was not made of is no part of the history, however well it reads.
#[test]
fn a_range_that_the_tree_was_not_made_of_is_not_sealed() {
    let Some(program) = broker::program("that only what is vouched for is sealed") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let dir = tempfile::tempdir().unwrap();
    let log = led(dir.path(), &node(&broker, 1, "a")).unwrap();
    append_all(&log, (0..12).map(small).collect());
    log.cut(Some(10));
    let history = read_all(&log);
    let others = |position: Position| Some(root_of(&history, Position(position.0 - 1)));
    assert!(log.seal(Position(12), &others, &|| true).is_err());
    assert!(
        log.seal(Position(9), &|position| Some(root_of(&history, position)), &|| true).unwrap().is_none()
    );
    assert_eq!((log.segment_ends().len(), read_all(&log)), (0, history));
    assert_eq!(seal_all(&log), [10]);
}
