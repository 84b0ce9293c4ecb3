//! kill -9 of a server that seals tiny segments and is backed up all the while: nothing acknowledged is lost, the next
//! start says what it found, and the next backup is whole.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::{
    ambient::{Chance, not_run, say, setting},
    authority::{Authority, admin_key, serve, serve_through},
    caller::Caller,
    history::History,
    load::{Appetite, Ledger, Load},
    mounted_disk::{copy, has_program},
    sealing::{SEGMENT, fill_one_store, sealed_with, segments},
};

const NAME: &str = "b";

/// Asks for one backup after the other, until the server is gone.
fn back_up_for_ever(admin: &Caller, is_over: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (admin, is_over) = (admin.apart(), Arc::clone(is_over));
    thread::spawn(move || {
        let mut whole = 0;
        let mut link = false;
        while !is_over.load(Ordering::Relaxed) {
            let body = json!({ "name": NAME, "incremental": true, "link": link, "withoutKeys": true });
            link = !link;
            match admin.post("/v1/backup", None, &body) {
                Ok(made) => {
                    assert_eq!(made.status, 200, "{made:?}");
                    whole += 1;
                }
                Err(_) => break,
            }
        }
        whole
    })
}

fn with_backups(data: &Path, backups: &Path) -> Command {
    let mut command = serve(data);
    command.args(["--set", SEGMENT, "--set", &format!("backup.dir={}", backups.display())]);
    command
}

/// A whole backup is there and is what it says.
fn verify(backup: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    let out = command.args(["audit", "verify", "--backup"]).arg(backup).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn what_was_acknowledged_survives_kill_9_while_segments_and_backups_are_made() {
    let rounds: u32 = setting("TENURE_BACKUP_KILL_ROUNDS", 3);
    let dir = tempfile::tempdir().unwrap();
    let (data, backups) = (dir.path().join("data"), dir.path().join("backups"));
    fs::create_dir(&backups).unwrap();
    // Soon the first ranges are full, however little the load does.
    fill_one_store(&data, 1_990);
    let mut chance = Chance::of_this_run("backup kill");
    let (mut all, mut history) = (Ledger::default(), History::default());
    let mut whole = 0;
    for round in 0..rounds {
        let mut authority = Authority::launch(with_backups(&data, &backups), &data).unwrap();
        let load = Load::begin(&authority.admin(), &format!("b{round}"), Appetite::HEAVY, &mut chance);
        let is_over = Arc::new(AtomicBool::new(false));
        let making = back_up_for_ever(&authority.admin(), &is_over);
        pause(Duration::from_millis(300 + chance.below(1_500)));
        authority.kill();
        is_over.store(true, Ordering::Relaxed);
        assert!(!authority.said().contains("panicked"), "{}", authority.said());
        let mut ledger = load.ledger();
        whole += making.join().unwrap();
        // What a kill left of a backup is whole, or no backup at all.
        if backups.join(NAME).join("manifest").exists() {
            verify(&backups.join(NAME));
        }
        let authority = Authority::launch(with_backups(&data, &backups), &data).unwrap();
        let admin = authority.admin();
        history.must_survive(&admin, &mut ledger);
        all.add(ledger);
        let body = json!({ "name": NAME, "incremental": true, "withoutKeys": true });
        let made = admin.post("/v1/backup", None, &body).unwrap();
        assert_eq!(made.status, 200, "{made:?}");
        verify(&backups.join(NAME));
        let left = fs::read_dir(backups.join(NAME)).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".tmp")));
        authority.stop_well();
    }
    let authority = Authority::launch(with_backups(&data, &backups), &data).unwrap();
    History::read(&authority.admin()).must_hold(&all);
    let sealed = segments(&data).len();
    assert!(sealed > 0, "no segment was made: {}", authority.said());
    authority.stop_well();
    say(&format!(
        "backup kill: {rounds} rounds: {} acknowledgements, {whole} backups, {sealed} segments, 0 lost",
        all.facts.len()
    ));
}

/// Where the process is killed: as it begins this call on this file of the backup.
const STEPS: [(&str, &str); 6] = [
    ("fsync", "segment-00000000000000000001.tmp"),
    ("rename", "segment-00000000000000000001.tmp"),
    ("rename", "segment-00000000000000002001.tmp"),
    ("rename", "part-00000000000000003001-0.tmp"),
    ("fsync", "manifest.tmp"),
    ("rename", "manifest.tmp"),
];

/// A copy of the directory dies at each step of a backup, in the real program; the next backup completes it.
#[test]
fn a_kill_at_any_step_of_a_backup_leaves_the_one_before_or_the_new_one() {
    if !has_program("strace") {
        not_run("backup kill", "strace is missing: apt-get install strace");
        return;
    }
    let dir = crate::sealing::in_one_store();
    let original = dir.path().join("data");
    sealed_with(&original, &[]).stop_well();
    let mut killed = 0;
    for (number, (call, file)) in STEPS.into_iter().enumerate() {
        let (data, backups) =
            (dir.path().join(format!("copy-{number}")), dir.path().join(format!("backups-{number}")));
        copy(&original, &data);
        fs::create_dir(&backups).unwrap();
        let Some(died) = killed_at(&data, &backups, call, file) else { return };
        killed += usize::from(died);
        let has_manifest = backups.join(NAME).join("manifest").exists();
        if has_manifest {
            verify(&backups.join(NAME));
        }
        let authority = Authority::launch(with_backups(&data, &backups), &data).unwrap();
        let body = json!({ "name": NAME, "incremental": has_manifest, "withoutKeys": true });
        let made = authority.admin().post("/v1/backup", None, &body).unwrap();
        assert_eq!(made.status, 200, "killed at {call} of {file}: {made:?}");
        verify(&backups.join(NAME));
        authority.stop_well();
    }
    assert!(killed >= STEPS.len() - 1, "{killed} of {} steps were met", STEPS.len());
}

/// Backs up until this call; whether it was killed there.
fn killed_at(data: &Path, backups: &Path, call: &str, file: &str) -> Option<bool> {
    let out = data.with_extension("calls");
    let words = format!("strace -D -f -e trace={call} -e inject={call}:signal=KILL -o");
    let path = backups.join(NAME).join(file);
    let runner: Vec<&OsStr> = words.split(' ').map(OsStr::new).collect();
    let runner = [&runner[..], &[out.as_os_str(), OsStr::new("-P"), path.as_os_str()]].concat();
    let mut command = serve_through(&runner, data);
    command.args(["--set", SEGMENT, "--set", &format!("backup.dir={}", backups.display())]);
    let authority = match Authority::launch(command, data) {
        Ok(authority) => authority,
        Err(ended) => {
            not_run("backup kill", &ended.said);
            return None;
        }
    };
    let admin = Caller::new(&authority.url(), &admin_key(data));
    let body = json!({ "name": NAME, "withoutKeys": true });
    drop(admin.post("/v1/backup", None, &body));
    let begun = stopwatch();
    let mut died = admin.get("/healthz").is_err();
    while !died && begun.elapsed() < Duration::from_millis(500) {
        pause(Duration::from_millis(20));
        died = admin.get("/healthz").is_err();
    }
    Some(died)
}
