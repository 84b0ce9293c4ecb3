//! Who may look into a data directory, and who may put something into it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
};

use serde_json::json;

use crate::{
    ambient::not_run,
    authority::{Authority, serve_through},
};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// With a umask of 0, which is what a careless service manager gives, the store's files could be read by everybody.
#[test]
fn whatever_the_umask_no_file_of_the_directory_is_open_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let runner = ["sh", "-c", "umask 0 && exec \"$0\" \"$@\""].map(OsStr::new);
    let authority = Authority::launch(serve_through(&runner, &data), &data).unwrap();
    let admin = authority.admin();
    assert_eq!(admin.put("/v1/subjects/ada", None, &json!({ "name": "Ada" })).unwrap().status, 201);
    authority.stop_well();
    let mut directories = vec![data];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 10, "only {files} files");
}

#[track_caller]
fn refused(data: &Path, words: &str) {
    let ended = Authority::try_start(data).err().expect("it started");
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.said.contains(words), "{ended:?}");
}

#[test]
fn a_directory_that_others_can_write_to_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    for open in [0o777, 0o770, 0o702] {
        fs::set_permissions(&data, fs::Permissions::from_mode(open)).unwrap();
        refused(&data, "chmod go-w");
    }
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "nothing was written into it");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    Authority::start(&data).stop_well();
    // What a start with a wider umask made is put right.
    fs::set_permissions(data.join("log"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(data.join("log.head"), fs::Permissions::from_mode(0o644)).unwrap();
    Authority::start(&data).stop_well();
    assert_eq!((mode(&data.join("log")), mode(&data.join("log.head"))), (0o700, 0o600));
}

/// Who owns the directory, or planted a link in place of the keys, can read every key that is made there.
#[test]
fn another_users_directory_and_keys_behind_a_link_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    Authority::start(&data).stop_well();
    fs::rename(data.join("keys"), dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), data.join("keys")).unwrap();
    refused(&data, "keys is a symbolic link");
    fs::remove_file(data.join("keys")).unwrap();
    fs::rename(dir.path().join("elsewhere"), data.join("keys")).unwrap();
    if !rustix::process::geteuid().is_root() {
        return not_run("modes", "only root can give a directory to another user");
    }
    chown(data.join("keys"), Some(12_345), None).unwrap();
    refused(&data, "another user's");
    chown(data.join("keys"), Some(0), None).unwrap();
    chown(&data, Some(12_345), None).unwrap();
    refused(&data, "belongs neither to the user");
    chown(&data, Some(0), None).unwrap();
    Authority::start(&data).stop_well();
}

/// Keys are in the memory of the server: no core file gets them, and no other process of the same user.
#[test]
fn the_memory_of_the_server_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // To root all memory is open, but for root without its capabilities.
    let is_root = rustix::process::geteuid().is_root();
    let without: &[&str] =
        if is_root { &["setpriv", "--bounding-set=-all", "--inh-caps=-all"] } else { &["env"] };
    let limited = ["sh", "-c", "ulimit -c $(ulimit -Hc) && exec \"$0\" \"$@\""];
    let runner: Vec<_> = without.iter().chain(&limited).map(OsStr::new).collect();
    let authority = Authority::launch(serve_through(&runner, &data), &data).unwrap();
    let process = format!("/proc/{}", authority.id());
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let can_read = |process: &str| {
        let reader = Command::new(without[0])
            .args(&without[1..])
            .arg("cat")
            .arg(format!("{process}/environ"))
            .output();
        reader.unwrap().status.success()
    };
    assert!(can_read("/proc/self") && !can_read(&process));
    authority.stop_well();
}
