//! `tenure veto`, as the owner of an agent uses it at night.

use serde_json::json;

use crate::fixture::Fixture;

fn night(fixture: &Fixture) -> String {
    fixture.server.register("night-bot", &json!({"name": "Night shift", "ownerId": "alice"}));
    let session = fixture.server.create(&json!({"subjectId": "night-bot"}));
    fixture.server.advance(43_200);
    fixture.server.renew(&session).key("k").send().expect(200);
    fixture.owner("alice")
}

#[test]
fn an_owner_vetoes_a_renewal_by_the_subject() {
    let fixture = Fixture::new();
    let alice = night(&fixture);
    let listed = fixture.tenure_by(&alice, "veto").ok();
    assert!(listed.stdout.contains("night-bot  Night shift  1 of 30"), "{listed:?}");
    assert!(listed.stdout.contains("1h left"), "{listed:?}");
    let would = fixture.tenure_by(&alice, "veto night-bot --dry-run").ok();
    assert!(would.stderr.contains("renewal 1 of 30 of night-bot (Night shift, owner alice)"), "{would:?}");

    let unasked = fixture.tenure_by(&alice, "veto night-bot");
    assert_eq!(unasked.code, 1, "{unasked:?}");
    assert!(unasked.stderr.contains("Veto renewal 1 of 30 of night-bot"), "{unasked:?}");

    let vetoed = fixture.tenure_by(&alice, "veto night-bot --yes --reason 'not at night'").ok();
    assert_eq!(
        vetoed.stdout,
        "Vetoed renewal 1 of night-bot. Its token is dead; the agent learns of it at its next call.\n"
    );
    let rejected = fixture.server.events("RenewalRejected");
    assert_eq!(rejected[0]["data"]["cause"], "owner");
    let none = fixture.tenure_by(&alice, "veto").ok();
    assert!(none.stderr.contains("No renewal can be vetoed now."), "{none:?}");
}

/// A veto is one whenever it is said: after the window a plain revocation would be recorded as one.
#[test]
fn a_veto_after_its_window_is_still_a_veto() {
    let fixture = Fixture::new();
    let alice = night(&fixture);
    fixture.server.advance(7_200);
    assert_eq!(
        fixture.tenure_by(&alice, "veto 'Night shift' --yes -o json").json()["trigger"],
        "renewal_rejected"
    );
    let again = fixture.tenure_by(&alice, "veto night-bot --yes");
    assert_eq!(again.code, 4, "{again:?}");
}

#[test]
fn a_session_that_was_never_renewed_just_ends_and_its_subject_may_be_suspended() {
    let fixture = Fixture::new();
    let session = fixture.server.session("agent", 3600);
    let ended = fixture.tenure("veto agent --yes --suspend").ok();
    assert!(ended.stdout.contains("Ended the session of agent."), "{ended:?}");
    assert!(ended.stdout.contains("The subject is suspended"), "{ended:?}");
    assert_eq!(fixture.server.introspect(&session.token).json()["active"], false);
    assert!(fixture.tenure("subject show agent -o json").json()["suspension"].is_object());
    let again = fixture.tenure(&format!("veto {} --yes", session.id)).ok();
    assert!(again.stdout.contains("had ended before"), "{again:?}");
}

#[test]
fn of_several_sessions_the_one_that_is_meant_must_be_named() {
    let fixture = Fixture::new();
    let first = fixture.server.session("agent", 3600);
    fixture.server.create(&json!({"subjectId": "agent"}));
    let refused = fixture.tenure("veto agent --yes");
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains(&first.id), "{refused:?}");
    assert_eq!(fixture.tenure("subject show agent -o json").json()["activeSessions"], 2);
}
