//! Session files for programs in other languages: the lock, and the token with what a credential helper needs.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tenure::client::SessionFile;

use crate::{
    fixture::{Fixture, ran},
    server::PATIENCE,
};

#[test]
fn a_program_without_flock_holds_the_lock_of_a_session_file_until_it_closes_stdin() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    fixture.tenure("session create agent --session-file agent.session").ok();
    let mut holder =
        fixture.bare(&["session", "lock", "agent.session"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(holder.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let file = SessionFile::at(fixture.place("agent.session"));
    assert_eq!(line, format!("locked {}\n", file.path().display()));

    // The Rust client's own lock, which `tenure session renew` and `tenure run` take.
    let (got, gets) = mpsc::channel();
    let waiting = thread::spawn(move || got.send(file.lock().map(drop).is_ok()));
    assert!(gets.recv_timeout(Duration::from_millis(300)).is_err(), "the lock is held");
    drop(holder.stdin.take());
    assert_eq!(gets.recv_timeout(PATIENCE), Ok(true), "the lock is free");
    assert!(holder.wait().unwrap().success());
    waiting.join().unwrap().unwrap();
    // It must not take the file away, which is still in use.
    assert!(fixture.place("agent.session").exists() && fixture.place("agent.session.lock").exists());
}

#[test]
fn two_programs_take_turns_and_nothing_is_left_of_a_file_that_never_was() {
    let fixture = Fixture::new();
    let lock = || fixture.bare(&["session", "lock", "new.session"]).stdin(Stdio::piped()).spawn().unwrap();
    let (mut first, mut second) = (lock(), lock());
    let (told, tells) = mpsc::channel();
    for (index, holder) in [&mut first, &mut second].into_iter().enumerate() {
        let said = BufReader::new(holder.stdout.take().unwrap());
        let told = told.clone();
        thread::spawn(move || said.lines().map_while(Result::ok).for_each(|_| told.send(index).unwrap()));
    }
    let has_it = tells.recv_timeout(PATIENCE).unwrap();
    assert!(tells.recv_timeout(Duration::from_millis(300)).is_err(), "one has it at a time");
    let mut holders = [first, second];
    drop(holders[has_it].stdin.take());
    assert_eq!(tells.recv_timeout(PATIENCE), Ok(1 - has_it));
    drop(holders[1 - has_it].stdin.take());
    for mut holder in holders {
        assert!(holder.wait().unwrap().success());
    }
    assert!(!fixture.place("new.session.lock").exists());
}

#[test]
fn a_lock_in_a_directory_that_is_not_there_is_refused_by_name() {
    let fixture = Fixture::new();
    let refused = ran(&mut fixture.bare(&["session", "lock", "missing/agent.session"]));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("missing/agent.session.lock"), "{}", refused.stderr);
}

#[test]
fn a_credential_helper_gets_the_token_with_its_end_and_the_header() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    fixture.tenure("session create agent --ttl 1h --session-file agent.session").ok();
    let file: Value =
        serde_json::from_slice(&std::fs::read(fixture.place("agent.session")).unwrap()).unwrap();
    // It asks no server: a server that is not there, and a key file that is not there, are in no one's way.
    let words =
        "session token --session-file agent.session -o json --url http://127.0.0.1:9 --key-file missing";
    let document = ran(&mut fixture.bare(&words.split(' ').collect::<Vec<_>>())).json();
    let token = file["token"].as_str().unwrap();
    assert_eq!(
        document,
        json!({"token": token, "expiresAt": file["expiresAt"],
               "headers": {"Authorization": format!("Bearer {token}")}})
    );
    let plain = ran(&mut fixture.bare(&["session", "token", "--session-file", "agent.session"])).ok();
    assert_eq!(plain.stdout, format!("{token}\n"));
}

/// A command that `tenure run` started had to be told the id and the file of the session that it was in.
#[test]
fn commands_within_a_run_find_its_session() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    fixture.tenure("session create agent --ttl 1h --session-file agent.session").ok();
    let within = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        ran(fixture.bare(&words).env("TENURE_SESSION_FILE", "agent.session"))
    };
    assert_eq!(within("session show -o json").json()["subjectId"], "agent");
    assert_eq!(within("session usage --operation buy --amount 2.50 -o json").json()["totalAmount"], "2.5");
    assert!(within("session access-token -o json").ok().json()["accessToken"].is_string());
    fixture.server.advance(2_000);
    assert_eq!(within("session renew -o json").json()["renewalCount"], 1);
    for line in ["session show", "session usage --operation buy", "session renew", "session access-token"] {
        let lost = fixture.bare(&line.split(' ').collect::<Vec<_>>()).output().unwrap();
        let said = String::from_utf8(lost.stderr).unwrap();
        assert!(lost.status.code() == Some(1) && said.contains("TENURE_SESSION_FILE"), "{line}: {said}");
    }
}
