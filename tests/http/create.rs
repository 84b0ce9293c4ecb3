//! `POST /v1/sessions`: the ranges of what can be asked for, and creations at once.

use serde_json::{Value, json};
use tenure::core::Timestamp;

use crate::server::{Reply, Server, at_once};

/// A server with a subject `a` that may have many sessions.
fn roomy() -> Server {
    let server = Server::start();
    server.register("a", &json!({ "maxSessions": 10_000, "maxSessionsPerDevice": 10_000 }));
    server
}

fn asked(server: &Server, more: &Value) -> Reply {
    let mut body = json!({ "subjectId": "a" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/v1/sessions").bearer(&server.admin).json(&body).send()
}

#[track_caller]
fn granted(server: &Server, more: &Value) -> Value {
    asked(server, more).expect(201).json()
}

#[track_caller]
fn refused(server: &Server, more: &Value, fields: &[&str]) {
    let reply = asked(server, more).refused(400, "INVALID_REQUEST");
    assert_eq!(reply.fields(), fields, "{more}: {reply:?}");
}

fn millis(value: &Value) -> i64 {
    Timestamp::parse(value.as_str().unwrap()).unwrap().as_millis()
}

#[test]
fn every_number_has_its_range_and_the_ends_belong_to_it() {
    let server = roomy();
    for (field, least, most) in [
        ("ttl", 300, 604_800),
        ("maxRenewals", 0, 100),
        ("renewalRejectWindow", 300, 86_400),
        ("absoluteLifetime", 86_400, 2_592_000),
    ] {
        granted(&server, &json!({ field: least }));
        granted(&server, &json!({ field: most }));
        if least > 0 {
            refused(&server, &json!({ field: least - 1 }), &[field]);
        }
        refused(&server, &json!({ field: most + 1 }), &[field]);
        for wrong in
            [json!(-1), json!(u64::MAX), json!(1e30), json!(500.5), json!("500"), json!(true), json!([500])]
        {
            refused(&server, &json!({ field: wrong }), &[field]);
        }
    }
}

#[test]
fn the_absolute_lifetime_is_at_least_the_ttl_of_the_session() {
    let server = roomy();
    let created = granted(&server, &json!({ "ttl": 1000, "absoluteLifetime": 1000 }));
    assert_eq!(created["expiresAt"], created["absoluteExpiresAt"]);
    assert!(created["renewAt"].is_null(), "a renewal could add no time");
    refused(&server, &json!({ "ttl": 1000, "absoluteLifetime": 999 }), &["absoluteLifetime"]);
}

#[test]
fn several_values_out_of_range_are_all_named() {
    let server = roomy();
    let body = json!({ "ttl": 299, "maxRenewals": 101, "renewalRejectWindow": 299, "absoluteLifetime": 1 });
    refused(&server, &body, &["ttl", "maxRenewals", "renewalRejectWindow", "absoluteLifetime"]);
    let body = json!({ "ttl": "x", "device": "", "scopes": [1], "metadata": [], "colour": 1 });
    refused(&server, &body, &["ttl", "device", "scopes", "metadata", "colour"]);
}

#[test]
fn a_renewal_is_due_between_half_and_four_fifths_of_the_period() {
    let server = roomy();
    let mut seen = std::collections::BTreeSet::new();
    for ttl in [300, 301, 86_399, 604_800].into_iter().cycle().take(40) {
        let created = granted(&server, &json!({ "ttl": ttl }));
        let [created_at, renew_at, expires_at] =
            ["createdAt", "renewAt", "expiresAt"].map(|name| millis(&created[name]));
        assert_eq!(expires_at - created_at, ttl * 1000);
        let share = (renew_at - created_at) * 10_000 / (ttl * 1000);
        assert!((4_999..=8_000).contains(&share), "{created}");
        seen.insert(share);
    }
    assert!(seen.len() > 20, "a fleet would renew at once: {seen:?}");
}

#[test]
fn what_is_never_renewable_is_never_due() {
    let created = granted(&roomy(), &json!({ "maxRenewals": 0 }));
    assert!(created["renewAt"].is_null() && created["maxRenewals"] == 0, "{created}");
}

#[test]
fn the_device_has_1_to_128_characters() {
    let server = roomy();
    for right in ["x".to_owned(), "ü".repeat(128), "two words / and more".to_owned()] {
        let created = granted(&server, &json!({ "device": right }));
        let path = format!("/v1/sessions/{}", created["sessionId"].as_str().unwrap());
        assert_eq!(server.get(&path).bearer(&server.admin).send().text("device"), right);
    }
    for wrong in [json!(""), json!("ü".repeat(129)), json!("a\nb"), json!("\u{0}"), json!(1)] {
        refused(&server, &json!({ "device": wrong }), &["device"]);
    }
}

#[test]
fn scopes_are_up_to_64_tokens_of_rfc_6749() {
    let server = roomy();
    let many = |count: usize| (0..count).map(|n| format!("scope:{n}")).collect::<Vec<_>>();
    granted(&server, &json!({ "scopes": [] }));
    granted(&server, &json!({ "scopes": many(64) }));
    granted(&server, &json!({ "scopes": ["s".repeat(128), "!#[]~"] }));
    refused(&server, &json!({ "scopes": many(65) }), &["scopes"]);
    for wrong in ["", "two words", "quo\"te", "back\\slash", "ä", "\u{7f}", &"s".repeat(129)] {
        refused(&server, &json!({ "scopes": ["right", wrong] }), &["scopes"]);
    }
    refused(&server, &json!({ "scopes": "read write" }), &["scopes"]);
}

#[test]
fn metadata_is_an_object_of_4_kib() {
    let server = roomy();
    // {"k":"…"} has 8 bytes besides the text.
    granted(&server, &json!({ "metadata": { "k": "x".repeat(4096 - 8) } }));
    refused(&server, &json!({ "metadata": { "k": "x".repeat(4097 - 8) } }), &["metadata"]);
    for wrong in [json!([]), json!("{}"), json!(1), json!(false)] {
        refused(&server, &json!({ "metadata": wrong }), &["metadata"]);
    }
    let metadata = json!({ "": null, "ü": [1, 2.5, -3, true, {"deep": {"er": "\u{1F512}\n"}}], "z": "" });
    let created = granted(&server, &json!({ "metadata": metadata }));
    let path = format!("/v1/sessions/{}", created["sessionId"].as_str().unwrap());
    assert_eq!(server.get(&path).bearer(&server.admin).send().json()["metadata"], metadata);
}

#[test]
fn null_means_absent() {
    let server = roomy();
    let body = json!({ "ttl": null, "maxRenewals": null, "absoluteLifetime": null, "renewalRejectWindow": null,
        "device": null, "scopes": null, "metadata": null });
    let created = granted(&server, &body);
    assert_eq!(millis(&created["expiresAt"]) - millis(&created["createdAt"]), 86_400_000);
    refused(&server, &json!({ "subjectId": null }), &["subjectId"]);
}

#[test]
fn the_caps_are_settings_and_sessions_keep_the_limits_they_were_created_with() {
    let server = Server::with(&[
        "session.ttl=600",
        "session.ttl_max=1000",
        "session.max_renewals_max=3",
        "session.max_renewals=2",
        "session.absolute_lifetime=86400",
        "subjects.auto_register=true",
    ]);
    let created = granted(&server, &json!({}));
    assert_eq!(millis(&created["expiresAt"]) - millis(&created["createdAt"]), 600_000);
    assert_eq!(created["maxRenewals"], 2);
    refused(&server, &json!({ "ttl": 1001 }), &["ttl"]);
    refused(&server, &json!({ "maxRenewals": 4 }), &["maxRenewals"]);
    refused(&server, &json!({ "absoluteLifetime": 86_401 }), &["absoluteLifetime"]);
    let subject = server.get("/v1/subjects/a").bearer(&server.admin).send().expect(200);
    assert_eq!(subject.json()["activeSessions"], 1, "an unknown subject was registered");
}

#[test]
fn of_24_creations_at_once_exactly_as_many_succeed_as_there_is_room() {
    let server = Server::start();
    server.register("a", &json!({}));
    let request = server.post("/v1/sessions").bearer(&server.admin).json(&json!({ "subjectId": "a" }));
    let replies = at_once(&request, 24);
    let granted = replies.iter().filter(|reply| reply.status == 201).count();
    let refused = replies.iter().filter(|reply| reply.code() == "SESSION_LIMIT_EXCEEDED").count();
    assert_eq!((granted, refused), (5, 19), "{replies:?}");
    assert_eq!(server.events("SessionCreated").len(), 5);
}

#[test]
fn a_refusal_says_which_limit_it_is_and_what_could_be_set() {
    let server = Server::start();
    server.register("a", &json!({ "maxSessionsPerDevice": 1, "onDeviceLimit": "reject", "maxSessions": 2 }));
    let create = |device: &str| {
        let body = json!({ "subjectId": "a", "device": device });
        server.post("/v1/sessions").bearer(&server.admin).json(&body).send()
    };
    create("laptop").expect(201);
    let refused = create("laptop").refused(403, "SESSION_LIMIT_EXCEEDED").json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("device") && detail.contains("onDeviceLimit"), "{detail}");
    assert_eq!(refused["activeCount"], 1);
    create("phone").expect(201);
    let refused = create("tablet").refused(403, "SESSION_LIMIT_EXCEEDED").json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(!detail.to_lowercase().contains("device") && detail.contains("onLimit"), "{detail}");
    assert_eq!(refused["activeCount"], 2);
}

#[test]
fn a_number_that_is_refused_is_told_what_would_be_right() {
    let server = Server::start();
    server.register("a", &json!({}));
    let said = |more: &str| {
        let body = format!("{{\"subjectId\":\"a\",{more}}}");
        let reply = server.post("/v1/sessions").bearer(&server.admin).json_text(&body).send();
        reply.refused(400, "INVALID_REQUEST").json()["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    let beyond = said(r#""constraints":{"maxTransactions":9007199254740992}"#);
    assert_eq!(beyond, "must be a whole number from 0 to 9007199254740991");
    for text in [r#""ttl":"300""#, r#""maxRenewals":"3""#] {
        let message = said(text);
        assert!(message.contains("whole number") && message.ends_with("and not text"), "{text}: {message}");
    }
    assert_eq!(said(r#""ttl":-1"#), "must be a whole number of seconds");
    assert_eq!(said(r#""ttl":1"#), "must be from 300 to 604800");
    let sliding = said(r#""mode":"sliding","maxRenewals":3"#);
    assert_eq!(sliding, "must be 0: a sliding session is refreshed by use, and never renewed");
}
