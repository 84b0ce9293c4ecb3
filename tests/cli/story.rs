//! What happened, in words and with names: for an owner, and in the list of events.

use serde_json::json;

use crate::fixture::Fixture;

/// An owner was shown kinds and UUIDs: no code, no trigger, no reason; and `audit show` was 403.
#[test]
fn an_owner_reads_who_ended_the_session_and_why() {
    let fixture = Fixture::new();
    fixture.server.register("night-bot", &json!({"name": "Night shift", "ownerId": "alice"}));
    let session = fixture.server.create(&json!({"subjectId": "night-bot"}));
    fixture.server.renew(&session).key("early").send().expect(403);
    fixture.server.advance(43_200);
    fixture.server.renew(&session).key("k").send().expect(200);
    let made = fixture.tenure("credential create --role owner --owner alice --name phone -o json").json();
    let alice = made["key"].as_str().unwrap();
    fixture.tenure_by(alice, "veto night-bot --yes --reason 'not at night'").ok();
    let story = fixture.tenure_by(alice, "session story night-bot").ok().stdout;
    for said in [
        &format!("Session {} of night-bot (Night shift, owner alice)", session.id)[..],
        "began for 1d, 30 renewals, by ",
        "renewal refused: too early, by itself",
        "renewal 1, until ",
        "renewal vetoed, by phone",
        "ended: vetoed: \"not at night\", by phone",
        "no token of it works",
    ] {
        assert!(story.contains(said), "{said}: {story}");
    }
    let document = fixture.tenure_by(alice, "session story night-bot -o json").json();
    assert_eq!(document["session"]["sessionId"], session.id);
    assert_eq!(document["events"][1]["what"], "renewal refused: too early");
    assert_eq!(fixture.tenure_by(alice, "session story ghost").code, 4);
}

#[test]
fn the_list_of_events_says_what_happened_and_has_a_last_page() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({"ownerId": "alice"}));
    let session = fixture.server.create(&json!({"subjectId": "agent"}));
    fixture.tenure("credential create --role verifier --name gateway").ok();
    fixture.tenure("veto agent --yes --reason odd").ok();
    let last = fixture.tenure("events --last 3").ok().stdout;
    assert_eq!(last.lines().count(), 4, "{last}");
    assert!(last.lines().last().unwrap().contains("ended: revoked: \"odd\""), "{last}");
    let issued = fixture.tenure("events --kinds CredentialIssued").ok().stdout;
    assert!(issued.contains("verifier key issued: gateway"), "{issued}");
    let widest = last.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80, "{widest}: {last}");
    let narrowed = fixture.tenure("events --session agent --last 1 -o json").json();
    assert_eq!(narrowed["items"][0]["sessionId"], session.id);
    assert_eq!(narrowed["items"][0]["kind"], "SessionRevoked");
    assert!(narrowed["items"][0].get("what").is_none(), "programs get an event as it is");
}

/// A use said what was spent and not of how much, and its refusal not how much was left.
#[test]
fn what_is_left_of_a_session_is_told_with_it() {
    let fixture = Fixture::new();
    fixture.server.register("buyer", &json!({}));
    let limits = r#"{"maxTotalAmount":"100","maxTransactions":5}"#;
    std::fs::write(fixture.place("limits.json"), limits).unwrap();
    fixture
        .tenure("session create buyer --constraints limits.json --max-renewals 1 --session-file b.session")
        .ok();
    let pay = |amount: u8| {
        fixture.tenure(&format!("session usage --session-file b.session --operation pay --amount {amount}"))
    };
    let used = pay(80).ok();
    assert_eq!(used.stderr.trim(), "80 of 100 spent, 1 of 5 uses.", "{used:?}");
    let refused = pay(30);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("80 of 100 spent, 1 of 5 uses."), "{refused:?}");
    let story = fixture.tenure("session story buyer").ok().stdout;
    let told = "1d left of its period, 1 renewal left, 30d left in all; 80 of 100 spent, 1 of 5 uses.";
    assert!(story.contains(told), "{story}");
    let listed = fixture.tenure("session list").ok().stdout;
    assert!(listed.contains("0 of 1"), "{listed}");
    let programs =
        fixture.tenure("session usage --session-file b.session --operation look --amount 0 -o json");
    assert_eq!(programs.stderr, "", "{programs:?}");
}

/// A record of any length began with its first fifty events, of when the authority was set up.
#[test]
fn a_terminal_shows_the_newest_events_first_and_a_pipe_the_oldest() {
    let fixture = Fixture::new();
    fixture.server.session("night-bot", 3600);
    for number in 0..60 {
        fixture.server.register(&format!("other-{number}"), &json!({}));
    }
    fixture.tenure("session revoke night-bot --reason late --yes").ok();
    let positions = |shown: &str| -> Vec<u64> {
        shown.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    };
    let is_descending = |positions: &[u64]| positions.windows(2).all(|pair| pair[0] > pair[1]);
    let terminal = fixture.on_terminal("events", "").stdout;
    let newest = positions(&terminal);
    assert!(newest.len() == 50 && is_descending(&newest), "{terminal}");
    assert!(terminal.contains("ended: revoked") && terminal.contains("The newest 50."), "{terminal}");
    let last = positions(&fixture.on_terminal("events --last 3", "").stdout);
    assert_eq!(last, newest[..3]);
    // Of one subject, whose events are far apart.
    let own = fixture.on_terminal("events --subject night-bot", "").stdout;
    assert!(is_descending(&positions(&own)) && positions(&own).len() == 3, "{own}");
    assert!(own.contains("began for 1h") && !own.contains("The newest"), "{own}");
    for forward in ["events --all", "events --after 0", "events --since 1d"] {
        assert_eq!(positions(&fixture.on_terminal(forward, "").stdout).first(), Some(&1), "{forward}");
    }
    let piped = positions(&fixture.tenure("events").ok().stdout);
    assert_eq!((piped.len(), piped.first()), (50, Some(&1)));
    let piped = positions(&fixture.tenure("events --last 3").ok().stdout);
    assert_eq!(piped.iter().rev().copied().collect::<Vec<_>>(), newest[..3]);
    let newest = fixture.on_terminal("events --limit 1 -o jsonl", "").stdout;
    assert!(newest.contains("\"position\":1,"), "a program's form has one order: {newest}");
}
