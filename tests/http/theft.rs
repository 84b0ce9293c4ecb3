//! A stolen token is noticed in either order.
//!
//! A thief who renewed first and kept still was never noticed: the holder's renewal was refused, with
//! `renewal.on_reuse = revoke` too, and the thief went on for as long as the session could live. It ended only if the
//! thief's token had been shown before the holder asked.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::server::{Reply, Request, Server, Session, all_at_once};

/// The contract says 5 s; a machine that is busy may take a moment longer.
const NOTICED: Duration = Duration::from_secs(8);

/// A session that was stolen: the thief renewed it, and has said nothing since. The holder has the replaced token.
struct Stolen {
    server: Server,
    holders: Session,
    thiefs: Session,
}

impl Stolen {
    fn under(settings: &[&str], asked: &Value) -> Self {
        let server = Server::with(settings);
        server.register("a", &json!({}));
        let mut body = json!({ "subjectId": "a", "ttl": 1000 });
        body.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        let holders = server.create(&body);
        server.advance(500);
        let thiefs = holders.renewed(&server.renew(&holders).key("thief").send().expect(200));
        Self { server, holders, thiefs }
    }

    /// By the setting of the authority.
    fn by_setting() -> Self {
        Self::under(&["renewal.on_reuse=revoke"], &json!({}))
    }

    /// The holder finds out that its token was replaced, longer after it than any lost reply is excused without a key.
    fn contest(&self) -> Reply {
        self.server.advance(11);
        self.server.renew(&self.holders).key("holder").send().refused(403, "SESSION_RENEWAL_MISMATCH")
    }

    fn session(&self) -> Value {
        self.server.get(&self.holders.path()).bearer(&self.server.admin).send().expect(200).json()
    }

    /// Waits for the end, which is to come within 5 s.
    fn wait_for_the_end(&self) {
        let begun = stopwatch();
        while self.session()["status"] != "REVOKED" {
            assert!(begun.elapsed() < NOTICED, "it does not end: {}", self.session());
            pause(Duration::from_millis(50));
        }
        assert_eq!(self.session()["revokedTrigger"], "token_reuse");
    }
}

#[test]
fn a_thief_who_renewed_first_and_kept_still_is_noticed_when_he_renews_again() {
    let stolen = Stolen::by_setting();
    stolen.contest();
    assert_eq!(stolen.session()["status"], "ACTIVE", "nobody has shown the newer token yet");
    stolen.server.advance(500);
    let refused = stolen.server.renew(&stolen.thiefs).key("again").send().refused(401, "SESSION_REVOKED");
    assert_eq!(refused.json()["trigger"], "token_reuse");
    assert_eq!(refused.json()["causedBy"].as_u64(), refused.position(), "the end is this refusal's own");
    assert_eq!(stolen.session()["revokedTrigger"], "token_reuse");
}

/// An owner heard that a renewal was refused, and could not tell a client that had lost its place from a theft.
#[test]
fn the_notice_of_the_refusal_says_that_the_session_is_contested() {
    for (on_reuse, contested) in [("revoke", true), ("reject", false)] {
        let stolen = Stolen::under(&[], &json!({ "onReuse": on_reuse }));
        stolen.contest();
        let notices = stolen.server.get("/v1/notices?kinds=SESSION_RENEWAL_REJECTED");
        let notices = notices.bearer(&stolen.server.admin).send().expect(200).json()["items"].clone();
        assert_eq!(notices[0]["contested"], contested, "{notices}");
        assert_eq!(notices.as_array().unwrap().len(), 1);
    }
}

type Showing = fn(&Server, &Session) -> Request;

#[test]
fn a_check_of_the_newer_token_may_succeed_and_ends_the_session_within_5_s() {
    let checks: [Showing; 3] = [
        |server, own| {
            server.post("/v1/introspect").bearer(&server.admin).json(&json!({ "token": own.token }))
        },
        |server, own| server.get(&own.path()).bearer(&own.token),
        |server, own| {
            let asked = server.get("/v1/forward-auth").header("X-Tenure-Key", server.admin.as_str());
            asked.bearer(&own.token)
        },
    ];
    for check in checks {
        let stolen = Stolen::by_setting();
        stolen.contest();
        check(&stolen.server, &stolen.thiefs).send();
        stolen.wait_for_the_end();
    }
}

#[test]
fn what_would_be_recorded_or_handed_out_for_the_newer_token_is_refused_and_ends_the_session() {
    let uses: [Showing; 3] = [
        |server, own| server.renew(own),
        |server, own| {
            let target = format!("{}/usage", own.path());
            server.post(&target).bearer(&own.token).json(&json!({ "operation": "pay" }))
        },
        |server, own| server.post("/v1/access-tokens").bearer(&own.token).json(&json!({})),
    ];
    for show in uses {
        let stolen = Stolen::under(&[], &json!({ "onReuse": "revoke" }));
        stolen.contest();
        let refused = show(&stolen.server, &stolen.thiefs).send().refused(401, "SESSION_REVOKED");
        assert_eq!(refused.json()["trigger"], "token_reuse");
        assert_eq!(refused.json()["causedBy"].as_u64(), refused.position(), "{refused:?}");
        assert_eq!(stolen.session()["revokedTrigger"], "token_reuse");
        let notices =
            stolen.server.get("/v1/notices?limit=200").bearer(&stolen.server.admin).send().expect(200);
        let notices = notices.json()["items"].as_array().unwrap().clone();
        let told: Vec<_> = notices.iter().map(|notice| (&notice["kind"], &notice["trigger"])).collect();
        assert!(told.contains(&(&json!("SESSION_REVOKED"), &json!("token_reuse"))), "{told:?}");
    }
}

#[test]
fn a_thief_who_showed_his_token_before_is_noticed_when_the_holder_asks() {
    let stolen = Stolen::by_setting();
    assert_eq!(stolen.server.introspect(&stolen.thiefs.token).json()["active"], true);
    stolen.contest();
    assert_eq!(stolen.session()["revokedTrigger"], "token_reuse");
}

/// The mark is recorded with the refusal, and who was shown later is found out by another process.
#[test]
fn a_restart_between_the_two_forgets_neither() {
    let mut stolen = Stolen::by_setting();
    stolen.contest();
    stolen.server.kill9();
    assert_eq!(stolen.server.introspect(&stolen.thiefs.token).json()["active"], true);
    stolen.wait_for_the_end();

    let mut shown_first = Stolen::by_setting();
    shown_first.server.introspect(&shown_first.thiefs.token);
    let begun = stopwatch();
    while shown_first.server.events("TokensPresented").is_empty() {
        assert!(begun.elapsed() < NOTICED, "the mark is recorded within 5 s");
        pause(Duration::from_millis(20));
    }
    shown_first.server.kill9();
    shown_first.contest();
    assert_eq!(shown_first.session()["revokedTrigger"], "token_reuse");
}

/// A stop records what was presented in its last seconds, and what follows from that.
#[test]
fn a_stop_right_after_the_second_token_was_shown_ends_the_session() {
    let mut stolen = Stolen::by_setting();
    stolen.contest();
    stolen.server.introspect(&stolen.thiefs.token);
    stolen.server.restart();
    assert_eq!(stolen.session()["revokedTrigger"], "token_reuse");
}

#[test]
fn inside_the_grace_the_refusal_says_when_to_ask_once_more() {
    let stolen = Stolen::by_setting();
    stolen.server.introspect(&stolen.thiefs.token);
    let renewed_at = stolen.session()["renewedAt"].clone();
    let refuse =
        || stolen.server.renew(&stolen.holders).send().refused(403, "SESSION_RENEWAL_MISMATCH").json();
    stolen.server.advance(9);
    let refused = refuse();
    let until = tenure::core::Timestamp::parse(renewed_at.as_str().unwrap()).unwrap().plus_millis(10_000);
    assert_eq!((&refused["retryable"], &refused["retryAt"]), (&json!(true), &json!(until)));
    assert_eq!(stolen.session()["status"], "ACTIVE");
    stolen.server.advance(1);
    let refused = refuse();
    assert_eq!(
        (&refused["retryable"], &refused["retryAt"]),
        (&json!(false), &json!(null)),
        "that attempt counts"
    );
    assert_eq!(stolen.session()["revokedTrigger"], "token_reuse");
    let recorded = stolen.server.events("RenewalRejected");
    let marks: Vec<_> = recorded.iter().map(|event| event["data"]["contested"].clone()).collect();
    assert_eq!(marks, [json!(false), json!(true)], "once more, with the mark");
}

#[test]
fn under_reject_nothing_ends_and_nobody_is_asked_to_try_again() {
    let stolen = Stolen::under(&["renewal.on_reuse=revoke"], &json!({ "onReuse": "reject" }));
    let refused = stolen.server.renew(&stolen.holders).send().refused(403, "SESSION_RENEWAL_MISMATCH");
    assert_eq!(refused.json()["retryable"], false);
    stolen.contest();
    stolen.server.advance(500);
    stolen.server.renew(&stolen.thiefs).send().expect(200);
    assert!(stolen.server.events("RenewalRejected").iter().all(|event| event["data"]["contested"] == false));
}

#[test]
fn a_session_keeps_what_it_asked_for_and_shows_it_everywhere() {
    let server = Server::start();
    server.register("a", &json!({}));
    let of = |body: &Value| server.get(&server.create(body).path()).bearer(&server.admin).send().json();
    assert_eq!(of(&json!({ "subjectId": "a" }))["onReuse"], "reject", "the setting");
    assert_eq!(of(&json!({ "subjectId": "a", "onReuse": "revoke" }))["onReuse"], "revoke");
    // The reply to its creation says it, too.
    for (body, own) in [(json!({}), "reject"), (json!({ "onReuse": "revoke" }), "revoke")] {
        server.register(own, &json!({}));
        let mut body = body;
        body["subjectId"] = json!(own);
        let made = server.post("/v1/sessions").bearer(&server.admin).json(&body).send().expect(201);
        assert_eq!(made.text("onReuse"), own);
    }
    let wrong = json!({ "subjectId": "a", "onReuse": "Revoke" });
    let refused = server.post("/v1/sessions").bearer(&server.admin).json(&wrong).send().expect(400);
    assert_eq!(refused.fields(), ["onReuse"]);

    let listed = server.get("/v1/sessions?subjectId=a").bearer(&server.admin).send().expect(200).json();
    let listed: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|item| item["onReuse"].clone()).collect();
    assert_eq!(listed, ["revoke", "reject"]);
    let events = server.events("SessionCreated");
    let recorded: Vec<_> = events.iter().map(|event| event["data"]["onReuse"].clone()).collect();
    assert_eq!(recorded, ["reject", "revoke", "reject", "revoke"]);
}

#[test]
fn a_later_setting_does_not_touch_a_session() {
    let mut server = Server::start();
    server.register("a", &json!({}));
    let session = server.create(&json!({ "subjectId": "a" }));
    server.restart_with(&["renewal.on_reuse=revoke"]);
    let shown = |session: &Session| {
        server.get(&session.path()).bearer(&server.admin).send().expect(200).json()["onReuse"].clone()
    };
    assert_eq!(shown(&session), "reject");
    assert_eq!(shown(&server.create(&json!({ "subjectId": "a" }))), "revoke");
}

/// A client that sends its renewal many times at once is crowded, not robbed: one is granted, and its token is used
/// while the others are still refused.
#[test]
fn renewals_at_once_with_one_token_end_no_session() {
    let server = Server::start();
    server.register("a", &json!({}));
    for count in [2, 64] {
        let session = server.create(&json!({ "subjectId": "a", "ttl": 1000, "onReuse": "revoke" }));
        server.advance(500);
        let requests: Vec<_> = (0..count).map(|n| server.renew(&session).key(&format!("key-{n}"))).collect();
        let replies = all_at_once(&requests);
        let granted: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
        assert_eq!(granted.len(), 1, "{replies:?}");
        let refused = replies.iter().filter(|reply| reply.status != 200);
        assert!(refused.clone().all(|reply| reply.json()["retryable"] == true), "{replies:?}");
        let newer = session.renewed(granted[0]);
        assert_eq!(server.introspect(&newer.token).json()["active"], true);
        all_at_once(&requests);
        server.advance(500);
        server.renew(&newer).send().expect(200);
    }
    assert!(server.events("SessionRevoked").is_empty());
}
