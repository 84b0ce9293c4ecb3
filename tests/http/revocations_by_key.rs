//! `POST /v1/revocations` with a `keyId`: the end of what one session key sealed.

use serde_json::{Value, json};

use crate::server::{Reply, Server, Session};

fn rotate(server: &Server) -> String {
    let body = json!({ "which": "session", "retire": "overlap" });
    // Two rotations with an overlap are this far apart at least.
    server.advance(300);
    server.post("/v1/keys/rotate").bearer(&server.admin).json(&body).send().expect(200).text("previousKeyId")
}

fn asked(server: &Server, selector: &Value, dry: bool) -> Reply {
    let body = json!({ "selector": selector, "reason": "it was in a backup", "dryRun": dry });
    server.post("/v1/revocations").bearer(&server.admin).json(&body).send().expect(200)
}

fn ends(server: &Server, selector: &Value) -> u64 {
    asked(server, selector, false).json()["matched"].as_u64().unwrap()
}

fn live(server: &Server, sessions: &[&Session]) -> Vec<bool> {
    let judged = sessions.iter().map(|session| server.introspect(&session.token).json());
    judged.map(|judged| judged["active"] == true).collect()
}

#[test]
fn what_the_old_key_sealed_ends_and_what_the_new_one_sealed_lives() {
    let mut server = Server::start();
    let (old, phone) = (server.session("a", 86_400), json!({ "subjectId": "a", "device": "phone" }));
    let phone = server.create(&phone);
    let first = rotate(&server);
    let middle = server.session("b", 86_400);
    let second = rotate(&server);
    let new = server.session("c", 86_400);
    let all = [&old, &phone, &middle, &new];

    let head = server.events("SessionsRevoked").len();
    let dry = asked(&server, &json!({ "keyId": first }), true);
    let mut ids = [old.id.clone(), phone.id.clone()];
    ids.sort_unstable();
    assert_eq!(dry.json(), json!({ "matched": 2, "sample": ids, "position": null }));
    assert_eq!(dry.position(), None);
    let none = json!({ "matched": 0, "sample": [], "position": null });
    for unknown in ["lid", "pid"] {
        let unknown = format!("k4.{unknown}.{}", "A".repeat(44));
        assert_eq!(asked(&server, &json!({ "keyId": unknown }), false).json(), none);
    }
    assert_eq!(asked(&server, &json!({ "keyId": first, "subjectId": "b" }), false).json(), none);
    assert_eq!(server.events("SessionsRevoked").len(), head, "nothing was appended");

    assert_eq!(ends(&server, &json!({ "keyId": first, "device": "phone" })), 1);
    assert_eq!(live(&server, &all), [true, false, true, true]);
    assert_eq!(ends(&server, &json!({ "keyId": first })), 1);
    assert_eq!(live(&server, &all), [false, false, true, true]);
    server.kill9();
    assert_eq!(live(&server, &all), [false, false, true, true], "also after a crash");
    assert_eq!(ends(&server, &json!({ "keyId": second, "ownerId": null })), 1);
    assert_eq!(live(&server, &all), [false, false, false, true]);
    let third = rotate(&server);
    assert_eq!(ends(&server, &json!({ "keyId": third })), 1);

    let event = server.events("SessionsRevoked").pop().unwrap();
    assert_eq!(event["data"]["selector"]["keyId"], json!(third));
    assert_eq!(event["data"]["selector"]["all"], false);
    let feed = server.get("/v1/revocations/feed").bearer(&server.admin).send().expect(200).json();
    let item = feed["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&item["selector"]["keyId"], &item["sessionIds"]), (&json!(third), &json!([new.id])));
    let notices = server.get("/v1/notices?kinds=SESSION_REVOKED").bearer(&server.admin).send().json();
    let notice = notices["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&notice["selector"]["keyId"], &notice["matched"]), (&json!(third), &json!(1)));
    let found = server.get("/v1/audit/check").bearer(&server.admin).send().expect(200).json();
    assert_eq!(found["differences"], json!([]), "{found}");
}

#[test]
fn a_renewal_moves_a_session_to_the_key_that_seals_then() {
    let server = Server::start();
    let (stays, renewable) = (server.session("a", 86_400), server.session("b", 86_400));
    let old = rotate(&server);
    server.advance(43_200);
    let renewed = renewable.renewed(&server.renew(&renewable).send().expect(200));
    assert_eq!(ends(&server, &json!({ "keyId": old })), 1);
    assert_eq!(live(&server, &[&stays, &renewed]), [false, true]);
    let next = rotate(&server);
    assert_eq!(ends(&server, &json!({ "keyId": next })), 1);
    assert_eq!(live(&server, &[&renewed]), [false]);
}

/// Its token of before the refresh works on, so both keys are meant.
#[test]
fn a_refreshed_session_is_of_the_key_that_sealed_it_first_and_of_the_one_that_sealed_it_last() {
    for which in [0, 1, 2] {
        let server = Server::start();
        server.register("ann", &json!({}));
        let terms = json!({ "subjectId": "ann", "mode": "sliding", "ttl": 3600, "idleTimeout": 1800 });
        let session = server.create(&terms);
        let first = rotate(&server);
        server.advance(900);
        let asked = server.get("/v1/forward-auth").header("X-Tenure-Key", server.admin.as_str());
        let cookie = format!("__Host-tenure_session={}", session.token);
        let passed = asked.header("Cookie", cookie).send().expect(200);
        let set = passed.header("set-cookie").unwrap().to_owned();
        let token = set.split_once('=').unwrap().1.split(';').next().unwrap().to_owned();
        assert_ne!(token, session.token, "it is sealed again");
        let refreshed = Session { id: session.id.clone(), token };
        let second = rotate(&server);
        let third = rotate(&server);
        let key = [first, second, third][which].clone();
        let (matched, is_live) = if which == 2 { (0, true) } else { (1, false) };
        assert_eq!(ends(&server, &json!({ "keyId": key })), matched, "{which}");
        assert_eq!(live(&server, &[&refreshed]), [is_live], "{which}");
    }
}
