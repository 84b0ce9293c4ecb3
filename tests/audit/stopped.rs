//! The data directory of a stopped server is read, and no byte of it changes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    commands::{BOT, audit},
    incident::{path, vkey},
};

/// Every file with its bytes and the time of its last change.
fn contents(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let changed = fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(path.clone(), (fs::read(&path).unwrap(), changed));
        }
    }
    found
}

fn imported(directory: &Path) -> PathBuf {
    let data = directory.join("data");
    let export = path("incident.export");
    let ran = audit(&[
        "import",
        export.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--verifier-key",
        &vkey(),
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    data
}

#[test]
fn every_command_leaves_it_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let data = imported(directory.path());
    let before = contents(&data);
    let data = data.to_str().unwrap();
    let heads = path("incident.heads");
    let verified = audit(&[
        "verify",
        "--data",
        data,
        "-o",
        "json",
        "--verifier-key",
        &vkey(),
        "--heads",
        heads.to_str().unwrap(),
    ]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    assert_eq!((&verified.json()["to"], &verified.json()["verified"]), (&22.into(), &true.into()));
    let replayed = audit(&["replay", "--data", data, "-o", "json"]).json();
    let of_file =
        audit(&["replay", "--file", path("incident.export").to_str().unwrap(), "-o", "json"]).json();
    assert_eq!(replayed, of_file);
    for command in [&["show", BOT][..], &["diff", "3", "9"], &["replay", "--step"]] {
        let ran = audit(&[command, &["--data", data]].concat());
        assert_eq!(ran.code, 0, "{command:?}: {}", ran.stderr);
    }
    assert_eq!(contents(Path::new(data)), before);
}

#[test]
fn damage_is_named_and_nothing_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let data = imported(directory.path());
    let db = data.join("log/1/db");
    let mut bytes = fs::read(&db).unwrap();
    let at = bytes.windows(12).position(|window| window == b"payments-bot").unwrap();
    bytes[at] ^= 1;
    fs::write(&db, &bytes).unwrap();
    let ran = audit(&["verify", "--data", data.to_str().unwrap()]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("log/1/db"), "{}", ran.stderr);
    assert_eq!(fs::read(&db).unwrap(), bytes);
}

#[test]
fn a_running_server_keeps_its_directory_to_itself() {
    let directory = tempfile::tempdir().unwrap();
    let data = imported(directory.path());
    let lock = File::options().read(true).write(true).open(data.join("log.head")).unwrap();
    lock.try_lock().unwrap();
    let ran = audit(&["verify", "--data", data.to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--url"), "{}", ran.stderr);
}

#[test]
fn an_import_is_all_or_nothing_and_never_into_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let data = imported(directory.path());
    let export = path("incident.export");
    let again = audit(&["import", export.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert_eq!(again.code, 5, "{}", again.stderr);

    let cut = directory.path().join("cut.export");
    let bytes = fs::read(&export).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let other = directory.path().join("other");
    let ran = audit(&["import", cut.to_str().unwrap(), "--data", other.to_str().unwrap()]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(!other.exists(), "nothing of it is left");
}

#[test]
fn a_server_does_not_start_on_an_import() {
    let directory = tempfile::tempdir().unwrap();
    let data = imported(directory.path());
    let served = std::process::Command::new(crate::commands::BINARY)
        .args(["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(!served.status.success());
    assert!(String::from_utf8_lossy(&served.stderr).contains("put the keys back"));
}
