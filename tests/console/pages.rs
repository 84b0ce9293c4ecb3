//! What the pages say.

use serde_json::{Value, json};

use crate::form_client::{FormClient, read, renewed};
use crate::server::{Server, Session};

#[test]
fn an_open_veto_window_is_shown_with_its_button_to_those_who_may() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let (auditor, _) = server.issue_key("auditor", None);
    let veto = format!("/console/sessions/{}/veto", session.id);
    let page = FormClient::sign_in(&server, &owner).page("/console/agents");
    assert!(page.contains("Night shift") && page.contains(&veto) && page.contains("data-until="), "{page}");
    let page = FormClient::sign_in(&server, &auditor).page("/console/agents");
    assert!(page.contains("Night shift") && !page.contains(&veto), "{page}");
    server.advance(3_601);
    let page = FormClient::sign_in(&server, &owner).page("/console/agents");
    assert!(!page.contains(&veto), "{page}");
}

/// They stood in the order of their ids, and whose they are was on their own pages alone.
#[test]
fn the_veto_that_can_wait_least_comes_first_and_agents_of_several_owners_name_theirs() {
    let server = Server::start();
    let begin = |(id, owner, window): (&str, &str, u32)| {
        server.register(id, &json!({ "kind": "agent", "ownerId": owner }));
        server.create(&json!({ "subjectId": id, "ttl": 7_200, "renewalRejectWindow": window }))
    };
    let sessions = [("a", "alice", 3_000), ("b", "bob", 600), ("c", "alice", 1_200)].map(begin);
    server.advance(3_601);
    for session in &sessions {
        server.renew(session).send().expect(200);
    }
    let page = FormClient::sign_in(&server, &server.admin).page("/console/agents");
    let place = |id: &str| page.find(&format!("/console/subjects/{id}\"")).unwrap();
    assert!(place("b") < place("c") && place("c") < place("a"), "{page}");
    assert!(page.contains("owner <code>bob</code>"), "{page}");
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let page = FormClient::sign_in(&server, &owner).page("/console/agents");
    assert!(page.contains("/console/subjects/a\"") && !page.contains("owner <code>"), "{page}");
}

#[test]
fn a_session_is_told_in_sentences_and_drawn() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    server.renew(&session).send().expect(403);
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let forms = FormClient::sign_in(&server, &owner);
    let path = format!("/console/sessions/{}", session.id);
    let page = forms.page(&path);
    assert!(page.contains("<h1>Night shift <span class=\"status active\">active</span></h1>"), "{page}");
    assert!(
        page.contains("mark refusal") && page.contains("period even") && page.contains("class=\"window\"")
    );
    assert!(page.contains("What can happen next"), "{page}");
    forms.post(&format!("{path}/veto"), &[("reason", "not mine")]).expect(303);
    let page = forms.page(&path);
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
    let forms = FormClient::sign_in(&server, &owner);
    forms.post(&format!("/console/sessions/{}/veto", session.id), &[("suspend", "yes")]).expect(303);
    assert_eq!(server.events("SubjectSuspended").len(), 1);
    let page = forms.page("/console/subjects/agent");
    assert!(page.contains("status ended\">suspended") && page.contains("Resume"), "{page}");
}

#[test]
fn a_bulk_revocation_is_part_of_a_sessions_story() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let everything = json!({ "selector": { "all": true }, "reason": "drill" });
    server.post("/v1/revocations").bearer(&server.admin).json(&everything).send().expect(200);
    let forms = FormClient::sign_in(&server, &server.admin);
    let page = forms.page(&format!("/console/sessions/{}", session.id));
    assert!(page.contains("status ended") && page.contains("drill"), "{page}");
}

/// The column said `credential` and `session`.
#[test]
fn the_log_says_who_did_it_by_name_and_id() {
    let server = Server::start();
    let named = |name: &str| {
        let body = json!({ "role": "owner", "ownerId": "alice", "name": name });
        let made = server.post("/v1/credentials").bearer(&server.admin).json(&body).send().expect(201).json();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("key"), text("credentialId"))
    };
    let (phone, id) = named("<b>Alice's phone");
    let session = renewed(&server, "agent");
    let end = server.delete(&format!("{}?reason=enough", session.path())).bearer(&phone).send().expect(200);
    let path = format!("/v1/credentials/{id}");
    server.delete(&path).bearer(&server.admin).send().expect(200);
    let end_of_id = id.rsplit('-').next().unwrap();
    let name = "&#60;b&#62;Alice&#39;s phone";
    let ended = server.events("SessionRevoked")[0]["position"].as_u64().unwrap();
    let renewal = server.events("SessionRenewed")[0]["position"].as_u64().unwrap();
    drop(end);
    let row = |page: &str, position: u64| -> String {
        let (_, row) = page.split_once(&format!("<tr id=\"p{position}\"")).unwrap();
        row.split_once("</tr>").unwrap().0.rsplit_once("<td class=\"soft\">").unwrap().1.to_owned()
    };
    let (auditor, _) = server.issue_key("auditor", None);
    let forms = FormClient::sign_in(&server, &auditor);
    let page = forms.page("/console/log");
    assert_eq!(row(&page, ended), format!("{name} <code>…{end_of_id}</code></td>"));
    let link = format!("<a href=\"/console/sessions/{}\"><code>agent</code></a></td>", session.id);
    assert_eq!(row(&page, renewal), format!("Night shift {link}"));
    let by = |forms: &FormClient<'_>, position: u64| -> Value {
        serde_json::from_str(&forms.page(&format!("/console/log/by?position={position}"))).unwrap()
    };
    let told = json!({ "name": "<b>Alice's phone", "id": format!("…{end_of_id}"), "link": null });
    assert_eq!(by(&forms, ended), told);
    // Other owners' keys know it by its id alone, and see nothing of another's events.
    let (work, _) = named("Alice's forms");
    let forms = FormClient::sign_in(&server, &work);
    let page = forms.page("/console/log");
    assert_eq!(row(&page, ended), format!("API key <code>{id}</code></td>"));
    let (bob, _) = server.issue_key("owner", Some("bob"));
    assert_eq!(by(&FormClient::sign_in(&server, &bob), ended), json!(null));
    // The name of an erased subject is gone.
    let why = json!({ "reason": "asked" });
    server.post("/v1/subjects/agent/erase").bearer(&server.admin).json(&why).send().expect(200);
    let page = FormClient::sign_in(&server, &auditor).page("/console/log");
    assert_eq!(row(&page, renewal), link);
}

/// The page read the first 200 registrations, and left out who owns the subject now.
#[test]
fn the_newest_owner_is_on_the_page_after_many() {
    let server = Server::start();
    for number in 0..205 {
        server.register("agent", &json!({ "ownerId": format!("owner-{number}") }));
    }
    let page = FormClient::sign_in(&server, &server.admin).page("/console/subjects/agent");
    let (_, owners) = page.split_once("<ol class=\"story owners\">").unwrap();
    assert_eq!(owners.matches("<code>owner-").count(), 205);
    assert!(owners.find("owner-204<").unwrap() < owners.find("owner-203<").unwrap(), "newest first");
    assert!(!page.contains("Later registrations"), "{page}");
}

/// The positions of the story on a page, in its order.
fn told(page: &str) -> Vec<u64> {
    let (_, story) = page.split_once("<ol class=\"story\" reversed>").unwrap();
    let (story, _) = story.split_once("</ol>").unwrap();
    let links = story.split("/console/log?position=").skip(1);
    links.map(|link| link.split('#').next().unwrap().parse().unwrap()).collect()
}

/// The address of a link of a page, by its words.
fn link(page: &str, words: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!("\">{words}</a>"))?;
    let address = before.rsplit("href=\"").next().unwrap();
    Some(address.replace("&#38;", "&").replace("&amp;", "&"))
}

/// The page of a session had all of its events, and read all of those of its subject.
#[test]
fn a_long_session_is_told_in_parts_newest_first() {
    let mut server = Server::with(&["usage.per_second=100000", "usage.burst=100000"]);
    let (session, other) =
        (renewed(&server, "agent"), server.create(&json!({ "subjectId": "agent", "ttl": 3_600 })));
    let work = |session: &Session, times: usize| {
        let uses = server.post(&format!("/v1/sessions/{}/usage", session.id)).bearer(&server.admin);
        let uses = uses.json(&json!({ "operation": "read" }));
        (0..times).for_each(|_| drop(uses.send().expect(200)));
    };
    work(&session, 60);
    work(&other, 520);
    server.advance(400);
    let session = session.renewed(&server.renew(&session).send().expect(200));
    work(&session, 70);
    let head = read(&server, &server.admin, "/v1/audit/head")["size"].as_u64().unwrap();
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = read(&server, &server.admin, &format!("/v1/events?limit=200{cursor}"));
        events.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    // Of the authority's own events, those that say which token was shown are about sessions too.
    let of_session = |it: &&Value| it["sessionId"] == session.id || it["kind"] == "TokensPresented";
    let events: Vec<_> =
        events.iter().rev().filter(of_session).map(|it| it["position"].as_u64().unwrap()).collect();
    let forms = FormClient::sign_in(&server, &server.admin);
    let own = format!("/console/sessions/{}", session.id);
    for (first, head) in [(own.clone(), u64::MAX), (format!("{own}?asOf={}", head - 30), head - 30)] {
        let (mut address, mut seen, mut pages) = (first.clone(), Vec::new(), Vec::new());
        loop {
            let page = forms.page(&address);
            let part = told(&page);
            assert!(page.len() < 60_000 && part.len() <= 50, "{address}: {} bytes", page.len());
            assert_eq!(page.contains("Newest events"), !pages.is_empty(), "{address}");
            assert_eq!(page.contains("What can happen next"), pages.is_empty(), "{address}");
            assert_eq!(page.contains("This is the past"), first != own, "{address}");
            seen.extend(part);
            let older = link(&page, "Earlier events");
            pages.push(page);
            let Some(older) = older else { break };
            address = older;
        }
        let expected: Vec<_> = events.iter().copied().filter(|position| *position <= head).collect();
        assert_eq!(seen, expected, "{first}");
        assert!(pages.len() >= 3, "{}", pages.len());
        let all = pages.concat();
        assert!(all.contains("renewal 1 of 30") && all.contains("renewal 2 of 30"), "{first}");
        let began = "It began, for subject agent, created by API key “first admin key” (…";
        assert!(pages.last().unwrap().contains(began), "{first}");
        assert_eq!(link(pages.last().unwrap(), "Newest events").unwrap(), first);
    }
    // What an earlier question has left of the past changes no answer.
    let moments: Vec<_> = (1..10).map(|step| head - step * 61).collect();
    let asked = |server: &Server| {
        let then = |moment| read(server, &server.admin, &format!("{}?asOfPosition={moment}", session.path()));
        moments.iter().copied().map(then).collect::<Vec<_>>()
    };
    let before = asked(&server);
    server.restart();
    assert_eq!(asked(&server), before);
    let page = FormClient::sign_in(&server, &server.admin).page(&format!("{own}?before=1"));
    assert!(page.contains("Nothing of it is recorded before that position."), "{page}");
}
