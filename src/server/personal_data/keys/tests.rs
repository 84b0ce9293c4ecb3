//! The file of subject keys through restarts, crashes, damage and full disks.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Barrier, atomic::Ordering},
    thread,
};

use super::{
    super::key_disk::faulty::{FAILING, FULL, FaultyDisk, SOUND},
    *,
};
use tenure_protocol::entropy::OsEntropy;

fn subject(name: impl fmt::Display) -> StreamId {
    StreamId::Subject(name.to_string().parse().unwrap())
}

fn file(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("keys/subjects")
}

fn open(dir: &tempfile::TempDir) -> Result<SubjectKeys, KeyFileError> {
    SubjectKeys::open(&dir.path().join("keys"))
}

/// A file with the keys of the subjects `0..count`.
fn with_keys(count: u64) -> (tempfile::TempDir, Vec<SubjectKey>) {
    let dir = tempfile::tempdir().unwrap();
    let keys = open(&dir).unwrap();
    let made = (0..count).map(|n| keys.key_for(&subject(n), &OsEntropy).unwrap()).collect();
    (dir, made)
}

fn edit(dir: &tempfile::TempDir, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file(dir)).unwrap();
    change(&mut bytes);
    fs::write(file(dir), bytes).unwrap();
}

fn slot(number: usize) -> std::ops::Range<usize> {
    number * 64..(number + 1) * 64
}

#[test]
fn a_key_is_made_once_and_kept_through_a_restart() {
    let (dir, made) = with_keys(200);
    let keys = open(&dir).unwrap();
    for (n, key) in made.iter().enumerate() {
        assert_eq!(keys.get(&subject(n)).as_ref(), Some(key));
        assert_eq!(&keys.key_for(&subject(n), &OsEntropy).unwrap(), key);
    }
    assert_eq!(keys.get(&StreamId::System), None);
    assert_eq!(fs::metadata(file(&dir)).unwrap().len(), 201 * 64);
    assert_eq!(fs::metadata(file(&dir)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_text_opens_until_its_subject_is_forgotten() {
    let (dir, _) = with_keys(0);
    let keys = open(&dir).unwrap();
    let (anna, bert) = (subject("anna"), subject("bert"));
    let of_anna = keys.seal(&anna, "name", "Anna", &OsEntropy).unwrap();
    let of_bert = keys.seal(&bert, "name", "Bert", &OsEntropy).unwrap();
    assert_eq!(keys.open_text(&anna, "name", &of_anna).as_deref(), Some("Anna"));

    keys.forget(&anna, Position(5)).unwrap();
    assert!(keys.is_forgotten(&anna) && !keys.is_forgotten(&bert));
    for keys in [keys, open(&dir).unwrap()] {
        assert_eq!(keys.open_text(&anna, "name", &of_anna), None);
        assert_eq!(keys.open_text(&bert, "name", &of_bert).as_deref(), Some("Bert"));
    }
}

#[test]
fn a_forgotten_key_is_nowhere_in_the_file() {
    let (dir, made) = with_keys(3);
    open(&dir).unwrap().forget(&subject(1), Position(9)).unwrap();
    let bytes = fs::read(file(&dir)).unwrap();
    let found = |key: &SubjectKey| bytes.windows(32).any(|window| window == key.as_bytes());
    assert_eq!(made.iter().map(found).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_forgotten_subject_lives_on_with_a_new_key() {
    let (dir, made) = with_keys(3);
    let keys = open(&dir).unwrap();
    let old = keys.seal(&subject(1), "name", "before", &OsEntropy).unwrap();
    keys.forget(&subject(1), Position(9)).unwrap();
    let new = keys.seal(&subject(1), "name", "after", &OsEntropy).unwrap();
    assert_ne!(keys.get(&subject(1)).as_ref(), Some(&made[1]));
    for keys in [keys, open(&dir).unwrap()] {
        assert_eq!(keys.open_text(&subject(1), "name", &old), None);
        assert_eq!(keys.open_text(&subject(1), "name", &new).as_deref(), Some("after"));
    }
}

#[test]
fn threads_that_come_together_get_one_key_and_share_syncs() {
    let (dir, _) = with_keys(0);
    let disk = Arc::new(FaultyDisk::new(open_private(&file(&dir)).unwrap()));
    let keys = SubjectKeys::of(file(&dir), Box::new(Arc::clone(&disk)), HashMap::new(), 1);
    let start = Barrier::new(32);
    let ask = |n: usize| {
        start.wait();
        (0..10).map(|round| keys.key_for(&subject(round * 16 + n % 16), &OsEntropy).unwrap()).collect()
    };
    let answers: Vec<Vec<SubjectKey>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..32).map(|n| scope.spawn(move || ask(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for n in 0..16 {
        assert_eq!(answers[n], answers[n + 16]);
    }
    assert_eq!(open(&dir).unwrap().live.read().len(), 160);
    let syncs = disk.syncs.load(Ordering::SeqCst);
    assert!(syncs <= 80, "{syncs} syncs for 160 keys");
}

/// A key forgotten by one thread the moment it was made by another must neither hang nor fail either.
#[test]
fn making_and_forgetting_race_without_harm() {
    let (dir, _) = with_keys(0);
    let keys = open(&dir).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| _ = keys.key_for(&subject("x"), &OsEntropy).unwrap()));
            scope.spawn(|| (0..100).for_each(|_| keys.forget(&subject("x"), Position(1)).unwrap()));
        }
    });
    let key = keys.key_for(&subject("x"), &OsEntropy).unwrap();
    assert_eq!(open(&dir).unwrap().get(&subject("x")), Some(key));
}

#[test]
fn a_full_disk_leaves_nothing_half_done_and_passes() {
    let (dir, made) = with_keys(3);
    let (live, _, end) = load(&file(&dir), &File::open(file(&dir)).unwrap()).unwrap();
    let disk = Arc::new(FaultyDisk::new(open_private(&file(&dir)).unwrap()));
    let keys = SubjectKeys::of(file(&dir), Box::new(Arc::clone(&disk)), live, end);

    disk.becomes(FULL);
    assert!(matches!(keys.key_for(&subject("new"), &OsEntropy), Err(TextError::Full { .. })));
    assert_eq!(keys.get(&subject("new")), None);
    assert_eq!(fs::metadata(file(&dir)).unwrap().len(), 4 * 64);
    assert_eq!(keys.key_for(&subject(1), &OsEntropy).unwrap(), made[1], "known keys go on working");

    disk.becomes(SOUND);
    let key = keys.key_for(&subject("new"), &OsEntropy).unwrap();
    assert_eq!(open(&dir).unwrap().get(&subject("new")), Some(key));
}

#[test]
fn after_a_failed_sync_nothing_more_is_promised() {
    let (dir, made) = with_keys(3);
    let (live, _, end) = load(&file(&dir), &File::open(file(&dir)).unwrap()).unwrap();
    let disk = Arc::new(FaultyDisk::new(open_private(&file(&dir)).unwrap()));
    let keys = SubjectKeys::of(file(&dir), Box::new(Arc::clone(&disk)), live, end);

    disk.becomes(FAILING);
    assert!(matches!(keys.key_for(&subject("new"), &OsEntropy), Err(TextError::Failed { .. })));
    disk.becomes(SOUND);
    assert!(matches!(keys.key_for(&subject("other"), &OsEntropy), Err(TextError::Failed { .. })));
    assert_eq!(keys.get(&subject(1)).as_ref(), Some(&made[1]));
    assert!(matches!(keys.forget(&subject(1), Position(9)), Err(TextError::Failed { .. })));
    assert_eq!(keys.get(&subject(1)), None, "what is to be forgotten is not read while the disk fails");
    assert_eq!(open(&dir).unwrap().get(&subject(1)).as_ref(), Some(&made[1]), "the next start destroys it");
}

#[test]
fn a_torn_last_slot_is_cut_off() {
    for kept in [1, 16, 63] {
        let (dir, made) = with_keys(3);
        edit(&dir, |bytes| bytes.truncate(3 * 64 + kept));
        let keys = open(&dir).unwrap();
        assert_eq!(keys.get(&subject(1)).as_ref(), Some(&made[1]));
        assert_eq!(keys.get(&subject(2)), None);
        let again = keys.key_for(&subject(2), &OsEntropy).unwrap();
        assert_eq!(open(&dir).unwrap().get(&subject(2)), Some(again));
    }
}

/// The length of a file can reach the disk before its content: the batch that was being written when the
/// power went is then zeros, in whole or in part.
#[test]
fn an_unfinished_batch_in_the_last_page_is_cut_off() {
    let (dir, made) = with_keys(5);
    edit(&dir, |bytes| bytes[slot(3)].fill(0));
    let keys = open(&dir).unwrap();
    assert_eq!(keys.get(&subject(1)).as_ref(), Some(&made[1]));
    for n in 2..5 {
        assert_eq!(keys.get(&subject(n)), None);
    }
    assert_eq!(fs::metadata(file(&dir)).unwrap().len(), 3 * 64);
}

/// A restore with the keys of a killed server was refused, as if they were damaged.
#[test]
fn marks_are_cut_in_a_file_with_what_a_crash_left_at_its_end() {
    let (dir, _) = with_keys(2);
    open(&dir).unwrap().forget(&subject(0), Position(9)).unwrap();
    let whole = fs::read(file(&dir)).unwrap();
    let cut = SubjectKeys::with_marks_cut(&whole, Position(4)).unwrap();
    assert_eq!(cut.len(), whole.len());
    for left in [&[7; 10][..], &[0; 64], &[&[7; 40][..], &[0; 24], &[7; 3]].concat()] {
        let torn = [&whole, left].concat();
        assert_eq!(SubjectKeys::with_marks_cut(&torn, Position(4)), Some(cut.clone()));
    }
    let mut damaged = whole.clone();
    damaged[70] ^= 1;
    assert!(SubjectKeys::with_marks_cut(&damaged, Position(4)).is_none());
    edit(&dir, |bytes| *bytes = cut.to_vec());
    assert_eq!(open(&dir).unwrap().forgotten_by(&subject(0)), Some(Position(4)));
}

#[test]
fn an_unfinished_slot_before_the_last_page_is_damage() {
    let (dir, _) = with_keys(70);
    edit(&dir, |bytes| bytes[slot(63)].fill(0));
    assert!(matches!(open(&dir), Err(KeyFileError::DamagedSlot { slot: 63, .. })));
}

#[test]
fn a_damaged_slot_is_named_and_never_dropped() {
    for number in [1, 2, 3] {
        let (dir, _) = with_keys(3);
        let whole = fs::read(file(&dir)).unwrap();
        edit(&dir, |bytes| bytes[number * 64 + 20] ^= 1);
        let said = open(&dir).unwrap_err().to_string();
        assert!(said.contains(&format!("slot {number} ")), "{said}");
        assert_eq!(fs::read(file(&dir)).unwrap().len(), whole.len(), "the evidence stays");
    }
}

#[test]
fn a_slot_moved_or_copied_is_damage() {
    let (dir, _) = with_keys(3);
    edit(&dir, |bytes| bytes.copy_within(slot(1), slot(2).start));
    assert!(matches!(open(&dir), Err(KeyFileError::DamagedSlot { slot: 2, .. })));
}

#[test]
fn a_file_of_another_kind_is_refused_and_a_torn_beginning_is_not() {
    let (dir, _) = with_keys(3);
    edit(&dir, |bytes| bytes[3] ^= 1);
    assert!(matches!(open(&dir), Err(KeyFileError::Damaged { .. })));
    let (dir, _) = with_keys(0);
    edit(&dir, |bytes| bytes.truncate(10));
    open(&dir).unwrap().key_for(&StreamId::System, &OsEntropy).unwrap();
    assert!(open(&dir).unwrap().get(&StreamId::System).is_some());
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let (dir, _) = with_keys(1);
    fs::set_permissions(file(&dir), fs::Permissions::from_mode(0o604)).unwrap();
    assert!(matches!(open(&dir), Err(KeyFileError::OpenToOthers { .. })));
}

#[test]
fn for_which_event_a_key_was_destroyed_is_known_after_a_restart() {
    let (dir, _) = with_keys(2);
    let keys = open(&dir).unwrap();
    keys.forget(&subject(1), Position(9)).unwrap();
    keys.key_for(&subject(1), &OsEntropy).unwrap();
    keys.forget(&subject(1), Position(20)).unwrap();
    for keys in [keys, open(&dir).unwrap()] {
        let done = [9, 20, 21].map(|erased| keys.was_forgotten_at(&subject(1), Position(erased)));
        assert_eq!(done, [true, true, false]);
        assert_eq!(keys.forgotten_by(&subject(1)), Some(Position(20)));
        assert!(!keys.was_forgotten_at(&subject(0), Position(1)));
    }
}

/// Without a mark a start could not distinguish the key to be destroyed from one made later.
#[test]
fn to_forget_a_subject_without_a_key_leaves_a_mark() {
    let (dir, _) = with_keys(1);
    let keys = open(&dir).unwrap();
    keys.forget(&subject("none"), Position(9)).unwrap();
    let later = keys.key_for(&subject("none"), &OsEntropy).unwrap();
    for keys in [keys, open(&dir).unwrap()] {
        assert!(keys.was_forgotten_at(&subject("none"), Position(9)));
        assert_eq!(keys.get(&subject("none")).as_ref(), Some(&later));
        assert!(keys.get(&subject(0)).is_some());
    }
}
