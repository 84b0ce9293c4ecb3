//! The past at a moment: what a page shows of it, and what it lets nobody do.

use serde_json::json;

use crate::form_client::{FormClient, read, renewed};
use crate::server::Server;

/// A renewed session that was then ended, and the position and time of its beginning.
fn ended(server: &Server) -> (String, u64, String) {
    let session = renewed(server, "agent");
    let created = server.events("SessionCreated")[0].clone();
    server.advance(10);
    server.delete(&session.path()).bearer(&server.admin).send().expect(200);
    (session.id, created["position"].as_u64().unwrap(), created["recordedAt"].as_str().unwrap().to_owned())
}

#[test]
fn a_page_shows_the_past_by_time_or_position_and_lets_nobody_change_it() {
    let server = Server::start();
    let (id, position, time) = ended(&server);
    let forms = FormClient::sign_in(&server, &server.admin);
    let now = forms.page(&format!("/console/sessions/{id}"));
    assert!(now.contains("status ended") && !now.contains("This is the past"), "{now}");
    for as_of in [position.to_string(), time] {
        for (page, shown) in [
            (format!("/console/sessions/{id}"), "status active"),
            ("/console/subjects/agent".to_owned(), "status active"),
            ("/console/agents".to_owned(), "/console/sessions/"),
            ("/console/log".to_owned(), "SessionCreated"),
        ] {
            let then = forms.page(&format!("{page}?asOf={as_of}"));
            assert!(then.contains("This is the past") && then.contains(shown), "{page} {as_of}: {then}");
            let forms = then.matches("method=\"post\"").count();
            assert_eq!(forms, 1, "{page}: only the sign-out is left");
            assert!(
                !then.contains(">SessionRenewed<") && !then.contains(">SessionRevoked<"),
                "{page}: {then}"
            );
        }
    }
    let story = forms.page(&format!("/console/sessions/{id}?asOf={position}"));
    assert_eq!(story.matches("class=\"mark").count(), 1, "the story ends there: {story}");
    // The line in its timeline is not where the reader is.
    let now_is = |page: &str| page.contains("key now\"></span> now<");
    assert!(story.contains("the moment shown") && !now_is(&story) && now_is(&now), "{story}");
}

#[test]
fn what_was_not_there_yet_is_not_shown_and_the_future_is_refused_as_by_the_api() {
    let server = Server::start();
    let (id, position, _) = ended(&server);
    server.register("later", &json!({ "name": "Later" }));
    let forms = FormClient::sign_in(&server, &server.admin);
    forms.get(&format!("/console/sessions/{id}?asOf={}", position - 1)).expect(404);
    forms.get("/console/subjects/later?asOf=1").expect(404);
    let agents = forms.page(&format!("/console/agents?asOf={position}"));
    assert!(agents.contains("1 of the subjects of this page were not registered yet"), "{agents}");
    assert!(!agents.contains("Later"), "{agents}");
    for (as_of, parameter) in [("9999999", "asOfPosition"), ("2999-01-01T00:00:00Z", "asOf")] {
        let shown = forms.get(&format!("/console/subjects/agent?asOf={as_of}"));
        let asked =
            server.get(&format!("/v1/subjects/agent?{parameter}={as_of}")).bearer(&server.admin).send();
        assert_eq!(shown.status, asked.status, "{shown:?}");
        let why = asked.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(shown.body.contains(&why), "{why}: {shown:?}");
    }
    for wrong in ["yesterday", "%3Cscript%3E", "-1"] {
        forms.get(&format!("/console/log?asOf={wrong}")).expect(400);
    }
}

#[test]
fn only_those_who_may_list_the_past_see_it_on_agents() {
    let server = Server::start();
    ended(&server);
    let (key, _) = server.issue_key("owner", Some("alice"));
    let forms = FormClient::sign_in(&server, &key);
    let asked = server.get("/v1/subjects?asOfPosition=1").bearer(&key).send().expect(403);
    let shown = forms.get("/console/agents?asOf=1").expect(403);
    assert!(shown.body.contains(asked.json()["detail"].as_str().unwrap()), "{shown:?}");
    let head = read(&server, &server.admin, "/v1/audit/head")["size"].as_u64().unwrap();
    assert!(forms.page(&format!("/console/subjects/agent?asOf={head}")).contains("This is the past"));
}

#[test]
fn a_subject_says_who_answered_for_it_and_when() {
    let server = Server::start();
    renewed(&server, "agent");
    let change = json!({ "ownerId": "bob" });
    let patch = server.request("PATCH", "/v1/subjects/agent").bearer(&server.admin);
    patch.json(&change).send().expect(200);
    let again = server.request("PATCH", "/v1/subjects/agent").bearer(&server.admin);
    again.json(&json!({ "name": "Day shift" })).send().expect(200);
    let page = FormClient::sign_in(&server, &server.admin).page("/console/subjects/agent");
    let (_, owners) = page.split_once("<h2>Owners</h2>").unwrap();
    let owners = owners.split("</ol>").next().unwrap();
    let (bob, alice) = (owners.find("<code>bob</code>").unwrap(), owners.find("<code>alice</code>").unwrap());
    assert!(bob < alice && owners.matches("<li>").count() == 2, "{owners}");
}
