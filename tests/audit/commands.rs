//! `tenure audit …` on the frozen export: what it prints, and what it exits with.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tenure_testing::command::CommandOutput;

use crate::incident::{bytes, lines, path, vkey};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tenure");

pub(crate) const BOT: &str = "01a200c4-6280-7013-ac66-70bf18b2a29c";
const MAILER: &str = "01a20104-78c0-7e52-8f82-c606b6b9ebc4";

/// Runs `tenure audit` with these arguments.
pub(crate) fn audit(arguments: &[&str]) -> CommandOutput {
    Command::new(BINARY).arg("audit").args(arguments).output().unwrap().into()
}

fn on(file: &Path, arguments: &[&str]) -> CommandOutput {
    audit(&[arguments, &["--file", file.to_str().unwrap(), "--verifier-key", &vkey()]].concat())
}

fn on_incident(arguments: &[&str]) -> CommandOutput {
    on(&path("incident.export"), arguments)
}

#[test]
fn verify_says_yes_with_what_it_checked() {
    let ran = on_incident(&["verify", "-o", "json", "--heads", path("incident.heads").to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let verdict = ran.json();
    assert_eq!(
        (&verdict["verified"], &verdict["to"], &verdict["keyFrom"]),
        (&true.into(), &22.into(), &"you".into())
    );
}

#[test]
fn verify_without_a_key_says_whose_word_it_took() {
    let ran = audit(&["verify", "-o", "json", "--file", path("incident.export").to_str().unwrap()]);
    assert_eq!(ran.code, 0);
    assert!(ran.json()["keyFrom"].as_str().unwrap().contains("--verifier-key"));
}

#[test]
fn verify_exits_with_6_and_names_the_first_bad_position() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edited.export");
    let text = String::from_utf8(bytes()).unwrap();
    fs::write(&file, text.replacen("\"records\":[\"5d", "\"records\":[\"5e", 1)).unwrap();
    let ran = on(&file, &["verify", "-o", "json"]);
    assert_eq!(ran.code, 6);
    assert_eq!(ran.json_of_any_end()["firstBadPosition"], 6);
    assert!(ran.stderr.contains("position 6"), "{}", ran.stderr);
    for command in [&["replay"][..], &["show", BOT], &["diff", "1", "2"]] {
        assert_eq!(on(&file, command).code, 6, "{command:?}");
    }
}

#[test]
fn a_cut_export_is_no_history_for_who_brought_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cut.export");
    let lines = lines();
    fs::write(&file, format!("{}\n", lines[..lines.len() - 1].join("\n"))).unwrap();
    let ran = on(&file, &["verify", "-o", "json"]);
    assert_eq!((ran.code, &ran.json_of_any_end()["firstBadPosition"]), (6, &23.into()));
    assert_eq!(on(&file, &["replay"]).code, 6);
    let ran = audit(&["replay", "-o", "json", "--file", file.to_str().unwrap()]);
    assert_eq!((ran.code, &ran.json()["asOfPosition"]), (0, &22.into()));
    assert!(ran.stderr.contains("without a signed head"), "{}", ran.stderr);
}

#[test]
fn replay_tells_any_moment_and_position() {
    let at = on_incident(&["replay", "-o", "json", "--at", "2026-11-22T03:12:00Z", "--status", "all"]).json();
    assert_eq!((&at["asOfPosition"], &at["active"], &at["revoked"]), (&13.into(), &1.into(), &1.into()));
    assert_eq!(at["items"][1]["sessionId"], BOT);
    assert_eq!(at["items"][1]["revokedTrigger"], "renewal_rejected");
    let empty = on_incident(&["replay", "-o", "json", "--position", "0"]).json();
    assert_eq!((&empty["asOfPosition"], &empty["subjects"]), (&0.into(), &0.into()));
}

/// It showed JSON over five lines, began at position 1 always, and showed nothing of a refusal.
#[test]
fn replay_steps_through_some_events_in_words() {
    let ran = on_incident(&["replay", "--step", "--subject", "payments-bot", "--from", "7"]);
    let first = ran.stdout.lines().next().unwrap();
    assert!(
        first.trim_start().starts_with("7  2026-11-22T01:20:00.000Z  payments-bot  01a200c4-"),
        "{first}"
    );
    assert!(first.ends_with("renewal refused: too early, by itself"), "{first}");
    assert!(ran.stdout.contains("ended: vetoed, by key 01a200c2"), "{}", ran.stdout);
    assert!(ran.stdout.contains("session status: ACTIVE -> REVOKED"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('{') && !ran.stdout.contains("mailer"), "{}", ran.stdout);
    let id = "01a200c4-6280-7013-ac66-70bf18b2a29c";
    let ran = on_incident(&["replay", "--step", "--session", id, "-o", "jsonl"]);
    let about: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!about.is_empty() && about.iter().all(|event| event["sessionId"] == *id), "{about:?}");
    assert_eq!(on_incident(&["replay", "--from", "7"]).code, 1, "only steps begin somewhere");
}

#[test]
fn replay_steps_through_every_event() {
    let ran = on_incident(&["replay", "--step", "-o", "jsonl"]);
    let steps: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let positions: Vec<_> = steps.iter().map(|step| step["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (1..=22).collect::<Vec<_>>());
    assert_eq!(steps[5]["changes"][0]["field"], "new");
    let status =
        steps[12]["changes"].as_array().unwrap().iter().find(|change| change["field"] == "status").unwrap();
    assert_eq!((&status["before"], &status["after"]), (&"ACTIVE".into(), &"REVOKED".into()));
}

#[test]
fn show_tells_the_reason_of_each_refusal_with_its_numbers() {
    let story = on_incident(&["show", BOT, "-o", "json"]).json();
    let early = &story["chapters"][1]["because"];
    assert_eq!((&early["code"], &early["confirmed"]), (&"RENEWAL_TOO_EARLY".into(), &true.into()));
    assert_eq!(early["numbers"]["retryAt"], "2026-11-22T02:00:00.000Z");
    assert_eq!(story["session"]["status"], "REVOKED");
    let story = on_incident(&["show", MAILER, "-o", "json"]).json();
    let because: Vec<_> =
        story["chapters"].as_array().unwrap().iter().map(|chapter| &chapter["because"]["code"]).collect();
    assert!(because.contains(&&"RENEWAL_LIMIT_REACHED".into()) && because.contains(&&"TOKEN_EXPIRED".into()));
}

#[test]
fn what_is_not_there_is_4() {
    assert_eq!(on_incident(&["show", "nonsense"]).code, 4);
    assert_eq!(on_incident(&["show", BOT, "--position", "5"]).code, 4);
    assert_eq!(on_incident(&["diff", "1", "99"]).code, 4);
    assert_eq!(on_incident(&["prove", "23"]).code, 4);
    assert_eq!(audit(&["verify", "--data", "/nowhere"]).code, 4);
}

#[test]
fn what_is_typed_wrong_is_1() {
    assert_eq!(on_incident(&["diff", "2", "1"]).code, 1);
    assert_eq!(on_incident(&["verify", "--data", "x"]).code, 1);
    assert_eq!(on_incident(&["replay", "--compare"]).code, 1);
    assert_eq!(audit(&["verify", "--verifier-key", "x"]).code, 1);
    assert_eq!(audit(&["verify", "--file", "/nowhere"]).code, 1);
}

#[test]
fn diff_tells_what_an_event_changed() {
    let items = on_incident(&["diff", "12", "13", "-o", "json"]).json();
    let fields: Vec<_> = items["items"].as_array().unwrap().iter().map(|item| &item["field"]).collect();
    assert_eq!(fields, ["renewAt", "revokedAt", "revokedTrigger", "status"]);
}

#[test]
fn what_if_names_where_each_session_parts_and_what_it_cannot_know() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("strict.toml");
    fs::write(&policy, "[limits]\nper_subject = 1\n").unwrap();
    let report = on_incident(&["what-if", "-o", "json", "--policy", policy.to_str().unwrap()]).json();
    assert_eq!((&report["happened"]["created"], &report["instead"]["created"]), (&6.into(), &3.into()));
    let positions: Vec<_> = report["divergences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["position"].as_u64().unwrap())
        .collect();
    assert_eq!(positions, [15, 16, 21]);
    assert_eq!(report["unknown"].as_array().unwrap().len(), 6);
    fs::write(&policy, "").unwrap();
    let same = on_incident(&["what-if", "-o", "json", "--policy", policy.to_str().unwrap()]).json();
    assert_eq!((&same["divergences"], &same["happened"]), (&Value::Array(vec![]), &same["instead"]));
    // What a server would not start with.
    fs::write(&policy, "[session]\nttl = 7200\nttl_max = 3600\n").unwrap();
    let refused = on_incident(&["what-if", "--policy", policy.to_str().unwrap()]);
    assert!(
        refused.code == 1
            && refused.stderr.contains("session.ttl = 7200: must be at most session.ttl_max, 3600"),
        "{}",
        refused.stderr
    );
    fs::write(&policy, "[session]\nttl_max = 3600\n").unwrap();
    let refused = on_incident(&["what-if", "--policy", policy.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.stderr.contains("as recorded at position"), "{}", refused.stderr);
    fs::write(&policy, "[limits]\nper_subject = 0\n").unwrap();
    assert_eq!(on_incident(&["what-if", "--policy", policy.to_str().unwrap()]).code, 1);
}

#[test]
fn every_position_is_proved_under_the_head() {
    for position in 1..=22 {
        let proof = on_incident(&["prove", &position.to_string(), "-o", "json"]);
        assert_eq!(proof.code, 0, "{}", proof.stderr);
        assert_eq!(proof.json()["size"], 22);
    }
}
