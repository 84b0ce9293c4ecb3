//! `tenure veto`, as the owner of an agent uses it at night.

use serde_json::json;

use crate::fixture::Fixture;

fn night(ground: &Fixture) -> String {
    ground.server.register("night-bot", &json!({"name": "Night shift", "ownerId": "alice"}));
    let session = ground.server.create(&json!({"subjectId": "night-bot"}));
    ground.server.advance(43_200);
    ground.server.renew(&session).key("k").send().expect(200);
    ground.owner("alice")
}

#[test]
fn an_owner_vetoes_a_renewal_by_the_subject() {
    let ground = Fixture::new();
    let alice = night(&ground);
    let listed = ground.tenure_by(&alice, "veto").ok();
    assert!(listed.stdout.contains("night-bot  Night shift  1 of 30"), "{listed:?}");
    assert!(listed.stdout.contains("1h left"), "{listed:?}");
    let would = ground.tenure_by(&alice, "veto night-bot --dry-run").ok();
    assert!(would.stderr.contains("renewal 1 of 30 of night-bot (Night shift, owner alice)"), "{would:?}");

    let unasked = ground.tenure_by(&alice, "veto night-bot");
    assert_eq!(unasked.code, 1, "{unasked:?}");
    assert!(unasked.stderr.contains("Veto renewal 1 of 30 of night-bot"), "{unasked:?}");

    let vetoed = ground.tenure_by(&alice, "veto night-bot --yes --reason 'not at night'").ok();
    assert_eq!(
        vetoed.stdout,
        "Vetoed renewal 1 of night-bot. Its token is dead; the agent learns of it at its next call.\n"
    );
    let rejected = ground.server.events("RenewalRejected");
    assert_eq!(rejected[0]["data"]["cause"], "owner");
    let none = ground.tenure_by(&alice, "veto").ok();
    assert!(none.stderr.contains("No renewal can be vetoed now."), "{none:?}");
}

/// A veto is one whenever it is said: after the window a plain revocation would be recorded as one.
#[test]
fn a_veto_after_its_window_is_still_a_veto() {
    let ground = Fixture::new();
    let alice = night(&ground);
    ground.server.advance(7_200);
    assert_eq!(
        ground.tenure_by(&alice, "veto 'Night shift' --yes -o json").json()["trigger"],
        "renewal_rejected"
    );
    let again = ground.tenure_by(&alice, "veto night-bot --yes");
    assert_eq!(again.code, 4, "{again:?}");
}

#[test]
fn a_session_that_was_never_renewed_just_ends_and_its_subject_may_be_suspended() {
    let ground = Fixture::new();
    let session = ground.server.session("agent", 3600);
    let ended = ground.tenure("veto agent --yes --suspend").ok();
    assert!(ended.stdout.contains("Ended the session of agent."), "{ended:?}");
    assert!(ended.stdout.contains("The subject is suspended"), "{ended:?}");
    assert_eq!(ground.server.introspect(&session.token).json()["active"], false);
    assert!(ground.tenure("subject show agent -o json").json()["suspension"].is_object());
    let again = ground.tenure(&format!("veto {} --yes", session.id)).ok();
    assert!(again.stdout.contains("had ended before"), "{again:?}");
}

#[test]
fn of_several_sessions_the_one_that_is_meant_must_be_named() {
    let ground = Fixture::new();
    let first = ground.server.session("agent", 3600);
    ground.server.create(&json!({"subjectId": "agent"}));
    let refused = ground.tenure("veto agent --yes");
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains(&first.id), "{refused:?}");
    assert_eq!(ground.tenure("subject show agent -o json").json()["activeSessions"], 2);
}
