//! The pages for those who answer for all agents: Overview, What if and Settings.

use std::time::Duration;

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::form_client::{FormClient, renewed};
use crate::server::Server;

#[test]
fn what_needs_a_person_comes_first_on_the_overview() {
    let server = Server::start();
    let forms = FormClient::sign_in(&server, &server.admin);
    assert!(forms.page("/console").contains("Nothing right now"));
    let session = renewed(&server, "agent");
    server.renew(&session).send().expect(403);
    server.register("payer", &json!({ "name": "Payer", "ownerId": "alice" }));
    let budget = json!({ "subjectId": "payer", "constraints": { "maxTotalAmount": "100" } });
    let payer = server.create(&budget);
    let usage = json!({ "operation": "pay", "amount": "90" });
    server
        .post(&format!("/v1/sessions/{}/usage", payer.id))
        .bearer(&server.admin)
        .json(&usage)
        .send()
        .expect(200);
    server.register("noisy", &json!({ "name": "Noisy" }));
    let why = json!({ "reason": "too loud" });
    server.post("/v1/subjects/noisy/suspend").bearer(&server.admin).json(&why).send().expect(200);
    let page = forms.page("/console");
    let (first, rest) = page.split_once("<dl class=\"stats\">").unwrap();
    for said in ["Night shift", "Veto within", "too loud", &format!("/console/sessions/{}/veto", session.id)]
    {
        assert!(first.contains(said), "{said}: {first}");
    }
    assert!(!page.contains("Nothing right now"));
    // Two live sessions: sign-ins are none of the agents'.
    assert!(rest.contains("<dt>Live sessions</dt><dd>2</dd>"), "{rest}");
    assert!(rest.contains("1 renewals and 1 refusals") && rest.contains("90 of 100 spent"), "{rest}");
    let (auditor, _) = server.issue_key("auditor", None);
    let page = FormClient::sign_in(&server, &auditor).page("/console");
    assert!(page.contains("Night shift") && !page.contains("/veto\""), "{page}");
    forms.post(&format!("/console/sessions/{}/veto", session.id), &[]).expect(303);
    let page = forms.page("/console");
    assert!(!page.contains("Veto within") && page.contains("vetoed"), "{page}");
    assert!(page.contains("<dt>Live sessions</dt><dd>1</dd>"), "{page}");
}

/// No owner is told of these renewals, so it is for the operator to veto them.
#[test]
fn an_open_veto_of_an_agent_without_an_owner_is_on_the_overview() {
    let server = Server::start();
    server.register("agent", &json!({ "name": "Night shift" }));
    let session = server.create(&json!({ "subjectId": "agent", "ttl": 600 }));
    server.advance(400);
    server.renew(&session).send().expect(200);
    let page = FormClient::sign_in(&server, &server.admin).page("/console");
    let veto = format!("/console/sessions/{}/veto", session.id);
    assert!(page.contains("Veto within") && page.contains(&veto), "{page}");
}

#[test]
fn ends_of_many_at_once_are_counted_on_the_overview_and_so_is_a_restart() {
    let mut server = Server::start();
    renewed(&server, "agent");
    renewed(&server, "other-agent");
    let agents = json!({ "selector": { "ownerId": "alice" }, "reason": "drill" });
    server.post("/v1/revocations").bearer(&server.admin).json(&agents).send().expect(200);
    for _ in 0..2 {
        let page = FormClient::sign_in(&server, &server.admin).page("/console");
        assert!(page.contains("<dt>Live sessions</dt><dd>0</dd>"), "{page}");
        assert!(page.contains("<dt>Ended, last day</dt><dd>2</dd>"), "{page}");
        server.restart();
    }
}

#[test]
fn those_who_see_their_own_agents_only_are_led_to_them() {
    let server = Server::start();
    for (role, owner) in [("owner", Some("alice")), ("issuer", None)] {
        let (key, _) = server.issue_key(role, owner);
        let led = FormClient::sign_in(&server, &key).get("/console").expect(303);
        assert_eq!(led.header("location"), Some("/console/agents"));
    }
}

#[test]
fn settings_say_their_values_and_where_they_came_from() {
    let server = Server::with(&["session.ttl=1234"]);
    let page = FormClient::sign_in(&server, &server.admin).page("/console/settings");
    let of = |name: &str| {
        let (_, after) = page.split_once(&format!("<code>{name}</code>")).unwrap();
        after.split("</tr>").next().unwrap().to_owned()
    };
    assert!(
        of("session.ttl").contains("<b>1234</b>") && of("session.ttl").contains("session.ttl=1234"),
        "{page}"
    );
    assert!(of("session.max_renewals").contains(">default<"), "{page}");
    assert!(!page.contains("<form method=\"post\" action=\"/console/settings"), "it is read only");
}

#[test]
fn another_policy_is_played_over_the_history_and_changes_nothing() {
    let server = Server::start();
    let session = renewed(&server, "agent");
    let forms = FormClient::sign_in(&server, &server.admin);
    let changes = "PolicyChanged,SessionCreated,SessionRenewed,SessionRevoked";
    let events = server.events(changes).len();
    let page = forms.page("/console/what-if");
    assert!(page.contains("Play it again") && !page.contains("Happened"), "{page}");
    let page = forms.page("/console/what-if?session.max_renewals=0&session.max_renewals_max=0");
    assert!(page.contains(&session.id) && page.contains("Renewals granted"), "{page}");
    assert!(page.contains("live until <time datetime="), "every time is in the reader's zone: {page}");
    let page = forms.page("/console/what-if?limits.per_subject=9");
    assert!(page.contains("Nothing would have gone otherwise"), "{page}");
    let wrong = forms.get("/console/what-if?session.ttl=soon&limits.on_limit=%22%0Ax").expect(400);
    assert!(wrong.body.contains("session.ttl: must be from 300") && wrong.body.contains("limits.on_limit"));
    assert_eq!(server.events(changes).len(), events);
}

#[test]
fn a_webhook_that_fails_says_since_when() {
    let server = Server::with(&["webhooks.allow_private=true"]);
    let hook = json!({ "url": "http://127.0.0.1:9/hook" });
    server.post("/v1/webhooks").bearer(&server.admin).json(&hook).send().expect(201);
    renewed(&server, "agent");
    let forms = FormClient::sign_in(&server, &server.admin);
    let page = || forms.page("/console/webhooks");
    let begun = stopwatch();
    while !page().contains("Failing since") {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", page());
        pause(Duration::from_millis(50));
    }
    let page = page();
    for said in [
        "the receiver takes no connections",
        "<dt>Last failure</dt>",
        "<dt>Pending</dt><dd>",
        "the oldest is ",
        "<dt>Next try</dt>",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    // What has come since waits for the receiver, too.
    renewed(&server, "another");
    let page = forms.page("/console/webhooks");
    let first_time = |text: &str| text.split("datetime=\"").nth(1).unwrap()[..24].to_owned();
    let (_, receiver) = page.split_once("<dt>Next try</dt>").unwrap();
    let (_, rows) = page.split_once("<tbody>").unwrap();
    for row in rows.split("</tr>").filter(|row| row.contains("<td>pending</td>")) {
        let (_, next_try) = row.rsplit_once("<td>").unwrap();
        assert!(first_time(next_try) >= first_time(receiver), "{page}");
    }
}

/// It showed one alarm alone, and nothing of the scrub.
#[test]
fn evidence_tells_how_far_the_scrub_is_to_those_who_read_all() {
    let server = Server::with(&["log.segment_events=1000", "usage.per_second=100000", "usage.burst=100000"]);
    let session = renewed(&server, "agent");
    let forms = FormClient::sign_in(&server, &server.admin);
    assert!(forms.page("/console/audit").contains("The history is in no segment yet"));
    for _ in 0..1_000 {
        server
            .post(&format!("{}/usage", session.path()))
            .bearer(&server.admin)
            .json(&json!({ "operation": "read" }))
            .send()
            .expect(200);
    }
    let page = || forms.page("/console/audit");
    let begun = stopwatch();
    while !page().contains("1 of 1 segments read") {
        assert!(begun.elapsed() < Duration::from_mins(2), "{}", page());
        pause(Duration::from_millis(50));
    }
    assert!(page().contains("<dt>Damaged</dt><dd>0</dd>"), "{}", page());
    let (owner, _) = server.issue_key("owner", Some("alice"));
    assert!(!FormClient::sign_in(&server, &owner).page("/console/audit").contains("<h2>Scrub</h2>"));
}
