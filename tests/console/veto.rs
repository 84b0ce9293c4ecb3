//! The link in a notice: one tap vetoes one renewal, and nothing else ever.

use serde_json::{Value, json};

use crate::form_client::{FormClient, form, read, renewed, text};
use crate::server::{Reply, Server, Session};

const SETTINGS: &[&str] = &["server.public_url=https://tenure.example"];

struct Told {
    server: Server,
    owner: String,
    session: Session,
}

impl Told {
    fn of_a_renewal() -> Self {
        let server = Server::with(SETTINGS);
        let (owner, _) = server.issue_key("owner", Some("alice"));
        let session = renewed(&server, "agent");
        Self { server, owner, session }
    }

    fn notice(&self, key: &str) -> Value {
        let page = read(&self.server, key, "/v1/notices?kinds=SESSION_RENEWED");
        page["items"].as_array().unwrap().last().unwrap().clone()
    }

    /// The path of the link, as the owner got it.
    fn link(&self) -> String {
        let notice = self.notice(&self.owner);
        notice["vetoUrl"].as_str().unwrap().strip_prefix("https://tenure.example").unwrap().to_owned()
    }

    fn open(&self, link: &str) -> Reply {
        self.server.get(link).header("host", "tenure.example").send()
    }

    fn tap(&self, link: &str, fields: &[(&str, &str)]) -> Reply {
        let request = self.server.post(link).header("host", "tenure.example");
        request.header("origin", "https://tenure.example").body(form(fields)).send()
    }
}

#[test]
fn a_link_vetoes_the_renewal_of_which_its_notice_tells() {
    let told = Told::of_a_renewal();
    let link = told.link();
    let page = text(&told.open(&link).expect(200));
    for said in
        ["Night shift renewed its session", "Renewal 1 of 30", "Can still live", ">Veto<", ">Let it be<"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    told.tap(&link, &[("do", "veto")]).expect(303);
    let refused = told.server.renew(&told.session).send().expect(401).json();
    assert_eq!(
        (&refused["code"], &refused["trigger"]),
        (&json!("SESSION_REVOKED"), &json!("renewal_rejected"))
    );
    let rejected = &told.server.events("RenewalRejected")[0];
    let notice = told.notice(&told.owner)["noticeId"].clone();
    assert_eq!(rejected["actor"], json!({ "kind": "link", "id": notice }));
    assert_eq!(rejected["data"]["cause"], "owner");
    assert!(told.server.events("SubjectSuspended").is_empty());
    let page = text(&told.open(&link).expect(200));
    assert!(page.contains("was vetoed") && !page.contains(">Veto<"), "{page}");
}

/// Chat services open the links in messages to preview them; mail scanners do, too. None of them may end a session.
#[test]
fn to_open_the_link_changes_nothing() {
    let told = Told::of_a_renewal();
    let link = told.link();
    let before = read(&told.server, &told.server.admin, "/v1/audit/head")["size"].clone();
    for method in ["GET", "HEAD", "GET"] {
        told.server.request(method, &link).header("host", "tenure.example").send().expect(200);
    }
    told.server.request("OPTIONS", &link).header("host", "tenure.example").send().expect(405);
    assert!(told.server.events("SessionRevoked").is_empty());
    assert_eq!(read(&told.server, &told.server.admin, "/v1/audit/head")["size"], before);
}

#[test]
fn let_it_be_records_nothing_and_leaves_the_link_working() {
    let told = Told::of_a_renewal();
    let link = told.link();
    told.tap(&link, &[("do", "let-it-be")]).expect(303);
    assert!(told.server.events("SessionRevoked,RenewalRejected").is_empty());
    told.tap(&link, &[("do", "veto")]).expect(303);
    assert_eq!(told.server.events("SessionRevoked").len(), 1);
}

#[test]
fn a_veto_by_link_may_suspend_the_agent_as_its_owner() {
    let told = Told::of_a_renewal();
    let link = told.link();
    told.tap(&link, &[("do", "veto"), ("suspend", "yes")]).expect(303);
    let suspended = &told.server.events("SubjectSuspended")[0];
    assert_eq!(suspended["data"]["by"]["kind"], "link");
    let resume = told.server.post("/v1/subjects/agent/resume").bearer(&told.owner).json(&json!({}));
    resume.send().expect(200);
    // A link is used up by its veto: it suspends nothing a second time.
    told.tap(&link, &[("do", "veto"), ("suspend", "yes")]).expect(303);
    assert_eq!(told.server.events("SubjectSuspended").len(), 1);
}

#[test]
fn a_link_is_for_one_renewal_and_a_later_one_overtakes_it() {
    let told = Told::of_a_renewal();
    let link = told.link();
    told.server.advance(400);
    told.server.renew(&told.session).send().expect(200);
    let page = text(&told.open(&link).expect(200));
    assert!(page.contains("renewed its session again") && !page.contains(">Veto<"), "{page}");
    told.tap(&link, &[("do", "veto"), ("suspend", "yes")]).expect(303);
    assert!(told.server.events("SessionRevoked,SubjectSuspended").is_empty());
}

#[test]
fn after_the_window_the_page_says_that_it_is_over() {
    let server = Server::with(SETTINGS);
    let (owner, _) = server.issue_key("owner", Some("alice"));
    server.register("agent", &json!({ "name": "Night shift", "ownerId": "alice" }));
    let session = server.create(&json!({ "subjectId": "agent", "ttl": 3_600, "renewalRejectWindow": 300 }));
    server.advance(1_800);
    server.renew(&session).send().expect(200);
    let told = Told { server, owner, session };
    let link = told.link();
    told.server.advance(300);
    assert!(text(&told.open(&link)).contains(">Veto<"), "the last moment counts");
    told.server.advance(1);
    let page = text(&told.open(&link).expect(200));
    assert!(page.contains("The time for this veto is over") && !page.contains(">Veto<"), "{page}");
    told.tap(&link, &[("do", "veto")]).expect(303);
    assert!(told.server.events("SessionRevoked").is_empty());
}

#[test]
fn only_the_owner_itself_is_told_the_link() {
    let told = Told::of_a_renewal();
    let (auditor, _) = told.server.issue_key("auditor", None);
    for key in [&told.server.admin, &auditor] {
        let notice = told.notice(key);
        assert_eq!(notice["vetoUrl"], Value::Null);
        let expected = format!("https://tenure.example/console/sessions/{}", told.session.id);
        assert_eq!(notice["rejectUrl"], expected);
    }
    let mut stream = told.server.get("/v1/notices?kinds=SESSION_RENEWED").bearer(&told.owner).listen();
    assert!(stream.next().unwrap().1["vetoUrl"].as_str().unwrap().contains("/console/veto/tnr_veto_"));
}

#[test]
fn a_link_is_void_once_the_agent_has_another_owner_and_after_a_rotation_with_now() {
    let told = Told::of_a_renewal();
    let link = told.link();
    told.server.register("agent", &json!({ "name": "Night shift", "ownerId": "bob" }));
    told.open(&link).expect(404);
    told.tap(&link, &[("do", "veto")]).expect(404);
    told.server.register("agent", &json!({ "name": "Night shift", "ownerId": "alice" }));
    told.open(&link).expect(200);
    let rotate = |retire: &str| {
        let body = json!({ "which": "session", "retire": retire });
        told.server.post("/v1/keys/rotate").bearer(&told.server.admin).json(&body).send().expect(200)
    };
    rotate("overlap");
    told.open(&link).expect(200);
    rotate("now");
    told.open(&link).expect(404);
    told.tap(&link, &[("do", "veto")]).expect(404);
    assert!(told.server.events("SessionRevoked").is_empty());
}

#[test]
fn a_link_opens_nothing_else_and_nothing_else_is_a_link() {
    let told = Told::of_a_renewal();
    let link = told.link();
    let token = link.rsplit('/').next().unwrap();
    told.server.get("/v1/subjects").bearer(token).send().expect(401);
    let as_session = token.replacen("tnr_veto_", "tnr_sess_", 1);
    assert_eq!(told.server.introspect(&as_session).json()["code"], "INVALID_TOKEN");
    let as_link = told.session.token.replacen("tnr_sess_", "tnr_veto_", 1);
    told.open(&format!("/console/veto/{as_link}")).expect(404);
    told.open(&format!("{link}A")).expect(404);
    let forms = FormClient { server: &told.server, cookie: format!("tenure_console={token}") };
    forms.get("/console/agents").expect(401);
}

#[test]
fn a_foreign_page_cannot_use_a_link() {
    let told = Told::of_a_renewal();
    let link = told.link();
    let request = |origin: &str| {
        let request = told.server.post(&link).header("host", "tenure.example").header("origin", origin);
        request.body(form(&[("do", "veto")])).send()
    };
    request("https://evil.example").expect(403);
    request("null").expect(403);
    told.server.post(&link).header("host", "tenure.example").body("do=veto").send().expect(403);
    assert!(told.server.events("SessionRevoked").is_empty());
}

#[test]
fn without_a_public_url_an_owner_or_the_setting_there_is_no_link() {
    let server = Server::start();
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let session = renewed(&server, "agent");
    let told = Told { server, owner, session };
    let notice = told.notice(&told.owner);
    assert_eq!((&notice["vetoUrl"], &notice["rejectUrl"]), (&Value::Null, &Value::Null));
    let mut told = told;
    told.server.restart_with(&["server.public_url=https://tenure.example", "notices.veto_links=false"]);
    let notice = told.notice(&told.owner);
    assert_eq!(notice["vetoUrl"], Value::Null);
    assert!(notice["rejectUrl"].is_string());
    told.server.restart_with(&["server.public_url=https://tenure.example", "console.enabled=false"]);
    let notice = told.notice(&told.owner);
    assert_eq!((&notice["vetoUrl"], &notice["rejectUrl"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_link_is_in_no_log_line() {
    let server = Server::saying("trace", SETTINGS);
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let session = renewed(&server, "agent");
    let told = Told { server, owner, session };
    let link = told.link();
    told.open(&link).expect(200);
    told.tap(&link, &[("do", "veto")]).expect(303);
    told.open(&format!("{link}A")).expect(404);
    assert!(!told.server.said().contains("tnr_veto_"), "a link was logged");
}
