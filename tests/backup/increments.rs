//! An increment writes what is new, and leaves no older key behind; a backup that was interrupted is completed.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use serde_json::json;

use crate::fixture::Fixture;

#[test]
fn an_increment_adds_parts_and_writes_no_part_again() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("one");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    let parts = |fixture: &Fixture| -> Vec<(String, u64)> {
        let names = fixture.files("backups/b").into_iter().filter(|name| name.starts_with("part-"));
        names
            .map(|name| (name.clone(), fs::metadata(fixture.path("backups/b").join(name)).unwrap().ino()))
            .collect()
    };
    let before = parts(&fixture);
    server.session("two");
    let refused = server.back_up(&fixture, "b", false);
    assert_eq!((refused.status, &refused.body["code"]), (409, &"BACKUP_CONFLICT".into()));
    let made = server.back_up(&fixture, "b", true);
    assert_eq!(made.status, 200, "{made:?}");
    let after = parts(&fixture);
    assert_eq!(after[..before.len()], before[..], "the parts that were there are as they were");
    assert_eq!(after.len(), before.len() + 1);
    let files = fixture.files("backups/b");
    assert_eq!(files.len() as u64, made.body["files"].as_u64().unwrap(), "{files:?}");
    assert_eq!(
        files.iter().filter(|name| name.starts_with("keys-")).count(),
        1,
        "no older keys stay: {files:?}"
    );
    let verdict = fixture.run(&["audit", "verify", "--backup", "backups/b"]).ok().json();
    assert_eq!(verdict["to"], made.body["position"], "{verdict}");
    server.stop();
    let restored = fixture.restore("backups/b", "new", &["--head", "data/head.note"]).ok().json();
    assert_eq!(restored["position"], made.body["position"]);
}

#[test]
fn an_increment_of_another_history_is_refused() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("one");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    server.stop();
    let other = fixture.serve("other");
    other.session("one");
    other.session("two");
    let refused = other.back_up(&fixture, "b", true);
    assert_eq!((refused.status, &refused.body["code"]), (409, &"BACKUP_CONFLICT".into()), "{refused:?}");
}

/// The keys of erased subjects are destroyed where they are; an older copy of them in a backup would bring the text back.
#[test]
fn erased_text_stays_erased_after_the_next_increment() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("anna");
    server.session("bert");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    let erased = server.post("/v1/subjects/anna/erase", &json!({ "reason": "asked for" }));
    assert_eq!(erased.status, 200, "{erased:?}");
    assert_eq!(server.back_up(&fixture, "b", true).status, 200);
    let key = server.key.clone();
    server.stop();
    fixture.restore("backups/b", "new", &["--head", "data/head.note"]).ok();
    let server = fixture.serve("new");
    let name = |id: &str| server.ask("GET", &format!("/v1/subjects/{id}"), &key, None).body["name"].clone();
    assert_eq!((name("anna"), name("bert")), (json!(null), json!("The name of bert")));
}

/// The history of the backup has the text, and its keys were taken after the erasure that it does not have.
#[test]
fn text_that_was_erased_while_the_backup_was_made_is_erased_in_the_restored_history() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("anna");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    let before = fixture.manifest("backups/b");
    server.post("/v1/subjects/anna/erase", &json!({ "reason": "asked for" }));
    server.stop();
    // As if the erasure had come between the end of the history and the copy of the keys.
    fixture.run(&["restore", "backups/b", "--data", "new", "--keys", "data/keys", "--accept-loss"]).ok();
    let server = fixture.serve("new");
    assert_eq!(server.get("/v1/subjects/anna").body["name"], json!(null));
    let events = server.get("/v1/events?kinds=SubjectErased").body;
    assert!(
        events["items"][0]["position"].as_u64().unwrap() > before["position"].as_u64().unwrap(),
        "{events}"
    );
    server.stop();
    fixture.serve("new").stop();
}

/// The subject came back meanwhile, with another key: what the backup has of it opens no more than if it had not.
#[test]
fn text_that_was_erased_is_erased_in_the_restored_history_though_its_subject_came_back() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("anna");
    server.session("bert");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    server.post("/v1/subjects/anna/erase", &json!({ "reason": "asked for" }));
    server.session("anna");
    server.stop();
    fixture.run(&["restore", "backups/b", "--data", "new", "--keys", "data/keys", "--accept-loss"]).ok();
    let server = fixture.serve("new");
    let name = |id: &str| server.get(&format!("/v1/subjects/{id}")).body["name"].clone();
    assert_eq!((name("anna"), name("bert")), (json!(null), json!("The name of bert")));
    let events = server.get("/v1/events?kinds=SubjectErased").body;
    assert_eq!(events["items"][0]["subjectId"], "anna", "{events}");
    server.stop();
    fixture.serve("new").stop();
}

/// An increment went on from parts that were gone, and said that all was well.
#[test]
fn an_increment_names_a_part_that_is_gone() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("one");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    let part = fixture.files("backups/b").into_iter().find(|name| name.starts_with("part-")).unwrap();
    fs::remove_file(fixture.path("backups/b").join(&part)).unwrap();
    server.session("two");
    assert_eq!(server.back_up(&fixture, "b", true).status, 503);
    server.stop();
    let words = ["backup", "backups/b", "--data", "data", "--incremental", "--recipient", &fixture.recipient];
    let refused = fixture.run(&words);
    assert!(refused.code == 6 && refused.stderr.contains(&part), "{refused:?}");
}

/// Two programs that write to one place each removed what the other had not named yet.
#[test]
fn no_backup_is_made_where_another_program_makes_one() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("one");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    let other = fs::File::open(fixture.path("backups/b")).unwrap();
    other.lock().unwrap();
    let refused = server.back_up(&fixture, "b", true);
    assert_eq!((refused.status, &refused.body["code"]), (429, &"RATE_LIMITED".into()), "{refused:?}");
    assert_eq!(server.back_up(&fixture, "c", false).status, 200, "another place is free");
    drop(other);
    assert_eq!(server.back_up(&fixture, "b", true).status, 200);
}

#[test]
fn a_backup_that_was_killed_is_completed_by_the_next_one() {
    let fixture = Fixture::new();
    let mut server = fixture.serve("data");
    (0..40).for_each(|number| _ = server.session(&format!("subject-{}", number % 9)));
    for wait in [0, 3, 8] {
        let (url, key) = (server.url.clone(), server.key.clone());
        let body = json!({ "name": "b", "incremental": true, "recipient": fixture.recipient }).to_string();
        let asked = std::thread::spawn(move || {
            let request =
                ureq::post(format!("{url}/v1/backup")).header("authorization", format!("Bearer {key}"));
            drop(request.header("content-type", "application/json").send(body));
        });
        std::thread::sleep(Duration::from_millis(wait));
        server.kill();
        asked.join().unwrap();
        server = fixture.serve("data");
        server.session("another");
    }
    // On a busy machine the server may each time have been killed before it made the folder.
    fs::create_dir_all(fixture.path("backups/b")).unwrap();
    fs::write(fixture.path("backups/b/part-00000000000000000001.tmp"), "cut short").unwrap();
    let made = server.back_up(&fixture, "b", true);
    assert_eq!(made.status, 200, "{made:?}");
    assert!(fixture.files("backups/b").iter().all(|name| !name.contains(".tmp")));
    let verdict = fixture.run(&["audit", "verify", "--backup", "backups/b"]).ok().json();
    assert_eq!(verdict["to"], made.body["position"], "{verdict}");
    server.stop();
    fixture.restore("backups/b", "new", &["--head", "data/head.note"]).ok();
}
