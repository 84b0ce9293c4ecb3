//! A restore: with proof of the end the same history goes on; without it the restore is refused.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::json;

use crate::fixture::{Fixture, copy};

#[test]
fn a_backup_under_load_with_the_old_directory_goes_on_as_if_nothing_had_been() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    let (_, before) = server.session("before");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) {
                server.session(&format!("load-{}", made % 7));
                made += 1;
            }
            made
        });
        std::thread::sleep(std::time::Duration::from_millis(200));
        let backup = server.back_up(&fixture, "night", false);
        assert_eq!(backup.status, 200, "{backup:?}");
        stop.store(true, Ordering::Relaxed);
        assert!(load.join().unwrap() > 0, "the server never pauses");
    });
    let (id, after) = server.session("after");
    assert_eq!(server.ask("PUT", &format!("/v1/sessions/{id}/renew"), &after, None).status, 403, "too early");
    let head = server.get("/v1/audit/head").body;
    let key = server.key.clone();
    server.stop();

    let restored = fixture.restore("backups/night", "new", &["--tail", "data"]).ok().json();
    assert_eq!((&restored["epoch"], &restored["newEpoch"]), (&1.into(), &false.into()), "{restored}");
    assert_eq!(restored["position"], head["size"]);
    let server = fixture.serve("new");
    assert_eq!(server.ask("GET", "/v1/audit/head", &key, None).body["rootHash"], head["rootHash"]);
    let judge = |token: &str| {
        server.ask("POST", "/v1/introspect", &key, Some(&json!({ "token": token }))).body["active"].clone()
    };
    assert_eq!((judge(&before), judge(&after)), (true.into(), true.into()));
    let name = server.ask("GET", "/v1/subjects/after", &key, None).body["name"].clone();
    assert_eq!(name, "The name of after", "text opens");
}

/// An older copy of the old directory was taken for the end of the history, although a head that was given said more.
#[test]
fn an_old_directory_that_ends_before_a_known_head_proves_nothing() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("bot");
    assert_eq!(server.back_up(&fixture, "night", false).status, 200);
    server.session("kept");
    server.stop();
    copy(&fixture.path("data"), &fixture.path("old"));
    let server = fixture.serve("data");
    server.session("late");
    server.stop();
    let restore = |tail: &str, more: &[&str]| {
        let from = ["--tail", tail, "--head", "data/head.note"];
        fixture.restore("backups/night", "new", &[&from, more].concat())
    };
    let refused = restore("old", &[]);
    assert!(refused.code == 5 && refused.stderr.contains("the history went on"), "{refused:?}");
    let restored = restore("old", &["--accept-loss"]).ok().json();
    assert_eq!((&restored["epoch"], &restored["newEpoch"]), (&2.into(), &true.into()), "{restored}");
    let server = fixture.serve("new");
    let known = |id: &str| server.get(&format!("/v1/subjects/{id}")).status;
    assert_eq!((known("kept"), known("late")), (200, 404));
    server.stop();
    fs::remove_dir_all(fixture.path("new")).unwrap();
    assert_eq!(restore("data", &[]).ok().json()["epoch"], 1);
}

/// The one that came second once removed what the first one had made.
#[test]
fn of_two_restores_into_one_directory_one_makes_it() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("bot");
    assert_eq!(server.back_up(&fixture, "night", false).status, 200);
    server.stop();
    let codes = std::thread::scope(|scope| {
        let both =
            [(); 2].map(|()| scope.spawn(|| fixture.restore("backups/night", "new", &["--tail", "data"])));
        both.map(|one| one.join().unwrap().code)
    });
    assert!(codes.contains(&0), "{codes:?}");
    let server = fixture.serve("new");
    assert_eq!(fixture.restore("backups/night", "new", &["--tail", "data"]).code, 5);
    server.stop();
}

/// A mistyped path was told to make the backup again, "which completes it".
#[test]
fn where_there_is_no_backup_a_restore_says_so_and_names_the_place() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("empty")).unwrap();
    fs::create_dir(fixture.path("other")).unwrap();
    fs::write(fixture.path("other/notes.txt"), "no backup").unwrap();
    for place in ["nowhere", "empty", "other"] {
        let refused = fixture.restore(place, "new", &["--accept-loss"]);
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.stderr.contains(&format!("{place}: there is no backup")), "{refused:?}");
    }
    assert!(!fixture.path("new").exists());
}

#[test]
fn without_proof_of_the_end_a_restore_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("bot");
    assert_eq!(server.back_up(&fixture, "night", false).status, 200);
    server.session("late");
    assert_eq!(server.get("/v1/audit/head").status, 200, "a head is signed now");
    let notes = fixture.path("data/head.note");
    server.kill();
    fs::copy(&notes, fixture.path("running.note")).unwrap();

    let refused = fixture.restore("backups/night", "new", &[]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("--accept-loss"), "{refused:?}");
    let further = fixture.restore("backups/night", "new", &["--head", "running.note"]);
    assert!(further.code == 5 && further.stderr.contains("the history went on"), "{further:?}");
    assert!(!fixture.path("new").exists(), "nothing was made");

    fs::create_dir(fixture.path("taken")).unwrap();
    fs::write(fixture.path("taken/file"), "mine").unwrap();
    let taken = fixture.restore("backups/night", "taken", &["--accept-loss"]);
    assert_eq!(taken.code, 5, "{taken:?}");
    assert_eq!(fs::read_to_string(fixture.path("taken/file")).unwrap(), "mine");
}

/// A key that was made on the stopped directory was no event of the further file, so its last head proved an end that
/// was none.
#[test]
fn what_is_appended_to_a_stopped_directory_is_in_the_further_file_of_heads() {
    let fixture = Fixture::new();
    let server = fixture.try_serve("data", &["--set", "audit.head_file=heads"]).unwrap();
    server.session("bot");
    server.stop();
    fixture.run(&["backup", "stopped", "--data", "data", "--passphrase-file", "passphrase"]).ok();
    fixture.run(&["credential", "create", "--role", "admin", "--data", "data"]).ok();
    let from = ["restore", "stopped", "--data", "new", "--passphrase-file", "passphrase", "--head", "heads"];
    let refused = fixture.run(&from);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(!fixture.path("new").exists(), "{refused:?}");
}

#[test]
fn the_head_of_an_orderly_stop_proves_the_end_and_one_of_a_running_server_does_not() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    let (_, token) = server.session("bot");
    server.stop();
    let backup =
        fixture.run(&["backup", "stopped", "--data", "data", "--passphrase-file", "passphrase"]).ok();
    assert_eq!(backup.json()["epoch"], 1);
    let closed = fs::read_to_string(fixture.path("data/head.note")).unwrap();
    assert!(closed.lines().any(|line| line == "closed"), "{closed}");
    let server = fixture.serve("data");
    let running = fs::read_to_string(fixture.path("data/head.note")).unwrap();
    let key = server.key.clone();
    server.kill();
    for (name, note) in [("closed", &closed), ("running", &running)] {
        fs::write(fixture.path(name), note).unwrap();
    }
    let with = |passphrase: &str, head: &str| {
        let from = ["restore", "stopped", "--data", "new", "--passphrase-file", passphrase, "--head", head];
        fixture.run(&from)
    };
    let refused = with("passphrase", "running");
    assert!(refused.code == 5 && refused.stderr.contains("while the authority ran"), "{refused:?}");
    let wrong = with("wrong", "closed");
    assert!(wrong.code == 1 && wrong.stderr.contains("passphrase is wrong"), "{wrong:?}");
    assert_eq!(with("passphrase", "closed").ok().json()["epoch"], 1);
    let server = fixture.serve("new");
    let judged = server.ask("POST", "/v1/introspect", &key, Some(&json!({ "token": token })));
    assert_eq!(judged.body["active"], true, "{judged:?}");
}

#[test]
fn a_backup_without_keys_needs_the_directory_of_the_keys_that_belong_to_it() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("bot");
    server.stop();
    fixture.run(&["backup", "bare", "--data", "data", "--without-keys"]).ok();
    assert!(fixture.manifest("bare")["keys"].is_null());
    let head = ["--head", "data/head.note"];
    let restore = |keys: &[&str]| fixture.run(&[&["restore", "bare", "--data", "new"], keys, &head].concat());
    let refused = restore(&[]);
    assert!(refused.code == 5 && refused.stderr.contains("--keys DIR"), "{refused:?}");

    fixture.serve("other").stop();
    let foreign = restore(&["--keys", "other/keys"]);
    assert_ne!(foreign.code, 0, "{foreign:?}");
    assert!(foreign.stderr.contains("keys") && !fixture.path("new").exists(), "{foreign:?}");
    restore(&["--keys", "data/keys"]).ok();
    fixture.serve("new").stop();
}

/// The keys that seal in the backup were retired since, and are in no directory any more.
#[test]
fn a_backup_without_keys_is_restored_with_keys_that_were_rotated_since() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    let (_, before) = server.session("bot");
    let bare = json!({ "name": "bare", "withoutKeys": true });
    assert_eq!(server.post("/v1/backup", &bare).status, 200);
    for which in ["session", "access", "session"] {
        let rotated = server.post("/v1/keys/rotate", &json!({ "which": which, "retire": "now" }));
        assert_eq!(rotated.status, 200, "{rotated:?}");
    }
    server.stop();
    let from = ["restore", "backups/bare", "--data", "new", "--keys", "data/keys", "--accept-loss"];
    assert_eq!(fixture.run(&from).ok().json()["epoch"], 2);
    for _ in 0..2 {
        let server = fixture.serve("new");
        let (_, token) = server.session("bot");
        assert_eq!((server.judge(&token), server.judge(&before)), ("active".into(), "INVALID_TOKEN".into()));
        assert_eq!(server.get("/v1/subjects/bot").body["name"], "The name of bot");
        server.stop();
    }
    assert_eq!(fs::read_dir(fixture.path("new/keys/session")).unwrap().count(), 1);
}

#[test]
fn what_may_be_asked_for_is_checked_before_anything_is_written() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    let ask = |body: serde_json::Value| server.post("/v1/backup", &body);
    for (body, field) in [
        (json!({ "name": "../x", "withoutKeys": true }), "name"),
        (json!({ "name": ".x", "withoutKeys": true }), "name"),
        (json!({ "name": "x" }), "recipient"),
        (json!({ "name": "x", "recipient": "age1x" }), "recipient"),
        (json!({ "name": "x", "recipient": fixture.recipient, "withoutKeys": true }), "recipient"),
        (json!({ "name": "x", "withoutKeys": true, "passphrase": "p" }), "passphrase"),
    ] {
        let refused = ask(body);
        assert_eq!(
            (refused.status, &refused.body["errors"][0]["field"]),
            (400, &field.into()),
            "{refused:?}"
        );
    }
    assert!(!fixture.path("backups").exists());
    let made = ask(json!({ "name": "x", "withoutKeys": true }));
    assert_eq!((made.status, &made.body["epoch"]), (200, &1.into()), "{made:?}");
    let again = ask(json!({ "name": "x", "withoutKeys": true }));
    assert_eq!((again.status, &again.body["code"]), (409, &"BACKUP_CONFLICT".into()), "{again:?}");
    let auditor = server.post("/v1/credentials", &json!({ "role": "auditor" })).body["key"].clone();
    let body = json!({ "name": "y", "withoutKeys": true });
    assert_eq!(server.ask("POST", "/v1/backup", auditor.as_str().unwrap(), Some(&body)).status, 403);
    server.run(&["backup", "z", "--recipient", &fixture.recipient]).ok();
    let passphrase = server.run(&["backup", "p", "--passphrase-file", "passphrase"]);
    assert!(passphrase.code == 1 && passphrase.stderr.contains("never travels"), "{passphrase:?}");
}
