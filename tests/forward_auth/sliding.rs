//! The life of a sliding session, as the person at the browser meets it.

use std::{
    net::SocketAddr,
    sync::{Arc, Barrier},
};

use serde_json::{Value, json};

use crate::{
    application::Application,
    browser::{Browser, Page},
    nginx::Nginx,
    server::{Server, Session},
};

pub(crate) const EXPIRED: &str = r#"{"ok":false,"error":"session_expired","code":"SESSION_EXPIRED"}"#;
pub(crate) const REVOKED: &str = r#"{"ok":false,"error":"session_revoked","code":"SESSION_REVOKED"}"#;
pub(crate) const SUSPENDED: &str = r#"{"ok":false,"error":"subject_suspended","code":"SUBJECT_SUSPENDED"}"#;
pub(crate) const INVALID: &str = r#"{"ok":false,"error":"invalid_token","code":"INVALID_TOKEN"}"#;
/// The challenge to a request without a token, and to one whose token was refused.
pub(crate) const ASKED: &str = r#"Bearer realm="tenure""#;
pub(crate) const REFUSED: &str = r#"Bearer realm="tenure", error="invalid_token""#;
pub(crate) const CLEARED: &str = "__Host-tenure_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax";

pub(crate) const IDLE: u64 = 600;
const TTL: u64 = 3_600;
const ABSOLUTE: u64 = 7_200;

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) application: Application,
    pub(crate) nginx: Nginx,
    pub(crate) session: Session,
}

/// Ann is signed in. None where there is no nginx.
pub(crate) fn world(test: &str) -> Option<World> {
    world_behind(test, Nginx::start)
}

pub(crate) fn world_behind(
    test: &str,
    start: impl Fn(&str, SocketAddr, SocketAddr, &str) -> Option<Nginx>,
) -> Option<World> {
    let server = Server::start();
    let application = Application::start();
    let (key, _) = server.issue_key("verifier", None);
    let nginx = start(test, server.address(), application.address, &key)?;
    server.register("ann", &json!({}));
    let session = server.create(&json!({
        "subjectId": "ann", "mode": "sliding", "ttl": TTL, "idleTimeout": IDLE, "absoluteLifetime": ABSOLUTE,
        "scopes": ["read", "write:orders"],
    }));
    Some(World { server, application, nginx, session })
}

impl World {
    pub(crate) fn browser(&self) -> Browser {
        Browser::signed_in(self.nginx.address, &self.session.token)
    }

    pub(crate) fn pass(&self, seconds: u64) {
        let body = json!({ "advance": seconds });
        self.server.put("/v1/clock").bearer(&self.server.admin).json(&body).send().expect(200);
    }

    fn refreshes(&self) -> usize {
        let target = "/v1/events?kinds=SessionRefreshed&limit=200";
        let page = self.server.get(target).bearer(&self.server.admin).send().expect(200).json();
        page["items"].as_array().unwrap().len()
    }

    fn read(&self) -> Value {
        let target = format!("/v1/sessions/{}", self.session.id);
        self.server.get(&target).bearer(&self.server.admin).send().expect(200).json()
    }
}

#[track_caller]
pub(crate) fn is_refused(page: &Page, body: &str) {
    is_unauthorized(page, body, REFUSED);
}

/// A request without a token.
#[track_caller]
pub(crate) fn is_asked(page: &Page) {
    is_unauthorized(page, INVALID, ASKED);
}

#[track_caller]
fn is_unauthorized(page: &Page, body: &str, challenge: &str) {
    assert_eq!((page.status, page.body.as_str()), (401, body), "{page:?}");
    assert_eq!(page.all("content-type"), ["application/json"], "{page:?}");
    assert_eq!(page.all("www-authenticate"), [challenge], "{page:?}");
    assert_eq!(page.all("cache-control"), ["no-store"], "{page:?}");
}

#[test]
fn steady_use_never_ends_it_before_its_absolute_end() {
    let Some(world) = world("steady use behind nginx") else { return };
    let mut browser = world.browser();
    let mut refreshed_at = Vec::new();
    for passed in (0..ABSOLUTE).step_by(60) {
        let page = browser.get("/orders?page=2");
        assert_eq!((page.status, page.body.as_str()), (200, "hello"), "after {passed} s: {page:?}");
        assert!(page.all("set-cookie").contains(&"theme=dark"), "the application's own cookie: {page:?}");
        if let Some(cookie) = page.session_cookie() {
            let age = TTL.min(ABSOLUTE - passed);
            let expected = format!(
                "__Host-tenure_session={}; Path=/; Max-Age={age}; HttpOnly; Secure; SameSite=Lax",
                cookie.split(['=', ';']).nth(1).unwrap()
            );
            assert_eq!(cookie, expected, "after {passed} s");
            refreshed_at.push(passed);
        }
        world.pass(60);
    }
    // Half of the idle time after the last refresh, until there is nothing to add.
    assert_eq!(refreshed_at, (1..=12).map(|half| half * IDLE / 2).collect::<Vec<_>>());
    assert_eq!(world.refreshes(), 12);
    assert_eq!(world.read()["renewalCount"], 0);
    let page = browser.get("/orders");
    is_refused(&page, EXPIRED);
    assert_eq!(page.all("set-cookie"), [CLEARED]);
    assert!(!browser.has("__Host-tenure_session"));
    is_asked(&browser.get("/orders"));
}

#[test]
fn half_the_idle_time_refreshes_the_cookie_exactly_once_however_many_ask() {
    let Some(world) = world("many requests at once behind nginx") else { return };
    let mut browser = world.browser();
    world.pass(IDLE / 2 - 1);
    assert_eq!(browser.get("/").session_cookie(), None);
    world.pass(1);
    let start = Arc::new(Barrier::new(24));
    let asking: Vec<_> = (0..24)
        .map(|number| {
            let (mut browser, start) = (browser.clone(), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                browser.get(&format!("/{number}"))
            })
        })
        .collect();
    let pages: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(pages.iter().all(|page| page.status == 200), "{pages:?}");
    assert_eq!(pages.iter().filter(|page| page.session_cookie().is_some()).count(), 1);
    assert_eq!(world.refreshes(), 1);
    // The new seal and the old one are of the same token.
    for page in &pages {
        if let Some(cookie) = page.session_cookie() {
            let token = cookie.split(['=', ';']).nth(1).unwrap();
            assert_eq!(Browser::signed_in(world.nginx.address, token).get("/").status, 200);
        }
    }
    assert_eq!(browser.get("/").status, 200);
    assert_eq!(world.refreshes(), 1);
}

#[test]
fn idle_time_ends_it_to_the_second_with_the_exact_body() {
    let Some(world) = world("idle time behind nginx") else { return };
    let mut browser = world.browser();
    world.pass(IDLE - 1);
    assert_eq!(browser.get("/").status, 200);
    world.pass(IDLE - 1);
    assert_eq!(browser.get("/").status, 200);
    let let_through = world.application.count();
    world.pass(IDLE);
    let page = browser.get("/orders/7");
    is_refused(&page, EXPIRED);
    assert_eq!(page.all("set-cookie"), [CLEARED]);
    assert!(!browser.has("__Host-tenure_session"));
    assert_eq!(world.application.count(), let_through, "the application heard nothing of it");
    assert_eq!(world.read()["status"], "EXPIRED");
}

#[test]
fn what_was_revoked_is_refused_with_its_own_body() {
    let Some(world) = world("revocation behind nginx") else { return };
    let mut browser = world.browser();
    assert_eq!(browser.get("/").status, 200);
    let target = format!("/v1/sessions/{}", world.session.id);
    world.server.delete(&target).bearer(&world.server.admin).send().expect(200);
    let page = browser.send("POST", "/orders", &[("Content-Type", "text/plain")], "two apples");
    is_refused(&page, REVOKED);
    assert_eq!(page.all("set-cookie"), [CLEARED]);
    is_asked(&Browser::new(world.nginx.address).get("/"));
    assert_eq!(Browser::new(world.nginx.address).get("/").all("set-cookie"), Vec::<&str>::new());
}

#[test]
fn the_application_is_told_by_tenure_alone_and_gets_cookie_and_body() {
    let Some(world) = world("headers behind nginx") else { return };
    let lies = [
        ("X-Tenure-Subject", "root"),
        ("x-tenure-session", "none"),
        ("X-TENURE-SCOPES", "admin"),
        ("X-Tenure-Key", "tnr_key_of_an_attacker"),
        ("X-Tenure-Role", "evil"),
        ("x-tenure-roles", "evil"),
        ("X-Tenure-Owner", "evil"),
        ("X-Tenure-User", "evil"),
        ("X-Tenure-Scope", "evil"),
        ("X-Tenure-Device", "evil"),
        ("X-Tenure-Metadata", "evil"),
        ("X-Tenure-Position", "1"),
        ("X_Tenure_Subject", "evil"),
        ("Content-Type", "text/plain"),
    ];
    let page = world.browser().send("POST", "/orders?x=1", &lies, "two apples");
    assert_eq!(page.status, 200, "{page:?}");
    let told = world.application.last();
    assert_eq!(told.all("x-tenure-subject"), ["ann"]);
    assert_eq!(told.all("x-tenure-session"), [world.session.id.as_str()]);
    assert_eq!(told.all("x-tenure-scopes"), ["read write:orders"]);
    let ours = ["x-tenure-scopes", "x-tenure-session", "x-tenure-subject"];
    assert_eq!(told.names_like("tenure"), ours, "nothing of the client's is told");
    assert_eq!(told.all("cookie"), [format!("__Host-tenure_session={}", world.session.token)]);
    assert_eq!(told.body, "two apples");

    // Without scopes there is nothing to say, and nothing of the client's is said instead.
    world.server.register("bob", &json!({}));
    let plain = world.server.create(&json!({ "subjectId": "bob", "mode": "sliding" }));
    let mut browser = Browser::signed_in(world.nginx.address, &plain.token);
    assert_eq!(browser.send("GET", "/", &lies[..lies.len() - 1], "").status, 200);
    let told = world.application.last();
    assert_eq!(told.all("x-tenure-subject"), ["bob"]);
    assert!(told.all("x-tenure-scopes").iter().all(|scopes| scopes.is_empty()), "{told:?}");
}

#[test]
fn a_bearer_wins_over_the_cookie_behind_the_proxy_too() {
    let Some(world) = world("bearers behind nginx") else { return };
    let bearer = format!("Bearer {}", world.session.token);
    let mut nobody = Browser::new(world.nginx.address);
    assert_eq!(nobody.send("GET", "/", &[("Authorization", &bearer)], "").status, 200);
    let wrong = [("Authorization", "Bearer tnr_sess_AAAA")];
    is_refused(&world.browser().send("GET", "/", &wrong, ""), INVALID);
}

/// A refresh once told the token in a second header too, `X-Tenure-Token`, which a proxy passed on to the application.
#[test]
fn a_refreshed_token_is_in_the_cookie_alone_for_a_bearer_too() {
    let Some(world) = world("rotations and bearers behind nginx") else { return };
    let rotate = json!({ "which": "session" });
    world.server.post("/v1/keys/rotate").bearer(&world.server.admin).json(&rotate).send().expect(200);
    let mut client = Browser::new(world.nginx.address);
    let mut token = world.session.token.clone();
    // The key before is over after the longest ttl of all.
    for passed in (0..TTL + 60).step_by(60) {
        let bearer = format!("Bearer {token}");
        let page = client.send("GET", "/", &[("Authorization", &bearer), ("X-Tenure-Token", "a lie")], "");
        assert_eq!(page.status, 200, "after {passed} s: {page:?}");
        assert!(page.all("x-tenure-token").is_empty(), "{page:?}");
        if let Some(cookie) = page.session_cookie() {
            cookie.split(['=', ';']).nth(1).unwrap().clone_into(&mut token);
        }
        client = Browser::new(world.nginx.address);
        assert!(world.application.last().all("x-tenure-token").is_empty());
        world.pass(60);
    }
    let first = format!("Bearer {}", world.session.token);
    is_refused(&client.send("GET", "/", &[("Authorization", &first)], ""), INVALID);
}

#[test]
fn a_crash_keeps_a_session_that_is_in_use() {
    let Some(mut world) = world("a crash behind nginx") else { return };
    let mut browser = world.browser();
    world.pass(IDLE - 1);
    assert_eq!(browser.get("/").status, 200);
    world.pass(IDLE / 10 - 1);
    assert_eq!(browser.get("/").status, 200);
    // It listens on another port after that, so it is asked itself.
    world.server.kill9();
    world.pass(IDLE - 1);
    let judged = |world: &World| {
        let body = json!({ "token": world.session.token });
        world.server.post("/v1/introspect").bearer(&world.server.admin).json(&body).send().expect(200).json()
    };
    assert_eq!(judged(&world)["active"], true);
    world.pass(IDLE);
    assert_eq!(judged(&world), json!({ "active": false, "code": "SESSION_IDLE" }));
}
