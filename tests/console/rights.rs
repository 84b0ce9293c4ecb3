//! A page shows and does what the key behind its sign-in may by the API, and answers as the API would.

use serde_json::json;

use crate::form_client::{FormClient, renewed, text};
use crate::server::{Reply, Server};

const ROLES: [(&str, Option<&str>); 5] =
    [("admin", None), ("issuer", None), ("owner", Some("alice")), ("owner", Some("bob")), ("auditor", None)];

/// The code on a page that says why not.
fn code(reply: &Reply) -> String {
    let page = text(reply);
    if let Ok(problem) = serde_json::from_str::<serde_json::Value>(&page) {
        return problem["code"].as_str().unwrap_or_default().to_owned();
    }
    let Some((_, after)) = page.split_once("<code>") else { return String::new() };
    after.split('<').next().unwrap().split(' ').next_back().unwrap().to_owned()
}

#[test]
fn each_page_answers_each_role_as_the_api_does() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let id = &session.id;
    let pages = [
        ("/console/agents".to_owned(), "/v1/subjects".to_owned()),
        ("/console/agents?owner=alice".into(), "/v1/subjects?ownerId=alice".into()),
        (format!("/console/sessions/{id}"), format!("/v1/sessions/{id}")),
        ("/console/sessions/nonsense".into(), "/v1/sessions/nonsense".into()),
        ("/console/subjects/agent".into(), "/v1/subjects/agent".into()),
        ("/console/subjects/nobody".into(), "/v1/subjects/nobody".into()),
        ("/console/log".into(), "/v1/events".into()),
        ("/console/log/by?position=1".into(), "/v1/events?limit=1&after=0".into()),
        ("/console/log?kinds=Nonsense".into(), "/v1/events?kinds=Nonsense".into()),
        ("/console/audit".into(), "/v1/audit/head".into()),
        ("/console/audit?check=now".into(), "/v1/audit/check".into()),
        ("/console/audit/proof?position=1".into(), "/v1/audit/proof?position=1".into()),
        ("/console/audit/head".into(), "/v1/audit/head".into()),
        ("/console/audit/event?position=1".into(), "/v1/events?limit=1&after=0".into()),
        ("/console/webhooks".into(), "/v1/webhooks".into()),
        ("/console/keys".into(), "/v1/credentials/self".into()),
        // What no route tells is for those who may read everything.
        ("/console/what-if".into(), "/v1/audit/check".into()),
        ("/console/settings".into(), "/v1/audit/check".into()),
        (format!("/console/sessions/{id}?asOf=1"), format!("/v1/sessions/{id}?asOfPosition=1")),
        ("/console/subjects/agent?asOf=999".into(), "/v1/subjects/agent?asOfPosition=999".into()),
        ("/console/agents?asOf=1".into(), "/v1/subjects?asOfPosition=1".into()),
        ("/console/agents?device=laptop".into(), "/v1/sessions?device=laptop".into()),
        ("/console/agents?q=agent".into(), "/v1/subjects".into()),
    ];
    for (role, owner) in ROLES {
        let (key, _) = server.issue_key(role, owner);
        let forms = FormClient::sign_in(&server, &key);
        for (page, route) in &pages {
            let (shown, asked) = (forms.get(page), server.get(route).bearer(&key).send());
            assert_eq!(shown.status, asked.status, "{role} {owner:?} {page}: {}", text(&shown));
            same_refusal(&shown, &asked, &format!("{role} {page}"));
        }
    }
}

/// Those which are led elsewhere or never end.
#[test]
fn the_overview_and_the_live_log_answer_each_role_as_the_api_does() {
    let server = Server::start();
    renewed(&server, "agent");
    for (role, owner) in ROLES {
        let (key, _) = server.issue_key(role, owner);
        let forms = FormClient::sign_in(&server, &key);
        let reads_all = server.get("/v1/audit/check").bearer(&key).send().status == 200;
        assert_eq!(forms.get("/console").status, if reads_all { 200 } else { 303 }, "{role} {owner:?}");
        let asked = server.get("/v1/events").bearer(&key).send();
        if asked.status == 200 {
            let stream = server.get("/console/log/stream?after=0").header("cookie", forms.cookie.clone());
            let mut stream = stream.header("host", server.address().to_string()).listen();
            let first = asked.json()["items"][0]["position"].clone();
            assert!(first.is_null() || stream.next().unwrap().1["position"] == first, "{role} {owner:?}");
        } else {
            let shown = forms.get("/console/log/stream?after=0");
            assert_eq!(shown.status, asked.status, "{role} {owner:?}");
            same_refusal(&shown, &asked, role);
        }
    }
}

/// A page or an action that somebody adds is walked too.
#[test]
fn every_page_and_action_is_compared_with_the_api() {
    let table = include_str!("../../src/server/console/pages/mod.rs");
    let walked = include_str!("rights.rs").replace("subjects/agent", "subjects/{}");
    let names = ["{id}", "{one}", "{held}", "{hook}"];
    let walked = names.iter().fold(walked, |text, name| text.replace(name, "{}"));
    let arms =
        table.lines().map(str::trim).filter(|line| line.starts_with("(\"GET") || line.starts_with("(\"POST"));
    let mut count = 0;
    for arm in arms {
        let (_, segments) = arm.split_once('[').unwrap();
        let (segments, _) = segments.split_once("])").unwrap();
        let path = |last: &str| {
            let parts = segments.split(", ").filter(|part| !part.is_empty() && !part.starts_with("name"));
            let parts = parts.map(|part| if part.starts_with('"') { part.trim_matches('"') } else { "{}" });
            parts.chain(Some(last).filter(|last| !last.is_empty())).collect::<Vec<_>>().join("/")
        };
        let lasts = if segments.contains("name @") { vec!["head", "proof", "event"] } else { vec![""] };
        for path in lasts.into_iter().map(path) {
            let spelled = [format!("\"{path}"), format!("\"/console/{path}")];
            let is_walked = spelled.iter().any(|text| walked.contains(&**text));
            assert!(path.is_empty() || is_walked, "{path} is compared with no route");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

/// Status 200 apart, the page says what the API says: the same code, and the same words.
fn same_refusal(shown: &Reply, asked: &Reply, what: &str) {
    if asked.status == 200 || asked.status == 204 {
        return;
    }
    let said = asked.json();
    assert_eq!(code(shown), said["code"], "{what}");
    let detail = said["detail"].as_str().or(said["title"].as_str()).unwrap_or_default();
    let page = text(shown).replace("&#39;", "'").replace("&#34;", "\"");
    assert!(page.contains(detail), "{what}: {detail} is not on {page}");
}

#[test]
fn each_action_answers_each_role_as_the_api_does() {
    let server = Server::start();
    let reason = json!({ "reason": "why" });
    let none = json!(null);
    let actions = [
        ("sessions/{}/end", "DELETE", "/v1/sessions/{}?reason=why", &none),
        ("sessions/{}/veto", "DELETE", "/v1/sessions/{}?rejectRenewal=true&reason=why", &none),
        ("subjects/agent/suspend", "POST", "/v1/subjects/agent/suspend", &reason),
        ("subjects/agent/resume", "POST", "/v1/subjects/agent/resume", &reason),
        ("subjects/agent/end", "DELETE", "/v1/subjects/agent/sessions?reason=why", &none),
        ("subjects/agent/erase", "POST", "/v1/subjects/agent/erase", &reason),
    ];
    for (role, owner) in ROLES {
        let (key, _) = server.issue_key(role, owner);
        let forms = FormClient::sign_in(&server, &key);
        for (page, method, route, body) in &actions {
            let [mine, other] = [renewed(&server, "agent"), renewed(&server, "agent")];
            let request = server.request(method, &route.replace("{}", &other.id)).bearer(&key);
            let request = if body.is_null() { request } else { request.json(body) };
            let path = format!("/console/{}", page.replace("{}", &mine.id));
            let shown = forms.post(&path, &[("reason", "why"), ("confirm", "agent")]);
            let asked = request.send();
            let expected = if asked.status == 200 { 303 } else { asked.status };
            assert_eq!(shown.status, expected, "{role} {owner:?} {page}: {}", text(&shown));
            same_refusal(&shown, &asked, &format!("{role} {page}"));
            let free = json!({ "reason": "free" });
            server.post("/v1/subjects/agent/resume").bearer(&server.admin).json(&free).send().expect(200);
        }
    }
}

/// Those actions whose object is gone afterwards, or of which there is one each.
#[test]
fn keys_sign_ins_and_webhooks_answer_each_role_as_the_api_does() {
    let server = Server::with(&["webhooks.allow_private=true"]);
    let (retire, from) = (json!({ "which": "access", "retire": "overlap" }), json!({ "from": 1 }));
    let none = json!(null);
    for (role, owner) in ROLES {
        let (key, _) = server.issue_key(role, owner);
        let forms = FormClient::sign_in(&server, &key);
        let hook = json!({ "url": "http://127.0.0.1:9/hook", "ownerId": "alice" });
        let hook = server
            .post("/v1/webhooks")
            .bearer(&server.admin)
            .json(&hook)
            .send()
            .expect(201)
            .text("webhookId");
        let ([one, other], [held, kept]) = two_keys(&server);
        for (page, form, method, route, body) in [
            (format!("keys/{one}/revoke"), &[][..], "DELETE", format!("/v1/credentials/{other}"), &none),
            ("keys/rotate".into(), &[("which", "access")], "POST", "/v1/keys/rotate".into(), &retire),
            (format!("sign-ins/{held}/end"), &[], "DELETE", format!("/v1/sessions/{kept}"), &none),
            (format!("webhooks/{hook}/test"), &[], "POST", format!("/v1/webhooks/{hook}/test"), &none),
            (
                format!("webhooks/{hook}/redeliver"),
                &[("from", "1")],
                "POST",
                format!("/v1/webhooks/{hook}/redeliver"),
                &from,
            ),
        ] {
            let shown = forms.post(&format!("/console/{page}"), form);
            // A key is not rotated twice in five minutes.
            server.advance(301);
            let request = server.request(method, &route).bearer(&key);
            let asked = if body.is_null() { request.send() } else { request.json(body).send() };
            let expected = if asked.status < 300 { 303 } else { asked.status };
            assert_eq!(shown.status, expected, "{role} {owner:?} {page}: {} {asked:?}", text(&shown));
            server.advance(301);
            if asked.status >= 300 {
                same_refusal(&shown, &asked, &format!("{role} {page}"));
            }
        }
    }
}

/// Two API keys, and a sign-in with each of two more.
fn two_keys(server: &Server) -> ([String; 2], [String; 2]) {
    let signed_in = || {
        let (key, id) = server.issue_key("auditor", None);
        let _desk = FormClient::sign_in(server, &key);
        let page = server.get(&format!("/v1/sessions?subjectId=console:{id}")).bearer(&server.admin);
        page.send().expect(200).json()["items"][0]["sessionId"].as_str().unwrap().to_owned()
    };
    let key = || server.issue_key("auditor", None).1;
    ([key(), key()], [signed_in(), signed_in()])
}

#[test]
fn an_owner_sees_nothing_of_anothers() {
    let server = Server::start();
    let session = renewed(&server, "agent-of-alice");
    server.register("agent-of-bob", &json!({ "name": "Day shift", "ownerId": "bob" }));
    let (bob, _) = server.issue_key("owner", Some("bob"));
    let forms = FormClient::sign_in(&server, &bob);
    for path in ["/console/agents", "/console/agents?owner=alice", "/console/log", "/console/keys"] {
        let page = text(&forms.get(path));
        assert!(!page.contains("agent-of-alice") && !page.contains(&session.id), "{path}");
    }
    assert!(forms.page("/console/agents").contains("Day shift"));
    forms.get(&format!("/console/sessions/{}", session.id)).expect(404);
    let stream = server.get("/console/log/stream?after=0").header("cookie", forms.cookie.clone());
    let mut stream = stream.header("host", server.address().to_string()).listen();
    let (_, first) = stream.next().unwrap();
    assert_eq!(first["subjectId"], "agent-of-bob");
}

#[test]
fn an_erasure_wants_the_id_to_be_typed() {
    let server = Server::start();
    server.register("agent", &json!({ "name": "Night shift" }));
    let forms = FormClient::sign_in(&server, &server.admin);
    let path = "/console/subjects/agent/erase";
    forms.post(path, &[("reason", "asked for"), ("confirm", "agnet")]).expect(400);
    assert!(server.events("SubjectErased").is_empty());
    forms.post(path, &[("reason", "asked for"), ("confirm", "agent")]).expect(303);
    assert_eq!(server.events("SubjectErased").len(), 1);
}
