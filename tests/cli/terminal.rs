//! What a person sees on a terminal of 80 columns.

use serde_json::json;

use crate::fixture::Fixture;

/// Every row of every list had 117 to 170 columns: two UUIDs, and moments with their words beside them.
#[test]
fn lists_fit_eighty_columns_and_have_all_of_it_when_wide() {
    let ground = Fixture::new();
    ground.server.register("web-ada", &json!({"name": "Ada", "ownerId": "alice"}));
    let session = ground.server.create(&json!({"subjectId": "web-ada"}));
    ground.server.advance(60);
    ground.server.create(&json!({"subjectId": "web-ada", "ttl": 3600}));
    for line in ["session list", "credential list", "subject list"] {
        let shown = ground.tenure(line).ok().stdout;
        let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{line} has {widest} columns:\n{shown}");
    }
    let narrow = ground.tenure("session list").stdout;
    assert!(!narrow.contains(&session.id) && narrow.contains(&session.id[..8]), "{narrow}");
    let wide = ground.tenure("session list -o wide").ok().stdout;
    assert!(wide.contains(&session.id) && wide.contains("NEXT RENEWAL"), "{wide}");
    let bare = ground.tenure("session list --no-headers").ok().stdout;
    assert_eq!(bare.lines().count(), 2, "{bare}");
    assert_eq!(ground.tenure("session list -q").stdout.lines().last(), Some(&*session.id));
}

/// With names, reasons and a few sessions of one moment, rows had up to 123 columns.
#[test]
fn long_rows_fit_the_terminal_and_are_whole_in_a_pipe() {
    let ground = Fixture::new();
    ground.server.register(
        "payments-reconciliation",
        &json!({"name": "Payments and more", "ownerId": "team:payments"}),
    );
    let reason = "the command that it was made for ended with an exit status of 0";
    for _ in 0..3 {
        ground.server.create(&json!({"subjectId": "payments-reconciliation"}));
    }
    ground.tenure(&format!("subject suspend payments-reconciliation --yes --reason '{reason}'")).ok();
    ground.tenure("credential create --role owner --owner team:payments --name 'the phone of the team'").ok();
    for line in ["session list --status all", "credential list", "events", "subject list"] {
        let shown = ground.on_terminal(&format!("{line} --no-color"), "").stdout;
        let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{line} has {widest} columns:\n{shown}");
    }
    let shown = ground.on_terminal("session list", "").stdout;
    assert!(shown.contains("0 of 30") && !shown.contains("OWNER"), "{shown}");
    let piped = ground.tenure("events").ok().stdout;
    assert!(piped.contains(reason) && piped.contains("Payments and more"), "{piped}");
    assert!(ground.tenure("session list").ok().stdout.contains("team:payments"));
}

/// The question was `End session 01a2…? [y/N]`, and whoever answered no read `error:`.
#[test]
fn a_question_says_whom_and_no_changes_nothing() {
    let ground = Fixture::new();
    ground.server.register("web-ada", &json!({"ownerId": "alice"}));
    ground.server.create(&json!({"subjectId": "web-ada", "scopes": ["payments:write"]}));
    let asked = ground.on_terminal("veto web-ada", "n\n");
    assert!(asked.stdout.contains("of web-ada (owner alice, payments:write)"), "{asked:?}");
    assert!(asked.stdout.contains("Nothing was changed.") && !asked.stdout.contains("error"), "{asked:?}");
    assert_eq!(asked.code, 1);
    assert_eq!(ground.tenure("subject show web-ada -o json").json()["activeSessions"], 1);
    let yes = ground.on_terminal("veto web-ada", "y\n");
    assert_eq!((yes.code, yes.stdout.contains("Ended the session of web-ada.")), (0, true), "{yes:?}");
}

#[test]
fn a_renewal_is_chosen_from_those_that_can_be_vetoed() {
    let ground = Fixture::new();
    let session = ground.server.session("agent", 3600);
    ground.server.advance(1_800);
    ground.server.renew(&session).key("k").send().expect(200);
    let none = ground.on_terminal("veto", "\n");
    assert!(none.stdout.contains("Nothing was changed."), "{none:?}");
    let wrong = ground.on_terminal("veto", "2\n");
    assert!(wrong.stdout.contains("\"2\" is none of them"), "{wrong:?}");
    let chosen = ground.on_terminal("veto", "1\ny\n");
    assert!(chosen.stdout.contains("Vetoed renewal 1 of agent."), "{chosen:?}");
}
