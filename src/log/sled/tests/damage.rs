//! Damage to the files of a log: a start finds it, says where, and never gives a shorter history.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    conformance::{append_all, read_all},
    samples::{commit, small, subject},
    sled::waiting_open::open_waiting,
};

/// A log of several hundred commits, and how it reads.
struct Victim {
    dir: tempfile::TempDir,
    history: Vec<StoredCommit>,
    /// Of `db`: what lies behind was never written by us.
    used: u64,
}

impl Victim {
    /// As a kill leaves it: copied while it is open.
    fn killed() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir.path().join("live")).unwrap();
        fill(&log);
        let history = read_all(&log);
        copy_dir(&dir.path().join("live"), &dir.path().join("data"));
        let used = used(&dir.path().join("data/log/1/db"));
        drop(log);
        Self { dir, history, used }
    }

    /// As a stop in good order leaves it.
    fn closed() -> Self {
        let mut victim = Self::killed();
        let log = open(&victim.data()).unwrap();
        victim.history = read_all(&log);
        log.close().unwrap();
        victim
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A copy to damage.
    fn copy(&self) -> PathBuf {
        let copy = self.dir.path().join("copy");
        if copy.exists() {
            fs::remove_dir_all(&copy).unwrap();
        }
        copy_dir(&self.data(), &copy);
        copy
    }

    /// Damages a copy and starts on it. Whatever was done to it: an error that names a file, or all of the
    /// history.
    fn suffers(&self, what: &str, damage: impl FnOnce(&Path)) -> Result<(), OpenError> {
        let copy = self.copy();
        damage(&copy);
        match open(&copy) {
            Ok(log) => {
                assert!(read_all(&log) == self.history, "{what}: opened with another history");
                Ok(())
            }
            Err(error) => {
                assert!(error.to_string().starts_with(&copy.display().to_string()), "{what}: {error}");
                Err(error)
            }
        }
    }

    fn must_refuse(&self, what: &str, damage: impl FnOnce(&Path)) -> OpenError {
        self.suffers(what, damage).expect_err(what)
    }
}

fn fill(log: &SledLog) {
    for batch in 0..40 {
        append_all(log, (batch * 10..batch * 10 + 10).map(small).collect());
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
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

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// How many bytes of a file there are before it is all zeros.
fn used(path: &Path) -> u64 {
    fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

/// The same numbers each time: a failure can be looked at again.
fn scattered(seed: u64, below: u64) -> impl Iterator<Item = u64> {
    (0_u64..).map(move |n| {
        let hash = blake3::hash(&[seed.to_be_bytes(), n.to_be_bytes()].concat());
        u64::from_be_bytes(*hash.as_bytes().first_chunk().unwrap()) % below
    })
}

#[test]
fn undamaged_copies_read_the_same() {
    for victim in [Victim::killed(), Victim::closed()] {
        victim.suffers("nothing", |_| ()).unwrap();
    }
}

#[test]
fn a_flipped_byte_is_found_or_was_no_part_of_the_history() {
    for (seed, victim) in (0..).zip([Victim::killed(), Victim::closed()]) {
        let mut found = 0;
        for at in scattered(seed, victim.used).take(80) {
            let flipped = victim.suffers(&format!("byte {at} flipped"), |data| {
                let db = data.join("log/1/db");
                let byte = fs::read(&db).unwrap()[usize::try_from(at).unwrap()];
                overwrite(&db, at, &[byte ^ 0x41]);
            });
            found += u32::from(flipped.is_err());
        }
        assert!(found > 20, "only {found} of 80 were found");
    }
}

#[test]
fn a_cut_file_is_refused() {
    for (seed, victim) in (10..).zip([Victim::killed(), Victim::closed()]) {
        for length in
            scattered(seed, victim.used).take(25).chain([0, 1, 20, 512, 4096, victim.used - 1, victim.used])
        {
            victim.must_refuse(&format!("cut to {length}"), |data| cut(&data.join("log/1/db"), length));
        }
    }
}

/// With the length restored, only the content can tell.
#[test]
fn a_cut_file_that_was_lengthened_again_is_refused() {
    let victim = Victim::killed();
    for length in scattered(20, victim.used).take(20) {
        let what = format!("zeroed from {length}");
        let error = victim.must_refuse(&what, |data| {
            cut(&data.join("log/1/db"), length);
            cut(&data.join("log/1/db"), (8 << 20) - 1);
        });
        assert!(error.to_string().contains("position"), "{error}");
    }
}

#[test]
fn a_zeroed_block_is_found_or_was_no_part_of_the_history() {
    let victim = Victim::killed();
    for at in scattered(30, victim.used / 512).take(30) {
        let zeroed = victim.suffers(&format!("block {at} zeroed"), |data| {
            overwrite(&data.join("log/1/db"), at * 512, &[0; 512]);
        });
        drop(zeroed);
    }
}

#[test]
fn two_blocks_that_changed_places_are_found() {
    let victim = Victim::killed();
    for at in scattered(40, victim.used / 4096 - 2).take(15) {
        let swapped = victim.suffers(&format!("blocks {at} and {} swapped", at + 1), |data| {
            let db = data.join("log/1/db");
            let bytes = fs::read(&db).unwrap();
            let start = usize::try_from(at * 4096).unwrap();
            overwrite(&db, at * 4096, &bytes[start + 4096..start + 8192]);
            overwrite(&db, at * 4096 + 4096, &bytes[start..start + 4096]);
        });
        drop(swapped);
    }
}

#[test]
fn a_missing_file_is_named() {
    for victim in [Victim::killed(), Victim::closed()] {
        for name in ["log/1/db", "log/1/conf", "log.head", "FORMAT"] {
            let error = victim.must_refuse(name, |data| fs::remove_file(data.join(name)).unwrap());
            assert!(error.to_string().contains(name), "{error}");
        }
        let error = victim.must_refuse("log", |data| fs::remove_dir_all(data.join("log")).unwrap());
        assert!(error.to_string().contains("is missing; the log had 400 events"), "{error}");
    }
}

#[test]
fn an_emptied_file_is_named() {
    let victim = Victim::killed();
    for name in ["log/1/db", "log/1/conf", "log.head", "FORMAT"] {
        let error = victim.must_refuse(name, |data| cut(&data.join(name), 0));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_damaged_head_record_is_refused_or_the_one_before_it_is_used() {
    let victim = Victim::closed();
    for at in [0, 10, 20, 40, 60, 90, 4096, 4106, 4140, 4190] {
        let what = format!("head byte {at}");
        victim.suffers(&what, |data| overwrite(&data.join("log.head"), at, &[0xee])).unwrap();
    }
    let error = victim.must_refuse("both slots", |data| {
        overwrite(&data.join("log.head"), 30, &[0xee]);
        overwrite(&data.join("log.head"), 4096 + 30, &[0xee]);
    });
    assert!(error.to_string().contains("log.head"), "{error}");
}

#[test]
fn an_older_copy_of_the_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = open(&data).unwrap();
    fill(&log);
    log.close().unwrap();
    copy_dir(&data.join("log"), &dir.path().join("old"));
    let log = open(&data).unwrap();
    append_all(&log, (400..500).map(small).collect());
    log.close().unwrap();
    fs::remove_dir_all(data.join("log")).unwrap();
    copy_dir(&dir.path().join("old"), &data.join("log"));
    let error = open(&data).unwrap_err();
    assert!(error.to_string().contains("log/1/db"), "{error}");
}

#[test]
fn the_log_of_another_history_is_refused() {
    let victim = Victim::killed();
    let other = victim.dir.path().join("other");
    let log = open(&other).unwrap();
    for n in 0..400 {
        let events = crate::encode(&commit(n, subject(n + 1), 0, i64::try_from(n).unwrap(), 1)).unwrap();
        append_all(&log, vec![events]);
    }
    log.close().unwrap();
    let error = victim.must_refuse("another log", |data| {
        fs::remove_dir_all(data.join("log")).unwrap();
        copy_dir(&other.join("log"), &data.join("log"));
    });
    assert!(error.to_string().contains("position 400: the log up to here is not the one"), "{error}");
}

/// Edits that sled itself would make: its own checksums are right, ours are not.
#[test]
fn an_edit_through_the_store_is_found_and_its_position_named() {
    let victim = Victim::killed();
    let edit = |what: &str, edit: &dyn Fn(&::sled::Db)| {
        let error = victim.must_refuse(what, |data| {
            let config =
                ::sled::Config::new().path(data.join("log/1")).segment_size(8 << 20).flush_every_ms(None);
            edit(&open_waiting(&config).unwrap());
        });
        error.to_string()
    };
    let key = frame::key;
    let removed = edit("a frame removed", &|db| drop(db.remove(key(Position(51))).unwrap()));
    assert!(removed.contains("position 51: is missing; the next frame begins at 61"), "{removed}");
    let last = edit("the last frame removed", &|db| drop(db.remove(key(Position(391))).unwrap()));
    assert!(last.contains("position 391: is missing, and all after it"), "{last}");
    let swapped = edit("two frames swapped", &|db| {
        let (a, b) =
            (db.get(key(Position(51))).unwrap().unwrap(), db.get(key(Position(61))).unwrap().unwrap());
        db.insert(key(Position(51)), b).unwrap();
        db.insert(key(Position(61)), a).unwrap();
    });
    assert!(swapped.contains("position 51: the frame says that it begins at 61"), "{swapped}");
    let repeated = edit("a frame repeated", &|db| {
        let frame = db.get(key(Position(51))).unwrap().unwrap();
        db.insert(key(Position(401)), frame).unwrap();
    });
    assert!(repeated.contains("position 401"), "{repeated}");
    let inserted = edit("a frame between", &|db| drop(db.insert(key(Position(55)), &b"x"[..]).unwrap()));
    assert!(inserted.contains("position 61"), "{inserted}");
    let foreign = edit("a foreign key", &|db| drop(db.insert(b"zz", &b"x"[..]).unwrap()));
    assert!(foreign.contains("a key is not a position"), "{foreign}");
    // With a new frame the check is right, and the root shows it.
    let forged = edit("a frame forged", &|db| {
        let commits: Vec<_> = (0..10).map(|n| (Position(51 + n), small(7_000 + n))).collect();
        let frame = frame::pack(&commits).remove(0);
        db.insert(frame.key(), frame.seal(0, frame::NO_FRAME).0).unwrap();
    });
    assert!(forged.contains("position"), "{forged}");
}

#[test]
fn what_a_kill_leaves_of_the_index_is_tolerated() {
    let victim = Victim::closed();
    victim
        .suffers("a torn index in the making", |data| {
            fs::write(data.join("log/1/snap.0000000000FFFFFF.generating"), b"torn").unwrap();
        })
        .unwrap();
    victim
        .suffers("a torn index", |data| {
            fs::write(data.join("log/1/snap.7FFFFFFFFFFFFFFF"), b"torn but renamed").unwrap();
        })
        .unwrap();
}

#[test]
fn a_frame_damaged_while_the_log_is_open_is_named_and_stops_writing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    fill(&log);
    log.store().db().insert(frame::key(Position(51)), &b"not a frame"[..]).unwrap();
    let error = log.read(Position(45), 100).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { position: Position(51), .. }), "{error}");
    assert!(matches!(log.append(log.head().position, vec![small(900)]), Err(LogError::Stopped { .. })));
    assert_eq!(log.read(Position(0), 50).unwrap().len(), 50);
}
