//! Ranges that are full and cannot be sealed: for want of space, or because something is in the way. Nothing is lost, the
//! operator is told, and it goes on by itself.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use tenure::clock::{pause, stopwatch};

use crate::{
    ambient::not_run,
    authority::{Authority, admin_key},
    caller::Caller,
    mounted_disk::{MountedDisk, copy},
    sealing::{SEGMENT, fill_one_store, number_of, segments},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for an alarm that says so, or until there is none.
fn until_alarm(authority: &Authority, admin: &Caller, said: Option<&str>) -> String {
    let begun = stopwatch();
    loop {
        let alarms = admin.get("/readyz").unwrap().body["alarms"].clone();
        let is_met = said.map_or(alarms == Value::Array(vec![]), |said| alarms.to_string().contains(said));
        if is_met {
            return alarms.to_string();
        }
        assert!(begun.elapsed() < PATIENCE, "not {said:?} but {alarms}: {}", authority.said());
        pause(Duration::from_millis(50));
    }
}

/// What `tenure doctor` says of a running server.
fn doctor(authority: &Authority, data: &Path) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    let command =
        command.args(["doctor", "-o", "json", "--url", &authority.url(), "--key", &admin_key(data)]);
    let out = command.env_remove("TENURE_KEY").output().unwrap();
    let document: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    document["items"].as_array().unwrap().clone()
}

fn check<'c>(checks: &'c [Value], name: &str) -> (&'c str, &'c str) {
    let found = checks.iter().find(|check| check["check"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {checks:?}"));
    (found["result"].as_str().unwrap(), found["detail"].as_str().unwrap())
}

/// A log that is not sealed is read whole at every start, and nobody was told how much of it there was.
#[test]
fn five_ranges_that_wait_are_an_alarm_until_they_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fill_one_store(&data, 5_200);
    // No directory can be made here.
    fs::write(data.join("segments"), "").unwrap();
    let authority = Authority::start_with(&data, &[SEGMENT]);
    let admin = authority.admin();
    let alarms = until_alarm(&authority, &admin, Some("5 full ranges of the log are in no segment"));
    assert!(
        alarms.contains("the first one up to position 1000") && alarms.contains("is not sealed: "),
        "{alarms}"
    );
    assert_eq!(number_of(&admin, "tenure_unsealed_ranges"), 5);
    assert!(number_of(&admin, "tenure_sealing_needs_bytes") > 100_000);
    let checks = doctor(&authority, &data);
    let (result, detail) = check(&checks, "sealing");
    assert!(result == "warn" && detail.starts_with("5 full ranges behind position 0"), "{checks:?}");
    assert_eq!(check(&checks, "backup").0, "skip", "{checks:?}");
    fs::remove_file(data.join("segments")).unwrap();
    until_alarm(&authority, &admin, None);
    let checks = doctor(&authority, &data);
    assert_eq!(check(&checks, "sealing"), ("ok", "every full range is sealed, up to position 5000"));
    assert!(check(&checks, "history").1.contains(" 5 segments, "), "{checks:?}");
    assert_eq!(check(&checks, "scrub").0, "ok", "{checks:?}");
    authority.stop_well();
}

/// A directory of an earlier version was copied into segments until the disk was full.
#[test]
fn a_takeover_begins_when_there_is_room_for_all_of_it() {
    let mounted = match MountedDisk::memory(256) {
        Ok(mounted) => mounted,
        Err(why) => return not_run("takeover", &why),
    };
    let dir = tempfile::tempdir().unwrap();
    fill_one_store(&dir.path().join("data"), 2_100);
    let data = mounted.path().join("data");
    copy(&dir.path().join("data"), &data);
    let filler = mounted.fill_but(100);
    // 96 MiB are kept: what the ranges take beside the store does not fit.
    let authority = Authority::start_with(&data, &[SEGMENT, "data.reserve=67108864"]);
    let admin = authority.admin();
    let alarms = until_alarm(&authority, &admin, Some("until the oldest store goes"));
    assert!(alarms.contains("96 MiB of them are kept"), "{alarms}");
    assert!(segments(&data).is_empty(), "{:?}", segments(&data));
    authority.until_said("the disk needs room for both: about ");
    assert_eq!(admin.get("/readyz").unwrap().status, 200);
    fs::remove_file(filler).unwrap();
    until_alarm(&authority, &admin, None);
    assert_eq!(segments(&data).len(), 2);
    authority.stop_well();
}
