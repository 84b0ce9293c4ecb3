//! The six kinds of notices, with all their members (section 6).

use serde_json::{Value, json};

use crate::server::{Server, Session};

const DAY: u64 = 86_400;

fn notices(server: &Server, query: &str) -> Vec<Value> {
    let page = server.get(&format!("/v1/notices?{query}")).bearer(&server.admin).send().expect(200).json();
    page["items"].as_array().unwrap().clone()
}

/// The one notice of this kind.
fn one(server: &Server, kind: &str) -> Value {
    let found = notices(server, &format!("kinds={kind}"));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn owned(server: &Server, body: Value) -> Session {
    server.register("bot-7", &json!({ "name": "Night shift", "ownerId": "alice" }));
    let mut body = body;
    body["subjectId"] = json!("bot-7");
    server.create(&body)
}

/// What every notice has, and the members that are its kind's own.
#[track_caller]
fn own_members(notice: &Value, session: &Session) -> Value {
    let mut members = notice.as_object().unwrap().clone();
    let position = members.remove("position").unwrap();
    let id = members.remove("noticeId").unwrap();
    assert!(id.as_str().unwrap().starts_with(&format!("{position}.")), "{notice}");
    assert!(members.remove("occurredAt").unwrap().is_string());
    assert_eq!(members.remove("sessionId"), Some(json!(session.id)));
    assert_eq!(members.remove("subjectId"), Some(json!("bot-7")));
    assert_eq!(members.remove("subjectName"), Some(json!("Night shift")));
    assert_eq!(members.remove("ownerId"), Some(json!("alice")));
    members.remove("kind");
    Value::Object(members)
}

fn after(notice: &Value, seconds: u64) -> Value {
    let at: tenure::core::Timestamp =
        tenure::core::Timestamp::parse(notice["occurredAt"].as_str().unwrap()).unwrap();
    json!(at.plus_millis(i64::try_from(seconds).unwrap() * 1000).to_string())
}

#[test]
fn a_new_session_is_told() {
    let server = Server::start();
    let session = owned(&server, json!({ "device": "laptop" }));
    let notice = one(&server, "SESSION_CREATED");
    let own = own_members(&notice, &session);
    let expected = json!({
        "expiresAt": after(&notice, DAY), "absoluteExpiresAt": after(&notice, 30 * DAY), "device": "laptop",
    });
    assert_eq!(own, expected);
}

#[test]
fn a_renewal_is_told_with_what_an_owner_needs_to_judge_it() {
    let server = Server::start();
    let session = owned(&server, json!({}));
    server.advance(DAY / 2);
    server.renew(&session).send().expect(200);
    let notice = one(&server, "SESSION_RENEWED");
    let expected = json!({
        "renewalCount": 1, "maxRenewals": 30, "expiresAt": after(&notice, DAY),
        "remainingAbsoluteLife": "29d 12h", "rejectWindowExpiry": after(&notice, 3_600), "rejectUrl": null, "vetoUrl": null,
    });
    assert_eq!(own_members(&notice, &session), expected);
}

#[test]
fn a_veto_is_told_as_a_rejection_by_the_owner_and_as_an_end() {
    let server = Server::start();
    let (alice, _) = server.issue_key("owner", Some("alice"));
    let session = owned(&server, json!({}));
    server.advance(DAY / 2);
    server.renew(&session).send().expect(200);
    server.advance(60);
    server.delete(&format!("{}?reason=not+mine", session.path())).bearer(&alice).send().expect(200);
    let rejected = one(&server, "SESSION_RENEWAL_REJECTED");
    let expected = json!({
        "renewalCount": 1, "rejectedAt": rejected["occurredAt"], "cause": "owner", "code": null,
        "contested": false,
    });
    assert_eq!(own_members(&rejected, &session), expected);
    let revoked = one(&server, "SESSION_REVOKED");
    let own = own_members(&revoked, &session);
    assert_eq!(own["actor"]["kind"], "credential");
    assert_eq!(
        json!([own["trigger"], own["reason"], own["selector"], own["matched"]]),
        json!(["renewal_rejected", "not mine", null, null])
    );
}

#[test]
fn a_refused_renewal_is_told_once_with_its_rule() {
    let server = Server::start();
    let session = owned(&server, json!({}));
    server.renew(&session).send().refused(403, "RENEWAL_TOO_EARLY");
    server.renew(&session).send().refused(403, "RENEWAL_TOO_EARLY");
    let notice = one(&server, "SESSION_RENEWAL_REJECTED");
    let expected = json!({
        "renewalCount": 0, "rejectedAt": notice["occurredAt"], "cause": "policy", "code": "RENEWAL_TOO_EARLY",
        "contested": false,
    });
    assert_eq!(own_members(&notice, &session), expected);
}

#[test]
fn the_end_of_several_sessions_is_one_notice() {
    let server = Server::start();
    let session = owned(&server, json!({ "device": "laptop" }));
    server.create(&json!({ "subjectId": "bot-7", "device": "laptop" }));
    server.create(&json!({ "subjectId": "bot-7" }));
    let target = format!("/v1/subjects/bot-7/sessions?device=laptop&exceptSessionId={}", session.id);
    server.delete(&target).bearer(&server.admin).send().expect(200);
    let notice = one(&server, "SESSION_REVOKED");
    assert_eq!(
        json!([notice["sessionId"], notice["trigger"], notice["matched"], notice["selector"]]),
        json!([
            null,
            "subject_revoked",
            1,
            {
                "all": false, "ownerId": null, "subjectId": "bot-7", "device": "laptop",
                "exceptSessionId": session.id, "issuedBefore": null, "keyId": null,
            }
        ])
    );
}

#[test]
fn that_the_end_is_near_is_told_once_with_its_reason() {
    let server = Server::start();
    let session = owned(&server, json!({ "maxRenewals": 4 }));
    server.advance(DAY / 2);
    let renewed = session.renewed(&server.renew(&session).send().expect(200));
    server.advance(DAY / 2);
    server.renew(&renewed).send().expect(200);
    let notice = one(&server, "SESSION_EXPIRING_SOON");
    let own = own_members(&notice, &session);
    assert_eq!(json!([own["renewalsLeft"], own["why"]]), json!([3, "renewals"]));
    assert_eq!(own["absoluteExpiresAt"], after(&notice, 29 * DAY + DAY / 2));
    assert!(notice["noticeId"].as_str().unwrap().ends_with(".2"), "{notice}");
}

#[test]
fn the_absolute_end_is_told_a_day_before() {
    let server = Server::start();
    let session = owned(&server, json!({ "absoluteLifetime": 2 * DAY, "ttl": DAY }));
    server.advance(DAY / 2);
    let renewed = session.renewed(&server.renew(&session).send().expect(200));
    assert_eq!(notices(&server, "kinds=SESSION_EXPIRING_SOON"), Vec::<Value>::new());
    server.advance(DAY / 2);
    server.renew(&renewed).send().expect(200);
    let own = own_members(&one(&server, "SESSION_EXPIRING_SOON"), &session);
    assert_eq!(json!([own["renewalsLeft"], own["why"]]), json!([28, "absolute"]));
}

#[test]
fn an_end_by_itself_is_told_when_it_comes_and_only_once() {
    let server = Server::start();
    let session = owned(&server, json!({ "ttl": 300 }));
    server.advance(299);
    assert_eq!(notices(&server, "kinds=SESSION_EXPIRED"), Vec::<Value>::new());
    server.advance(1);
    let notice = one(&server, "SESSION_EXPIRED");
    let expected = json!({ "expiresAt": notice["occurredAt"], "cause": "ttl" });
    assert_eq!(own_members(&notice, &session), expected);
    server.advance(1_000);
    server.post("/v1/sweep").bearer(&server.admin).send().expect(200);
    one(&server, "SESSION_EXPIRED");
}

#[test]
fn an_end_by_itself_is_told_on_real_time_too() {
    let server = Server::on_real_time();
    owned(&server, json!({}));
    let swept = server.post("/v1/sweep").bearer(&server.admin).send().expect(200);
    assert_eq!((swept.json()["expired"].clone(), swept.position()), (json!(0), None));
}

#[test]
fn notices_come_in_pages_of_any_size() {
    let server = Server::start();
    for n in 0..7 {
        server.session(&format!("s{n}"), 300);
    }
    server.advance(300);
    let whole: Vec<_> = notices(&server, "limit=200");
    assert_eq!(whole.len(), 14);
    for limit in [1, 2, 3, 5, 13, 14] {
        let mut items = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let next = cursor.as_str().map_or(String::new(), |cursor| format!("&cursor={cursor}"));
            let target = format!("/v1/notices?limit={limit}{next}");
            let page = server.get(&target).bearer(&server.admin).send().expect(200).json();
            items.extend(page["items"].as_array().unwrap().clone());
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(items, whole, "limit {limit}");
    }
}

#[test]
fn a_restart_tells_the_same_under_the_same_names() {
    let mut server = Server::start();
    let session = owned(&server, json!({ "ttl": 300, "maxRenewals": 1 }));
    server.advance(150);
    server.renew(&session).send().expect(200);
    server.advance(300);
    let before = notices(&server, "");
    std::fs::remove_file(server.data().join("snapshot")).unwrap_or_default();
    server.restart();
    assert_eq!(notices(&server, ""), before);
}
