//! What an owner reads of a bulk revocation: that it ended sessions of its own, and nothing about others.

use serde_json::{Value, json};

use crate::server::{Server, Session};

/// Alice's `a` and dora's `d` have a session on a laptop each, and one on a phone.
struct House {
    server: Server,
    alice: String,
    dora: String,
    sessions: [Session; 4],
}

impl House {
    fn new() -> Self {
        let server = Server::start();
        let (alice, _) = server.issue_key("owner", Some("alice"));
        let (dora, _) = server.issue_key("owner", Some("dora"));
        server.register("a", &json!({ "ownerId": "alice" }));
        server.register("d", &json!({ "ownerId": "dora" }));
        let session =
            |subject: &str, device: &str| server.create(&json!({ "subjectId": subject, "device": device }));
        let sessions =
            [session("a", "laptop"), session("a", "phone"), session("d", "laptop"), session("d", "phone")];
        Self { server, alice, dora, sessions }
    }

    fn ends(&self, selector: &Value) -> u64 {
        let body = json!({ "selector": selector, "reason": "the laptops were stolen" });
        let asked = self.server.post("/v1/revocations").bearer(&self.server.admin).json(&body);
        asked.send().expect(200).json()["position"].as_u64().unwrap()
    }

    fn bulks(&self, key: &str, query: &str) -> Vec<Value> {
        let target = format!("/v1/events?kinds=SessionsRevoked{query}");
        let page = self.server.get(&target).bearer(key).send().expect(200).json();
        page["items"].as_array().unwrap().clone()
    }

    fn of_session(&self, key: &str, index: usize) -> Vec<Value> {
        self.bulks(key, &format!("&sessionId={}", self.sessions[index].id))
    }
}

#[test]
fn an_owner_reads_what_ended_its_sessions_however_it_asks() {
    let house = House::new();
    let position = house.ends(&json!({ "device": "laptop" }));
    for (key, subject, own) in [(&house.alice, "a", 0), (&house.dora, "d", 2)] {
        let found = house.bulks(key, "");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["position"], position);
        assert_eq!(house.bulks(key, &format!("&subjectId={subject}")), found);
        assert_eq!(house.of_session(key, own), found);
        // The session on the phone has another story, and those of others have none.
        for index in (0..4).filter(|index| *index != own) {
            assert_eq!(house.of_session(key, index), Vec::<Value>::new(), "{subject}: session {index}");
        }
        let mut stream = house.server.get("/v1/events?kinds=SessionsRevoked").bearer(key).listen();
        assert_eq!(stream.next(), Some((position.to_string(), found[0].clone())));
    }
    assert_eq!(house.bulks(&house.alice, "&subjectId=d"), Vec::<Value>::new());
}

#[test]
fn it_reads_nothing_of_what_ended_only_the_sessions_of_others() {
    let house = House::new();
    for selector in [json!({ "subjectId": "d", "device": "phone" }), json!({ "ownerId": "dora" })] {
        house.ends(&selector);
    }
    assert_eq!(house.bulks(&house.alice, ""), Vec::<Value>::new());
    assert_eq!(house.bulks(&house.alice, "&subjectId=a"), Vec::<Value>::new());
    assert_eq!(house.bulks(&house.dora, "").len(), 2);
}

/// Its own notice comes for its own sessions: whether it would for another's tells who else was concerned.
#[test]
fn nobody_learns_by_asking_whose_sessions_ended_with_its_own() {
    let house = House::new();
    house.ends(&json!({ "device": "laptop" }));
    let notices = |query: &str| {
        let target = format!("/v1/notices?kinds=SESSION_REVOKED&{query}");
        let page = house.server.get(&target).bearer(&house.alice).send().expect(200).json();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!((notices("subjectId=a"), notices("subjectId=d")), (1, 0));
    let of_session = |index: usize| notices(&format!("sessionId={}", house.sessions[index].id));
    assert_eq!((of_session(0), of_session(1), of_session(2), of_session(3)), (1, 0, 0, 0));
}

#[test]
fn it_reads_no_counts_and_no_names_but_its_own() {
    let house = House::new();
    house.ends(&json!({ "all": true }));
    let whole = house.bulks(&house.server.admin, "")[0].clone();
    let owners = json!([{ "ownerId": "alice", "matched": 2 }, { "ownerId": "dora", "matched": 2 }]);
    assert_eq!((&whole["data"]["matched"], &whole["data"]["owners"]), (&json!(4), &owners));
    let mut own = house.bulks(&house.alice, "")[0].clone();
    assert_eq!(
        (&own["data"]["matched"], &own["data"]["owners"]),
        (&json!(2), &json!([{ "ownerId": "alice", "matched": 2 }]))
    );
    assert_eq!(own["data"]["reason"], "the laptops were stolen");
    // In all else, its hash included, it is the same event.
    own["data"]["matched"] = json!(4);
    own["data"]["owners"] = owners;
    assert_eq!(own, whole);
}

#[test]
fn a_later_owner_reads_it_in_the_story_of_what_is_its_own_today() {
    let house = House::new();
    house.ends(&json!({ "ownerId": "alice" }));
    house.server.register("a", &json!({ "ownerId": "dora" }));
    assert_eq!(house.of_session(&house.alice, 0), Vec::<Value>::new());
    assert_eq!(house.bulks(&house.alice, "&subjectId=a"), Vec::<Value>::new());
    for found in [house.of_session(&house.dora, 0), house.bulks(&house.dora, "&subjectId=a")] {
        assert_eq!(found.len(), 1, "{found:?}");
        let data = &found[0]["data"];
        assert!(!data.to_string().contains("alice"), "{data}");
        assert_eq!((&data["matched"], &data["owners"]), (&Value::Null, &json!([])));
        assert_eq!(data["selector"]["ownerId"], Value::Null);
        assert_eq!(data["selector"]["all"], false);
    }
}
