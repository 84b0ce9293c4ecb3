//! A running server is judged at its own now, and tells what only it knows.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::{commands::audit, server::Serving};

fn advance(serving: &Serving, seconds: u64) {
    let admin = std::fs::read_to_string(serving.path().join("data/admin.key")).unwrap();
    let reply = put(serving, "/v1/clock", admin.trim(), &format!("{{\"advance\":{seconds}}}"));
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

fn put(serving: &Serving, path: &str, bearer: &str, body: &str) -> String {
    let host = serving.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&host).unwrap();
    let media_type = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let request = format!(
        "PUT {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {bearer}\r\n{media_type}\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn a_session(serving: &Serving) -> String {
    assert_eq!(serving.run(&["subject", "put", "agent"]).code, 0);
    let made = serving.run(&["session", "create", "agent", "--ttl", "1h", "--token-file", "t"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    made.json()["sessionId"].as_str().unwrap().to_owned()
}

/// The story of a quiet server was judged at its last event: "for 12h more" was printed hours later.
#[test]
fn without_a_moment_a_live_server_is_judged_at_its_now_and_says_both() {
    let serving = Serving::start();
    let id = a_session(&serving);
    let live = |serving: &Serving| serving.run(&["session", "show", &id]).json();
    let begun = live(&serving)["asOfTime"].as_str().unwrap().to_owned();
    advance(&serving, 1_200);
    let now = live(&serving)["asOfTime"].as_str().unwrap().to_owned();
    assert!(now > begun);
    let story = serving.run(&["audit", "show", &id]).json();
    assert_eq!(story["session"]["asOfTime"], now.as_str());
    assert!(story["next"][0].as_str().unwrap().contains("for 40m more"), "{}", story["next"]);
    let told = serving.run_as("table", &["audit", "show", &id]).stdout;
    let both = format!("At {now}, the server's now (the last event, position ");
    assert!(told.contains(&both) && told.contains(&format!("is of {begun}): ACTIVE")), "{told}");

    // A replay is no other.
    assert_eq!(serving.run(&["audit", "replay"]).json()["items"][0]["asOfTime"], now.as_str());
    advance(&serving, 3_000);
    let replayed = serving.run(&["audit", "replay"]).json();
    assert_eq!((&replayed["active"], &replayed["expired"]), (&0.into(), &1.into()), "{replayed}");
    // With a moment it is that moment, as everywhere.
    let then = serving.run(&["audit", "show", &id, "--at", &begun]).json();
    assert_eq!((&then["session"]["asOfTime"], &then["session"]["status"]), (&begun.into(), &"ACTIVE".into()));
}

/// "The session ends now: two holders have shown tokens of it" was said of a session of which one had.
#[test]
fn of_a_contested_session_it_is_told_what_a_renewal_would_do() {
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "agent"]).code, 0);
    let create = ["session", "create", "agent", "--ttl", "1h", "--on-reuse", "revoke", "--token-file", "t"];
    let id = serving.run(&create).json()["sessionId"].as_str().unwrap().to_owned();
    let token = std::fs::read_to_string(serving.path().join("t")).unwrap();
    let renew = || put(&serving, &format!("/v1/sessions/{id}/renew"), token.trim(), "");
    advance(&serving, 2_400);
    assert!(renew().starts_with("HTTP/1.1 200"));
    advance(&serving, 2_400);
    assert!(renew().starts_with("HTTP/1.1 403"));
    let story = serving.run(&["audit", "show", &id]).json();
    assert_eq!(story["session"]["status"], "ACTIVE", "{story}");
    let next = story["next"].to_string();
    assert!(next.contains("contested") && next.contains("would end it"), "{next}");
    assert!(!next.contains("two holders have"), "{next}");
}

/// "A reason was given; it is sealed." was said on the server that shows it, and of one that is gone for ever.
#[test]
fn a_reason_is_told_where_it_is_shown_sealed_elsewhere_and_gone_once_erased() {
    let serving = Serving::start();
    let id = a_session(&serving);
    assert_eq!(serving.run(&["session", "revoke", &id, "--reason", "not at night", "--yes"]).code, 0);
    let ended = |serving: &Serving| {
        let chapters = serving.run(&["audit", "show", &id]).json()["chapters"].clone();
        let ended = chapters.as_array().unwrap().iter().find(|chapter| chapter["kind"] == "SessionRevoked");
        ended.unwrap()["words"].as_str().unwrap().to_owned()
    };
    let said = ended(&serving);
    assert!(said.ends_with(" The reason given: \"not at night\"."), "{said}");

    let export = serving.path().join("all.export");
    assert_eq!(serving.run(&["audit", "export", "all.export"]).code, 0);
    let sealed = audit(&["show", &id, "--file", export.to_str().unwrap()]).stdout;
    assert!(sealed.contains("A reason was given; it is sealed."), "{sealed}");

    assert_eq!(serving.run(&["subject", "erase", "agent", "--reason", "ticket 7", "--yes"]).code, 0);
    let erased_at = serving.run(&["session", "show", &id]).json()["asOfTime"].as_str().unwrap().to_owned();
    let said = ended(&serving);
    assert!(said.ends_with(&format!(" A reason was given; it was erased on {erased_at}.")), "{said}");
    assert_eq!(serving.run(&["audit", "export", "erased.export"]).code, 0);
    let export = serving.path().join("erased.export");
    let erased = audit(&["show", &id, "--file", export.to_str().unwrap()]).stdout;
    assert!(erased.contains("it was erased on ") && !erased.contains("it is sealed"), "{erased}");
}

/// Every empty list said "Nothing matches.", whatever had been asked for.
#[test]
fn an_empty_list_of_a_server_says_what_there_is_none_of() {
    let serving = Serving::start();
    for (command, said) in [
        (&["session", "list", "--subject", "ghost"][..], "No active sessions of subject ghost."),
        (&["session", "list", "--status", "all", "--all"], "No sessions."),
        (&["subject", "list", "--owner", "team"], "No subjects of owner team."),
        (&["webhook", "list"], "No webhooks."),
        (&["events", "--subject", "ghost"], "No such events."),
    ] {
        let ran = serving.run_as("table", command);
        assert_eq!((ran.code, ran.stderr.trim()), (0, said), "{command:?}: {}", ran.stdout);
    }
}

/// A mistyped position was answered with the state at the end, and a coming moment with that of now.
#[test]
fn a_position_or_moment_that_is_not_there_yet_is_refused() {
    let serving = Serving::start();
    a_session(&serving);
    for words in [&["replay", "--position", "999999"][..], &["replay", "--step", "--position", "999999"]] {
        let refused = serving.run(&[&["audit"], words].concat());
        assert_eq!(refused.code, 4, "{}", refused.stdout);
        assert!(
            refused.stderr.contains("there is no position 999999: the history ends at "),
            "{}",
            refused.stderr
        );
    }
    for words in [&["replay", "--at", "2099-01-01T00:00:00Z"][..], &["replay", "--at", "in 1h"]] {
        let refused = serving.run(&[&["audit"], words].concat());
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        assert!(refused.stderr.contains("lies in the future"), "{}", refused.stderr);
    }
    assert_eq!(serving.run(&["audit", "replay", "--position", "1"]).code, 0);
}

/// The answer was yes, and the story went on with when the token would be renewed.
#[test]
fn a_session_whose_key_was_retired_is_held_by_nobody() {
    let serving = Serving::start();
    let id = a_session(&serving);
    assert_eq!(serving.run(&["audit", "ask", "agent"]).code, 0);
    let rotated = serving.run(&["keys", "rotate", "--which", "session", "--retire", "now", "--yes"]);
    assert_eq!(rotated.code, 0, "{}", rotated.stderr);
    let asked = serving.run(&["audit", "ask", "agent"]);
    assert_eq!(asked.code, 3, "{}", asked.stdout);
    assert!(
        asked.stdout.contains("no token of it worked: the key that sealed them was retired at"),
        "{}",
        asked.stdout
    );
    let story = serving.run(&["audit", "show", &id]).json();
    assert!(
        story["next"][0].as_str().unwrap().starts_with("No token of it works since"),
        "{}",
        story["next"]
    );
}

/// One that had expired, and was revoked for the record hours later, was said to have been ended by that; and of one
/// session that was asked about, that its subject had none.
#[test]
fn a_session_was_over_when_it_expired_whatever_was_recorded_later() {
    let serving = Serving::start();
    let id = a_session(&serving);
    let other = serving.run(&["session", "create", "agent", "--ttl", "24h", "--token-file", "other"]);
    assert_eq!(other.code, 0, "{}", other.stderr);
    advance(&serving, 7_200);
    assert_eq!(serving.run(&["session", "revoke", &id, "--yes"]).code, 0);
    advance(&serving, 600);
    let asked = serving.run(&["audit", "ask", &id]);
    assert_eq!(asked.code, 3, "{}", asked.stdout);
    let expected = format!("session {id} of agent was not live: it had expired at ");
    assert!(asked.stdout.contains(&expected), "{}", asked.stdout);
}
