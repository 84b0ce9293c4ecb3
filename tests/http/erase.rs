//! Forgetting: what is erased is nowhere to be found, whatever comes in between, and nothing else is lost.

use std::{fs, io::ErrorKind, path::Path};

use serde_json::json;

use crate::server::{Request, Server, all_at_once};

/// Words that are nowhere else in a data directory.
const WORDS: [&str; 4] = ["Wilhelmine", "Wilhelmines Fernsprecher", "Quittenstrasse", "verlegtes Telefon"];

/// A server that knows a subject by name, with a session on its device that was ended for a reason.
fn knowing() -> Server {
    let server = Server::start();
    server.register("w", &json!({ "name": WORDS[0] }));
    let body = json!({ "subjectId": "w", "device": WORDS[1], "metadata": { "street": WORDS[2] } });
    let session = server.create(&body);
    let reason = WORDS[3].replace(' ', "%20");
    server.delete(&format!("{}?reason={reason}", session.path())).bearer(&server.admin).send().expect(200);
    server
}

fn erase(server: &Server, subject: &str) -> Request {
    let target = format!("/v1/subjects/{subject}/erase");
    server.post(&target).bearer(&server.admin).json(&json!({ "reason": "ticket 4711" }))
}

/// All that is answered about the subject.
fn answers(server: &Server) -> String {
    let targets =
        ["/v1/subjects/w", "/v1/sessions?status=all", "/v1/events?limit=200", "/v1/notices?limit=200"];
    let answer = |target| server.get(target).bearer(&server.admin).send().expect(200).body;
    targets.map(answer).concat()
}

fn found_in(text: &str) -> Vec<&'static str> {
    WORDS.into_iter().filter(|word| text.contains(word)).collect()
}

fn each_file(directory: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, look);
            continue;
        }
        match fs::read(&path) {
            Ok(bytes) => look(&path, &bytes),
            // The server, which is at work, removed or renamed it since; what it has become is read the next time.
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error}", path.display()),
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// The keys in the file of keys, by the slots that `src/server/personal_data/key_slots.rs` describes.
fn keys(server: &Server) -> Vec<Vec<u8>> {
    let bytes = fs::read(server.data().join("keys/subjects")).unwrap();
    let live = bytes.chunks(64).skip(1).filter(|slot| slot[48] == 1);
    live.map(|slot| slot[16..48].to_vec()).collect()
}

/// One node has done all of it when it answers.
#[test]
fn what_was_erased_is_shown_with_where_and_what_was_not_is_no_such_thing() {
    let server = knowing();
    let shown = || server.get("/v1/subjects/w/erasure").bearer(&server.admin).send();
    assert_eq!(shown().expect(404).code(), "NOT_FOUND");
    let erased = erase(&server, "w").send().expect(200).json();
    assert_eq!((&erased["done"], &erased["nodes"]), (&json!(true), &json!([])), "{erased}");
    assert!(erased["position"].is_u64() && erased["brokerDone"].is_null(), "{erased}");
    assert_eq!(shown().expect(200).json(), erased);
    // What is said of it later is not part of it.
    server.register("w", &json!({ "name": WORDS[0] }));
    assert_eq!(shown().expect(200).json(), erased);
    let unknown = server.get("/v1/subjects/nobody/erasure").bearer(&server.admin).send();
    assert_eq!(unknown.expect(404).code(), "SUBJECT_NOT_FOUND");
}

#[test]
fn no_word_and_no_key_is_left_in_any_file_or_answer() {
    let mut server = knowing();
    assert_eq!(found_in(&answers(&server)), WORDS, "the test looks in the right places");
    let before = keys(&server);
    // A snapshot of before must not be left to tell either.
    server.restart();
    erase(&server, "w").send().expect(200);
    assert_eq!(found_in(&answers(&server)), [""; 0]);
    let lost: Vec<_> = before.into_iter().filter(|key| !keys(&server).contains(key)).collect();
    assert_eq!(lost.len(), 1, "one key is destroyed, and no other");
    for stop in [Server::kill9, Server::restart] {
        stop(&mut server);
        assert_eq!(found_in(&answers(&server)), [""; 0]);
        each_file(&server.data(), &mut |path, bytes| {
            assert!(!contains(bytes, &lost[0]), "the key is in {}", path.display());
            for word in WORDS {
                assert!(!contains(bytes, word.as_bytes()), "{word} is in {}", path.display());
            }
        });
    }
}

/// The event is the fact. Whatever a crash, or an older file of keys put back, leaves of the key, the next start
/// destroys it.
#[test]
fn a_key_that_outlived_its_erasure_is_destroyed_by_the_next_start() {
    let mut server = knowing();
    let file = server.data().join("keys/subjects");
    let with_key = fs::read(&file).unwrap();
    erase(&server, "w").send().expect(200);
    fs::write(&file, &with_key).unwrap();
    server.kill9();
    assert!(server.said().contains("the key of an erased subject was still there"), "{}", server.said());
    assert_eq!(found_in(&answers(&server)), [""; 0]);
    assert_eq!(keys(&server).len(), with_key.chunks(64).skip(1).filter(|slot| slot[48] == 1).count() - 1);
    // That is done once: a key of later is let be.
    server.register("w", &json!({ "name": "W." }));
    server.restart();
    assert_eq!(server.get("/v1/subjects/w").bearer(&server.admin).send().json()["name"], "W.");
}

/// Without a mark in the file of keys, the next start would destroy the key that was made after the erasure.
#[test]
fn a_subject_that_had_no_text_keeps_what_is_said_of_it_later() {
    let mut server = Server::start();
    server.register("x", &json!({}));
    assert!(erase(&server, "x").send().expect(200).position().is_some());
    assert_eq!(erase(&server, "x").send().expect(200).position(), None);
    server.register("x", &json!({ "name": "X." }));
    server.kill9();
    assert_eq!(server.get("/v1/subjects/x").bearer(&server.admin).send().json()["name"], "X.");
}

#[test]
fn of_erasures_at_once_one_is_recorded() {
    let server = knowing();
    let replies = all_at_once(&(0..8).map(|_| erase(&server, "w")).collect::<Vec<_>>());
    let recorded = replies.iter().filter(|reply| reply.position().is_some()).count();
    assert_eq!(recorded, 1, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.json()["erasedAt"].is_string()));
    assert_eq!(server.events("SubjectErased").len(), 1);
}

/// A text is sealed before its request is decided. One that an erasure overtakes must not be recorded as text that
/// nobody can read: either it was there first and is erased, or it came later and can be read.
#[test]
fn a_name_that_is_given_at_once_is_erased_or_can_be_read() {
    let server = Server::start();
    for round in 0..20 {
        let id = format!("s{round}");
        server.register(&id, &json!({ "name": "before" }));
        let name =
            server.put(&format!("/v1/subjects/{id}")).bearer(&server.admin).json(&json!({ "name": "after" }));
        let replies = all_at_once(&[name, erase(&server, &id)]);
        let shown = server.get(&format!("/v1/subjects/{id}")).bearer(&server.admin).send().json();
        match (replies[0].status, replies[0].position(), replies[1].position()) {
            (200, Some(named), Some(erased)) if named > erased => assert_eq!(shown["name"], "after"),
            (200, Some(_), Some(_)) | (503, None, Some(_)) => assert!(shown["name"].is_null(), "{shown}"),
            other => panic!("{other:?}"),
        }
    }
}

/// The digest of a device's name stays for the rules about devices. By it a list told whoever guessed the name that the
/// subject had been on that device, after its erasure too.
#[test]
fn a_device_is_found_by_its_name_for_as_long_as_that_can_be_read() {
    let server = Server::start();
    for subject in ["w", "other"] {
        server.register(subject, &json!({}));
    }
    let on_device = |subject: &str| server.create(&json!({ "subjectId": subject, "device": "Fernsprecher" }));
    let (_before, other) = (on_device("w"), on_device("other"));
    let found = |more: &str| {
        let target = format!("/v1/sessions?device=Fernsprecher&status=all{more}");
        let page = server.get(&target).bearer(&server.admin).send().expect(200).json();
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["sessionId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((found("").len(), found("&subjectId=w").len()), (2, 1));
    let erased = erase(&server, "w").send().expect(200).position().unwrap();
    let past = format!("&asOfPosition={}", erased - 1);
    for more in ["", past.as_str()] {
        assert_eq!(found(more), [other.id.as_str()], "{more}");
        assert!(found(&format!("&subjectId=w{more}")).is_empty(), "{more}");
    }
    // What is said of it later is found.
    let after = on_device("w");
    assert_eq!(found("&subjectId=w"), [after.id.as_str()]);
}
