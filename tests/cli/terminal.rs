//! What a person sees on a terminal of 80 columns.

use serde_json::json;

use crate::fixture::Fixture;

/// Every row of every list had 117 to 170 columns: two UUIDs, and moments with their words beside them.
#[test]
fn lists_fit_eighty_columns_and_have_all_of_it_when_wide() {
    let fixture = Fixture::new();
    fixture.server.register("web-ada", &json!({"name": "Ada", "ownerId": "alice"}));
    let session = fixture.server.create(&json!({"subjectId": "web-ada"}));
    fixture.server.advance(60);
    fixture.server.create(&json!({"subjectId": "web-ada", "ttl": 3600}));
    for line in ["session list", "credential list", "subject list"] {
        let shown = fixture.tenure(line).ok().stdout;
        let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{line} has {widest} columns:\n{shown}");
    }
    let narrow = fixture.tenure("session list").stdout;
    assert!(!narrow.contains(&session.id) && narrow.contains(&session.id[..8]), "{narrow}");
    let wide = fixture.tenure("session list -o wide").ok().stdout;
    assert!(wide.contains(&session.id) && wide.contains("NEXT RENEWAL"), "{wide}");
    let bare = fixture.tenure("session list --no-headers").ok().stdout;
    assert_eq!(bare.lines().count(), 2, "{bare}");
    assert_eq!(fixture.tenure("session list -q").stdout.lines().last(), Some(&*session.id));
}

/// With names, reasons and a few sessions of one moment, rows had up to 123 columns.
#[test]
fn long_rows_fit_the_terminal_and_are_whole_in_a_pipe() {
    let fixture = Fixture::new();
    fixture.server.register(
        "payments-reconciliation",
        &json!({"name": "Payments and more", "ownerId": "team:payments"}),
    );
    let reason = "the command that it was made for ended with an exit status of 0";
    for _ in 0..3 {
        fixture.server.create(&json!({"subjectId": "payments-reconciliation"}));
    }
    fixture.tenure(&format!("subject suspend payments-reconciliation --yes --reason '{reason}'")).ok();
    fixture
        .tenure("credential create --role owner --owner team:payments --name 'the phone of the team'")
        .ok();
    for line in ["session list --status all", "credential list", "events", "subject list"] {
        let shown = fixture.on_terminal(&format!("{line} --no-color"), "").stdout;
        let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{line} has {widest} columns:\n{shown}");
    }
    let shown = fixture.on_terminal("session list", "").stdout;
    assert!(shown.contains("0 of 30") && !shown.contains("OWNER"), "{shown}");
    let piped = fixture.tenure("events").ok().stdout;
    assert!(piped.contains(reason) && piped.contains("Payments and more"), "{piped}");
    assert!(fixture.tenure("session list").ok().stdout.contains("team:payments"));
}

/// The question was `End session 01a2…? [y/N]`, and whoever answered no read `error:`.
#[test]
fn a_question_says_whom_and_no_changes_nothing() {
    let fixture = Fixture::new();
    fixture.server.register("web-ada", &json!({"ownerId": "alice"}));
    fixture.server.create(&json!({"subjectId": "web-ada", "scopes": ["payments:write"]}));
    let asked = fixture.on_terminal("veto web-ada", "n\n");
    assert!(asked.stdout.contains("of web-ada (owner alice, payments:write)"), "{asked:?}");
    assert!(asked.stdout.contains("Nothing was changed.") && !asked.stdout.contains("error"), "{asked:?}");
    assert_eq!(asked.code, 1);
    assert_eq!(fixture.tenure("subject show web-ada -o json").json()["activeSessions"], 1);
    let yes = fixture.on_terminal("veto web-ada", "y\n");
    assert_eq!((yes.code, yes.stdout.contains("Ended the session of web-ada.")), (0, true), "{yes:?}");
}

#[test]
fn a_renewal_is_chosen_from_those_that_can_be_vetoed() {
    let fixture = Fixture::new();
    let session = fixture.server.session("agent", 3600);
    fixture.server.advance(1_800);
    fixture.server.renew(&session).key("k").send().expect(200);
    let none = fixture.on_terminal("veto", "\n");
    assert!(none.stdout.contains("Nothing was changed."), "{none:?}");
    let wrong = fixture.on_terminal("veto", "2\n");
    assert!(wrong.stdout.contains("\"2\" is none of them"), "{wrong:?}");
    let chosen = fixture.on_terminal("veto", "1\ny\n");
    assert!(chosen.stdout.contains("Vetoed renewal 1 of agent."), "{chosen:?}");
}
