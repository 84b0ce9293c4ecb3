//! What admins do under Access, and what a sign-in is to others.

use crate::form_client::{FormClient, read};
use crate::server::Server;

/// A withdrawn key let its sign-ins stand as active in every list until they had idled away, though none was good.
#[test]
fn a_withdrawn_keys_sign_ins_are_recorded_as_ended() {
    let server = Server::start();
    let (key, id) = server.issue_key("auditor", None);
    let (other_key, _) = server.issue_key("auditor", None);
    let (auditor, other) = (FormClient::sign_in(&server, &key), FormClient::sign_in(&server, &other_key));
    let again = FormClient::sign_in(&server, &key);
    let forms = FormClient::sign_in(&server, &server.admin);
    forms.post(&format!("/console/keys/{id}/revoke"), &[]).expect(303);
    let sessions = read(&server, &server.admin, &format!("/v1/sessions?status=all&subjectId=console:{id}"));
    let status = |index: usize| sessions["items"][index]["status"].clone();
    assert_eq!([status(0), status(1)], ["REVOKED", "REVOKED"], "{sessions}");
    auditor.get("/console/log").expect(401);
    again.get("/console/log").expect(401);
    other.get("/console/log").expect(200);
    let (withdrawn, ended) = (server.events("CredentialRevoked"), server.events("SessionsRevoked"));
    assert_eq!(withdrawn[0]["actor"], ended[0]["actor"], "the same person did both");
    // Withdrawn again, it is the same answer and nothing more.
    server.delete(&format!("/v1/credentials/{id}")).bearer(&server.admin).send().expect(200);
    assert_eq!(server.events("SessionsRevoked").len(), 1);
}

#[test]
fn an_admin_ends_the_sign_ins_of_others_and_everybody_its_own() {
    let server = Server::start();
    let (key, _) = server.issue_key("owner", Some("alice"));
    let (first, second) = (FormClient::sign_in(&server, &key), FormClient::sign_in(&server, &key));
    let admin = FormClient::sign_in(&server, &server.admin);
    let ends = |page: &str| page.matches("/end\"><input").count();
    assert_eq!(ends(&first.page("/console/keys")), 1, "not the one that looks");
    assert_eq!(ends(&admin.page("/console/keys")), 2);
    let page = first.page("/console/keys");
    let (_, after) = page.split_once("action=\"/console/sign-ins/").unwrap();
    let id = after.split('/').next().unwrap();
    first.post(&format!("/console/sign-ins/{id}/end"), &[]).expect(303);
    second.get("/console/agents").expect(401);
    first.get("/console/agents").expect(200);
    let page = admin.page("/console/keys");
    let (_, after) = page.split_once("action=\"/console/sign-ins/").unwrap();
    let id = after.split('/').next().unwrap();
    admin.post(&format!("/console/sign-ins/{id}/end"), &[]).expect(303);
    first.get("/console/agents").expect(401);
}

#[test]
fn a_key_of_tokens_is_rotated_with_a_word_on_what_that_does() {
    let server = Server::start();
    let forms = FormClient::sign_in(&server, &server.admin);
    let page = forms.page("/console/keys");
    assert!(page.contains("every holder needs a new session"), "{page}");
    forms.post("/console/keys/rotate", &[("which", "access")]).expect(303);
    forms.post("/console/keys/rotate", &[("which", "nonsense")]).expect(400);
    assert_eq!(
        server.events("KeyRotated").iter().filter(|event| event["data"]["retire"] == "overlap").count(),
        1
    );
    let (auditor, _) = server.issue_key("auditor", None);
    assert!(!FormClient::sign_in(&server, &auditor).page("/console/keys").contains("Rotate"));
}

/// Every sign-in of every colleague was a notice to admins and auditors, and to their webhooks.
#[test]
fn nobody_is_told_of_sign_ins() {
    let server = Server::start();
    let (key, id) = server.issue_key("auditor", None);
    let forms = FormClient::sign_in(&server, &server.admin);
    FormClient::sign_in(&server, &key).post("/console/sign-out", &[]).expect(303);
    let _other = FormClient::sign_in(&server, &key);
    forms.post(&format!("/console/keys/{id}/revoke"), &[]).expect(303);
    server.advance(3_700);
    crate::form_client::renewed(&server, "agent");
    let notices = read(&server, &server.admin, "/v1/notices");
    let kinds: Vec<_> =
        notices["items"].as_array().unwrap().iter().map(|it| it["subjectId"].clone()).collect();
    assert!(!kinds.is_empty() && kinds.iter().all(|subject| subject == "agent"), "{notices}");
}
