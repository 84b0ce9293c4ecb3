//! Long lists, and reads that wait for a position.

use std::collections::BTreeSet;

use serde_json::json;
use tenure::clock::stopwatch;

use crate::server::{Server, at_once};

#[test]
fn long_lists_are_walked_page_by_page_and_told_in_part() {
    let server = Server::start();
    server.register("a", &json!({ "maxSessions": 10_000 }));
    let create = server.post("/v1/sessions").bearer(&server.admin).json(&json!({ "subjectId": "a" }));
    for _ in 0..3 {
        assert!(at_once(&create, 67).iter().all(|reply| reply.status == 201));
    }
    for (limit, pages) in [("", 5), ("limit=200&", 2), ("limit=67&", 3)] {
        for filter in ["", "subjectId=a&"] {
            let mut seen = BTreeSet::new();
            let mut cursor = String::new();
            let mut walked = 0;
            loop {
                let page = server.get(&format!("/v1/sessions?{limit}{filter}{cursor}"));
                let page = page.bearer(&server.admin).send().expect(200).json();
                let items = page["items"].as_array().unwrap();
                seen.extend(items.iter().map(|item| item["sessionId"].as_str().unwrap().to_owned()));
                walked += 1;
                let Some(next) = page["nextCursor"].as_str() else { break };
                cursor = format!("cursor={next}");
            }
            assert_eq!((seen.len(), walked), (201, pages), "{limit}{filter}");
        }
    }
    // A refusal names the 50 oldest; an end names the 200 oldest; both count all.
    server.register("a", &json!({ "maxSessions": 1 }));
    let refused = create.send().refused(403, "SESSION_LIMIT_EXCEEDED").json();
    assert_eq!(
        (&refused["activeCount"], refused["activeSessions"].as_array().unwrap().len()),
        (&json!(201), 50)
    );
    let ended = server.delete("/v1/subjects/a/sessions").bearer(&server.admin).send().expect(200).json();
    assert_eq!((&ended["matched"], ended["sessionIds"].as_array().unwrap().len()), (&json!(201), 200));
    assert_eq!(server.events("SessionsRevoked").len(), 1);
    assert_eq!(server.get("/v1/sessions").bearer(&server.admin).send().json()["items"], json!([]));
}

/// The cursor of one list was a place in another, and a page from nowhere in particular.
#[test]
fn a_cursor_is_good_for_its_own_list_alone() {
    let server = Server::start();
    for id in ["a", "b"] {
        server.register(id, &json!({}));
        server
            .post("/v1/sessions")
            .bearer(&server.admin)
            .json(&json!({ "subjectId": id }))
            .send()
            .expect(201);
        server.issue_key("auditor", None);
    }
    let lists = ["subjects", "sessions", "credentials", "events", "notices"];
    let page = |list: &str, cursor: &str| {
        server.get(&format!("/v1/{list}?limit=1{cursor}")).bearer(&server.admin).send()
    };
    for given in lists {
        let next = page(given, "").expect(200).json()["nextCursor"].clone();
        let Some(next) = next.as_str() else { panic!("{given} has one page") };
        for list in lists.into_iter().chain(["webhooks"]) {
            let reply = page(list, &format!("&cursor={next}"));
            if list == given {
                reply.expect(200);
            } else {
                assert_eq!(reply.refused(400, "INVALID_REQUEST").fields(), ["cursor"], "{given} in {list}");
            }
        }
    }
}

#[test]
fn a_read_waits_until_the_position_is_reached() {
    let server = Server::start();
    server.register("a", &json!({}));
    let put = server.put("/v1/subjects/a").bearer(&server.admin).json(&json!({ "name": "New" }));
    let tail =
        server.get("/v1/subjects/a").bearer(&server.admin).send().json()["asOfPosition"].as_u64().unwrap();
    for target in ["/v1/subjects/a?", "/v1/subjects?", "/v1/sessions?", "/v1/events?"] {
        let beyond = format!("{target}minPosition={}", tail + 1_000_001 + 1);
        let reply = server.get(&beyond).bearer(&server.admin).send().refused(400, "INVALID_REQUEST");
        assert_eq!(reply.fields(), ["minPosition"]);
    }
    let read = server.get(&format!("/v1/subjects/a?minPosition={}", tail + 1)).bearer(&server.admin);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read.send());
        assert_eq!(put.send().expect(200).position(), Some(tail + 1));
        let reply = reader.join().unwrap().expect(200).json();
        assert_eq!((&reply["name"], &reply["asOfPosition"]), (&json!("New"), &json!(tail + 1)));
    });
    let begun = stopwatch();
    let far =
        server.get(&format!("/v1/subjects/a?minPosition={}", tail + 1 + 1_000_000)).bearer(&server.admin);
    far.send().refused(503, "POSITION_NOT_REACHED");
    assert!((4..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}
