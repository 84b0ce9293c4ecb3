//! A page shows and does what the key behind its sign-in may by the API, and answers as the API would.

use serde_json::json;

use crate::desk::{Desk, renewed, text};
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
        ("/console/log?kinds=Nonsense".into(), "/v1/events?kinds=Nonsense".into()),
        ("/console/audit".into(), "/v1/audit/head".into()),
        ("/console/audit?check=now".into(), "/v1/audit/check".into()),
        ("/console/audit/proof?position=1".into(), "/v1/audit/proof?position=1".into()),
        ("/console/webhooks".into(), "/v1/webhooks".into()),
        ("/console/keys".into(), "/v1/credentials/self".into()),
    ];
    for (role, owner) in ROLES {
        let (key, _) = server.issue_key(role, owner);
        let desk = Desk::sign_in(&server, &key);
        for (page, route) in &pages {
            let (shown, asked) = (desk.get(page), server.get(route).bearer(&key).send());
            assert_eq!(shown.status, asked.status, "{role} {owner:?} {page}: {}", text(&shown));
            if asked.status != 200 {
                assert_eq!(code(&shown), asked.json()["code"], "{role} {page}");
            }
        }
    }
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
        let desk = Desk::sign_in(&server, &key);
        for (page, method, route, body) in &actions {
            let [mine, other] = [renewed(&server, "agent"), renewed(&server, "agent")];
            let request = server.request(method, &route.replace("{}", &other.id)).bearer(&key);
            let request = if body.is_null() { request } else { request.json(body) };
            let path = format!("/console/{}", page.replace("{}", &mine.id));
            let shown = desk.post(&path, &[("reason", "why"), ("confirm", "agent")]);
            let asked = request.send();
            let expected = if asked.status == 200 { 303 } else { asked.status };
            assert_eq!(shown.status, expected, "{role} {owner:?} {page}: {}", text(&shown));
            if asked.status != 200 {
                assert_eq!(code(&shown), asked.json()["code"], "{role} {page}");
            }
            let free = json!({ "reason": "free" });
            server.post("/v1/subjects/agent/resume").bearer(&server.admin).json(&free).send().expect(200);
        }
    }
}

#[test]
fn an_owner_sees_nothing_of_anothers() {
    let server = Server::start();
    let session = renewed(&server, "agent-of-alice");
    server.register("agent-of-bob", &json!({ "name": "Day shift", "ownerId": "bob" }));
    let (bob, _) = server.issue_key("owner", Some("bob"));
    let desk = Desk::sign_in(&server, &bob);
    for path in ["/console/agents", "/console/agents?owner=alice", "/console/log", "/console/keys"] {
        let page = text(&desk.get(path));
        assert!(!page.contains("agent-of-alice") && !page.contains(&session.id), "{path}");
    }
    assert!(desk.page("/console/agents").contains("Day shift"));
    desk.get(&format!("/console/sessions/{}", session.id)).expect(404);
    let stream = server.get("/console/log/stream?after=0").header("cookie", desk.cookie.clone());
    let mut stream = stream.header("host", server.address().to_string()).listen();
    let (_, first) = stream.next().unwrap();
    assert_eq!(first["subjectId"], "agent-of-bob");
}

#[test]
fn an_erasure_wants_the_id_to_be_typed() {
    let server = Server::start();
    server.register("agent", &json!({ "name": "Night shift" }));
    let desk = Desk::sign_in(&server, &server.admin);
    let path = "/console/subjects/agent/erase";
    desk.post(path, &[("reason", "asked for"), ("confirm", "agnet")]).expect(400);
    assert!(server.events("SubjectErased").is_empty());
    desk.post(path, &[("reason", "asked for"), ("confirm", "agent")]).expect(303);
    assert_eq!(server.events("SubjectErased").len(), 1);
}
