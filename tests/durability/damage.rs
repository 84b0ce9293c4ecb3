//! Damage to a data directory: a start refuses, in words and at once, or shows the complete history. Never a
//! shorter one.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tenure::clock::stopwatch;

use crate::{
    ambient::{Chance, not_run},
    authority::{Authority, admin_key, serve},
    caller::Caller,
    history::History,
    load::work,
    mounted_disk::{MountedDisk, copy},
};

/// A refusal comes this soon.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A data directory with a history, as a kill or a stop has left it.
struct Victim {
    dir: tempfile::TempDir,
    key: String,
    truth: Truth,
}

/// Everything that there is to know.
#[derive(PartialEq)]
struct Truth {
    history: History,
    sessions: Vec<Value>,
}

impl Truth {
    fn told_by(admin: &Caller) -> Self {
        let mut sessions = admin.list("/v1/sessions?status=all&limit=200");
        for session in &mut sessions {
            // Time goes on when a test is slow.
            session["asOfTime"] = Value::Null;
            session["expiresIn"] = Value::Null;
        }
        Self { history: History::read(admin), sessions }
    }
}

impl Victim {
    fn killed() -> Self {
        Self::ended(|mut authority| authority.kill())
    }

    fn stopped() -> Self {
        Self::ended(Authority::stop_well)
    }

    /// Its first half ended in a stop and is kept in `older`.
    fn ended(end: impl FnOnce(Authority)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let authority = Authority::start(&data);
        work(&authority.admin(), "first", Duration::from_millis(150));
        authority.stop_well();
        copy(&data, &dir.path().join("older"));
        let authority = Authority::start(&data);
        work(&authority.admin(), "second", Duration::from_millis(150));
        authority.stop_well();
        // From here on neither what happens at a stop nor the time changes anything.
        let authority = Authority::start(&data);
        let truth = Truth::told_by(&authority.admin());
        end(authority);
        let key = admin_key(&data);
        Self { dir, key, truth }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn older(&self, name: &str) -> PathBuf {
        self.dir.path().join("older").join(name)
    }

    /// Starts on a damaged copy, and gives the words of the refusal; `None` if all of the history is there.
    fn suffers(&self, what: &str, damage: impl FnOnce(&Path)) -> Option<String> {
        let copied = self.dir.path().join("copy");
        remove(&copied);
        copy(&self.data(), &copied);
        damage(&copied);
        let begun = stopwatch();
        match Authority::try_start(&copied) {
            Ok(authority) => {
                let truth = Truth::told_by(&authority.caller(&self.key));
                assert!(truth == self.truth, "{what}: it started with another history");
                assert!(!authority.said().contains("panicked"), "{what}: {}", authority.said());
                None
            }
            Err(ended) => {
                let said = ended.said;
                assert!(begun.elapsed() < AT_ONCE, "{what}: it took {:?} to say {said}", begun.elapsed());
                assert_eq!(ended.status.code(), Some(2), "{what}: {said}");
                assert!(!said.contains("panicked"), "{what}: {said}");
                let names_a_file = said.contains(&format!("{}/", copied.display()));
                assert!(names_a_file && said.contains("error: "), "{what}: {said}");
                Some(said)
            }
        }
    }

    fn must_refuse(&self, what: &str, damage: impl FnOnce(&Path)) -> String {
        self.suffers(what, damage).unwrap_or_else(|| panic!("{what}: it started all the same"))
    }

    fn must_bear(&self, what: &str, damage: impl FnOnce(&Path)) {
        if let Some(said) = self.suffers(what, damage) {
            panic!("{what}: {said}");
        }
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

/// Puts another file or directory in its place.
fn replace(path: &Path, with: &Path) {
    remove(path);
    copy(with, path);
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn flip(path: &Path, at: u64) {
    let byte = fs::read(path).unwrap()[usize::try_from(at).unwrap()];
    overwrite(path, at, &[byte ^ 0x24]);
}

fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// How many bytes of a file there are before it is all zeros.
fn used(path: &Path) -> u64 {
    fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

#[test]
fn without_damage_everything_is_there() {
    for victim in [Victim::killed(), Victim::stopped()] {
        victim.must_bear("nothing", |_| ());
    }
}

#[test]
fn a_flipped_byte_of_the_log_is_found_or_was_no_part_of_the_history() {
    for (seed, victim) in (1..).zip([Victim::killed(), Victim::stopped()]) {
        let mut chance = Chance::new(seed);
        let used = used(&victim.data().join("log/1/db"));
        let (mut found, mut placed) = (0, 0);
        for _ in 0..30 {
            let at = chance.below(used);
            let said = victim.suffers(&format!("byte {at} flipped"), |data| flip(&data.join("log/1/db"), at));
            found += u32::from(said.is_some());
            placed += u32::from(said.is_some_and(|said| said.contains("position ")));
        }
        assert!(found >= 15, "only {found} of 30 were found");
        assert!(placed > 0, "no position was named");
    }
}

#[test]
fn a_zeroed_block_of_the_log_is_found_or_was_no_part_of_the_history() {
    let victim = Victim::killed();
    let blocks = used(&victim.data().join("log/1/db")) / 4096;
    let zeroed = (0..blocks.min(25)).map(|block| {
        victim.suffers(&format!("block {block} zeroed"), |data| {
            overwrite(&data.join("log/1/db"), block * 4096, &[0; 4096]);
        })
    });
    assert!(zeroed.flatten().count() > 0);
}

#[test]
fn a_cut_log_is_refused() {
    for (seed, victim) in (3..).zip([Victim::killed(), Victim::stopped()]) {
        let mut chance = Chance::new(seed);
        let used = used(&victim.data().join("log/1/db"));
        for length in [0, 1, 512, 4096, used - 1, chance.below(used), chance.below(used)] {
            let cut_short =
                victim.must_refuse(&format!("cut to {length}"), |data| cut(&data.join("log/1/db"), length));
            assert!(cut_short.contains("log/1/db"), "{cut_short}");
            // Brought back to its length, only the content can tell. The last bytes may be pages that sled has written
            // anew elsewhere: then all of the history is there, and otherwise the words say where it is not.
            let zeroed = victim.suffers(&format!("zero from {length}"), |data| {
                let full = self::length(&data.join("log/1/db"));
                cut(&data.join("log/1/db"), length.min(used - 200));
                cut(&data.join("log/1/db"), full);
            });
            assert!(length > 4096 || zeroed.is_some(), "zero from {length}: it started all the same");
            assert!(zeroed.is_none_or(|said| said.contains("log/1/db")), "zero from {length}");
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    for victim in [Victim::killed(), Victim::stopped()] {
        for name in [
            "FORMAT",
            "log.head",
            "log",
            "log/1/conf",
            "log/1/db",
            "keys",
            "keys/digests.key",
            "keys/session",
            "keys/session/0001.paserk",
            "keys/subjects",
            "keys/head.key",
            "head.note",
        ] {
            let said = victim.must_refuse(name, |data| remove(&data.join(name)));
            // Which number its key had is no longer known.
            let named = name.trim_end_matches("/0001.paserk");
            assert!(said.contains(named), "{name}: {said}");
        }
    }
}

#[test]
fn what_is_emptied_is_named() {
    let victim = Victim::killed();
    for name in [
        "FORMAT",
        "log.head",
        "log/1/conf",
        "log/1/db",
        "keys/digests.key",
        "keys/session/0001.paserk",
        "keys/subjects",
        "keys/head.key",
        "head.note",
    ] {
        let said = victim.must_refuse(name, |data| cut(&data.join(name), 0));
        assert!(said.contains(name), "{name}: {said}");
    }
}

/// What can be made anew, or is for people only.
#[test]
fn what_is_disposable_may_be_missing_damaged_or_old() {
    let victim = Victim::stopped();
    for name in ["snapshot", "admin.key", "log/1/blobs"] {
        victim.must_bear(name, |data| remove(&data.join(name)));
    }
    victim.must_bear("an older snapshot", |data| replace(&data.join("snapshot"), &victim.older("snapshot")));
    let snapshot = length(&victim.data().join("snapshot"));
    for at in [0, 10, 17, 18, 40, 60, 90, snapshot / 2, snapshot - 1] {
        victim.must_bear(&format!("snapshot byte {at} flipped"), |data| flip(&data.join("snapshot"), at));
    }
    for length in [0, 10, snapshot / 2, snapshot - 1] {
        victim.must_bear(&format!("snapshot cut to {length}"), |data| cut(&data.join("snapshot"), length));
    }
    victim.must_bear("a snapshot in the making", |data| {
        fs::write(data.join("snapshot.new"), b"tenure-snap").unwrap();
    });
    victim.must_bear("an index in the making", |data| {
        fs::write(data.join("log/1/snap.00000000000FFFFF.generating"), b"torn").unwrap();
    });
}

/// The index of the store saves it a reading of its file; damage to it may cost that reading, or a start.
#[test]
fn a_damaged_index_hides_nothing() {
    let victim = Victim::killed();
    let index = fs::read_dir(victim.data().join("log/1")).unwrap();
    let index = index.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let index = index.into_iter().find(|name| name.starts_with("snap.")).unwrap();
    let index = format!("log/1/{index}");
    for at in (0..length(&victim.data().join(&index))).step_by(7) {
        victim.must_bear(&format!("index byte {at} flipped"), |data| flip(&data.join(&index), at));
    }
    victim.must_bear("an emptied index", |data| cut(&data.join(&index), 0));
    victim.must_bear("no index", |data| remove(&data.join(&index)));
}

#[test]
fn a_damaged_head_record_is_named_or_the_one_before_it_is_used() {
    let victim = Victim::stopped();
    for at in [0, 12, 20, 30, 50, 70, 90, 4096, 4110, 4120, 4150, 4185] {
        victim.must_bear(&format!("head byte {at} flipped"), |data| flip(&data.join("log.head"), at));
    }
    let said = victim.must_refuse("both records", |data| {
        flip(&data.join("log.head"), 30);
        flip(&data.join("log.head"), 4096 + 30);
    });
    assert!(said.contains("log.head"), "{said}");
}

#[test]
fn older_copies_are_refused() {
    for victim in [Victim::killed(), Victim::stopped()] {
        let said =
            victim.must_refuse("an older log", |data| replace(&data.join("log"), &victim.older("log")));
        assert!(said.contains("log/1/db") && said.contains("position "), "{said}");
        let keys = "keys/subjects";
        let said = victim.must_refuse("older keys", |data| replace(&data.join(keys), &victim.older(keys)));
        assert!(said.contains("keys/subjects"), "{said}");
    }
}

/// The whole directory is as it was once, heads and keys included: nothing in it can tell.
#[test]
fn a_directory_put_back_from_an_older_copy_is_noticed_by_the_further_head_file() {
    let dir = tempfile::tempdir().unwrap();
    let (data, older) = (dir.path().join("data"), dir.path().join("older"));
    let setting = format!("audit.head_file={}", dir.path().join("heads").display());
    let start = || {
        let mut command = serve(&data);
        command.args(["--set", &setting]);
        Authority::launch(command, &data)
    };
    let authority = start().unwrap();
    work(&authority.admin(), "first", Duration::from_millis(100));
    authority.stop_well();
    copy(&data, &older);
    let mut authority = start().unwrap();
    work(&authority.admin(), "second", Duration::from_millis(100));
    let head = authority.admin().get("/v1/audit/head").unwrap().body;
    authority.kill();
    replace(&data, &older);
    let ended = start().err().expect("it started on an older copy");
    let lost = format!("heads has a signed head of {} events", head["size"]);
    let is_named = ended.said.contains(&lost) && ended.said.contains("the log ends at position ");
    assert!(is_named && ended.status.code() == Some(2), "{ended:?}");
    // Without the file nobody could know.
    Authority::start(&data).stop_well();
}

/// A head that was changed, or is another log's, is no head of ours.
#[test]
fn a_changed_head_is_refused() {
    let victim = Victim::stopped();
    for at in 0..length(&victim.data().join("head.note")) {
        if at % 7 == 0 {
            let said = victim.must_refuse("a changed head", |data| flip(&data.join("head.note"), at));
            assert!(said.contains("head.note"), "{said}");
        }
    }
    let other = Victim::stopped();
    let said = victim.must_refuse("another log's head", |data| {
        replace(&data.join("head.note"), &other.data().join("head.note"));
    });
    assert!(said.contains("head.note") && said.contains("is not signed by tenure/"), "{said}");
    victim.must_bear("an older head", |data| replace(&data.join("head.note"), &victim.older("head.note")));
}

/// A snapshot is only ever written of what is in the log.
#[test]
fn a_log_that_ends_before_the_snapshot_is_refused() {
    let victim = Victim::stopped();
    let said = victim.must_refuse("an older log and its head record", |data| {
        for name in ["log", "log.head"] {
            replace(&data.join(name), &victim.older(name));
        }
    });
    assert!(said.contains("snapshot") && said.contains("position "), "{said}");
}

#[test]
fn a_foreign_or_newer_format_is_refused() {
    let victim = Victim::stopped();
    for (content, words) in [
        ("tenure-data 3\n", "use the newer program"),
        ("tenure-data\n", "no data directory of Tenure"),
        ("postgres 17\n", "no data directory of Tenure"),
    ] {
        let said = victim.must_refuse(content, |data| fs::write(data.join("FORMAT"), content).unwrap());
        assert!(said.contains("FORMAT") && said.contains(words), "{said}");
    }
    for (name, at) in [("FORMAT", 3), ("log/1/conf", 3), ("keys/subjects", 3), ("keys/subjects", 80)] {
        let said = victim.must_refuse(name, |data| flip(&data.join(name), at));
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let victim = Victim::stopped();
    for name in ["keys/digests.key", "keys/session/0001.paserk", "keys/subjects", "keys/head.key"] {
        let said = victim.must_refuse(name, |data| {
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        });
        assert!(said.contains(name) && said.contains("chmod 600"), "{said}");
    }
}

#[test]
fn a_second_server_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Authority::start(&data);
    let ended = Authority::try_start(&data).err().expect("it started");
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.said.contains("another process has this data directory open"), "{ended:?}");
    let ledger = work(&first.admin(), "after", Duration::from_millis(50));
    History::read(&first.admin()).must_hold(&ledger);
    first.stop_well();
}

#[test]
fn a_read_only_directory_is_refused() {
    let mounted = match MountedDisk::ext4(64) {
        Ok(mounted) => mounted,
        Err(why) => return not_run("read-only directory", &why),
    };
    let data = mounted.path().join("data");
    let authority = Authority::start(&data);
    let ledger = work(&authority.admin(), "before", Duration::from_millis(50));
    authority.stop_well();
    mounted.forbid_writing(true).unwrap();
    let ended = Authority::try_start(&data).err().expect("it started");
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    let is_clear = ended.said.contains("Read-only file system") && ended.said.contains("/data/");
    assert!(is_clear && !ended.said.contains("panicked"), "{ended:?}");
    mounted.forbid_writing(false).unwrap();
    let authority = Authority::start(&data);
    History::read(&authority.admin()).must_hold(&ledger);
}
