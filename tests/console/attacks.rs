//! What a page of another site, a hostile name or a curious cache may try.

use serde_json::json;

use crate::form_client::{FormClient, cookie_of, origin, renewed, text, try_key};
use crate::server::Server;

#[test]
fn a_form_of_another_site_changes_nothing() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let forms = FormClient::sign_in(&server, &server.admin);
    let path = format!("/console/sessions/{}/end", session.id);
    let mark = forms.mark();
    let own = origin(&server);
    forms.post_unmarked(&path, &[], &own).expect(403);
    forms.post_unmarked(&path, &[("mark", "0123456789abcdef0123456789abcdef")], &own).expect(403);
    for foreign in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        forms.post_unmarked(&path, &[("mark", &mark)], foreign).expect(403);
    }
    let other = FormClient::sign_in(&server, &server.admin);
    let foreign_mark = other.mark();
    assert_ne!(foreign_mark, mark);
    forms.post_unmarked(&path, &[("mark", &foreign_mark)], &own).expect(403);
    let request =
        server.post(&path).header("host", server.address().to_string()).header("origin", own.clone());
    let request = request.header("cookie", forms.cookie.clone()).header("sec-fetch-site", "cross-site");
    request.body(crate::form_client::form(&[("mark", &mark)])).send().expect(403);
    forms.post_unmarked("/console/sign-out", &[], "https://evil.example").expect(403);
    // A sign-in as somebody else, whose pages the reader then takes for their own.
    let planted = forms.post_unmarked("/console/sign-in", &[("key", &server.admin)], "https://evil.example");
    assert_eq!((planted.status, planted.header("set-cookie")), (403, None), "{planted:?}");
    assert!(server.events("SessionRevoked").is_empty(), "a foreign form ended something");
    forms.post_unmarked(&path, &[("mark", &mark)], &own).expect(303);
    assert_eq!(server.events("SessionRevoked").len(), 1);
}

#[test]
fn a_get_changes_nothing_whatever_it_says() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let forms = FormClient::sign_in(&server, &server.admin);
    let mark = forms.mark();
    for action in ["end", "veto"] {
        forms.get(&format!("/console/sessions/{}/{action}?mark={mark}", session.id)).expect(404);
    }
    forms.get(&format!("/console/subjects/agent/suspend?mark={mark}")).expect(404);
    let out = forms.get("/console/sign-out");
    assert_eq!(out.status, 404, "{out:?}");
    assert!(server.events("SessionRevoked,SubjectSuspended").is_empty());
}

/// Whoever asked for a page by a long address was answered with three times as much, without a key.
#[test]
fn a_long_address_is_not_read_and_not_given_back() {
    let server = Server::start();
    let asked = |target: &str| server.get(target).header("host", "localhost").send();
    let query = asked(&format!("/console?{}", "a&".repeat(30_000))).expect(400);
    let path = asked(&format!("/console/{}", "&".repeat(60_000))).expect(401);
    for reply in [query, path] {
        assert!(reply.body.len() < 8_192, "{} bytes", reply.body.len());
    }
    let forms = FormClient::sign_in(&server, &server.admin);
    forms.get(&format!("/console/agents?q={}", "a".repeat(3_000))).expect(400);
    let next = format!("/console/agents?q={}", "a".repeat(1_000));
    assert!(text(&asked(&next).expect(401)).contains(&next), "a usual one is kept");
}

#[test]
fn every_reply_forbids_frames_foreign_code_and_keeping() {
    let server = Server::start();
    let forms = FormClient::sign_in(&server, &server.admin);
    for reply in [
        forms.get("/console"),
        forms.get("/console/agents"),
        forms.get("/console/agents?asOf=1"),
        forms.get("/console/what-if?limits.per_subject=1"),
        forms.get("/console/settings"),
        forms.get("/console/keys"),
        forms.get("/console/no-such-page"),
        server.get("/console").header("host", "localhost").send(),
        server.get("/console").header("host", "tenure.lan").send(),
        try_key(&server, &[("key", "wrong")]),
        server.get("/console/veto/tnr_veto_wrong").send(),
        forms.get("/console/audit/proof?position=1"),
        forms.get("/console/audit/event?position=1"),
        forms.post("/console/keys/rotate", &[("which", "access")]).expect(303),
        forms.post_unmarked("/console/keys/rotate", &[], "https://evil.example").expect(403),
    ] {
        let header = |name| reply.header(name).unwrap_or_else(|| panic!("no {name}: {reply:?}")).to_owned();
        assert_eq!(
            header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "same-origin");
        assert!(header("server-timing").starts_with("app;dur="));
        let page = text(&reply);
        assert!(
            !page.contains("style=") && !page.contains("onclick") && !page.contains("<script>"),
            "{page}"
        );
    }
    let style = server.get("/console/assets/console.css").send().expect(200);
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    server.get("/console/assets/../mod.rs").send().expect(404);
}

#[test]
fn a_sign_in_is_never_the_session_that_came_before_it() {
    let server = Server::start();
    let first = try_key(&server, &[("key", &server.admin)]).expect(303);
    let planted = cookie_of(&first);
    let request = server.post("/console/sign-in").header("host", server.address().to_string());
    let request = request.header("origin", origin(&server)).header("cookie", planted.clone());
    let second = request.body(crate::form_client::form(&[("key", &server.admin)])).send().expect(303);
    assert_ne!(cookie_of(&second), planted);
    assert_eq!(server.events("SessionCreated").len(), 2);
    // Two cookies of one name: a neighbour on the same host may have planted one of them.
    let both = FormClient { server: &server, cookie: format!("{planted}; {}", cookie_of(&second)) };
    both.get("/console/agents").expect(401);
}

#[test]
fn a_sign_in_leads_to_pages_of_the_console_only() {
    let server = Server::start();
    let next = |next: &str| {
        let reply = try_key(&server, &[("key", &server.admin), ("next", next)]).expect(303);
        reply.header("location").unwrap().to_owned()
    };
    assert_eq!(next("/console/log?kinds=SessionCreated"), "/console/log?kinds=SessionCreated");
    for foreign in
        ["https://evil.example", "//evil.example", "/\\evil.example", "/console//evil.example", "/v1/keys"]
    {
        assert_eq!(next(foreign), "/console", "{foreign}");
    }
}

#[test]
fn hostile_words_are_text_and_what_hides_is_shown() {
    let server = Server::start();
    let name = "<script>alert(1)</script>\u{202e}evil\" onload=\"x";
    server.register("agent", &json!({ "name": name, "ownerId": "alice" }));
    let session = server.create(&json!({ "subjectId": "agent", "device": "<img src=x onerror=alert(1)>" }));
    let reason = "</p><script>alert(2)</script>";
    let suspension = json!({ "reason": reason });
    server.post("/v1/subjects/agent/suspend").bearer(&server.admin).json(&suspension).send().expect(200);
    let forms = FormClient::sign_in(&server, &server.admin);
    let reflected = "%22%3E%3Cscript%3Ealert(3)%3C/script%3E";
    for path in [
        "/console/agents".to_owned(),
        "/console/subjects/agent".to_owned(),
        format!("/console/sessions/{}", session.id),
        "/console/log".to_owned(),
        format!("/console/log?kinds={reflected}"),
        format!("/console/log?subjectId={reflected}&sessionId={reflected}"),
        format!("/console/agents?owner={reflected}"),
        format!("/console/subjects/{reflected}"),
        format!("/console/sessions/{reflected}"),
        "/console".to_owned(),
        "/console/keys".to_owned(),
        format!("/console/agents?q={reflected}&device={reflected}&status={reflected}"),
        format!("/console/agents?asOf={reflected}"),
        format!("/console/log?asOf=3&kinds={reflected}"),
        format!("/console/what-if?session.ttl={reflected}&limits.on_limit={reflected}"),
    ] {
        let page = text(&forms.get(&path));
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{path}: {page}");
        assert!(!page.contains('\u{202e}') && !page.contains("onload=\"x"), "{path}");
    }
    assert!(forms.page("/console/agents").contains("⟨U+202E⟩"));
    let form = try_key(&server, &[("key", "x"), ("next", "/console/\"><script>alert(4)</script>")]);
    assert!(!text(&form).contains("<script>alert"));
}

#[test]
fn no_token_and_no_key_is_in_the_log_lines() {
    let server = Server::saying("trace", &[]);
    let forms = FormClient::sign_in(&server, &server.admin);
    forms.get("/console/agents").expect(200);
    let said = server.said();
    assert!(!said.contains(&server.admin) && !said.contains("tnr_sess_"), "a secret was logged");
}
