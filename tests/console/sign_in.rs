//! A sign-in is a session: it begins with a key, is recorded, ends in every way a session does, and opens nothing else.

use serde_json::json;

use crate::form_client::{FormClient, cookie_of, origin, read, text, try_key};
use crate::server::Server;

#[test]
fn a_browser_is_led_from_the_root_to_the_console_and_a_program_is_not() {
    let server = Server::start();
    let browser = server.get("/").header("accept", "text/html,application/xhtml+xml").send().expect(303);
    assert_eq!(browser.header("location"), Some("/console"));
    server.get("/").send().expect(401);
    server.get("/").bearer(&server.admin).send().expect(404);
}

#[test]
fn without_the_setting_there_is_no_console() {
    let server = Server::with(&["console.enabled=false"]);
    server.get("/").header("accept", "text/html").send().expect(401);
    server.get("/console/agents").send().expect(401);
    server.get("/console/agents").bearer(&server.admin).send().expect(404);
}

#[test]
fn every_page_without_a_sign_in_is_the_form() {
    let server = Server::start();
    for path in ["/console", "/console/agents", "/console/sessions/nonsense", "/console/no/such/page"] {
        let reply = server.get(path).header("host", "localhost").send().expect(401);
        assert!(text(&reply).contains(r#"<label for="key">API key</label>"#), "{path}");
    }
}

#[test]
fn a_sign_in_is_a_recorded_session_of_its_own_kind() {
    let server = Server::start();
    let (key, id) = server.issue_key("owner", Some("alice"));
    let reply = try_key(&server, &[("key", &key)]).expect(303);
    let set = reply.header("set-cookie").unwrap();
    assert!(set.starts_with("tenure_console=tnr_sess_"), "{set}");
    assert!(
        set.contains("; HttpOnly") && set.contains("; SameSite=Lax") && set.contains("; Path=/"),
        "{set}"
    );
    assert!(!set.contains("Secure") && set.contains("Max-Age=43200"), "{set}");

    let created = server.events("SessionCreated");
    assert_eq!(created[0]["data"]["purpose"], "console");
    let subject = format!("console:{id}");
    assert_eq!(created[0]["subjectId"], subject);
    let known = read(&server, &server.admin, &format!("/v1/subjects/{subject}"));
    let told = ["kind", "ownerId", "maxSessions", "onLimit"].map(|name| known[name].clone());
    assert_eq!(told, [json!("user"), json!(null), json!(10), json!("evict_oldest")]);
    let sessions = read(&server, &server.admin, &format!("/v1/sessions?subjectId={subject}"));
    let session = &sessions["items"][0];
    let told = ["mode", "ttl", "idleTimeout", "maxRenewals"].map(|name| session[name].clone());
    assert_eq!(told, [json!("sliding"), json!(43_200), json!(1_800), json!(0)]);
}

#[test]
fn its_token_is_good_for_the_cookie_alone_and_no_other_token_is() {
    let server = Server::start();
    let forms = FormClient::sign_in(&server, &server.admin);
    let token = forms.cookie.split_once('=').unwrap().1;
    assert_eq!(server.introspect(token).json(), json!({ "active": false, "code": "INVALID_TOKEN" }));
    let id = server.events("SessionCreated")[0]["sessionId"].as_str().unwrap().to_owned();
    let own = server.get(&format!("/v1/sessions/{id}")).bearer(token).send().expect(401).json();
    assert_eq!(own["code"], "INVALID_TOKEN");
    let minted = server.post("/v1/access-tokens").bearer(token).json(&json!({})).send().expect(401).json();
    assert_eq!(minted["code"], "INVALID_TOKEN");
    let asked = server.get("/v1/forward-auth").header("x-tenure-key", server.admin.clone());
    asked.header("cookie", format!("__Host-tenure_session={token}")).send().expect(401);

    let agent = server.session("agent", 600);
    let other = FormClient { server: &server, cookie: format!("tenure_console={}", agent.token) };
    other.get("/console/agents").expect(401);
}

#[test]
fn the_subjects_of_sign_ins_are_the_consoles_own() {
    let server = Server::start();
    let (owner, id) = server.issue_key("owner", Some("alice"));
    let (issuer, _) = server.issue_key("issuer", None);
    let _desk = FormClient::sign_in(&server, &owner);
    let path = format!("/v1/subjects/console:{id}");
    for key in [&server.admin, &issuer] {
        server.put(&path).bearer(key).json(&json!({})).send().expect(403);
        server.request("PATCH", &path).bearer(key).json(&json!({ "name": "x" })).send().expect(403);
        server.post(&format!("{path}/suspend")).bearer(key).json(&json!({})).send().expect(403);
        let new = json!({ "subjectId": format!("console:{id}") });
        server.post("/v1/sessions").bearer(key).json(&new).send().expect(403);
    }
    let reason = json!({ "reason": "x" });
    server.post(&format!("{path}/erase")).bearer(&server.admin).json(&reason).send().expect(403);
    server.get(&path).bearer(&issuer).send().expect(404);
    assert_eq!(read(&server, &issuer, "/v1/sessions")["items"], json!([]));
    server.get(&path).bearer(&owner).send().expect(200);
    let (stranger, _) = server.issue_key("owner", Some("bob"));
    server.get(&path).bearer(&stranger).send().expect(404);
    server.delete(&format!("{path}/sessions")).bearer(&stranger).send().expect(404);
    let ended = server.delete(&format!("{path}/sessions")).bearer(&owner).send().expect(200).json();
    assert_eq!(ended["matched"], 1);
}

#[test]
fn auto_register_makes_no_subject_of_a_sign_in() {
    let server = Server::with(&["subjects.auto_register=true"]);
    let new = json!({ "subjectId": "console:anything" });
    server.post("/v1/sessions").bearer(&server.admin).json(&new).send().expect(403);
}

#[test]
fn it_ends_by_sign_out_with_its_key_and_after_half_an_hour_without_use() {
    let server = Server::start();
    let forms = FormClient::sign_in(&server, &server.admin);
    let out = forms.post("/console/sign-out", &[]).expect(303);
    assert_eq!(cookie_of(&out), "tenure_console=");
    forms.get("/console/agents").expect(401);
    assert_eq!(server.events("SessionRevoked")[0]["data"]["trigger"], "self");

    let (key, id) = server.issue_key("auditor", None);
    let forms = FormClient::sign_in(&server, &key);
    forms.get("/console/agents").expect(200);
    server.delete(&format!("/v1/credentials/{id}")).bearer(&server.admin).send().expect(200);
    forms.get("/console/agents").expect(401);

    let forms = FormClient::sign_in(&server, &server.admin);
    server.advance(1_700);
    forms.get("/console/agents").expect(200);
    server.advance(1_700);
    let live = forms.server.get("/console/log/stream?after=latest").header("cookie", forms.cookie.clone());
    drop(live.header("host", server.address().to_string()).listen());
    server.advance(101);
    forms.get("/console/agents").expect(401);
}

#[test]
fn use_refreshes_it_until_a_day_is_over() {
    let server = Server::start();
    let mut forms = FormClient::sign_in(&server, &server.admin);
    for _ in 0..48 {
        server.advance(1_799);
        let reply = forms.get("/console/agents").expect(200);
        if reply.header("set-cookie").is_some() {
            forms.cookie = cookie_of(&reply);
        }
    }
    server.advance(86_400 - 48 * 1_799);
    forms.get("/console/agents").expect(401);
}

#[test]
fn a_verifier_is_refused_with_a_word_and_a_wrong_key_counts() {
    let server = Server::with(&["security.limit_loopback=true", "security.wrong_credentials_per_minute=2"]);
    let (key, _) = server.issue_key("verifier", None);
    let reply = try_key(&server, &[("key", &key)]).expect(403);
    assert!(text(&reply).contains("verifier"), "{}", text(&reply));
    for _ in 0..2 {
        try_key(&server, &[("key", "tnr_key_wrong")]).expect(401);
    }
    let reply = try_key(&server, &[("key", "tnr_key_wrong")]).expect(429);
    assert!(reply.header("retry-after").is_some());
    server.get("/v1/subjects").bearer("tnr_key_wrong").send().expect(429);
    try_key(&server, &[("key", &server.admin)]).expect(303);
}

#[test]
fn a_key_travels_over_https_or_not_at_all() {
    let server = Server::with(&["server.public_url=https://tenure.example"]);
    let away = server.get("/console/agents").header("host", "tenure.lan").send().expect(403);
    assert!(text(&away).contains("plain HTTP") && !text(&away).contains("name=\"key\""));
    let form = |host: &str, origin: &str| {
        let request = server.post("/console/sign-in").header("host", host).header("origin", origin);
        request.body(crate::form_client::form(&[("key", &server.admin)])).send()
    };
    form("tenure.lan", "http://tenure.lan").expect(403);
    form("localhost.evil.example", "http://localhost.evil.example").expect(403);
    let secure = form("tenure.example", "https://tenure.example").expect(303);
    let set = secure.header("set-cookie").unwrap();
    assert!(set.starts_with("__Host-tenure_console=") && set.contains("; Secure"), "{set}");
    form("tenure.example", "http://tenure.example").expect(403);
    let _ = origin(&server);
}
