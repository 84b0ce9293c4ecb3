//! Bulk revocation from the command line, and what the audit tells of it afterwards.

use std::fs;

use serde_json::{Value, json};
use tenure_testing::command::CommandOutput;

use crate::server::Serving;

/// Two sessions of an agent of a team, one on a laptop, and one of an agent of nobody; by id.
fn fleet() -> (Serving, Vec<String>) {
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "a", "--owner", "team"]).code, 0);
    assert_eq!(serving.run(&["subject", "put", "b"]).code, 0);
    let made = [&["a", "--device", "laptop"][..], &["a"], &["b"]].map(|of| {
        let made = serving.run(&[&["session", "create"], of].concat());
        assert_eq!(made.code, 0, "{}", made.stderr);
        made.json()["sessionId"].as_str().unwrap().to_owned()
    });
    (serving, made.into())
}

fn revoke(serving: &Serving, arguments: &[&str]) -> CommandOutput {
    serving.run(&[&["session", "revoke"], arguments].concat())
}

fn status(serving: &Serving, ids: &[String]) -> Vec<Value> {
    ids.iter().map(|id| serving.run(&["session", "show", id]).json()["status"].clone()).collect()
}

#[test]
fn the_command_line_says_what_would_end_and_ends_what_was_selected() {
    let (serving, ids) = fleet();
    let live = ["ACTIVE", "ACTIVE", "ACTIVE"];
    let dry = revoke(&serving, &["--all", "--owner", "team", "--dry-run"]);
    assert_eq!((dry.code, &dry.json()["matched"], &dry.json()["position"]), (0, &json!(2), &Value::Null));
    let mut of_team = ids[..2].to_vec();
    of_team.sort_unstable();
    assert_eq!(dry.json()["sample"], json!(of_team));
    assert!(dry.stderr.contains("would end"), "{}", dry.stderr);
    assert_eq!(status(&serving, &ids), live);

    let wordless = revoke(&serving, &["--all", "--owner", "team", "--yes"]);
    assert!(wordless.code == 1 && wordless.stderr.contains("--reason"), "{}", wordless.stderr);
    assert_eq!(revoke(&serving, &[&ids[0], "--all"]).code, 1, "one, or several");
    assert_eq!(revoke(&serving, &["--key-id", "k4.lid.short", "--reason", "x", "--yes"]).code, 1);
    assert_eq!(revoke(&serving, &[]).code, 1);
    assert_eq!(status(&serving, &ids), live);

    let done = revoke(&serving, &["--device", "laptop", "--owner", "team", "--reason", "stolen", "--yes"]);
    assert_eq!(
        (done.code, &done.json()["matched"], &done.json()["sample"]),
        (0, &json!(1), &json!([ids[0]]))
    );
    assert_eq!(status(&serving, &ids), ["REVOKED", "ACTIVE", "ACTIVE"]);
    let rotated = serving.run(&["keys", "rotate", "--which", "session", "--yes"]);
    assert_eq!(rotated.code, 0, "{}", rotated.stderr);
    let old = rotated.json()["previousKeyId"].as_str().unwrap().to_owned();
    assert_eq!(serving.run(&["session", "create", "b"]).code, 0);
    let dry = revoke(&serving, &["--key-id", &old, "--dry-run"]);
    assert_eq!(dry.json()["matched"], 2, "{}", dry.stderr);
    let by_key = revoke(&serving, &["--all", "--key-id", &old, "--reason", "in a backup", "--yes"]);
    assert_eq!((by_key.code, &by_key.json()["matched"]), (0, &json!(2)), "{}", by_key.stderr);
    let rest = revoke(&serving, &["--all", "--reason", "the end", "--yes"]);
    assert_eq!(rest.json()["matched"], 1, "{}", rest.stderr);
    assert_eq!(revoke(&serving, &["--all", "--reason", "again", "--yes"]).json()["position"], Value::Null);
}

#[test]
fn the_story_of_each_session_says_that_it_ended_with_others_and_what_if_counts_it() {
    let (serving, ids) = fleet();
    let ended = revoke(&serving, &["--all", "--owner", "team", "--reason", "stolen", "--yes"]).json();
    let story = serving.run(&["audit", "show", &ids[0]]).json();
    let last = story["chapters"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["position"], &last["kind"]), (&ended["position"], &json!("SessionsRevoked")), "{last}");
    let said = last.to_string();
    assert!(said.contains("It was ended together with one other by"), "{said}");
    assert!(said.contains("all sessions that a selection met were ended, whosever they were"), "{said}");
    let other = serving.run(&["audit", "show", &ids[2]]).json();
    assert!(!other.to_string().contains("SessionsRevoked"), "{other}");
    let alone = revoke(&serving, &["--subject", "b", "--reason", "stolen", "--yes"]).json();
    assert_eq!(alone["matched"], 1);
    let said = serving.run(&["audit", "show", &ids[2]]).json().to_string();
    assert!(said.contains("It was ended by"), "{said}");
    let compared = serving.run(&["audit", "replay", "--compare"]);
    assert_eq!(compared.code, 0, "{}", compared.stderr);

    let policy = serving.path().join("policy.toml");
    let what_if = |text: &str| {
        fs::write(&policy, text).unwrap();
        let ran = serving.run(&["audit", "what-if", "--policy", policy.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.json()
    };
    let same = what_if("");
    assert_eq!((&same["divergences"], &same["happened"]), (&json!([]), &same["instead"]));
    assert_eq!(same["happened"]["revoked"], 3);
    // Where one session of a subject is allowed, the second one would never have been, nor been ended.
    let strict = what_if("[limits]\nper_subject = 1\n");
    assert_eq!((&strict["happened"]["revoked"], &strict["instead"]["revoked"]), (&json!(3), &json!(2)));
    assert_eq!(strict["divergences"].as_array().unwrap().len(), 1, "{strict}");
}
