//! Pictures of the pages, for the documents and for those who change a page:
//! `TENURE_SCREENSHOTS=DIR cargo test --locked --test console screenshots`.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::driver::{Chromium, Window};
use crate::form_client::origin;
use crate::server::{Server, Session};
use crate::surroundings::variable;

/// So often some of the agents renew, so many seconds apart: a day.
const ROUNDS: u64 = 84;
const APART: u64 = 1_020;

/// Each picture that the documents show, and how wide and dark it is.
const WINDOWS: [(&str, Window); 4] = [
    ("wide", Window { width: 1180, height: 720, ..Window::DESK }),
    ("dark", Window { width: 1180, height: 720, dark: true, ..Window::DESK }),
    ("narrow", Window::PHONE),
    ("narrow-dark", Window { dark: true, ..Window::PHONE }),
];

#[test]
fn screenshots_of_the_pages_are_made_when_they_are_asked_for() {
    let Some(folder) = variable("TENURE_SCREENSHOTS") else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let mut server = Server::with(&["webhooks.allow_private=true"]);
    let day = Day::lived(&mut server);
    for (name, window) in WINDOWS {
        let Some(browser) = Chromium::open("screenshots", window) else { return };
        let own = origin(&server);
        browser.go(&format!("{own}/console"));
        keep(&browser, &folder, &format!("sign-in-{name}"));
        browser.sign_in(&own, &server.admin);
        for (page, path) in day.pages() {
            browser.go(&format!("{own}/console{path}"));
            browser.see("//main//h1");
            keep(&browser, &folder, &format!("{page}-{name}"));
        }
        browser.go(&day.link);
        keep(&browser, &folder, &format!("veto-{name}"));
    }
}

fn keep(browser: &Chromium, folder: &str, name: &str) {
    let png = STANDARD.decode(browser.picture()).unwrap();
    std::fs::write(Path::new(folder).join(format!("{name}.png")), png).unwrap();
}

/// A day of nine agents.
struct Day {
    session: String,
    link: String,
    middle: u64,
}

impl Day {
    fn lived(server: &mut Server) -> Self {
        server.restart_known_by_its_address();
        let (owner, _) = server.issue_key("owner", Some("owner-1"));
        server.issue_key("auditor", None);
        for (port, format) in [(9, "ntfy"), (19, "slack")] {
            let hook = json!({ "url": format!("http://127.0.0.1:{port}/hook"), "format": format });
            server.post("/v1/webhooks").bearer(&owner).json(&hook).send().expect(201);
        }
        server.issue_key("issuer", None);
        let mut sessions: Vec<_> = (1..=9).map(|number| begin(server, number)).collect();
        for round in 0..ROUNDS {
            server.advance(APART);
            for (number, session) in sessions.iter_mut().enumerate() {
                let number = u64::try_from(number).unwrap();
                if (round + number).is_multiple_of(2 + number % 3) {
                    *session = renewed(server, session);
                }
            }
            if round % 9 == 4 {
                server.renew(&sessions[0]).send();
            }
            if round % 17 == 9 {
                let short = begin(server, 8);
                server.delete(&short.path()).bearer(&server.admin).send();
            }
        }
        spend(server, &sessions[2], 86);
        spend(server, &sessions[3], 24);
        let why = json!({ "reason": "asked by owner-2" });
        server.post("/v1/subjects/agent-6/suspend").bearer(&server.admin).json(&why).send().expect(200);
        server.delete(&sessions[7].path()).bearer(&server.admin).send();
        server.renew(&sessions[0]).send();
        let told = server
            .get("/v1/notices?kinds=SESSION_RENEWED&limit=200")
            .bearer(&owner)
            .send()
            .expect(200)
            .json();
        let last = told["items"].as_array().unwrap().last().unwrap().clone();
        let head = server.get("/v1/audit/head").bearer(&server.admin).send().json()["size"].as_u64().unwrap();
        Self {
            session: sessions[1].id.clone(),
            link: last["vetoUrl"].as_str().unwrap_or_default().to_owned(),
            middle: head / 2,
        }
    }

    fn pages(&self) -> Vec<(&'static str, String)> {
        let session = format!("/sessions/{}", self.session);
        vec![
            ("overview", String::new()),
            ("agents", "/agents".into()),
            ("session", session.clone()),
            ("past", format!("{session}?asOf={}", self.middle)),
            ("subject", "/subjects/agent-8".into()),
            ("log", "/log".into()),
            ("evidence", "/audit".into()),
            ("webhooks", "/webhooks".into()),
            ("what-if", "/what-if?session.max_renewals=20&session.max_renewals_max=20".into()),
            ("access", "/keys".into()),
            ("settings", "/settings".into()),
        ]
    }
}

fn begin(server: &Server, number: u64) -> Session {
    let id = format!("agent-{number}");
    let owner = format!("owner-{}", 1 + number / 4);
    let name = format!("Agent {number}");
    server.register(&id, &json!({ "kind": "agent", "name": name, "ownerId": owner }));
    let device = if number.is_multiple_of(3) { "device-2" } else { "device-1" };
    server.create(&json!({
        "subjectId": id, "ttl": 7_200, "maxRenewals": 100, "device": device, "scopes": ["orders:read"],
        "renewalRejectWindow": 1_200,
        "constraints": { "maxTotalAmount": "100", "maxTransactions": 50 },
    }))
}

fn renewed(server: &Server, session: &Session) -> Session {
    let reply = server.renew(session).send();
    if reply.status == 200 {
        session.renewed(&reply)
    } else {
        Session { id: session.id.clone(), token: session.token.clone() }
    }
}

fn spend(server: &Server, session: &Session, amount: u64) {
    let usage = json!({ "operation": "pay", "amount": amount.to_string() });
    server.post(&format!("{}/usage", session.path())).bearer(&server.admin).json(&usage).send().expect(200);
}
