//! Nothing is said to be proved but by a key that the reader brought, and every way to a history obeys it alike.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tenure::{audit::HeadKey, entropy::SeededEntropy};
use tenure_testing::command::CommandOutput;

use crate::{
    commands::{BOT, audit},
    incident::{bytes, lines, path, vkey},
    server::Serving,
};

/// The name of the incident's log, as its key has it.
const NAME: &str = "tenure/a164675a05b8ac4c";

/// Each command that reads a history, as it is typed; `OUT` is a file to be made.
const READERS: [&[&str]; 8] = [
    &["verify"],
    &["replay"],
    &["replay", "--step"],
    &["show", BOT],
    &["diff", "3", "9"],
    &["what-if", "--policy", "POLICY"],
    &["prove", "3"],
    &["export", "OUT"],
];

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fs::write(fixture.at("policy.toml"), "").unwrap();
        fixture
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn import(&self, export: &Path, name: &str) -> PathBuf {
        let data = self.at(name);
        let ran = audit(&["import", text(export), "--data", text(&data), "--verifier-key", &vkey()]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        data
    }

    /// A command on a history, with what is brought along.
    fn run(&self, command: &[&str], on: &[&str], brought: &[&str]) -> CommandOutput {
        let out = self.at("out.export");
        drop(fs::remove_file(&out));
        let (out, policy) = (text(&out), self.at("policy.toml"));
        let typed = |word: &&str| match *word {
            "OUT" => out.to_owned(),
            "POLICY" => text(&policy).to_owned(),
            word => word.to_owned(),
        };
        let typed: Vec<_> = command.iter().chain(on).chain(brought).map(typed).collect();
        audit(&typed.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn foreign() -> String {
    HeadKey::draw(&SeededEntropy::new(9)).verifier().to_string()
}

fn without_heads(data: &Path) {
    for name in ["head.note", "heads.notes", "head.vkey"] {
        drop(fs::remove_file(data.join(name)));
    }
}

/// `audit verify --data` said "verified", exit 0, under a key that had signed nothing, when the heads were taken away;
/// `replay`, `show`, `diff` and `what-if` did not look at the key at all.
#[test]
fn a_key_that_signed_nothing_of_a_directory_proves_nothing_of_it() {
    let fixture = Fixture::new();
    let data = fixture.import(&path("incident.export"), "data");
    let on = ["--data", text(&data)];
    for key in [foreign(), vkey()] {
        for command in READERS {
            let ran = fixture.run(command, &on, &["--verifier-key", &key]);
            assert_eq!(ran.code == 0, key == vkey(), "{command:?} with {key}: {}", ran.stderr);
            assert!(ran.code == 0 || ran.code == 6, "{command:?} with {key}: {}", ran.stderr);
        }
    }
    without_heads(&data);
    for key in [foreign(), vkey()] {
        for command in READERS.iter().filter(|command| !["prove", "export"].contains(&command[0])) {
            let ran = fixture.run(command, &on, &["--verifier-key", &key]);
            assert!(ran.code == 6 && ran.stderr.contains("nothing vouches"), "{command:?}: {}", ran.stderr);
        }
    }
    // Heads that the reader brought vouch for it as well as its own.
    let heads = path("incident.heads");
    let brought = ["--verifier-key", &vkey(), "--heads", text(&heads)];
    let ran = fixture.run(&["verify", "-o", "json"], &on, &brought);
    assert_eq!((ran.code, &ran.json()["verified"], &ran.json()["vouchedTo"]), (0, &true.into(), &22.into()));
}

/// Of a true, older copy only a head that was seen before knows better.
#[test]
fn heads_that_were_seen_before_are_obeyed_on_a_directory_as_on_a_file() {
    let fixture = Fixture::new();
    let older = path("tampered/an-older-copy.export");
    let data = fixture.import(&older, "older");
    let heads = path("incident.heads");
    for command in READERS {
        let ways = [["--file", text(&older)], ["--data", text(&data)]];
        for on in ways.iter().filter(|on| command[0] != "export" || on[0] == "--data") {
            let ran = fixture.run(command, on, &["--verifier-key", &vkey()]);
            assert_eq!(ran.code, 0, "{command:?} {on:?}: {}", ran.stderr);
            let ran = fixture.run(command, on, &["--verifier-key", &vkey(), "--heads", text(&heads)]);
            assert_eq!(ran.code, 6, "{command:?} {on:?}: {}", ran.stderr);
        }
    }
    let data = fixture.at("nothing");
    let brought = ["--data", text(&data), "--verifier-key", &vkey(), "--heads", text(&heads)];
    assert_eq!(audit(&[&["import", text(&older)], &brought[..]].concat()).code, 6);
}

/// `Proved: … has signed.` was said on the word of the file itself: whoever forges a file signs it too.
#[test]
fn proved_is_said_only_with_a_key_that_the_reader_brought() {
    let fixture = Fixture::new();
    let file = path("incident.export");
    let data = fixture.import(&file, "data");
    for (on, whose) in [(["--file", text(&file)], "file"), (["--data", text(&data)], "directory")] {
        for command in READERS.iter().filter(|command| command[0] != "export" || whose == "directory") {
            let ran = fixture.run(command, &on, &[]);
            assert_eq!(ran.code, 0, "{command:?}: {}", ran.stderr);
            let said = format!(
                "Consistent, and signed by {NAME} — a key that the {whose} itself brought: this proves nothing about who \
                 wrote it. Give --verifier-key."
            );
            assert_eq!(ran.stderr.lines().last(), Some(said.as_str()), "{command:?}: {}", ran.stderr);
            assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("Proved"), "{command:?}");

            let ran = fixture.run(command, &on, &["--verifier-key", &vkey()]);
            let last = ran.stderr.lines().last().unwrap_or_default();
            assert!(last.starts_with(&format!("Proved by your key {NAME}: ")), "{command:?}: {}", ran.stderr);
        }
        let verdict = fixture.run(&["verify", "-o", "json"], &on, &[]).json();
        assert_eq!((&verdict["verified"], &verdict["consistent"]), (&Value::Null, &true.into()));
        assert!(verdict["keyFrom"].as_str().unwrap().contains(whose), "{verdict}");
        assert!(!fixture.run(&["verify"], &on, &[]).stdout.contains("verified "));
    }
    let data = fixture.at("unknown");
    let imported = audit(&["import", text(&file), "--data", text(&data)]);
    assert!(imported.stderr.contains("a key that the file itself brought"), "{}", imported.stderr);
}

#[test]
fn a_server_is_believed_no_more_than_a_file() {
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "agent"]).code, 0);
    let made = serving.run(&["session", "create", "agent", "--token-file", "t"]).json();
    let id = made["sessionId"].as_str().unwrap();
    fs::write(serving.path().join("policy.toml"), "").unwrap();
    let key = serving.run(&["audit", "key"]).json()["verifierKey"].as_str().unwrap().to_owned();
    assert_eq!(serving.run(&["audit", "key", "--data", "data"]).json()["verifierKey"], key.as_str());
    let foreign = foreign();
    for command in [
        &["verify"][..],
        &["replay"],
        &["replay", "--compare"],
        &["show", id],
        &["diff", "1", "2"],
        &["what-if", "--policy", "policy.toml"],
        &["prove", "3"],
        &["export", "out.export"],
    ] {
        let run = |brought: &[&str]| {
            drop(fs::remove_file(serving.path().join("out.export")));
            serving.run_as("table", &[&["audit"], command, brought].concat())
        };
        let ran = run(&[]);
        assert!(ran.code == 0 && ran.stderr.contains("Give --verifier-key."), "{command:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("Proved"), "{command:?}: {}", ran.stderr);
        let ran = run(&["--verifier-key", &key]);
        assert!(ran.code == 0 && ran.stderr.contains("Proved by your key"), "{command:?}: {}", ran.stderr);
        let ran = run(&["--verifier-key", &foreign]);
        assert_eq!(ran.code, 6, "{command:?}: {}", ran.stderr);
    }
}

/// Two copies of one data directory went on by themselves: each is true under the key, and only a head that was seen
/// of the other shows it. `prove` on a server did not look at the heads.
#[test]
fn a_server_must_continue_the_heads_that_were_seen_on_every_command() {
    let fixture = Fixture::new();
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "agent"]).code, 0);
    let stopped = serving.stop();
    for name in ["seen", "other"] {
        let copied =
            std::process::Command::new("cp").arg("-a").arg(stopped.path()).arg(fixture.at(name)).status();
        assert!(copied.unwrap().success());
    }
    let seen = Serving::on(fixture.at("seen"), &[]);
    for subject in ["one", "two", "three"] {
        assert_eq!(seen.run(&["subject", "put", subject]).code, 0);
    }
    let head = seen.run(&["audit", "verify"]).json();
    fs::write(fixture.at("heads"), format!("\n{}", head["signedHead"].as_str().unwrap())).unwrap();
    let other = Serving::on(fixture.at("other"), &[]);
    for subject in ["four", "five", "six", "seven"] {
        assert_eq!(other.run(&["subject", "put", subject]).code, 0);
    }
    let heads = fixture.at("heads");
    let brought = ["--verifier-key", head["verifierKey"].as_str().unwrap(), "--heads", text(&heads)];
    fs::write(fixture.at("policy.toml"), "").unwrap();
    let policy = fixture.at("policy.toml");
    for command in [
        &["verify"][..],
        &["replay"],
        &["replay", "--compare"],
        &["diff", "1", "2"],
        &["what-if", "--policy", text(&policy)],
        &["prove", "3"],
        &["export", "out.export"],
    ] {
        let run = |on: &Serving| on.run(&[&["audit"], command, &brought[..]].concat());
        assert_eq!(run(&seen).code, 0, "{command:?}");
        let ran = run(&other);
        assert_eq!(ran.code, 6, "{command:?}: {}", ran.stderr);
    }
}

/// The events behind the last signed head got a plain "verified yes" with the rest.
#[test]
fn what_was_recorded_behind_the_last_head_is_not_vouched_for() {
    let serving = Serving::start();
    let early = serving.run(&["audit", "verify"]).json();
    assert_eq!(serving.run(&["subject", "put", "agent"]).code, 0);
    let stopped = serving.stop();
    let data = stopped.path().join("data");
    fs::write(data.join("head.note"), early["signedHead"].as_str().unwrap()).unwrap();
    drop(fs::remove_file(data.join("heads.notes")));
    let key = early["verifierKey"].as_str().unwrap();
    let run = |form| audit(&["verify", "--data", text(&data), "--verifier-key", key, "-o", form]);
    let verdict = run("json").json();
    let (to, vouched) = (verdict["to"].as_u64().unwrap(), early["to"].as_u64().unwrap());
    assert_eq!((&verdict["verified"], &verdict["vouchedTo"]), (&true.into(), &vouched.into()));
    assert!(to > vouched, "{verdict}");
    let told = run("table");
    assert!(told.stdout.contains(&format!("up to position {vouched}\n")), "{}", told.stdout);
    let behind = format!(
        "Positions {} to {to} were recorded after the last signed head: nothing vouches",
        vouched + 1
    );
    assert!(told.stderr.contains(&behind), "{}", told.stderr);
}

/// An import dropped the signed heads: nothing could be proved of the new directory, nor exported from it.
#[test]
fn an_import_keeps_the_heads_and_exports_to_the_same_bytes() {
    let fixture = Fixture::new();
    let data = fixture.import(&path("incident.export"), "data");
    let on = ["--data", text(&data)];
    let proof = fixture.run(&["prove", "13", "-o", "json"], &on, &[]);
    assert_eq!((proof.code, &proof.json()["size"]), (0, &22.into()), "{}", proof.stderr);
    let exported = fixture.run(&["export", "OUT"], &on, &["--verifier-key", &vkey()]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    assert_eq!(fs::read(fixture.at("out.export")).unwrap(), bytes());
    assert_eq!(audit(&["key", "--data", text(&data)]).stdout.trim(), vkey());

    // A part has a head that covers more than it holds: in a directory nothing would vouch for its end.
    let part = fixture.run(&["export", "OUT", "--to", "9"], &on, &[]);
    assert_eq!(part.code, 0, "{}", part.stderr);
    let (out, other) = (fixture.at("out.export"), fixture.at("part"));
    let refused = audit(&["import", text(&out), "--data", text(&other)]);
    assert!(refused.code == 1 && refused.stderr.contains("at position 9 of 22"), "{}", refused.stderr);
    assert!(!other.exists());
}

/// Where only a head was wrong, `firstBadPosition` was null.
#[test]
fn a_head_that_fails_leaves_the_positions_since_the_last_good_one_in_doubt() {
    let fixture = Fixture::new();
    let (mut good, mut checked) = (0, 0);
    for (at, line) in lines().iter().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(note) = line["head"].as_str() else { continue };
        let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
        let mut forged = lines();
        forged[at] = forged[at].replace(&format!("— {NAME} "), &format!("— {NAME} AAAA"));
        fs::write(fixture.at("forged.export"), format!("{}\n", forged.join("\n"))).unwrap();
        let file = fixture.at("forged.export");
        let ran =
            fixture.run(&["verify", "-o", "json"], &["--file", text(&file)], &["--verifier-key", &vkey()]);
        let verdict = ran.json_of_any_end();
        assert_eq!((ran.code, &verdict["vouchedTo"]), (6, &good.into()), "{verdict}");
        if good < size {
            assert_eq!(verdict["firstBadPosition"], good + 1, "{verdict}");
            assert_eq!(verdict["lastBadPosition"], size, "{verdict}");
            let named = format!("no head vouches for position{}", if good + 1 < size { "s" } else { "" });
            assert!(ran.stderr.contains(&named), "{}", ran.stderr);
            checked += 1;
        }
        good = size;
    }
    assert!(checked > 3, "{checked}");
}

/// The page says that no byte of an export can change; the name of its key could be taken out.
#[test]
fn an_export_that_names_no_key_is_none_that_a_key_has_signed() {
    let fixture = Fixture::new();
    let text_of = String::from_utf8(bytes()).unwrap();
    fs::write(fixture.at("null.export"), text_of.replacen(&format!("\"{}\"", vkey()), "null", 1)).unwrap();
    let file = fixture.at("null.export");
    for command in READERS.iter().filter(|command| command[0] != "export") {
        for brought in [&["--verifier-key", &vkey()][..], &[]] {
            let ran = fixture.run(command, &["--file", text(&file)], brought);
            assert_eq!(ran.code, 6, "{command:?} {brought:?}: {}", ran.stderr);
        }
    }
}

/// The reason stood on the terminal three times: as `place`, as `why`, and as `error:`.
#[test]
fn a_fault_is_told_once() {
    let fixture = Fixture::new();
    let file = path("tampered/a-record-inserted.export");
    let ran = fixture.run(&["verify"], &["--file", text(&file)], &["--verifier-key", &vkey()]);
    assert_eq!(ran.code, 6);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let why = ran.stderr.trim().trim_start_matches("error: ").rsplit(": ").next().unwrap();
    assert_eq!(said.matches(why).count(), 1, "{said}");
    let verdict = fixture
        .run(&["verify", "-o", "json"], &["--file", text(&file)], &["--verifier-key", &vkey()])
        .json_of_any_end();
    assert!(verdict["why"].as_str().unwrap().contains(why) && verdict["place"].is_string(), "{verdict}");
}

#[test]
fn an_empty_list_says_of_what_it_is_empty() {
    let fixture = Fixture::new();
    let file = path("incident.export");
    let on = ["--file", text(&file)];
    for (command, said) in [
        (&["what-if", "--policy", "POLICY"][..], "Nothing would have gone otherwise."),
        (&["diff", "3", "3"], "Nothing differs between positions 3 and 3."),
        (&["replay", "--position", "0"], "No active sessions at 1970-01-01T00:00:00.000Z, position 0."),
        (&["replay", "--at", "2026-11-22T00:59:59Z", "--status", "revoked"], "No revoked sessions at"),
    ] {
        let ran = fixture.run(command, &on, &["--verifier-key", &vkey()]);
        assert!(ran.code == 0 && ran.stderr.contains(said), "{command:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("Nothing matches"), "{}", ran.stderr);
    }
}

#[test]
fn a_policy_is_refused_with_every_fault_its_setting_and_its_range() {
    let fixture = Fixture::new();
    fs::write(fixture.at("policy.toml"), "[session]\nmax_renewals = -7\n[limits]\non_limit = 'x'\n").unwrap();
    let file = path("incident.export");
    let ran = fixture.run(&["what-if", "--policy", "POLICY"], &["--file", text(&file)], &[]);
    assert_eq!(ran.code, 1);
    for said in ["session.max_renewals: must be from 0 to 100, not -7", "limits.on_limit: must be reject or"]
    {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}
