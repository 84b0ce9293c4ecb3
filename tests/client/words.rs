//! What the command line says: faults in the words that were typed, questions that say whom, times of the server.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use tenure_testing::command::CommandOutput;

use crate::commands::Fixture;

#[test]
fn a_fault_of_a_field_is_told_once_in_the_words_of_its_option() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    let ran = fixture.tenure("session create agent --ttl 90");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("error: --ttl 90: must be 5m to 7d\n"), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("must be").count(), 1, "{}", ran.stderr);
    let two = fixture.tenure("session create agent --ttl 90 --max-renewals 101").stderr;
    assert_eq!(two.matches("must be").count(), 2, "{two}");
    assert!(two.contains("\n  --ttl 90: ") && two.contains("\n  --max-renewals 101: "), "{two}");
}

#[test]
fn what_is_not_there_is_named() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    for (line, named) in [
        ("subject show ghost", "error: no subject \"ghost\"\n"),
        ("session create ghost", "error: no subject \"ghost\"\n"),
        ("session show ghost", "error: no session \"ghost\"\n"),
        ("session revoke ghost --yes", "error: no session \"ghost\"\n"),
        ("webhook deliveries ghost", "error: no webhook \"ghost\"\n"),
        ("credential revoke ghost --yes", "error: no API key \"ghost\"\n"),
    ] {
        let ran = fixture.tenure(line);
        assert_eq!(ran.code, 4, "{line}: {}", ran.stderr);
        assert!(ran.stderr.starts_with(named), "{line}: {}", ran.stderr);
    }
}

#[test]
fn several_faults_of_settings_have_a_line_each() {
    let fixture = Fixture::new();
    fs::write(fixture.place("bad.toml"), "[server]\nlisten = \"x\"\nlistn = 1\n").unwrap();
    for line in ["doctor --config bad.toml", "serve --config bad.toml"] {
        let ran = fixture.run(None, line);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains("\\n"), "{}", ran.stderr);
        let named = |name: &str| ran.stderr.lines().filter(|line| line.contains(name)).count();
        assert_eq!((named("server.listen ="), named("server.listn =")), (1, 1), "{}", ran.stderr);
    }
}

#[test]
fn settings_take_durations_and_addresses_as_people_write_them() {
    let fixture = Fixture::new();
    let toml = "[server]\nlisten = \":7300\"\n[session]\nttl = \"1h30m\"\nidle_timeout = \"30m\"\n";
    fs::write(fixture.place("good.toml"), toml).unwrap();
    let line = "doctor -o json --set keys.overlap=7d --config good.toml";
    let settings = fixture.run(None, line).json();
    let value = |name: &str| {
        let items = settings["items"].as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
    };
    let names = ["server.listen", "session.ttl", "session.idle_timeout", "keys.overlap"];
    assert_eq!(names.map(value), ["0.0.0.0:7300", "5400", "1800", "604800"]);
}

/// An owner, a kind, a name and limits were dropped without a word by a `put` that meant to do something else.
#[test]
fn a_put_says_what_it_would_remove_and_a_script_has_to_want_it() {
    let fixture = Fixture::new();
    assert_eq!(fixture.tenure("subject put bot --owner alice --kind agent --max-sessions 3").code, 0);
    let refused = fixture.tenure("subject put bot --kind agent");
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("owner alice → none, max-sessions 3 → none"), "{}", refused.stderr);
    let owner = || fixture.tenure("subject show bot -o json").json()["ownerId"].clone();
    assert_eq!(owner(), json!("alice"));
    assert_eq!(fixture.tenure("subject put bot --kind agent --dry-run").code, 0);
    assert_eq!(owner(), json!("alice"));
    let same = "subject put bot --owner alice --kind agent --max-sessions 3 --name Bot";
    assert_eq!(fixture.tenure(same).code, 0, "nothing is lost");
    assert_eq!(fixture.tenure("subject put bot --yes").code, 0);
    assert_eq!(owner(), json!(null));
}

#[test]
fn what_cannot_be_undone_is_not_done_without_a_terminal_or_a_yes() {
    let fixture = Fixture::new();
    fixture.server.register("bot", &json!({ "ownerId": "alice" }));
    let session = fixture.server.create(&json!({ "subjectId": "bot", "scopes": ["pay"] }));
    let (_, key) = fixture.server.issue_key("auditor", None);
    for (line, whom) in [
        (format!("session revoke {}", session.id), "of bot (owner alice, 0 of 30 renewals, pay)?"),
        ("session revoke --subject bot --reason x".to_owned(), "End 1 sessions (subjectId bot)?"),
        ("subject logout bot".to_owned(), "End every session of bot (1 active, owner alice)?"),
        ("subject erase bot --reason x".to_owned(), "Make all text about bot"),
        (format!("credential revoke {key}"), "(auditor)?"),
        ("keys rotate --which session --retire now".to_owned(), "EVERY session token"),
    ] {
        let ran = fixture.tenure(&line);
        assert_eq!(ran.code, 1, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(whom) && ran.stderr.contains("give --yes"), "{line}: {}", ran.stderr);
    }
    assert!(fixture.server.introspect(&session.token).json()["active"] == true);
}

/// Runs a command on a terminal, with this typed.
fn on_a_terminal(fixture: &Fixture, line: &str, typed: &str, environment: &[(&str, &str)]) -> CommandOutput {
    let url = format!("http://{}", fixture.server.address());
    let key = fixture.server.data().join("admin.key");
    let program = env!("CARGO_BIN_EXE_tenure");
    let whole = format!("printf '{typed}' | script -qec '{program} {line}' /dev/null");
    let mut command = Command::new("sh");
    command
        .args(["-c", &whole])
        .env("TENURE_URL", url)
        .env("TENURE_KEY", fs::read_to_string(key).unwrap().trim());
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
    let output = command.output().unwrap();
    CommandOutput {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_no_changes_nothing_and_is_no_error() {
    let fixture = Fixture::new();
    fixture.server.register("bot", &json!({ "ownerId": "alice" }));
    let session = fixture.server.create(&json!({ "subjectId": "bot" }));
    let line = format!("session revoke {}", session.id);
    let no = on_a_terminal(&fixture, &line, "n\\n", &[]);
    assert_eq!(no.code, 1, "{}", no.stdout);
    assert!(no.stdout.contains("Nothing was changed.") && !no.stdout.contains("error:"), "{}", no.stdout);
    assert!(fixture.server.introspect(&session.token).json()["active"] == true);
    let yes = on_a_terminal(&fixture, &line, "y\\n", &[]);
    assert_eq!(yes.code, 0, "{}", yes.stdout);
    assert!(fixture.server.introspect(&session.token).json()["active"] == false);
}

#[test]
fn a_usage_error_has_colours_only_where_they_are_wanted() {
    let fixture = Fixture::new();
    let said = |environment: &[(&str, &str)]| on_a_terminal(&fixture, "sesion", "", environment).stdout;
    assert!(said(&[]).contains('\u{1b}'));
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(!said(&[plain]).contains('\u{1b}'), "{plain:?}");
    }
}

#[test]
fn a_usage_line_does_not_ask_for_what_is_in_the_environment() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["session", "create"]).env("TENURE_KEY", "k").env("TENURE_URL", "http://localhost:1");
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    let usage = said.lines().find(|line| line.starts_with("Usage:")).unwrap();
    assert!(usage.contains("<SUBJECT>") && !usage.contains("--key") && !usage.contains("--url"), "{said}");
}

#[test]
fn a_test_clock_is_called_one_and_an_ended_session_says_when_it_ended() {
    let fixture = Fixture::new();
    fixture.server.advance(43_200);
    let clock = fixture.tenure("doctor").stdout;
    assert!(
        clock.contains("test clock, 12h ahead") || clock.contains("test clock, 11h 59m ahead"),
        "{clock}"
    );
    assert!(clock.contains("role admin, without an end"), "{clock}");
    fixture.server.register("bot", &json!({}));
    let id = fixture.server.create(&json!({ "subjectId": "bot" })).id;
    fixture.server.create(&json!({ "subjectId": "bot", "idleTimeout": 1020 }));
    assert_eq!(fixture.tenure(&format!("session revoke {id} --yes")).code, 0);
    let list = fixture.tenure("session list --status all -o wide").stdout;
    let line = |status: &str| list.lines().find(|line| line.contains(status)).unwrap().to_owned();
    assert!(line("REVOKED").contains("(ended "), "{list}");
    let created = fixture.tenure("session list -o json").json()["items"][0]["createdAt"].clone();
    let idle_end = tenure::core::Timestamp::parse(created.as_str().unwrap()).unwrap().plus_millis(1_020_000);
    assert!(line("ACTIVE").contains(&idle_end.to_string()), "{list}");
}

/// What a server says until it listens on all interfaces.
fn said_by_a_listener_for_all(settings: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["serve", "--listen", ":0", "--data"]).arg(directory.path().join("data"));
    let mut serving = command.args(settings).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(serving.stderr.take().unwrap()).lines() {
        said = format!("{said}{}\n", line.unwrap());
        if said.contains("listening on http") {
            break;
        }
    }
    serving.kill().unwrap();
    serving.wait().unwrap();
    said
}

#[test]
fn a_listener_that_others_can_reach_unencrypted_is_warned_of() {
    let said = said_by_a_listener_for_all(&[]);
    assert!(said.contains("not encrypted"), "{said}");
    let said = said_by_a_listener_for_all(&["--set", "server.trusted_proxies=10.0.0.0/8"]);
    assert!(!said.contains("not encrypted"), "{said}");
}

/// A change of the owner went by PUT in earlier versions, and took the name and the limits away.
#[test]
fn a_set_changes_what_it_names_and_an_unset_removes_it() {
    let fixture = Fixture::new();
    fixture.tenure("subject put bot --name Night --kind agent --owner alice --max-sessions 3");
    let set = |line: &str| fixture.tenure(&format!("subject set {line} -o json"));
    let bot = set("bot --owner bob").json();
    assert_eq!(
        (&bot["ownerId"], &bot["name"], &bot["kind"], &bot["maxSessions"]),
        (&json!("bob"), &json!("Night"), &json!("agent"), &json!(3))
    );
    let bot = set("bot --unset owner --max-sessions 4").json();
    assert_eq!(
        (&bot["ownerId"], &bot["name"], &bot["maxSessions"]),
        (&Value::Null, &json!("Night"), &json!(4))
    );
    assert_eq!(fixture.tenure("subject show bot -o json").json()["maxSessions"], 4);
    let nothing = set("bot");
    assert!(nothing.code == 1 && nothing.stderr.contains("--owner ID"), "{}", nothing.stderr);
    let ghost = fixture.tenure("subject set ghost --owner bob");
    assert!(ghost.code == 4 && ghost.stderr.contains("ghost"), "{}", ghost.stderr);
}

/// A preview of an end announced its sessions and then said "Nothing matches."
#[test]
fn what_is_empty_says_of_what() {
    let fixture = Fixture::new();
    fixture.server.register("bot", &json!({}));
    for (line, said) in [
        ("subject logout bot --dry-run", "No active sessions of bot: nothing would end."),
        (
            "subject logout bot --device phone --dry-run",
            "No active sessions of bot on phone: nothing would end.",
        ),
    ] {
        let ran = fixture.tenure(line);
        assert_eq!((ran.code, ran.stderr.trim()), (0, said), "{line}: {}", ran.stdout);
    }
}

/// `(23h 59m left)` was all that was said of a session that ends after half an hour without use.
#[test]
fn a_session_that_can_idle_says_so_when_it_is_made() {
    let fixture = Fixture::new();
    fixture.server.register("bot", &json!({}));
    let said = "Without use it ends before expiresAt";
    for (options, idles) in [("--mode sliding", true), ("--idle-timeout 60s", true), ("--ttl 1h", false)] {
        let ran = fixture.tenure(&format!("session create bot {options}"));
        assert_eq!((ran.code, ran.stderr.contains(said)), (0, idles), "{options}: {}", ran.stderr);
    }
}

/// Under a test clock that was moved, what had happened was told to be still to come.
#[test]
fn what_if_tells_times_by_the_clock_of_the_server() {
    let fixture = Fixture::new();
    fixture.server.advance(86_400);
    fixture.server.register("bot", &json!({}));
    fixture.tenure("session create bot --ttl 300 --token-file bot.token");
    fixture.server.advance(200);
    fixture.tenure("session renew --token-file bot.token");
    fixture.server.advance(60);
    fs::write(fixture.place("policy.toml"), "[session]\nmax_renewals = 0\n").unwrap();
    let told = fixture.tenure("audit what-if --policy policy.toml").stdout;
    assert!(told.contains("  1m ago  "), "{told}");
}
