//! Finding one of many agents.

use serde_json::json;

use crate::form_client::{FormClient, form, read};
use crate::server::Server;

/// Four agents of two owners on two devices, one of them suspended.
fn four(server: &Server) -> String {
    let mut last = String::new();
    for (id, name, owner, device) in [
        ("payer-1", "Pays bills", "alice", "laptop"),
        ("payer-2", "Pays wages", "alice", "phone"),
        ("reader-1", "Reads mail", "bob", "phone"),
        ("reader-2", "Bills reader", "alice", "laptop"),
    ] {
        server.register(id, &json!({ "name": name, "ownerId": owner }));
        last = server.create(&json!({ "subjectId": id, "device": device })).id;
    }
    server.register("idle-1", &json!({ "ownerId": "bob" }));
    let why = json!({ "reason": "asked" });
    server.post("/v1/subjects/payer-2/suspend").bearer(&server.admin).json(&why).send().expect(200);
    last
}

fn found(forms: &FormClient<'_>, query: &str) -> Vec<&'static str> {
    let page = forms.page(&format!("/console/agents?{query}"));
    let ids = ["payer-1", "payer-2", "reader-1", "reader-2", "idle-1"];
    ids.into_iter().filter(|id| page.contains(&format!("/console/subjects/{id}\""))).collect()
}

/// The pages of a list, by the links with these words.
fn pages(forms: &FormClient<'_>, address: &str, words: &str) -> Vec<String> {
    let (mut address, mut pages) = (address.to_owned(), Vec::new());
    loop {
        let page = forms.page(&address);
        let link = page.split_once(&format!("\">{words}"));
        let next = link.map(|(before, _)| before.rsplit("href=\"").next().unwrap());
        let next = next.map(|next| next.replace("&#38;", "&").replace("&amp;", "&"));
        pages.push(page);
        match next {
            Some(next) => address = next,
            None => return pages,
        }
    }
}

#[test]
fn agents_are_found_by_id_beginning_owner_name_device_and_status() {
    let server = Server::start();
    four(&server);
    let forms = FormClient::sign_in(&server, &server.admin);
    assert_eq!(found(&forms, "q=payer-1"), ["payer-1"]);
    assert_eq!(found(&forms, "q=pay"), ["payer-1", "payer-2"]);
    assert_eq!(found(&forms, "q=pay&status=suspended"), ["payer-2"]);
    assert_eq!(found(&forms, "owner=bob"), ["reader-1", "idle-1"]);
    assert_eq!(found(&forms, "owner=bob&status=idle"), ["idle-1"]);
    assert_eq!(found(&forms, "owner=alice&q=BILLS"), ["payer-1", "reader-2"]);
    assert_eq!(found(&forms, "device=phone"), ["payer-2", "reader-1"]);
    assert_eq!(found(&forms, "device=phone&owner=bob"), ["reader-1"]);
    assert!(found(&forms, "device=tablet").is_empty());
    let page = forms.page("/console/agents?q=Bills");
    assert!(page.contains("No agent fits") && page.contains("fill in the field Owner"), "{page}");
}

#[test]
fn a_session_is_found_by_its_id_or_either_end_of_it() {
    let server = Server::start();
    let id = four(&server);
    let forms = FormClient::sign_in(&server, &server.admin);
    let place = format!("/console/sessions/{id}");
    for sought in [id.clone(), id[24..].to_owned(), id.to_uppercase()] {
        let led = forms.get(&format!("/console/agents?q={sought}")).expect(303);
        assert_eq!(led.header("location"), Some(&*place), "{sought}");
    }
    // The beginning is a time that many share.
    assert_eq!(found(&forms, &format!("q={}", &id[..8])).len(), 4);
}

#[test]
fn an_owner_finds_its_own_alone() {
    let server = Server::start();
    let id = four(&server);
    let (key, _) = server.issue_key("owner", Some("bob"));
    let forms = FormClient::sign_in(&server, &key);
    assert_eq!(found(&forms, "q=mail"), ["reader-1"]);
    for query in ["q=payer-1", "q=pay", "owner=alice", "device=laptop", &format!("q={id}")] {
        assert!(found(&forms, query).is_empty(), "{query}");
    }
    assert!(forms.page("/console/agents?q=payer-1").contains("No agent fits"));
}

#[test]
fn a_search_among_many_goes_on_where_it_stopped() {
    let server = Server::start();
    for number in 0..120 {
        server.register(&format!("worker-{number:03}"), &json!({ "ownerId": "alice" }));
    }
    let forms = FormClient::sign_in(&server, &server.admin);
    let pages = pages(&forms, "/console/agents?q=worker&status=idle", "Go on searching");
    let counts: Vec<_> = pages.iter().map(|page| page.matches("<li class=\"card").count()).collect();
    assert_eq!(counts, [50, 50, 20]);
    assert_eq!(
        read(&server, &server.admin, "/v1/subjects?limit=200")["items"].as_array().unwrap().len(),
        121
    );
}

/// A filter by kind showed the oldest events of all, and an owner among busy neighbours saw none of its own.
#[test]
fn the_log_shows_the_newest_events_of_a_kind_and_an_owner_its_own() {
    let server = Server::start();
    server.register("agent-of-bob", &json!({ "ownerId": "bob" }));
    server.register("first", &json!({ "ownerId": "alice" }));
    for number in 0..210 {
        server.register(&format!("worker-{number}"), &json!({ "ownerId": "alice" }));
    }
    let forms = FormClient::sign_in(&server, &server.admin);
    let page = forms.page("/console/log?kinds=SubjectRegistered");
    let has = |page: &str, id: &str| page.contains(&format!("/console/subjects/{id}\""));
    assert!(has(&page, "worker-209") && !has(&page, "first"), "{page}");
    assert_eq!(page.matches("<td>SubjectRegistered</td>").count(), 50);
    assert!(page.contains("Earlier events") && page.contains("data-tail="), "{page}");
    let seldom = forms.page("/console/log?kinds=SubjectSuspended");
    assert!(seldom.contains("No events match. ") && !seldom.contains("Earlier events"), "{seldom}");
    let (bob, _) = server.issue_key("owner", Some("bob"));
    let page = FormClient::sign_in(&server, &bob).page("/console/log");
    assert!(has(&page, "agent-of-bob"), "{page}");
}

/// Of fifty agents with three sessions each that could be vetoed, the page weighed 154 KB.
#[test]
fn the_page_of_agents_is_light_however_much_is_open_on_it() {
    const AGENTS: usize = 50;
    let server = Server::start();
    let limits = json!({ "maxTotalAmount": "123456789012.50", "maxTransactions": 100_000 });
    let mut sessions = Vec::new();
    for number in 0..AGENTS {
        let id = format!("agent-{number:02}-{}", "x".repeat(110));
        // What a page escapes is longer than what was given.
        let profile = json!({ "name": "<".repeat(128), "kind": "agent", "ownerId": "alice" });
        server.register(&id, &profile);
        for _ in 0..4 {
            let body = json!({
                "subjectId": id, "ttl": 600, "device": "\u{202e}".repeat(128), "constraints": limits,
            });
            sessions.push(server.create(&body));
        }
    }
    server.advance(400);
    for session in &sessions {
        server.renew(session).send().expect(200);
    }
    let why = json!({ "reason": "&".repeat(500) });
    for number in 0..AGENTS / 2 {
        let path = format!("/v1/subjects/agent-{number:02}-{}/suspend", "x".repeat(110));
        server.post(&path).bearer(&server.admin).json(&why).send().expect(200);
    }
    let forms = FormClient::sign_in(&server, &server.admin);
    let assets: usize = ["console.css", "console.js", "live.js", "as_of.js", "icon.svg"]
        .iter()
        .map(|name| forms.page(&format!("/console/assets/{name}")).len())
        .sum();
    let session = &sessions[0].id;
    let device = form(&[("device", &"\u{202e}".repeat(128))]);
    for (address, words) in [
        ("/console/agents".to_owned(), "Next page"),
        ("/console/agents?q=agent".into(), "Go on searching"),
        // These are found by their sessions: what did not fit on a page was on none.
        (format!("/console/agents?{device}"), "Go on searching"),
        (format!("/console/agents?q={}", &session[..4]), "Go on searching"),
    ] {
        let pages = pages(&forms, &address, words);
        assert!(pages.len() > 1, "{address}: {}", pages.len());
        let mut seen = Vec::new();
        for page in &pages {
            let weight = page.len() + assets;
            assert!(weight <= 100_000, "{address} weighs {weight}");
            seen.extend(page.split("<li class=\"card").skip(1).map(|card| {
                let (_, link) = card.split_once("/console/subjects/agent-").unwrap();
                link[..2].parse::<usize>().unwrap()
            }));
        }
        seen.sort_unstable();
        if !address.contains('?') {
            assert!(
                pages[0].matches("<li class=\"card").count() >= 10,
                "what is found by sessions would fit"
            );
            assert_eq!(seen, (0..AGENTS).collect::<Vec<_>>(), "each agent is on one page");
        }
        seen.dedup();
        assert_eq!(seen, (0..AGENTS).collect::<Vec<_>>(), "{address}");
    }
    let page = forms.page("/console/agents");
    assert!(page.contains("Veto</button>") && page.contains("and 1 more"), "{page}");
}
