//! `/v1/webhooks`: who may make, see and delete them, and what they tell whom.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::clock::pause;

use crate::{
    receiver::{BROKEN, INSIDE, OK, Receiver, Webhooks},
    server::Server,
};

fn server() -> Server {
    Server::with(&[INSIDE])
}

#[test]
fn a_webhook_is_shown_whole_once_and_later_by_its_host() {
    let (server, receiver) = (server(), Receiver::start(OK));
    let url = format!("{}?token=x", receiver.url());
    let body = json!({
        "url": url, "kinds": ["SESSION_REVOKED", "SESSION_CREATED", "SESSION_CREATED"], "ownerId": "alice",
        "format": "cloudevents", "name": "Alice's phone",
    });
    let asked = server.post("/v1/webhooks").bearer(&server.admin).json(&body).key("once");
    let made = asked.send().expect(201);
    assert_eq!(made.text("url"), url);
    assert!(made.text("secret").starts_with("whsec_"));
    assert_eq!(made.json()["kinds"], json!(["SESSION_CREATED", "SESSION_REVOKED"]));
    let again = asked.send().expect(201);
    assert_eq!((again.text("webhookId"), again.position()), (made.text("webhookId"), made.position()));
    assert_eq!((again.text("url"), &again.json()["secret"]), ("http://127.0.0.1".into(), &Value::Null));
    let listed = server.get("/v1/webhooks").bearer(&server.admin).send().expect(200).json();
    let expected = json!({
        "webhookId": made.text("webhookId"), "name": "Alice's phone", "url": "http://127.0.0.1", "kinds": ["SESSION_CREATED", "SESSION_REVOKED"],
        "ownerId": "alice", "format": "cloudevents", "createdAt": made.text("createdAt"), "health": {
            "consecutiveFailures": 0, "failingSince": null, "lastFailure": null, "lastSuccessAt": null,
            "nextAttemptAt": null, "oldestPending": null, "parked": 0, "pending": 0,
        },
    });
    assert_eq!(listed, json!({ "items": [expected], "nextCursor": null }));
    assert_eq!(server.events("WebhookCreated").len(), 1);
    let kept = std::fs::read_dir(server.data().join("keys/webhooks")).unwrap().count();
    assert_eq!(kept, 1, "the file of the repeat is gone");
}

#[test]
fn what_is_wrong_with_a_webhook_is_said() {
    let server = server();
    for (body, fields) in [
        (json!({}), vec!["url"]),
        (json!({ "url": "https://example.com", "kinds": ["SESSION_ENDED"] }), vec!["kinds"]),
        (json!({ "url": "https://example.com", "kinds": [] }), vec!["kinds"]),
        (json!({ "url": "https://example.com", "format": "fax" }), vec!["format"]),
        (json!({ "url": "https://example.com", "secret": "whsec_AAAA" }), vec!["secret"]),
        (json!({ "url": "https://u:p@example.com" }), vec!["url"]),
        (json!({ "url": "https://ntfy.example/", "format": "ntfy" }), vec!["url"]),
        (json!({ "url": "https://example.com", "events": [] }), vec!["events"]),
    ] {
        let reply = server.post("/v1/webhooks").bearer(&server.admin).json(&body).send();
        assert_eq!(reply.refused(400, "INVALID_REQUEST").fields(), fields, "{body}");
    }
}

#[test]
fn an_owner_has_webhooks_for_itself_and_sees_no_others() {
    let (server, receiver) = (server(), Receiver::start(OK));
    let (alice, bob) = (server.issue_key("owner", Some("alice")).0, server.issue_key("owner", Some("bob")).0);
    let auditor = server.issue_key("auditor", None).0;
    let of_all = server.webhook(&receiver.url(), &json!({ "kinds": ["SESSION_EXPIRED"] }));
    let body = json!({ "url": receiver.url() });
    let made = server.post("/v1/webhooks").bearer(&alice).json(&body).send().expect(201);
    assert_eq!(made.text("ownerId"), "alice");
    let foreign = json!({ "url": receiver.url(), "ownerId": "bob" });
    server.post("/v1/webhooks").bearer(&alice).json(&foreign).send().refused(403, "FORBIDDEN");
    let path = format!("/v1/webhooks/{}", made.text("webhookId"));
    let count = |key: &str| {
        let page = server.get("/v1/webhooks").bearer(key).send().expect(200).json();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!((count(&server.admin), count(&auditor), count(&alice), count(&bob)), (2, 2, 1, 0));
    for path in [path.as_str(), &of_all.path("")] {
        server.get(&format!("{path}/deliveries")).bearer(&bob).send().refused(404, "WEBHOOK_NOT_FOUND");
        server.post(&format!("{path}/test")).bearer(&bob).send().refused(404, "WEBHOOK_NOT_FOUND");
        let again = server.post(&format!("{path}/redeliver")).bearer(&bob).json(&json!({ "from": 1 }));
        again.send().refused(404, "WEBHOOK_NOT_FOUND");
        server.delete(path).bearer(&bob).send().refused(404, "WEBHOOK_NOT_FOUND");
    }
    server.get(&format!("{path}/deliveries")).bearer(&auditor).send().expect(200);
    // It hears of its own subjects only.
    server.register("hers", &json!({ "ownerId": "alice" }));
    server.register("his", &json!({ "ownerId": "bob" }));
    for subject in ["his", "hers"] {
        server.create(&json!({ "subjectId": subject }));
    }
    server.session("nobodys", 86_400);
    let told = receiver.wait_for(1);
    assert_eq!((&told[0].data("subjectId"), &told[0].data("ownerId")), (&json!("hers"), &json!("alice")));
    pause(Duration::from_millis(100));
    assert_eq!(receiver.received().len(), 1);
    server.delete(&path).bearer(&alice).send().expect(200);
}

/// Whose a subject is today decides, when something is sent.
#[test]
fn what_waits_is_withheld_when_the_subject_has_another_owner() {
    let (server, receiver) = (server(), Receiver::start(BROKEN));
    let webhook = server.webhook(&receiver.url(), &json!({ "ownerId": "alice" }));
    server.register("a", &json!({ "ownerId": "alice" }));
    server.create(&json!({ "subjectId": "a" }));
    server.wait_for_deliveries(&webhook, |all| all.len() == 1 && !all[0]["attempts"][0].is_null());
    server.register("a", &json!({ "ownerId": "bob" }));
    receiver.behave(OK);
    server.advance(60);
    assert!(receiver.accepted().is_empty());
    assert!(server.deliveries(&webhook).is_empty());
}

#[test]
fn only_the_kinds_that_were_asked_for_are_told() {
    let (server, receiver) = (server(), Receiver::start(OK));
    server.webhook(&receiver.url(), &json!({ "kinds": ["SESSION_REVOKED"] }));
    let session = server.session("a", 86_400);
    server.delete(&session.path()).bearer(&server.admin).send().expect(200);
    let told = receiver.wait_for(1);
    assert_eq!(told[0].data("kind"), "SESSION_REVOKED");
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn a_deleted_webhook_tells_nothing_and_leaves_nothing() {
    let (mut server, receiver) = (server(), Receiver::start(BROKEN));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    receiver.wait_for(1);
    let deleted = server.delete(&webhook.path("")).bearer(&server.admin).key("once");
    let first = deleted.send().expect(200);
    assert_eq!(first.json(), json!({ "webhookId": webhook.id }));
    let again = deleted.send().expect(200);
    assert_eq!((again.json(), again.position()), (first.json(), first.position()));
    server.delete(&webhook.path("")).bearer(&server.admin).send().refused(404, "WEBHOOK_NOT_FOUND");
    server.get(&webhook.path("/deliveries")).bearer(&server.admin).send().refused(404, "WEBHOOK_NOT_FOUND");
    assert_eq!(std::fs::read_dir(server.data().join("keys/webhooks")).unwrap().count(), 0);
    receiver.behave(OK);
    server.advance(3_600);
    server.session("b", 86_400);
    server.restart();
    server.advance(3_600);
    assert!(receiver.accepted().is_empty());
    assert_eq!(server.metric("tenure_webhook_pending"), 0);
}

#[test]
fn a_test_says_that_it_is_one_and_how_it_went() {
    let (server, receiver) = (server(), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    let test = || server.post(&webhook.path("/test")).bearer(&server.admin).send().expect(200).json();
    assert_eq!(test(), json!({ "outcome": "delivered", "httpStatus": 200 }));
    let told = receiver.received();
    assert_eq!(told[0].json()["type"], "TEST");
    assert!(told[0].id().starts_with("msg_test_"));
    receiver.behave(BROKEN);
    assert_eq!(test(), json!({ "outcome": "http_error", "httpStatus": 500 }));
    assert!(server.deliveries(&webhook).is_empty(), "a test is no notice");
    assert_eq!(server.metric("tenure_webhook_deliveries_total{outcome=\"delivered\"}"), 1);
    assert_eq!(server.metric("tenure_webhook_deliveries_total{outcome=\"http_error\"}"), 1);
}

#[test]
fn deliveries_come_in_pages_newest_first() {
    let (server, receiver) = (server(), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    for number in 0..7 {
        server.session(&format!("agent-{number}"), 86_400);
    }
    receiver.wait_for_accepted(7);
    let all: Vec<_> = server.wait_for_deliveries(&webhook, |all| all.len() == 7);
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let target = webhook.path(&format!("/deliveries?limit=3{cursor}"));
        let page = server.get(&target).bearer(&server.admin).send().expect(200).json();
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["noticeId"].clone()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let newest_first: Vec<_> = all.iter().rev().map(|item| item["noticeId"].clone()).collect();
    assert_eq!(found, newest_first);
}

#[test]
fn a_redelivery_begins_within_the_log() {
    let (server, receiver) = (server(), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    for from in [json!(0), json!("x"), json!(null)] {
        let reply = server
            .post(&webhook.path("/redeliver"))
            .bearer(&server.admin)
            .json(&json!({ "from": from }))
            .send();
        assert_eq!(reply.refused(400, "INVALID_REQUEST").fields(), ["from"], "{from}");
    }
    let beyond = json!({ "from": 1_000_000 });
    let reply = server.post(&webhook.path("/redeliver")).bearer(&server.admin).json(&beyond).send();
    let end = server.get("/v1/audit/head").bearer(&server.admin).send().expect(200).json()["size"].clone();
    assert_eq!(reply.refused(409, "POSITION_BEYOND_END").json()["end"], end);
    server.session("a", 86_400);
    receiver.wait_for_accepted(1);
    let again = json!({ "from": 1 });
    server.post(&webhook.path("/redeliver")).bearer(&server.admin).json(&again).send().expect(200);
    let told = receiver.wait_for(2);
    assert_eq!(told[0].id(), told[1].id(), "a receiver knows a repeat by its name");
}
