//! Time travel: what is answered about the past is what was answered then.

use serde_json::{Value, json};
use tenure::entropy::{self, SeededEntropy};

use crate::server::{Reply, Server, Session};

const SUBJECTS: [&str; 4] = ["agent-1", "agent-2", "user:ada", "build@ci"];
const QUESTIONS: usize = 1_000;

/// What somebody asked at some moment, and heard.
struct Heard {
    target: String,
    body: Value,
    /// The moment, when no event of a later moment had come before.
    as_of: String,
    /// The last event, when it was recorded at that very moment.
    as_of_position: Option<u64>,
}

/// A server on which sessions come and go at random, and somebody who writes down what it answers.
struct Recorder {
    server: Server,
    chance: SeededEntropy,
    held: Vec<Session>,
    heard: Vec<Heard>,
}

impl Recorder {
    fn draw(&self, below: usize) -> usize {
        u32::from_be_bytes(entropy::bytes(&self.chance)) as usize % below
    }

    fn subject(&self) -> &'static str {
        SUBJECTS[self.draw(SUBJECTS.len())]
    }

    /// One step at random, at a moment of its own; refusals are part of the game.
    fn step(&mut self) -> Reply {
        self.server.advance([1, 7, 150, 151, 300, 1_800, 90_000][self.draw(7)]);
        let admin = self.server.admin.clone();
        let held = self.draw(self.held.len().max(1));
        match (self.draw(10), self.held.get(held)) {
            (0, _) | (_, None) => self.register(),
            (1..=3, _) => self.create(),
            (4..=7, Some(session)) => {
                let reply = self.server.renew(session).send();
                if reply.status == 200 {
                    self.held[held] = session.renewed(&reply);
                }
                reply
            }
            (8, Some(session)) => {
                let reason = self.draw(100);
                self.server.delete(&format!("{}?reason=why%20{reason}", session.path())).bearer(&admin).send()
            }
            _ => {
                let target = format!("/v1/subjects/{}/sessions?device=d{}", self.subject(), self.draw(2));
                self.server.delete(&target).bearer(&admin).send()
            }
        }
    }

    fn register(&self) -> Reply {
        let profile =
            json!({ "name": format!("name {}", self.draw(5)), "ownerId": format!("o{}", self.draw(2)) });
        let target = format!("/v1/subjects/{}", self.subject());
        self.server.put(&target).bearer(&self.server.admin).json(&profile).send()
    }

    fn create(&mut self) -> Reply {
        let body = json!({
            "subjectId": self.subject(),
            "ttl": ([300, 600, 86_400][self.draw(3)]),
            "maxRenewals": self.draw(4),
            "device": format!("d{}", self.draw(2)),
            "metadata": { "n": self.draw(9) },
        });
        let reply = self.server.post("/v1/sessions").bearer(&self.server.admin).json(&body).send();
        if reply.status == 201 {
            self.held.push(Session { id: reply.text("sessionId"), token: reply.text("token") });
        }
        reply
    }

    /// Asks about the present, and writes down the answer.
    fn ask(&mut self, last: Option<u64>) {
        let subject = self.subject();
        let target = match (self.draw(4), self.held.get(self.draw(self.held.len().max(1)))) {
            (0 | 1, Some(session)) => format!("{}?", session.path()),
            (2, _) => format!("/v1/sessions?subjectId={subject}&status=all&"),
            (3, _) => "/v1/sessions?status=active&limit=200&".to_owned(),
            _ => format!("/v1/subjects/{subject}?"),
        };
        let clock = self.server.get("/v1/clock").bearer(&self.server.admin).send().expect(200);
        let body = self.answer(&target, "");
        self.heard.push(Heard { target, body, as_of: clock.text("now"), as_of_position: last });
    }

    fn answer(&self, target: &str, moment: &str) -> Value {
        let reply = self.server.get(&format!("{target}{moment}")).bearer(&self.server.admin).send();
        let mut body = reply.json();
        if reply.status != 200 {
            assert_eq!(reply.status, 404, "{reply:?}");
            return reply.code().into();
        }
        forget_position(&mut body);
        body
    }
}

/// That a token was presented is recorded in its own time, at the moment that the test's clock shows. It changes no
/// answer but this.
fn forget_position(body: &mut Value) {
    match body {
        Value::Object(members) => {
            members.remove("asOfPosition");
            members.values_mut().for_each(forget_position);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_position),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_thousand_answers_about_the_past_are_those_that_were_given_then() {
    let server = Server::start();
    let mut recorder = Recorder { server, chance: SeededEntropy::new(11), held: vec![], heard: vec![] };
    for _ in 0..300 {
        let last = recorder.step().position();
        recorder.ask(last);
        recorder.ask(last);
    }
    let mut known = 0;
    for question in 0..QUESTIONS {
        // The answers outlive the process that gave them.
        if question == QUESTIONS / 2 {
            recorder.server.kill9();
        }
        let heard = &recorder.heard[recorder.draw(recorder.heard.len())];
        let moment = match heard.as_of_position {
            Some(position) if recorder.draw(2) == 0 => format!("asOfPosition={position}"),
            _ => format!("asOf={}", heard.as_of),
        };
        assert_eq!(recorder.answer(&heard.target, &moment), heard.body, "{}{moment}", heard.target);
        known += usize::from(heard.body.is_object());
    }
    assert!(known > QUESTIONS / 2, "only {known} questions were about what was there");
}
