//! Lists of the present come from indexes; lists of the past are folded and filtered whole. At the last event both must
//! say the same, whatever came and went before.

use std::fmt::Write;

use serde_json::{Value, json};
use tenure::entropy::{self, SeededEntropy};

use crate::server::{Server, Session};

/// A server on which sessions of a few owners and devices come, go and move.
struct Fleet {
    server: Server,
    chance: SeededEntropy,
    held: Vec<Session>,
}

impl Fleet {
    fn draw(&self, below: usize) -> usize {
        u32::from_be_bytes(entropy::bytes(&self.chance)) as usize % below
    }

    fn step(&mut self) {
        let admin = self.server.admin.clone();
        let subject = format!("agent-{}", self.draw(12));
        let held = self.draw(self.held.len().max(1));
        let (server, held) = (&self.server, self.held.get(held).cloned());
        match (self.draw(20), held) {
            (0..=3, _) => {
                let owner = [json!(null), json!("o0"), json!("o1"), json!("o2")][self.draw(4)].clone();
                server.register(&subject, &json!({ "ownerId": owner, "maxSessions": 50 }));
            }
            (4..=13, _) | (_, None) => {
                let device = [json!(null), json!("d0"), json!("d1"), json!("d2")][self.draw(4)].clone();
                let ttl = [300, 600, 86_400][self.draw(3)];
                let body = json!({ "subjectId": subject, "ttl": ttl, "device": device });
                let reply = server.post("/v1/sessions").bearer(&admin).json(&body).send();
                if reply.status == 201 {
                    let session = Session { id: reply.text("sessionId"), token: reply.text("token") };
                    self.held.push(session);
                }
            }
            (14 | 15, Some(session)) => {
                server.delete(&session.path()).bearer(&admin).send();
            }
            (16, Some(_)) => {
                let device = self.draw(3);
                let target = format!("/v1/subjects/{subject}/sessions?device=d{device}");
                server.delete(&target).bearer(&admin).send();
            }
            (17, Some(_)) => {
                let selector = [json!({ "ownerId": "o1" }), json!({ "device": "d1" })][self.draw(2)].clone();
                let body = json!({ "selector": selector, "reason": "a trial" });
                server.post("/v1/revocations").bearer(&admin).json(&body).send().expect(200);
            }
            (18, Some(_)) => {
                let body = json!({ "reason": "a trial" });
                server.post(&format!("/v1/subjects/{subject}/erase")).bearer(&admin).json(&body).send();
            }
            (_, Some(_)) => server.advance([1, 150, 300][self.draw(3)]),
        }
    }

    fn key_of(&self, owner: Option<&str>) -> String {
        owner.map_or_else(|| self.server.admin.clone(), |owner| self.server.issue_key("owner", Some(owner)).0)
    }

    /// Every item of a list, page by page, without what it reflects.
    fn walked(&self, key: &str, target: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page =
                self.server.get(&format!("{target}limit=7{cursor}")).bearer(key).send().expect(200).json();
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        for item in &mut items {
            item.as_object_mut().unwrap().remove("asOfPosition");
        }
        items
    }

    /// Compares every list of the present with the same of the past; gives back how much there was to compare.
    fn compare(&self) -> usize {
        let admin = &self.server.admin;
        let put = self
            .server
            .put("/v1/subjects/last")
            .bearer(admin)
            .json(&json!({ "name": self.draw(1 << 30).to_string() }));
        let last = put.send().position().unwrap();
        let mut compared = 0;
        for owner in ["", "o0", "o1", "o2", "nobody"] {
            for device in ["", "d0", "d1", "d2"] {
                for status in ["active", "expired", "revoked", "all"] {
                    let mut filter = format!("status={status}&");
                    for (name, value) in [("ownerId", owner), ("device", device)] {
                        if !value.is_empty() {
                            write!(filter, "{name}={value}&").unwrap();
                        }
                    }
                    let now = self.walked(admin, &format!("/v1/sessions?{filter}"));
                    let then = self.walked(admin, &format!("/v1/sessions?{filter}asOfPosition={last}&"));
                    assert_eq!(now, then, "{filter}");
                    compared += now.len();
                }
            }
            let filter = if owner.is_empty() { String::new() } else { format!("ownerId={owner}&") };
            let now = self.walked(admin, &format!("/v1/subjects?{filter}"));
            let then = self.walked(admin, &format!("/v1/subjects?{filter}asOfPosition={last}&"));
            assert_eq!(now, then, "subjects: {filter}");
            if !owner.is_empty() {
                // An owner's own are those of its id, and it may say so.
                let key = self.key_of(Some(owner));
                assert_eq!(self.walked(&key, "/v1/subjects?"), now);
                let sessions = self.walked(admin, &format!("/v1/sessions?status=all&{filter}"));
                for own in ["", &*filter] {
                    assert_eq!(self.walked(&key, &format!("/v1/sessions?status=all&{own}")), sessions);
                }
                assert!(self.walked(&key, "/v1/sessions?status=all&ownerId=another&").is_empty());
                assert!(self.walked(&key, "/v1/subjects?ownerId=another&").is_empty());
            }
        }
        compared
    }
}

#[test]
fn lists_from_the_indexes_are_those_that_a_fold_of_everything_gives() {
    let server = Server::with(&["limits.per_device=50"]);
    let mut fleet = Fleet { server, chance: SeededEntropy::new(7), held: vec![] };
    let mut compared = 0;
    for round in 0..4 {
        for _ in 0..90 {
            fleet.step();
        }
        compared += fleet.compare();
        match round {
            0 => {}
            // From a snapshot, and from the log alone.
            1 => fleet.server.restart(),
            _ => fleet.server.kill9(),
        }
        fleet.compare();
    }
    assert!(compared > 1_000, "{compared}");
    let ended = fleet.server.events("SessionsRevoked");
    assert!(ended.iter().any(|event| event["subjectId"].is_null()), "no bulk revocation");
    assert!(ended.iter().any(|event| event["subjectId"].is_string()), "no end of a subject's sessions");
    for kind in ["SessionRevoked", "SessionExpired", "SubjectErased"] {
        assert!(!fleet.server.events(kind).is_empty(), "no {kind}");
    }
}
