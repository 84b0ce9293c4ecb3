//! `tenure audit ask`: was it entitled? Yes or no comes first.

use std::{fs, process::Command};

use serde_json::Value;
use tenure_testing::command::CommandOutput;

use crate::{incident, server::Serving};

fn ask(words: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["audit", "ask"]).args(words).env_clear().env("TZ", "UTC");
    command.output().unwrap().into()
}

/// Of the night of the incident, with the key that the reader brought.
fn asked(words: &[&str]) -> CommandOutput {
    let (file, key) = (incident::path("incident.export"), incident::vkey());
    ask(&[words, &["--file", file.to_str().unwrap(), "--verifier-key", &key]].concat())
}

/// No command took the question: one replayed, read a UUID and asked for its story, where the verdict stood last.
#[test]
fn the_verdict_is_the_first_line_and_the_exit_code() {
    let no = asked(&["payments-bot", "--at", "2026-11-22T03:12:00Z"]);
    let first = no.stdout.lines().next().unwrap();
    assert!(first.starts_with("NO. At 2026-11-22T03:12:00.000Z payments-bot had no live session"), "{first}");
    assert!(
        first.contains("was vetoed at 2026-11-22T03:10:00.000Z, 2m before, by owner team:payments"),
        "{first}"
    );
    assert!(first.contains("(position 13)"), "{first}");
    assert_eq!(no.code, 3, "{}", no.stderr);
    assert!(
        no.stdout.contains("Session 01a200c4-6280-7013-ac66-70bf18b2a29c of payments-bot"),
        "{}",
        no.stdout
    );
    assert!(no.stderr.contains("Proved by your key") && !no.stderr.contains("error"), "{}", no.stderr);

    let yes = asked(&["payments-bot", "--at", "2026-11-22 03:09"]);
    assert!(
        yes.stdout.starts_with("YES. At 2026-11-22T03:09:00.000Z payments-bot held session"),
        "{}",
        yes.stdout
    );
    assert_eq!(yes.code, 0, "{}", yes.stderr);
}

#[test]
fn a_session_and_a_scope_are_asked_for_too() {
    let id = "01a200c4-6280-7013-ac66-70bf18b2a29c";
    assert_eq!(asked(&[id, "--at", "2026-11-22T03:09:00Z"]).code, 0);
    let no = asked(&[id, "--at", "2026-11-22T03:09:00Z", "--scope", "moon:write"]);
    assert_eq!(no.code, 3);
    assert!(no.stdout.contains("but not the scope moon:write"), "{}", no.stdout);
    let document = asked(&[id, "--at", "2026-11-22T03:12:00Z", "-o", "json"]);
    let document: Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(
        (document["entitled"].as_bool(), document["story"]["session"]["sessionId"].as_str()),
        (Some(false), Some(id))
    );
}

/// A whole id had to be typed, which nobody knows by heart.
#[test]
fn the_beginning_of_an_id_will_do_if_it_fits_no_other() {
    let at = ["--at", "2026-11-22T03:12:00Z"];
    let whole = asked(&[&["payments-bot"], &at[..]].concat());
    let begun = asked(&[&["paym"], &at[..]].concat());
    assert_eq!((begun.code, &begun.stdout), (3, &whole.stdout), "{}", begun.stderr);
    let session = asked(&[&["01a200c4-6280-7013-ac66-70bf18b2a29c"], &at[..]].concat());
    assert!(
        session.stdout.contains(" of payments-bot was not live: it was vetoed at "),
        "{}",
        session.stdout
    );
    assert_eq!(asked(&[&["01a200c4-6280"], &at[..]].concat()).stdout, session.stdout);
    let several = asked(&["01a2"]);
    assert_eq!(several.code, 5, "{}", several.stderr);
    assert!(several.stderr.contains("01a200c4-6280-7013-ac66-70bf18b2a29c"), "{}", several.stderr);
    assert_eq!(asked(&["pay"]).code, 4, "too short to mean anything");
}

/// A reason was "sealed" although the server that was asked shows it.
#[test]
fn a_server_is_asked_by_a_name_and_tells_the_reason() {
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "agent-7", "--name", "Night shift"]).code, 0);
    assert_eq!(serving.run(&["session", "create", "agent-7", "--session-file", "a.session"]).code, 0);
    let revoke = ["session", "revoke", "agent-7", "--reason", "not at night", "--yes"];
    assert_eq!(serving.run(&revoke).code, 0);
    let bundle = serving.path().join("evidence.export");
    let told =
        serving.run_as("table", &["audit", "ask", "night SHIFT", "--bundle", bundle.to_str().unwrap()]);
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(told.stderr.contains("tenure audit ask agent-7 "), "the file has no names: {}", told.stderr);
    let told = serving.run_as("table", &["audit", "ask", "Night shift"]);
    assert!(told.stdout.contains("The reason given: \"not at night\""), "{}", told.stdout);
}

#[test]
fn who_is_not_in_the_history_was_not_asked_about() {
    let unknown = asked(&["ghost", "--at", "2026-11-22T03:12:00Z"]);
    assert_eq!(unknown.code, 4);
    assert!(unknown.stderr.contains("ghost"), "{}", unknown.stderr);
}

/// The answer is that of the very file that is handed over, and the other side gets the same one.
#[test]
fn the_other_side_checks_the_bundle_with_its_own_key() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("evidence.export");
    let bundle = bundle.to_str().unwrap();
    let ours = asked(&["payments-bot", "--at", "2026-11-22T03:12:00Z", "--bundle", bundle]);
    assert_eq!(ours.code, 3, "{}", ours.stderr);
    let command = ours.stderr.lines().find_map(|line| line.trim().strip_prefix("tenure audit ask ")).unwrap();
    let key = incident::vkey();
    let theirs: Vec<_> = command.split(' ').map(|word| if word == "VKEY" { &key } else { word }).collect();
    let theirs = ask(&theirs);
    assert_eq!((theirs.code, &theirs.stdout), (3, &ours.stdout), "{}", theirs.stderr);
    assert!(theirs.stderr.contains("Proved by your key"), "{}", theirs.stderr);
    // What was changed on the way proves nothing.
    let text = fs::read_to_string(bundle).unwrap();
    fs::write(bundle, text.replacen("\"commit\":\"", "\"commit\":\"AA", 1)).unwrap();
    let forged = ask(&["payments-bot", "--file", bundle, "--verifier-key", &key]);
    assert_eq!(forged.code, 6, "{}{}", forged.stdout, forged.stderr);
    // A file that is there is not overwritten.
    assert_eq!(asked(&["payments-bot", "--bundle", bundle]).code, 1);
}
