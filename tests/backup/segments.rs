//! Closed segments are in a backup as they are: copied, or as a second name of the same file.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::fixture::{Fixture, Reply, Server};

const PATIENCE: Duration = Duration::from_mins(5);

/// Registers subjects until so many segments are there.
fn fill(server: &Server, segments: usize) {
    let begun = stopwatch();
    let mut number = 0;
    loop {
        let found = segments_of(server);
        if found >= segments {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{found} segments after {PATIENCE:?}");
        if number < 1_100 {
            let put = server.ask(
                "PUT",
                &format!("/v1/subjects/s{segments}-{number}"),
                &server.key,
                Some(&json!({})),
            );
            assert_eq!(put.status, 201, "{put:?}");
            number += 1;
        } else {
            // The rest waits for a signed head.
            pause(Duration::from_millis(50));
        }
    }
}

/// As the server counts them.
fn segments_of(server: &Server) -> usize {
    let asked = ureq::get(format!("{}/metrics", server.url))
        .header("authorization", format!("Bearer {}", server.key));
    let text = asked.call().unwrap().body_mut().read_to_string().unwrap();
    text.lines().find_map(|line| line.strip_prefix("tenure_segments ")).unwrap().parse().unwrap()
}

fn back_up(fixture: &Fixture, server: &Server, name: &str, is_linked: bool) -> Reply {
    let body =
        json!({ "name": name, "incremental": true, "link": is_linked, "recipient": fixture.recipient });
    let made = server.post("/v1/backup", &body);
    assert_eq!(made.status, 200, "{made:?}");
    made
}

fn inode(fixture: &Fixture, name: &str) -> u64 {
    fs::metadata(fixture.path(name)).unwrap().ino()
}

fn of_kind(fixture: &Fixture, backup: &str, kind: &str) -> Vec<String> {
    fixture.files(backup).into_iter().filter(|name| name.starts_with(kind)).collect()
}

/// An increment read the whole of what was new through the log, commit by commit, and kept it beside the segments.
#[test]
fn segments_are_copied_or_linked_and_an_increment_takes_only_new_ones() {
    const FIRST: &str = "segments/00000000000000000001.segment";
    let fixture = Fixture::new();
    let server = fixture.try_serve("data", &["--set", "log.segment_events=1000"]).unwrap();
    server.session("bot");
    back_up(&fixture, &server, "b", false);
    assert_eq!(of_kind(&fixture, "backups/b", "segment-").len(), 0);
    fill(&server, 1);
    back_up(&fixture, &server, "b", false);
    back_up(&fixture, &server, "linked", true);
    let segment = "segment-00000000000000000001";
    let bytes = fs::read(fixture.path("data").join(FIRST)).unwrap();
    for (backup, is_linked) in [("backups/b", false), ("backups/linked", true)] {
        let name = format!("{backup}/{segment}");
        assert_eq!(of_kind(&fixture, backup, "segment-"), [segment], "{:?}", fixture.files(backup));
        // What was in a part and is in a segment now is not kept twice.
        assert_eq!(of_kind(&fixture, backup, "part-").len(), 1, "{:?}", fixture.files(backup));
        assert!(fs::read(fixture.path(&name)).unwrap() == bytes);
        assert_eq!(
            inode(&fixture, &name) == inode(&fixture, &format!("data/{FIRST}")),
            is_linked,
            "{backup}"
        );
        fixture.run(&["audit", "verify", "--backup", backup]).ok();
        // No other file is: those are written to.
        let linked = fixture
            .files(backup)
            .into_iter()
            .filter(|name| fs::metadata(fixture.path(backup).join(name)).unwrap().nlink() > 1);
        assert_eq!(linked.count(), usize::from(is_linked));
    }

    let before = inode(&fixture, &format!("backups/b/{segment}"));
    fill(&server, 2);
    let made = back_up(&fixture, &server, "b", false);
    assert_eq!(of_kind(&fixture, "backups/b", "segment-").len(), 2);
    assert_eq!(inode(&fixture, &format!("backups/b/{segment}")), before, "it was written again");
    let verdict = fixture.run(&["audit", "verify", "--backup", "backups/b"]).ok().json();
    assert_eq!(verdict["to"], made.body["position"], "{verdict}");
    let last = back_up(&fixture, &server, "linked", true);
    server.stop();
    for (backup, position) in [("backups/b", &made), ("backups/linked", &last)] {
        let new = backup.replace('/', "-");
        let restored = fixture.restore(backup, &new, &["--tail", "data"]).ok().json();
        assert!(restored["position"].as_u64() >= position.body["position"].as_u64(), "{restored}");
    }
    // A stopped server is linked too.
    let linked = ["backup", "stopped", "--data", "data", "--without-keys", "--link"];
    fixture.run(&linked).ok();
    assert_eq!(inode(&fixture, &format!("stopped/{segment}")), inode(&fixture, &format!("data/{FIRST}")));
}

/// The damage was copied, and the older good bytes of it were lost with the next increment but one.
#[test]
fn a_damaged_segment_is_not_taken_into_a_backup() {
    let fixture = Fixture::new();
    let server = fixture.try_serve("data", &["--set", "log.segment_events=1000"]).unwrap();
    fill(&server, 1);
    let segment = fixture.path("data/segments/00000000000000000001.segment");
    let good = fs::read(&segment).unwrap();
    let mut bad = good.clone();
    bad[5_000] ^= 1;
    fs::write(&segment, &bad).unwrap();
    for is_linked in [false, true] {
        let body = json!({ "name": "b", "link": is_linked, "recipient": fixture.recipient });
        let refused = server.post("/v1/backup", &body);
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (503, &json!("STORAGE_UNAVAILABLE")),
            "{refused:?}"
        );
        assert!(!fixture.path("backups/b/manifest").exists());
    }
    fs::write(&segment, &good).unwrap();
    back_up(&fixture, &server, "b", true);
    fixture.run(&["audit", "verify", "--backup", "backups/b"]).ok();
    server.kill();
}

/// One flipped byte anywhere, in any file: the file is named. `TENURE_BACKUP_FLIPS` asks for more than a few.
#[test]
fn a_byte_that_is_flipped_at_a_random_place_is_found_and_its_file_named() {
    let flips: u64 = std::env::var("TENURE_BACKUP_FLIPS").map_or(12, |text| text.parse().unwrap());
    let fixture = Fixture::new();
    let server = fixture.try_serve("data", &["--set", "log.segment_events=1000"]).unwrap();
    fill(&server, 1);
    back_up(&fixture, &server, "b", false);
    server.kill();
    let mut chance = u64::from(std::process::id()) | 1;
    let mut below = |end: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % end
    };
    let files = fixture.files("backups/b");
    for flip in 0..flips {
        // Each file at least once, as far as there are as many flips.
        let name = &files[usize::try_from(flip).unwrap() % files.len()];
        let path = fixture.path("backups/b").join(name);
        let good = fs::read(&path).unwrap();
        if good.is_empty() {
            continue;
        }
        let (at, bit) = (usize::try_from(below(good.len() as u64)).unwrap(), below(8));
        let mut bad = good.clone();
        bad[at] ^= 1 << bit;
        fs::write(&path, &bad).unwrap();
        let ran = fixture.run(&["audit", "verify", "--backup", "backups/b"]);
        assert!(
            ran.code == 6 && ran.stderr.contains(name.as_str()),
            "{name}, bit {bit} of byte {at}: {ran:?}"
        );
        fs::write(&path, &good).unwrap();
    }
    fixture.run(&["audit", "verify", "--backup", "backups/b"]).ok();
}

/// Where a part begins at the end of what is sealed later, the next increment wrote another part of its name over it
/// before there was a manifest for that: a crash in between left no whole backup.
#[test]
fn an_increment_that_does_not_come_to_its_manifest_leaves_the_backup_as_it_was() {
    let fixture = Fixture::new();
    let server = fixture.try_serve("data", &["--set", "log.segment_events=1000"]).unwrap();
    let mut number = 0;
    let mut register_until = |position: u64| {
        let mut last = 0;
        while last < position {
            let put = server.ask("PUT", &format!("/v1/subjects/n-{number}"), &server.key, Some(&json!({})));
            assert_eq!(put.status, 201, "{put:?}");
            last = put.body["asOfPosition"].as_u64().unwrap();
            number += 1;
        }
    };
    // What is sealed between the two backups is no part any more: then the end of the next range is tried.
    let boundary = (1_000..=8_000).step_by(1_000).find(|boundary| {
        register_until(*boundary);
        back_up(&fixture, &server, "b", false);
        register_until(boundary + 5);
        back_up(&fixture, &server, "b", false);
        of_kind(&fixture, "backups/b", "part-").len() > 1
            && of_kind(&fixture, "backups/b", &format!("part-{:020}", boundary + 1)).len() == 1
    });
    let boundary = boundary.expect("no range was open for long enough");
    let begun = stopwatch();
    register_until(boundary + 200);
    while segments_of(&server) * 1_000 < usize::try_from(boundary).unwrap() {
        assert!(begun.elapsed() < PATIENCE, "it was not sealed");
        pause(Duration::from_millis(50));
    }
    let verify = || fixture.run(&["audit", "verify", "--backup", "backups/b"]).ok().json();
    let before = verify();
    fs::create_dir(fixture.path("backups/b/manifest.tmp")).unwrap();
    let body = json!({ "name": "b", "incremental": true, "recipient": fixture.recipient });
    let failed = server.post("/v1/backup", &body);
    assert!(failed.status >= 500, "{failed:?}");
    assert_eq!(verify()["to"], before["to"]);
    fs::remove_dir(fixture.path("backups/b/manifest.tmp")).unwrap();
    let made = back_up(&fixture, &server, "b", false);
    assert_eq!(verify()["to"], made.body["position"]);
    server.stop();
}
