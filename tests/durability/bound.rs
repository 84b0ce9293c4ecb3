//! Key files that are another log's, or were damaged into other keys: refused by name, for each goes with one log.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::authority::Authority;

/// A stopped directory with a name and a device in it.
fn stopped(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    let authority = Authority::start(&data);
    let admin = authority.admin();
    assert_eq!(admin.put("/v1/subjects/ada", None, &json!({ "name": "Ada" })).unwrap().status, 201);
    let session = json!({ "subjectId": "ada", "device": "laptop" });
    assert_eq!(admin.post("/v1/sessions", None, &session).unwrap().status, 201);
    authority.stop_well();
    data
}

#[track_caller]
fn refused(data: &Path, file: &str) {
    let ended =
        Authority::try_start(data).err().unwrap_or_else(|| panic!("it started with a foreign {file}"));
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.said.contains(file) && !ended.said.contains("panicked"), "{ended:?}");
}

/// One digit of `digests.key` was changed, and the start was ready without alarms: a stolen device's sessions were not
/// found, its limit was bypassed, repeats under a key had a second effect. With another authority's `keys/subjects`
/// every name read null.
#[test]
fn a_changed_or_foreign_key_file_is_refused_by_name() {
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, foreign) = (stopped(here.path()), stopped(elsewhere.path()));
    let digests = fs::read_to_string(data.join("keys/digests.key")).unwrap();
    let other = if digests.starts_with('0') { "1" } else { "0" };
    fs::write(data.join("keys/digests.key"), format!("{other}{}", &digests[1..])).unwrap();
    refused(&data, "keys/digests.key");
    fs::write(data.join("keys/digests.key"), &digests).unwrap();
    for file in ["digests.key", "subjects", "head.key", "bound", "session/0001.paserk", "access/0001.paserk"]
    {
        let (own, theirs) = (data.join("keys").join(file), foreign.join("keys").join(file));
        let kept = fs::read(&own).unwrap();
        fs::copy(theirs, &own).unwrap();
        // A key that the log names by its id is missing, then, from its directory.
        refused(&data, &format!("keys/{}", file.trim_end_matches("/0001.paserk")));
        fs::write(&own, kept).unwrap();
    }
    let authority = Authority::start(&data);
    assert_eq!(authority.admin().get("/v1/subjects/ada").unwrap().body["name"], "Ada");
    authority.stop_well();
}

/// A directory of the time before keys were bound has no marks: its first start takes the keys as they are.
#[test]
fn a_directory_without_marks_is_taken_over_at_its_first_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    fs::remove_file(data.join("keys/bound")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (subjects, foreign) = (data.join("keys/subjects"), stopped(elsewhere.path()).join("keys/subjects"));
    // Names that do not open are not taken over.
    let own = fs::read(&subjects).unwrap();
    fs::copy(&foreign, &subjects).unwrap();
    refused(&data, "keys/subjects");
    fs::write(&subjects, own).unwrap();
    let authority = Authority::start(&data);
    assert_eq!(authority.admin().get("/v1/subjects/ada").unwrap().body["name"], "Ada");
    authority.stop_well();
    assert!(data.join("keys/bound").exists());
    fs::copy(&foreign, &subjects).unwrap();
    refused(&data, "keys/subjects");
}

/// A retiring key that was damaged was no longer named by the log, and so its file was removed.
#[test]
fn a_damaged_retiring_key_is_refused_by_name_and_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    let authority = Authority::start(&data);
    let rotation = json!({ "which": "session", "retire": "overlap" });
    assert_eq!(authority.admin().post("/v1/keys/rotate", None, &rotation).unwrap().status, 200);
    authority.stop_well();
    let path = data.join("keys/session/0001.paserk");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(stopped(elsewhere.path()).join("keys/session/0001.paserk"), &path).unwrap();
    refused(&data, "keys/session/0001.paserk");
    assert!(path.exists());
}

/// A crash leaves key files that were never finished. They stayed for ever, with keys in them.
#[test]
fn what_a_crash_left_of_key_files_is_removed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    let left =
        ["digests.tmp", "session/0002.tmp", "access/0007.tmp"].map(|name| data.join("keys").join(name));
    for path in &left {
        fs::write(path, "half of a key").unwrap();
    }
    Authority::start(&data).stop_well();
    assert!(left.iter().all(|path| !path.exists()));
}

/// The server never reads `admin.key`, so that it was damaged showed only when it was needed.
#[test]
fn a_damaged_admin_key_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = stopped(dir.path());
    for (content, is_named) in [(fs::read(data.join("admin.key")).unwrap(), false), (vec![0xff; 50], true)] {
        fs::write(data.join("admin.key"), content).unwrap();
        let (ended, _) = Authority::start(&data).stop();
        assert_eq!(ended.said.contains("admin.key holds no key of this authority"), is_named, "{ended:?}");
    }
}
