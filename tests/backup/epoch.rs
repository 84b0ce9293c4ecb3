//! A restore that may have lost events begins a new epoch: nothing that the lost history gave out passes for new.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::fixture::{Fixture, Server, copy};

/// A receiver of webhooks: the ids of the messages as they come.
fn receiver() -> (String, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, messages) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Some(message) = message(stream) else { continue };
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    (url, messages)
}

fn message(mut stream: TcpStream) -> Option<(String, Value)> {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).ok()?;
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        if body.len() >= length {
            let found = (header("webhook-id")?, serde_json::from_str(body).ok()?);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
            return Some(found);
        }
        if read == 0 {
            return None;
        }
    }
}

fn confirmed(server: &Server, key: &str) {
    assert_eq!(server.ask("GET", "/v1/credentials/self", key, None).status, 401);
    server.run(&["credential", "confirm", "--all", "--yes"]).ok();
    assert_eq!(server.ask("GET", "/v1/credentials/self", key, None).status, 200);
}

#[test]
fn nothing_of_the_lost_history_passes_for_new() {
    let fixture = Fixture::new();
    let (hook, messages) = receiver();
    let server = fixture.serve("data");
    let old_key = server.key.clone();
    server.post("/v1/webhooks", &json!({ "url": hook }));
    let (_, kept) = server.session("kept");
    let former_vkey = server.get("/v1/audit/head").body["verifierKey"].clone();
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    let fork = fixture.manifest("backups/b")["position"].as_u64().unwrap();

    // What is lost.
    let (_, lost) = server.session("lost");
    let access = server.ask("POST", "/v1/access-tokens", &lost, Some(&json!({}))).body;
    let access = access["accessToken"].as_str().unwrap().to_owned();
    let issued = server.post("/v1/credentials", &json!({ "role": "auditor" }));
    let lost_key = issued.body["key"].as_str().unwrap().to_owned();
    let lost_position = issued.position.unwrap();
    let page = server.get("/v1/events?limit=200").body;
    let lost_cursor =
        server.get(&format!("/v1/events?limit=1&after={}", fork + 1)).body["nextCursor"].clone();
    let feed = server.get("/v1/revocations/feed").body["nextAfter"].clone();
    assert!(feed.is_number() && page["items"].as_array().unwrap().len() as u64 > fork, "{feed}");
    let access_keys = server.get("/v1/keys").body;
    let told: Vec<_> = std::iter::from_fn(|| messages.recv_timeout(Duration::from_secs(2)).ok()).collect();
    assert!(told.iter().any(|(id, _)| id.starts_with(&format!("msg_{}", fork + 1)[..4])), "{told:?}");
    server.stop();

    let restored = fixture.restore("backups/b", "new", &["--accept-loss"]).ok();
    assert!(restored.stderr.contains("erase again") && restored.stderr.contains("confirm"), "{restored:?}");
    let restored = restored.json();
    assert_eq!((&restored["epoch"], &restored["sessionsEnded"]), (&2.into(), &1.into()), "{restored}");
    assert_eq!(restored["backupPosition"], fork);
    let server = fixture.serve("new");
    assert_ne!(server.key, old_key, "the restore made a new admin key");
    confirmed(&server, &old_key);
    assert_eq!(server.ask("GET", "/v1/credentials/self", &lost_key, None).status, 401);

    assert_eq!(server.judge(&kept), "SESSION_REVOKED");
    let ended = server.ask("GET", "/v1/sessions/self", &kept, None);
    assert_eq!(ended.status, 401, "{ended:?}");
    assert_eq!(server.judge(&lost), "INVALID_TOKEN");
    let keys = server.get("/v1/keys").body;
    let footers =
        |keys: &Value| keys["keys"].as_array().unwrap().iter().map(|key| key["keyId"].clone()).collect();
    let (then, now): (Vec<Value>, Vec<Value>) = (footers(&access_keys), footers(&keys));
    assert!(then.iter().all(|id| !now.contains(id)), "no verifier takes {access} any more");

    // Grow beyond where the lost history was.
    (0..6).for_each(|_| _ = server.session("fresh"));
    let (_, fresh) = server.session("fresh");
    assert_eq!(server.judge(&fresh), "active");
    for path in [
        format!("/v1/events?after={lost_position}"),
        format!("/v1/events?cursor={}", lost_cursor.as_str().unwrap()),
        format!("/v1/notices?after={lost_position}.1"),
        format!("/v1/revocations/feed?after={feed}"),
        format!("/v1/subjects/kept?minPosition={lost_position}"),
        format!("/v1/subjects/kept?asOfPosition={lost_position}"),
        format!("/v1/sessions?minPosition={lost_position}"),
    ] {
        let refused = server.get(&path);
        assert_eq!((refused.status, &refused.body["code"]), (409, &"POSITION_BEYOND_END".into()), "{path}");
        assert!(refused.body["end"].as_u64().unwrap() > fork, "{refused:?}");
    }
    for path in [
        format!("/v1/events?after={fork}"),
        format!("/v1/events?after=2:{}", fork + 1),
        format!("/v1/subjects/kept?asOfPosition={fork}"),
        format!("/v1/subjects/kept?minPosition=2:{}", fork + 3),
    ] {
        assert_eq!(server.get(&path).status, 200, "{path}");
    }
    let put = server.ask("PUT", "/v1/subjects/later", &server.key, Some(&json!({})));
    assert!(put.position.unwrap().starts_with("2:"));
    assert_eq!(server.get("/v1/events?after=3:1").status, 409);
    let next = server.get("/v1/revocations/feed").body["nextAfter"].clone();
    assert!(next.as_str().unwrap().starts_with("2:"), "{next}");
    assert_eq!(server.get(&format!("/v1/revocations/feed?after={}", next.as_str().unwrap())).status, 200);
    let cursor = server.get(&format!("/v1/events?limit=1&after={fork}")).body["nextCursor"].clone();
    assert_eq!(server.get(&format!("/v1/events?limit=1&cursor={}", cursor.as_str().unwrap())).status, 200);

    let notices = server.get(&format!("/v1/notices?after={fork}&limit=200")).body;
    let names =
        notices["items"].as_array().unwrap().iter().map(|notice| notice["noticeId"].as_str().unwrap());
    assert!(names.clone().count() > 0 && names.clone().all(|name| name.starts_with("2:")), "{notices}");
    let new: Vec<_> = std::iter::from_fn(|| messages.recv_timeout(Duration::from_secs(2)).ok()).collect();
    assert!(new.len() >= 7, "{new:?}");
    for (id, body) in &new {
        let known = told.iter().find(|(known, _)| known == id);
        assert!(
            known.is_none_or(|(_, before)| before["data"]["sessionId"] == body["data"]["sessionId"]),
            "{id}"
        );
    }
    assert!(new.iter().any(|(id, _)| id.starts_with("msg_2_")), "{new:?}");

    let head = server.get("/v1/audit/head").body;
    assert_eq!(head["epoch"], 2);
    assert_ne!(head["verifierKey"], former_vkey, "another history is signed under another name");
    let epoch = server.get("/v1/events?kinds=EpochBegan").body["items"][0].clone();
    assert_eq!((&epoch["data"]["epoch"], &epoch["data"]["from"]), (&2.into(), &fork.into()), "{epoch}");
    let old_name = former_vkey.as_str().unwrap().split('+').next().unwrap();
    assert_eq!(epoch["data"]["previousName"], old_name);
    let live = server.run(&["audit", "replay", "--compare"]);
    assert_eq!(live.code, 0, "{live:?}");
    server.stop();
    fixture.serve("new").stop();
}

#[test]
fn keys_stay_as_they_were_where_that_is_asked_for() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    let key = server.key.clone();
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    server.stop();
    let restored = fixture.restore("backups/b", "new", &["--accept-loss", "--keep-credentials"]).ok().json();
    assert_eq!(restored["adminKeyFile"], Value::Null);
    let server = fixture.serve("new");
    assert_eq!(server.ask("GET", "/v1/credentials/self", &key, None).status, 200);
}

/// A position of the new epoch that is written like one of the first is of a history that was lost.
#[test]
fn a_history_in_its_second_epoch_is_read_page_by_page() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    let key = server.key.clone();
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    server.session("lost");
    server.stop();
    fixture.restore("backups/b", "new", &["--accept-loss", "--keep-credentials"]).ok();
    let mut server = fixture.serve("new");
    server.key = key;
    for number in 0..230 {
        let made = server.ask("PUT", &format!("/v1/subjects/a-{number}"), &server.key, Some(&json!({})));
        assert_eq!(made.status, 201, "{made:?}");
    }
    let last = server.run(&["events", "--last", "3"]);
    assert_eq!(last.ok().json()["items"].as_array().unwrap().len(), 3);
    let all = server.run(&["events", "--all"]).ok().json();
    let position = all["items"].as_array().unwrap().last().unwrap()["position"].as_u64().unwrap();
    assert!(position > 230 && all["items"].as_array().unwrap().len() as u64 == position, "{position}");
    let proved = server.run(&["audit", "prove", &position.to_string()]).ok().json();
    assert!(proved["recordHash"].is_string(), "{proved}");
}

/// A further file of heads has the notes of both names, and each start takes it.
#[test]
fn the_further_file_of_heads_goes_on_in_the_new_epoch() {
    let fixture = Fixture::new();
    let further = ["--set", "audit.head_file=heads"];
    let server = fixture.try_serve("data", &further).unwrap();
    server.session("bot");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    server.session("lost");
    server.stop();
    fixture.restore("backups/b", "new", &[&["--accept-loss"], &further[..]].concat()).ok();
    fixture.try_serve("new", &further).unwrap().stop();
    let notes = std::fs::read_to_string(fixture.path("heads")).unwrap();
    assert!(notes.contains("\nepoch 2 from "), "the first head of the epoch names the fork: {notes}");

    // Also where the restore did not know of the file.
    let other = Fixture::new();
    copy(&fixture.path("backups"), &other.path("backups"));
    copy(&fixture.path("identity"), &other.path("identity"));
    let before = notes.split("\nepoch 2 from ").next().unwrap();
    let before = before.rsplit_once("\n\ntenure/").unwrap().0;
    std::fs::write(other.path("heads"), format!("{before}\n")).unwrap();
    other.restore("backups/b", "new", &["--accept-loss"]).ok();
    other.try_serve("new", &further).unwrap().stop();
}

#[test]
fn a_second_restore_without_proof_begins_a_third_epoch() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    server.stop();
    fixture.restore("backups/b", "two", &["--accept-loss"]).ok();
    let server = fixture.serve("two");
    let (_, token) = server.session("bot");
    assert_eq!(server.back_up(&fixture, "c", false).status, 200);
    assert_eq!(fixture.manifest("backups/c")["epoch"], 2);
    server.stop();
    let restored = fixture.restore("backups/c", "three", &["--accept-loss"]).ok().json();
    assert_eq!(restored["epoch"], 3);
    let server = fixture.serve("three");
    assert_eq!(server.judge(&token), "SESSION_REVOKED");
    let first = fixture.manifest("backups/b")["position"].as_u64().unwrap();
    let second = fixture.manifest("backups/c")["position"].as_u64().unwrap();
    for (after, status) in [
        (format!("{first}"), 200),
        (format!("{}", first + 1), 409),
        (format!("2:{second}"), 200),
        (format!("2:{}", second + 1), 409),
        (format!("3:{}", second + 1), 200),
    ] {
        assert_eq!(server.get(&format!("/v1/events?after={after}")).status, status, "{after}");
    }
}

/// The epoch of a history that was lost, too, had the number of the next: its positions passed for those of another one.
#[test]
fn an_epoch_that_the_further_file_of_heads_tells_of_is_not_begun_again() {
    let fixture = Fixture::new();
    let further = ["--set", "audit.head_file=heads"];
    let server = fixture.try_serve("data", &further).unwrap();
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    server.stop();
    let restore = |data: &str, more: &[&str]| {
        fixture.restore("backups/b", data, &[&["--accept-loss"], more].concat()).ok().json()["epoch"].clone()
    };
    assert_eq!(restore("two", &further), 2);
    let server = fixture.try_serve("two", &further).unwrap();
    server.session("lost");
    let lost = server.post("/v1/sessions", &json!({ "subjectId": "lost" })).position.unwrap();
    assert!(lost.starts_with("2:"), "{lost}");
    server.stop();
    // The last head under the first name is one of an orderly stop, and proves nothing any more.
    let refused = fixture.restore("backups/b", "new", &["--head", "heads"]);
    assert!(refused.code == 5 && refused.stderr.contains("epoch 2 began"), "{refused:?}");
    assert_eq!(restore("by-notes", &["--head", "heads"]), 3);
    assert_eq!(restore("three", &further), 3);
    let server = fixture.try_serve("three", &further).unwrap();
    assert_eq!(server.get(&format!("/v1/events?after={lost}")).status, 409);
}

/// An auditor holds the key of the first epoch. It must go on to prove what it proved, and nothing that it never signed.
#[test]
fn a_former_key_proves_the_history_up_to_the_fork_and_says_so() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("bot");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    let fork = fixture.manifest("backups/b")["position"].as_u64().unwrap();
    let old = server.get("/v1/audit/head").body["verifierKey"].as_str().unwrap().to_owned();
    server.session("lost");
    server.stop();
    std::fs::copy(fixture.path("data/heads.notes"), fixture.path("heads")).unwrap();
    fixture.restore("backups/b", "new", &["--accept-loss"]).ok();
    let server = fixture.serve("new");
    server.session("fresh");
    let new = server.get("/v1/audit/head").body["verifierKey"].as_str().unwrap().to_owned();
    server.run(&["audit", "export", "all.export"]).ok();
    let verify = |key: &str, more: &[&str]| {
        fixture.run(&[&["audit", "verify", "--file", "all.export", "--verifier-key", key], more].concat())
    };
    assert_eq!(verify(&new, &[]).ok().json()["verified"], true);
    let former = verify(&old, &[]);
    assert_eq!(former.code, 6, "{former:?}");
    let found = former.json_of_any_end();
    assert_eq!((&found["vouchedTo"], &found["fork"]["epoch"]), (&fork.into(), &2.into()), "{found}");
    assert!(
        former.stderr.contains("another epoch") && former.stderr.contains("--accept-epoch 2"),
        "{former:?}"
    );
    verify(&old, &["--accept-epoch", "2"]).ok();
    assert_eq!(verify(&old, &["--accept-epoch", "1"]).code, 6);
    verify(&old, &["--accept-epoch", "2", "--heads", "heads"]).ok();
    let online = server.run(&["audit", "verify", "--verifier-key", &old]);
    assert_eq!(online.code, 6, "{online:?}");
    let other = fixture.serve("other");
    let foreign = other.get("/v1/audit/head").body["verifierKey"].as_str().unwrap().to_owned();
    let refused = verify(&foreign, &["--accept-epoch", "2"]);
    assert!(refused.code == 6 && refused.stderr.contains("another key"), "{refused:?}");

    // The directory of a stopped server was refused as a whole: `head.note` is of another key.
    server.stop();
    let stopped = |key: &str, more: &[&str]| {
        fixture.run(&[&["audit", "verify", "--data", "new", "--verifier-key", key], more].concat())
    };
    stopped(&new, &[]).ok();
    let former = stopped(&old, &[]);
    assert_eq!(former.code, 6, "{former:?}");
    let found = former.json_of_any_end();
    assert_eq!((&found["vouchedTo"], &found["fork"]["epoch"]), (&fork.into(), &2.into()), "{found}");
    assert!(former.stderr.contains("--accept-epoch 2"), "{former:?}");
    stopped(&old, &["--accept-epoch", "2"]).ok();
    stopped(&old, &["--accept-epoch", "2", "--heads", "heads"]).ok();
    assert_eq!(stopped(&old, &["--accept-epoch", "1"]).code, 6);
    assert_eq!(stopped(&foreign, &["--accept-epoch", "2"]).code, 6);
}
