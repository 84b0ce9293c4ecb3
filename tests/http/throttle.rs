//! Wrong credentials are counted by address, in real time; right ones always pass.

use crate::server::{Reply, Server};

fn wrong(server: &Server) -> Reply {
    server.get("/v1/sessions").bearer("tnr_key_made-up").send()
}

#[test]
fn the_eleventh_wrong_credential_of_a_minute_is_told_to_wait() {
    let server = Server::with(&["security.limit_loopback=true"]);
    let session = server.session("a", 1000);
    server.advance(500);
    let new = server.renew(&session).send().expect(200).text("token");
    // Neither a missing credential nor a token that is given to be judged counts.
    for _ in 0..20 {
        server.get("/v1/sessions").send().refused(401, "INVALID_TOKEN");
        server.introspect("tnr_sess_made-up");
    }
    for n in 0..10 {
        let reply = if n % 2 == 0 { wrong(&server) } else { server.get("/v1/nowhere").bearer("?").send() };
        reply.refused(401, "INVALID_TOKEN");
    }
    for credential in ["tnr_key_made-up", "tnr_sess_made-up", "made-up"] {
        let reply = server.get("/v1/sessions").bearer(credential).send().refused(429, "RATE_LIMITED");
        let wait: u32 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait) && reply.json()["retryable"] == true, "{reply:?}");
        // The title speaks for tests of webhooks too; which it was is in the detail.
        assert!(reply.text("detail").contains("wrong credentials"), "{reply:?}");
    }
    // Right ones pass, and so does the word on a token that was one.
    server.get("/v1/sessions").bearer(&server.admin).send().expect(200);
    server.get(&session.path()).bearer(&new).send().expect(200);
    server.get(&session.path()).bearer(&session.token).send().refused(401, "TOKEN_SUPERSEDED");
    // The test clock is not the clock that counts here.
    server.advance(3600);
    wrong(&server).refused(429, "RATE_LIMITED");
}

#[test]
fn loopback_is_exempt_by_default() {
    let server = Server::start();
    for _ in 0..30 {
        wrong(&server).refused(401, "INVALID_TOKEN");
    }
}

#[test]
fn the_limit_can_be_set_and_0_is_off() {
    let server = Server::with(&["security.limit_loopback=true", "security.wrong_credentials_per_minute=2"]);
    let codes: Vec<_> = (0..4).map(|_| wrong(&server).status).collect();
    assert_eq!(codes, [401, 401, 429, 429]);
    let server = Server::with(&["security.limit_loopback=true", "security.wrong_credentials_per_minute=0"]);
    assert!((0..30).all(|_| wrong(&server).status == 401));
}

#[test]
fn behind_a_trusted_proxy_the_client_is_counted_and_cannot_pose_as_another() {
    let server =
        Server::with(&["server.trusted_proxies=127.0.0.1", "security.wrong_credentials_per_minute=1"]);
    let from =
        |hops: &str| server.get("/v1/sessions").bearer("x").header("x-forwarded-for", hops).send().status;
    assert_eq!([from("192.0.2.1"), from("192.0.2.1"), from("192.0.2.2")], [401, 429, 401]);
    // Only the last hop was written by our proxy.
    assert_eq!(from("203.0.113.9, 192.0.2.1"), 429);
    for port in ["203.0.113.9, 192.0.2.1:4711", "203.0.113.9,192.0.2.1 , 127.0.0.1:80", "\u{e9}, 192.0.2.1"] {
        assert_eq!(from(port), 429, "{port}");
    }
    assert_eq!(
        [from("2001:db8::1"), from("192.0.2.1, [2001:db8::1]"), from("[2001:db8::1]:443")],
        [401, 429, 429]
    );
    // What our proxy wrote and nobody can read ends the way: what lies behind it is anybody's word.
    let unread = ["203.0.113.10, unknown", "203.0.113.11, _hidden", "203.0.113.12, ", "203.0.113.13, \u{e9}"];
    assert!(unread.iter().all(|hops| from(hops) == 401), "the proxy itself is loopback, which is exempt");
    assert_eq!(from("203.0.113.10"), 401, "it was not counted before");
    // Without a trusted proxy the header says nothing.
    let server = Server::with(&["security.limit_loopback=true", "security.wrong_credentials_per_minute=1"]);
    let from =
        |hops: &str| server.get("/v1/sessions").bearer("x").header("x-forwarded-for", hops).send().status;
    assert_eq!([from("192.0.2.1"), from("192.0.2.2")], [401, 429]);
}

#[test]
fn an_address_that_was_only_claimed_opens_no_metrics() {
    let server = Server::with(&["server.trusted_proxies=127.0.0.1", "metrics.allow=10.0.0.0/8"]);
    let from = |hops: &str| server.get("/metrics").header("x-forwarded-for", hops).send().status;
    assert_eq!([from("10.0.0.1"), from("10.0.0.1:80"), from("203.0.113.9, [::ffff:10.0.0.1]:80")], [200; 3]);
    for claimed in
        ["10.0.0.1, 192.0.2.1:4711", "10.0.0.1, unknown", "10.0.0.1, 192.0.2.1", "10.0.0.1, \u{e9}"]
    {
        assert_eq!(from(claimed), 401, "{claimed}");
    }
}
