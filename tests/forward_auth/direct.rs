//! The answers to a proxy, to the letter: who may ask, whose token counts, what is said, and who is told to wait.

use serde_json::json;

use crate::{
    server::{Reply, Request, Server, Session},
    sliding::{ASKED, CLEARED, EXPIRED, INVALID, REFUSED, REVOKED, SUSPENDED},
};

pub(crate) struct World {
    pub(crate) server: Server,
    verifier: String,
    pub(crate) session: Session,
}

pub(crate) fn world(settings: &[&str]) -> World {
    let server = Server::with(settings);
    let (verifier, _) = server.issue_key("verifier", None);
    server.register("ann", &json!({ "ownerId": "alice" }));
    let sliding = json!({ "subjectId": "ann", "mode": "sliding", "idleTimeout": 600, "ttl": 3600 });
    let session = server.create(&sliding);
    World { server, verifier, session }
}

impl World {
    /// From a proxy that does not prove itself.
    fn stranger(&self, method: &str, path: &str) -> Request {
        self.server.request(method, path)
    }

    pub(crate) fn ask(&self) -> Request {
        self.stranger("GET", "/v1/forward-auth").header("X-Tenure-Key", self.verifier.as_str())
    }

    fn with_cookie(&self, token: &str) -> Reply {
        self.ask().header("Cookie", format!("__Host-tenure_session={token}")).send()
    }
}

#[track_caller]
pub(crate) fn is_yes(reply: &Reply, session: &Session) {
    assert_eq!((reply.status, reply.body.as_str()), (200, ""), "{reply:?}");
    assert_eq!(reply.header("x-tenure-session"), Some(session.id.as_str()), "{reply:?}");
    assert!(
        reply.header("x-tenure-subject").is_some() && reply.header("x-tenure-scopes").is_some(),
        "{reply:?}"
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    assert!(reply.header("x-request-id").is_some(), "{reply:?}");
}

#[track_caller]
pub(crate) fn is_no(reply: &Reply, body: &str, cookie: Option<&str>) {
    assert_eq!((reply.status, reply.body.as_str()), (401, body), "{reply:?}");
    assert_eq!(reply.header("set-cookie"), cookie, "{reply:?}");
    assert_eq!(reply.header("www-authenticate"), Some(REFUSED), "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    let mut ours = reply.headers.iter().filter(|(name, _)| name.starts_with("x-tenure-"));
    assert!(ours.all(|(name, _)| name == "x-tenure-time"), "{reply:?}");
}

#[test]
fn only_a_verifier_or_an_admin_may_ask() {
    let world = world(&[]);
    let bearer = format!("Bearer {}", world.session.token);
    let asked = |key: &str| {
        let asking = world.stranger("GET", "/v1/forward-auth").header("Authorization", bearer.as_str());
        asking.header("X-Tenure-Key", key).send()
    };
    for key in [&world.verifier, &world.server.admin] {
        is_yes(&asked(key), &world.session);
    }
    for (role, owner) in [("issuer", None), ("auditor", None), ("owner", Some("alice"))] {
        let (key, _) = world.server.issue_key(role, owner);
        asked(&key).refused(403, "FORBIDDEN");
    }
    for wrong in ["", "x", "tnr_key_made-up", &world.session.token] {
        asked(wrong).refused(403, "FORBIDDEN");
    }
    // An end user's credential proves no proxy, whatever it is.
    for credential in [&world.session.token, &world.verifier, &world.server.admin] {
        world.stranger("GET", "/v1/forward-auth").bearer(credential).send().refused(403, "FORBIDDEN");
    }
    world.stranger("GET", "/v1/forward-auth").send().refused(403, "FORBIDDEN");
}

/// The session goes on once the subject is resumed, so its cookie is not cleared.
#[test]
fn a_suspended_subject_is_told_so_and_its_cookie_stays() {
    let world = world(&[]);
    let told = |verb: &str| {
        let asked = world.server.post(&format!("/v1/subjects/ann/{verb}")).bearer(&world.server.admin);
        asked.json(&json!({})).send().expect(200);
    };
    told("suspend");
    let token = &world.session.token;
    is_no(&world.with_cookie(token), SUSPENDED, None);
    is_no(&world.ask().header("Authorization", format!("Bearer {token}")).send(), SUSPENDED, None);
    // Not even when a refresh is due.
    world.server.advance(301);
    is_no(&world.with_cookie(token), SUSPENDED, None);
    assert_eq!(world.server.events("SessionRefreshed").len(), 0);
    told("resume");
    is_yes(&world.with_cookie(token), &world.session);
    told("suspend");
    world.server.delete(&world.session.path()).bearer(&world.server.admin).send().expect(200);
    is_no(&world.with_cookie(token), REVOKED, Some(CLEARED));
}

#[test]
fn a_key_that_is_withdrawn_proves_nothing_any_more() {
    let world = world(&[]);
    let (key, id) = world.server.issue_key("verifier", None);
    let asked = || {
        let asking = world.stranger("GET", "/v1/forward-auth").header("X-Tenure-Key", key.as_str());
        asking.header("Cookie", format!("__Host-tenure_session={}", world.session.token)).send()
    };
    is_yes(&asked(), &world.session);
    world.server.delete(&format!("/v1/credentials/{id}")).bearer(&world.server.admin).send();
    asked().refused(403, "FORBIDDEN");
}

#[test]
fn a_trusted_address_needs_no_key_and_no_header_makes_one() {
    let trusting = world(&["forward_auth.trusted=127.0.0.0/8"]);
    let cookie = format!("__Host-tenure_session={}", trusting.session.token);
    is_yes(&trusting.stranger("GET", "/v1/forward-auth").header("Cookie", cookie).send(), &trusting.session);

    let world = world(&["forward_auth.trusted=192.0.2.1", "server.trusted_proxies=127.0.0.1"]);
    let asking = world.stranger("GET", "/v1/forward-auth").bearer(&world.session.token);
    asking.header("X-Forwarded-For", "192.0.2.1").send().refused(403, "FORBIDDEN");
}

#[test]
fn every_method_and_every_path_below_is_the_same_and_bodies_are_nobodys_business() {
    let world = world(&[]);
    let cookie = format!("__Host-tenure_session={}", world.session.token);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        for path in [
            "/v1/forward-auth",
            "/v1/forward-auth/",
            "/v1/forward-auth/orders/7?page=2&page=3",
            "/v1/forward-auth?x",
        ] {
            let asking = world.stranger(method, path).header("X-Tenure-Key", world.verifier.as_str());
            let reply = asking.header("Cookie", cookie.as_str()).body("{ no json, and no type").send();
            is_yes(&reply, &world.session);
        }
    }
}

#[test]
fn a_bearer_of_ours_wins_over_the_cookie_and_another_one_is_not_looked_at() {
    let world = world(&[]);
    let good = format!("__Host-tenure_session={}", world.session.token);
    is_yes(
        &world.ask().bearer(&world.session.token).header("Cookie", "__Host-tenure_session=x").send(),
        &world.session,
    );
    is_yes(
        &world.ask().bearer("eyJhbGciOi.of.the-application").header("Cookie", good.as_str()).send(),
        &world.session,
    );
    let reply = world.ask().bearer("tnr_sess_wrong").header("Cookie", good.as_str()).send();
    is_no(&reply, INVALID, None);
    is_no(&world.ask().bearer("tnr_sess_wrong").send(), INVALID, None);
    let asked = world.ask().send();
    assert_eq!((asked.status, asked.body.as_str()), (401, INVALID), "{asked:?}");
    assert_eq!((asked.header("www-authenticate"), asked.header("set-cookie")), (Some(ASKED), None));
    is_no(&world.with_cookie(""), INVALID, None);
    is_no(&world.with_cookie(&world.verifier), INVALID, None);
}

#[test]
fn each_end_of_a_session_has_its_word_and_a_replaced_token_none_of_its_own() {
    let world = world(&[]);
    let fixed = world.server.session("bob", 1_000);
    is_yes(&world.with_cookie(&fixed.token), &fixed);
    world.server.advance(500);
    let renewed = fixed.renewed(&world.server.renew(&fixed).send().expect(200));
    is_no(&world.with_cookie(&fixed.token), INVALID, None);
    is_yes(&world.with_cookie(&renewed.token), &renewed);

    world.server.advance(100);
    is_no(&world.with_cookie(&world.session.token), EXPIRED, Some(CLEARED));
    world.server.advance(900);
    is_no(&world.with_cookie(&renewed.token), EXPIRED, Some(CLEARED));
    world.server.delete(&renewed.path()).bearer(&world.server.admin).send().expect(200);
    is_no(&world.with_cookie(&renewed.token), REVOKED, Some(CLEARED));
}

#[test]
fn only_a_refresh_sets_the_cookie_and_only_of_a_session_that_slides() {
    let world = world(&[]);
    let fixed = json!({ "subjectId": "ann", "ttl": 3600, "idleTimeout": 600 });
    let fixed = world.server.create(&fixed);
    world.server.advance(299);
    assert_eq!(world.with_cookie(&world.session.token).header("set-cookie"), None);
    world.server.advance(1);
    assert_eq!(world.with_cookie(&fixed.token).header("set-cookie"), None);
    let reply = world.with_cookie(&world.session.token);
    let cookie = reply.header("set-cookie").unwrap_or_else(|| panic!("it is not refreshed: {reply:?}"));
    assert!(cookie.starts_with("__Host-tenure_session=tnr_sess_"), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
    let events = world.server.events("SessionRefreshed");
    assert_eq!((events.len(), events[0]["position"].as_u64()), (1, reply.position()));
    assert_eq!(world.with_cookie(&world.session.token).header("set-cookie"), None);
}

#[test]
fn nothing_is_refreshed_when_that_is_switched_off() {
    let world = world(&["sliding.enabled=false"]);
    world.server.advance(599);
    let reply = world.with_cookie(&world.session.token);
    is_yes(&reply, &world.session);
    assert_eq!(reply.header("set-cookie"), None);
    assert!(world.server.events("SessionRefreshed").is_empty());
    world.server.advance(600);
    is_no(&world.with_cookie(&world.session.token), EXPIRED, Some(CLEARED));
}

#[test]
fn no_other_route_reads_a_cookie() {
    let world = world(&[]);
    let cookie = format!("__Host-tenure_session={}", world.session.token);
    for (method, path) in [
        ("GET", world.session.path()),
        ("DELETE", world.session.path()),
        ("PUT", format!("{}/renew", world.session.path())),
        ("POST", format!("{}/usage", world.session.path())),
        ("POST", "/v1/access-tokens".to_owned()),
    ] {
        let asking = world.stranger(method, &path).header("Cookie", cookie.as_str());
        asking.send().refused(401, "INVALID_TOKEN");
    }
}

#[test]
fn wrong_keys_are_told_to_wait_and_end_users_never_count() {
    let world = world(&["security.limit_loopback=true", "security.wrong_credentials_per_minute=3"]);
    for n in 0..20 {
        is_no(&world.with_cookie("tnr_sess_made-up"), INVALID, None);
        is_no(&world.ask().bearer(&format!("tnr_sess_{n}")).send(), INVALID, None);
        // A proxy without a key shows no wrong one.
        world.stranger("GET", "/v1/forward-auth").send().refused(403, "FORBIDDEN");
    }
    let wrong =
        || world.stranger("GET", "/v1/forward-auth/x").header("X-Tenure-Key", "tnr_key_made-up").send();
    for _ in 0..3 {
        wrong().refused(403, "FORBIDDEN");
    }
    let reply = wrong().refused(429, "RATE_LIMITED");
    let wait: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait) && reply.json()["retryable"] == true, "{reply:?}");
    // They count with those of every other route, and right ones always pass.
    world.server.get("/v1/sessions").bearer("tnr_key_made-up").send().refused(429, "RATE_LIMITED");
    is_yes(&world.with_cookie(&world.session.token), &world.session);
    // A key of another role is no wrong one.
    let (auditor, _) = world.server.issue_key("auditor", None);
    let asking = world.stranger("GET", "/v1/forward-auth").header("X-Tenure-Key", auditor.as_str());
    asking.send().refused(403, "FORBIDDEN");
}
