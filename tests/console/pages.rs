//! What the pages say.

use serde_json::json;

use crate::desk::{Desk, renewed};
use crate::server::Server;

#[test]
fn an_open_veto_window_is_shown_with_its_button_to_those_who_may() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let (auditor, _) = server.issue_key("auditor", None);
    let veto = format!("/console/sessions/{}/veto", session.id);
    let page = Desk::sign_in(&server, &owner).page("/console/agents");
    assert!(page.contains("Night shift") && page.contains(&veto) && page.contains("data-until="), "{page}");
    let page = Desk::sign_in(&server, &auditor).page("/console/agents");
    assert!(page.contains("Night shift") && !page.contains(&veto), "{page}");
    server.advance(3_601);
    let page = Desk::sign_in(&server, &owner).page("/console/agents");
    assert!(!page.contains(&veto), "{page}");
}

#[test]
fn a_session_is_told_in_sentences_and_drawn() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    server.renew(&session).send().expect(403);
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let desk = Desk::sign_in(&server, &owner);
    let path = format!("/console/sessions/{}", session.id);
    let page = desk.page(&path);
    assert!(page.contains("<h1>Night shift <span class=\"status active\">active</span></h1>"), "{page}");
    assert!(
        page.contains("mark refusal") && page.contains("period even") && page.contains("class=\"window\"")
    );
    assert!(page.contains("What can happen next"), "{page}");
    desk.post(&format!("{path}/veto"), &[("reason", "not mine")]).expect(303);
    let page = desk.page(&path);
    assert!(
        page.contains("status ended") && page.contains("renewal_rejected") && page.contains("not mine"),
        "{page}"
    );
}

#[test]
fn a_veto_may_suspend_in_the_same_step() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let desk = Desk::sign_in(&server, &owner);
    desk.post(&format!("/console/sessions/{}/veto", session.id), &[("suspend", "yes")]).expect(303);
    assert_eq!(server.events("SubjectSuspended").len(), 1);
    let page = desk.page("/console/subjects/agent");
    assert!(page.contains("status ended\">suspended") && page.contains("Resume"), "{page}");
}

#[test]
fn a_bulk_revocation_is_part_of_a_sessions_story() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let everything = json!({ "selector": { "all": true }, "reason": "drill" });
    server.post("/v1/revocations").bearer(&server.admin).json(&everything).send().expect(200);
    let desk = Desk::sign_in(&server, &server.admin);
    let page = desk.page(&format!("/console/sessions/{}", session.id));
    assert!(page.contains("status ended") && page.contains("drill"), "{page}");
}
