//! Tokens that were stolen.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use super::{Siege, with};
use crate::client::{ATTACKER, Answer, Client, FRIEND, Server};

const STOLEN: usize = 100;

/// A session whose token somebody else has too.
struct Stolen {
    id: String,
    holders: String,
    thiefs: String,
}

fn advance(server: &Server, seconds: u32) {
    let body = json!({ "advance": seconds });
    server.call(FRIEND).ask("PUT", "/v1/clock", &server.admin, Some(&body)).expect(200);
}

fn renew(client: &mut Client, id: &str, token: &str, key: &str) -> Answer {
    let more = format!("{}idempotency-key: {key}\r\n", with(token));
    client.ask_saying("PUT", &format!("/v1/sessions/{id}/renew"), &more, None)
}

fn made(server: &Server, client: &mut Client, number: usize) -> Stolen {
    let subject = format!("robbed-{number}");
    client.ask("PUT", &format!("/v1/subjects/{subject}"), &server.admin, Some(&json!({}))).expect(201);
    let body = json!({ "subjectId": subject, "ttl": 1000 });
    let made = client.ask("POST", "/v1/sessions", &server.admin, Some(&body)).expect(201).json();
    Stolen { id: text(&made, "sessionId"), holders: text(&made, "token"), thiefs: String::new() }
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap().to_owned()
}

/// A thief who renewed first and kept still was never noticed: here a hundred of them, who come back at once.
#[test]
fn thieves_renew_first_and_keep_still() {
    let siege = Siege::of("stolen tokens", &["--test-clock", "renewal.on_reuse=revoke"]);
    let (server, mut client) = (&siege.server, siege.server.call(FRIEND));
    let mut all: Vec<_> = (0..STOLEN).map(|number| made(server, &mut client, number)).collect();
    advance(server, 500);
    for (number, own) in all.iter_mut().enumerate() {
        let renewed = renew(&mut client, &own.id, &own.holders, &format!("thief-{number}")).expect(200);
        own.thiefs = text(&renewed.json(), "token");
    }
    advance(server, 11);
    let next = AtomicUsize::new(0);
    // Each of them comes back, however long that takes here.
    siege.hold(&|server, _| {
        let mut client = server.call(ATTACKER);
        while let Some(own) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let number = &own.id;
            let refused = renew(&mut client, &own.id, &own.holders, &format!("holder-{number}"));
            assert_eq!(refused.json()["code"], "SESSION_RENEWAL_MISMATCH", "{refused:?}");
            // What he is told now is nobody's concern: that it ends is.
            client.ask("GET", &format!("/v1/sessions/{}", own.id), &own.thiefs, None);
        }
    });
    let begun = stopwatch();
    for own in &all {
        let mut shown = || {
            let target = format!("/v1/sessions/{}", own.id);
            client.ask("GET", &target, &server.admin, None).expect(200).json()
        };
        while shown()["revokedTrigger"] != "token_reuse" {
            assert!(begun.elapsed() < Duration::from_secs(5), "it goes on: {}", shown());
            pause(Duration::from_millis(20));
        }
    }
}
