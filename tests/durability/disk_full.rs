//! No space left while serving: writes are refused in words, reads go on, and nothing acknowledged is lost.

use std::{fs, path::Path, time::Duration};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::{
    ambient::{Chance, not_run, say},
    authority::Authority,
    caller::{Caller, Reply},
    history::{History, repeat},
    load::{Appetite, Ledger, Load},
    mounted_disk::MountedDisk,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// The store may be anywhere in the rearranging of its pages when the space ends, so once is not enough.
const ROUNDS: u64 = 4;

#[test]
fn a_full_disk_stops_writes_and_loses_nothing() {
    for (name, mounted) in [("ext4", MountedDisk::ext4(96)), ("memory", MountedDisk::memory(64))] {
        match mounted {
            Ok(mounted) => {
                for round in 0..ROUNDS {
                    fill_and_free(&mounted, name, round);
                }
            }
            Err(why) => not_run("full disk", &why),
        }
    }
}

fn fill_and_free(mounted: &MountedDisk, name: &str, round: u64) {
    let data = mounted.path().join("data");
    let mut authority = Authority::start(&data);
    let admin = authority.admin();
    let load = Load::begin(&admin, name, Appetite::HEAVY, &mut Chance::new(round));
    pause(Duration::from_millis(100));
    let filler = mounted.fill();
    let begun = stopwatch();
    while !load.is_over() {
        assert!(begun.elapsed() < PATIENCE, "the disk is full, and writes go on");
        pause(Duration::from_millis(5));
    }
    let mut ledger = load.ledger();
    let refused = ledger.refused.clone();
    writes_are_refused(&admin);
    reads_go_on(&admin, &ledger);
    if round.is_multiple_of(2) {
        authority.kill();
        assert!(!authority.said().contains("panicked"), "{}", authority.said());
    } else {
        authority.stop_well();
    }

    a_start_without_space_hides_nothing(&data, &ledger);
    fs::remove_file(filler).unwrap();
    let authority = Authority::start(&data);
    let admin = authority.admin();
    let mut history = History::read(&admin);
    history.must_hold(&ledger);
    repeat(&admin, &mut ledger);
    history.follow(&admin);
    history.must_hold(&ledger);
    history.must_explain(&admin, &ledger);
    assert_eq!(admin.get("/readyz").unwrap().status, 200);
    authority.stop_well();
    fs::remove_dir_all(&data).unwrap();
    say(&format!(
        "full disk ({name}): {} acknowledgements, {} events, 0 lost; refused with {:?}",
        ledger.facts.len(),
        history.len(),
        refused.map(|reply| reply.body["detail"].clone())
    ));
}

fn writes_are_refused(admin: &Caller) {
    let body = json!({ "name": "too late" });
    for number in 0..3 {
        let reply = admin.put(&format!("/v1/subjects/late-{number}"), None, &body).unwrap();
        assert!(is_honest(&reply), "{reply:?}");
    }
}

fn is_honest(reply: &Reply) -> bool {
    reply.status == 503
        && ["STORAGE_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&reply.code())
        && reply.body["retryable"] == true
}

/// What was acknowledged is told as if nothing had happened; what was not is not shown.
fn reads_go_on(admin: &Caller, ledger: &Ledger) {
    let history = History::read(admin);
    history.must_hold(ledger);
    history.must_explain(admin, ledger);
    assert_eq!(admin.get("/healthz").unwrap().status, 200);
    let ready = admin.get("/readyz").unwrap();
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(!ready.text("detail").is_empty(), "{ready:?}");
}

/// It refuses, and says why; or it finds the space that it needs, and shows everything.
fn a_start_without_space_hides_nothing(data: &Path, ledger: &Ledger) {
    match Authority::try_start(data) {
        Ok(authority) => History::read(&authority.admin()).must_hold(ledger),
        Err(ended) => {
            assert_eq!(ended.status.code(), Some(2), "{ended:?}");
            assert!(!ended.said.contains("panicked"), "{ended:?}");
            assert!(ended.said.contains("error: "), "{ended:?}");
            say(&format!("full disk: a start says: {}", ended.said.trim()));
        }
    }
}
