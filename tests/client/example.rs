//! `examples/agent.rs`, run by the very lines at its top.

use std::process::{Command, Output, Stdio};

use tenure::client::SessionFile;

use crate::run::{Fixture, code, text};

/// A run of this test target alone has not built the example; otherwise nothing is built here.
fn binary() -> String {
    let build = ["build", "--locked", "--offline", "--quiet", "--example", "agent"];
    assert!(Command::new(env!("CARGO")).args(build).status().unwrap().success(), "the example is built");
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().with_file_name("examples").join("agent").to_str().unwrap().to_owned()
}

/// The lines of the example's first comment, with the example as it is built here and so much to do.
fn lines(pieces: u32) -> String {
    let source = include_str!("../../examples/agent.rs");
    let block = source.split("//! ```").nth(1).unwrap();
    let lines = block.lines().skip(1).map(|line| line.trim_start_matches("//! "));
    // The key of the test's server is elsewhere.
    let lines: Vec<_> = lines.filter(|line| !line.starts_with("export TENURE_KEY=")).collect();
    let run = "cargo run --example agent";
    assert_eq!(lines.iter().filter(|line| line.ends_with(run)).count(), 1, "{lines:?}");
    lines.join("\n").replace(run, &format!("{} {pieces}", binary()))
}

/// In a shell where `tenure` is this one, with the key of an issuer.
fn shell(fixture: &Fixture, script: &str) -> Command {
    let mut shell = Command::new("sh");
    let tenure = fixture.tenure(&[]);
    shell.args(["-euc", script]).current_dir(fixture.place("")).env_clear();
    shell.envs(tenure.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

fn said(output: &Output) -> String {
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!said.contains("tnr_"), "{said}");
    said
}

#[test]
fn the_example_works_by_the_lines_at_its_top() {
    let fixture = Fixture::new();
    let output = shell(&fixture, &lines(2)).output().unwrap();
    let said = said(&output);
    assert_eq!(code(&output), 0, "{said}");
    assert!(said.contains("\nsession ") && said.contains("piece 1: 1 uses so far"), "{said}");
    assert!(said.contains("piece 2: 2 uses so far") && !said.contains("over:"), "{said}");
    assert_eq!(fixture.status_of_the_only_session(), "REVOKED");
    assert!(!fixture.place("agent-7.session").exists());
}

#[test]
fn a_veto_ends_the_example_with_a_word() {
    let fixture = Fixture::new();
    let running = shell(&fixture, &lines(60)).spawn().unwrap();
    fixture.wait_for("agent-7.session");
    // It says what it does as soon as it has a session; the veto comes while it works.
    let id = SessionFile::at(fixture.place("agent-7.session")).read().unwrap().session_id;
    fixture.wait_until_used(&id.to_string());
    let target = format!("/v1/sessions/{id}");
    fixture.server.delete(&target).bearer(&fixture.server.admin).send().expect(200);
    let output = running.wait_with_output().unwrap();
    let said = said(&output);
    // Either the example or `tenure run` finds it out first.
    assert!([1, 3].contains(&code(&output)), "{said}");
    assert!(said.contains("over: SESSION_REVOKED"), "{said}");
    assert!(!said.contains("Problem {"), "{said}");
}
