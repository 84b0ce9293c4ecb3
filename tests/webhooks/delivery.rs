//! Whatever a receiver does, it gets every notice afterwards, in the order of each session.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    receiver::{BROKEN, INSIDE, Manner, OK, Received, Receiver, Webhooks, nobody},
    server::{Server, Session},
};

fn server() -> Server {
    Server::with(&[INSIDE])
}

/// Sessions that are each renewed a few times, so that each has several notices in order.
fn busy(server: &Server, subjects: u32) -> usize {
    let mut sessions: Vec<Session> =
        (0..subjects).map(|number| server.session(&format!("agent-{number}"), 86_400)).collect();
    for _ in 0..2 {
        server.advance(43_200);
        for session in &mut sessions {
            let reply = server.renew(session).send().expect(200);
            *session = session.renewed(&reply);
        }
    }
    // Each began and was renewed twice.
    sessions.len() * 3
}

/// Each notice was accepted, and those of one session in the order of their positions.
#[track_caller]
fn assert_in_order(accepted: &[Received]) {
    let mut seen = BTreeSet::new();
    let mut last = BTreeMap::<String, u64>::new();
    for request in accepted.iter().filter(|request| seen.insert(request.id())) {
        let session = request.data("sessionId").as_str().unwrap().to_owned();
        let position = request.data("position").as_u64().unwrap();
        assert!(last.insert(session, position).is_none_or(|before| before < position), "{accepted:#?}");
    }
}

fn is_delivered(deliveries: &[Value]) -> bool {
    !deliveries.is_empty() && deliveries.iter().all(|delivery| delivery["status"] == "delivered")
}

#[test]
fn a_receiver_that_works_is_told_at_once() {
    let (server, receiver) = (server(), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    let count = busy(&server, 3);
    let told = receiver.wait_for_accepted(count);
    assert_in_order(&told);
    assert_eq!(told.len(), count, "once each");
    let first = &told[0];
    assert_eq!((first.target.as_str(), first.header("content-type")), ("/hook", "application/json"));
    let body = first.json();
    assert_eq!(body["type"], "SESSION_CREATED");
    assert_eq!((&body["timestamp"], &body["data"]["kind"]), (&body["data"]["occurredAt"], &body["type"]));
    let named = format!("msg_{}", body["data"]["noticeId"].as_str().unwrap().replace('.', "_"));
    assert_eq!(first.id(), named);
    let deliveries = server.wait_for_deliveries(&webhook, |all| all.len() == count && is_delivered(all));
    let attempts = deliveries[0]["attempts"].as_array().unwrap();
    assert_eq!(
        (attempts.len(), &attempts[0]["outcome"], &attempts[0]["httpStatus"]),
        (1, &json!("delivered"), &json!(200))
    );
    assert!(deliveries[0]["nextAttemptAt"].is_null());
}

/// The receiver misbehaves, then works; whatever it was, nothing is lost and nothing is out of order.
fn recovers(manner: Manner, outcome: &str) {
    let (server, receiver) = (server(), Receiver::start(manner));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    let count = busy(&server, 2);
    server.wait_for_deliveries(&webhook, |all| {
        all.len() == count && all.iter().any(|one| one["attempts"][0]["outcome"] == outcome)
    });
    assert!(receiver.accepted().is_empty());
    receiver.behave(OK);
    server.advance(3_600);
    let accepted = receiver.wait_for_accepted(count);
    assert_in_order(&accepted);
    let attempts: BTreeSet<_> = receiver.received().iter().map(Received::id).collect();
    assert_eq!(attempts.len(), count, "every attempt at a notice has its name");
    server.wait_for_deliveries(&webhook, is_delivered);
}

#[test]
fn a_receiver_that_answers_500_gets_all_afterwards() {
    recovers(BROKEN, "http_error");
}

#[test]
fn a_receiver_that_closes_gets_all_afterwards() {
    recovers(Manner::Closes, "unreachable");
}

#[test]
fn a_receiver_that_wants_to_send_us_elsewhere_gets_all_itself_afterwards() {
    let elsewhere = Receiver::start(OK);
    let header: &'static str = format!("location: {}\r\n", elsewhere.url()).leak();
    recovers(Manner::Answers(307, header), "redirected");
    assert!(elsewhere.received().is_empty(), "a redirect was followed");
}

#[test]
fn a_receiver_that_hangs_gets_all_afterwards() {
    let (server, receiver) = (server(), Receiver::start(Manner::Hangs));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    server.session("b", 86_400);
    receiver.wait_for(2);
    receiver.behave(OK);
    // This waits until they are given up, for less than 12 s.
    server.advance(1);
    let deliveries = server.deliveries(&webhook);
    assert!(deliveries.iter().all(|one| one["attempts"][0]["outcome"] == "timed_out"), "{deliveries:?}");
    server.advance(5);
    assert_in_order(&receiver.wait_for_accepted(2));
    server.wait_for_deliveries(&webhook, is_delivered);
}

#[test]
fn a_receiver_that_dawdles_gets_all_and_no_more_than_eight_at_once() {
    let (server, receiver) = (server(), Receiver::start(Manner::Dawdles(Duration::from_millis(100))));
    server.webhook(&receiver.url(), &json!({}));
    let count = busy(&server, 12);
    assert_in_order(&receiver.wait_for_accepted(count));
    assert!((2..=8).contains(&receiver.most_at_once()), "{}", receiver.most_at_once());
}

#[test]
fn a_receiver_that_is_dead_for_an_hour_gets_all_when_it_is_back() {
    let (server, receiver) = (server(), Receiver::start(BROKEN));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    let mut count = busy(&server, 2);
    for minute in 0..60 {
        server.advance(60);
        if minute % 10 == 0 {
            server.session(&format!("later-{minute}"), 86_400);
            count += 1;
        }
    }
    let asked = receiver.received().len();
    assert!((4..200).contains(&asked), "{asked} requests in an hour");
    receiver.behave(OK);
    server.advance(3_600);
    assert_in_order(&receiver.wait_for_accepted(count));
    server.wait_for_deliveries(&webhook, |all| all.len() == count && is_delivered(all));
}

/// The clock answers when all that became due has been tried.
#[test]
fn what_is_due_is_tried_before_the_clock_answers() {
    let (server, receiver) = (server(), Receiver::start(BROKEN));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    receiver.wait_for(1);
    server.wait_for_deliveries(&webhook, |all| all[0]["attempts"].as_array().unwrap().len() == 1);
    let tried = || server.deliveries(&webhook)[0]["attempts"].as_array().unwrap().len();
    server.advance(3);
    assert_eq!(tried(), 1, "80 % of 5 s have not passed");
    server.advance(2);
    assert_eq!(tried(), 2);
    server.advance(30);
    assert_eq!(tried(), 3);
    receiver.behave(OK);
    server.advance(120);
    assert_eq!(server.deliveries(&webhook)[0]["status"], "delivered");
    let ids: BTreeSet<_> = receiver.received().iter().map(Received::id).collect();
    assert_eq!((receiver.received().len(), ids.len()), (4, 1), "the same name at each attempt");
}

#[test]
fn what_fails_for_days_is_parked_and_can_be_told_again() {
    let (server, receiver) = (server(), Receiver::start(BROKEN));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 604_800);
    receiver.wait_for(1);
    for _ in 0..14 {
        server.advance(21_600);
    }
    let deliveries = server.deliveries(&webhook);
    assert_eq!((deliveries.len(), &deliveries[0]["status"]), (1, &json!("parked")));
    assert!(deliveries[0]["nextAttemptAt"].is_null());
    assert!(deliveries[0]["attempts"].as_array().unwrap().len() > 5, "{deliveries:?}");
    assert_eq!(server.metric("tenure_webhook_parked"), 1);
    receiver.behave(OK);
    server.advance(86_400);
    assert!(receiver.accepted().is_empty(), "what is parked is left alone");
    // What comes later is told.
    server.session("b", 86_400);
    receiver.wait_for_accepted(1);
    let parked = deliveries[0]["noticeId"].as_str().unwrap().split_once('.').unwrap().0;
    let body = json!({ "from": parked.parse::<u64>().unwrap() });
    server.post(&webhook.path("/redeliver")).bearer(&server.admin).json(&body).send().expect(200);
    receiver.wait_for_accepted(2);
    server.wait_for_deliveries(&webhook, is_delivered);
    assert_eq!(server.metric("tenure_webhook_parked"), 0);
}

#[test]
fn a_receiver_that_is_gone_is_not_asked_again_for_a_notice() {
    let (server, receiver) = (server(), Receiver::start(Manner::Answers(410, "")));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    server.wait_for_deliveries(&webhook, |all| all.len() == 1 && all[0]["status"] == "parked");
    server.advance(86_000);
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn a_receiver_may_ask_for_more_time() {
    let (server, receiver) = (server(), Receiver::start(Manner::Answers(429, "retry-after: 60\r\n")));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    server.wait_for_deliveries(&webhook, |all| {
        all.len() == 1 && all[0]["attempts"].as_array().unwrap().len() == 1
    });
    receiver.behave(OK);
    server.advance(59);
    assert_eq!(receiver.received().len(), 1);
    server.advance(1);
    assert_eq!(receiver.received().len(), 2);
}

#[test]
fn nobody_there_is_found_out_and_noted() {
    let server = server();
    let webhook = server.webhook(&nobody(), &json!({}));
    server.session("a", 86_400);
    let deliveries =
        server.wait_for_deliveries(&webhook, |all| all.len() == 1 && !all[0]["attempts"][0].is_null());
    assert_eq!(deliveries[0]["attempts"][0]["outcome"], "connection_refused");
    assert_eq!(deliveries[0]["attempts"][0]["httpStatus"], Value::Null);
}

/// Killed while receivers are being told, again and again: afterwards each has each notice.
#[test]
fn a_kill_in_the_middle_loses_no_notice() {
    let (mut server, receiver) = (server(), Receiver::start(Manner::Dawdles(Duration::from_millis(15))));
    let down = Receiver::start(BROKEN);
    server.webhook(&receiver.url(), &json!({}));
    let troubled = server.webhook(&down.url(), &json!({}));
    let mut count = 0;
    for round in 0..4 {
        for number in 0..10 {
            server.session(&format!("agent-{round}-{number}"), 86_400);
            count += 1;
        }
        // Some have arrived, some are on their way, some are not read yet.
        receiver.wait_for(count - 8);
        server.kill9();
    }
    assert_in_order(&receiver.wait_for_accepted(count));
    down.behave(OK);
    server.advance(3_600);
    assert_in_order(&down.wait_for_accepted(count));
    server.wait_for_deliveries(&troubled, is_delivered);
}

/// What was told before a restart is not told again, and what was not is.
#[test]
fn a_restart_tells_no_old_news() {
    let (mut server, receiver) = (server(), Receiver::start(OK));
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("a", 86_400);
    receiver.wait_for_accepted(1);
    receiver.behave(BROKEN);
    server.session("b", 86_400);
    server.wait_for_deliveries(&webhook, |all| all.len() == 2 && !all[1]["attempts"][0].is_null());
    server.restart();
    let kept = server.deliveries(&webhook);
    assert_eq!((&kept[0]["status"], &kept[1]["status"]), (&json!("delivered"), &json!("pending")));
    assert_eq!(kept[1]["attempts"].as_array().unwrap().len(), 1);
    receiver.behave(OK);
    server.advance(60);
    receiver.wait_for_accepted(2);
    server.advance(3_600);
    assert_eq!(receiver.accepted().len(), 2);
}

#[test]
fn a_slow_or_dead_receiver_delays_no_command_and_no_other_receiver() {
    let (server, quick) = (server(), Receiver::start(OK));
    let hanging: Vec<_> = (0..10).map(|_| Receiver::start(Manner::Hangs)).collect();
    for receiver in &hanging {
        server.webhook(&receiver.url(), &json!({}));
    }
    server.webhook(&quick.url(), &json!({}));
    let begun = stopwatch();
    for number in 0..50 {
        server.session(&format!("agent-{number}"), 86_400);
    }
    quick.wait_for_accepted(50);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}: somebody waited for who hangs", begun.elapsed());
    assert!(
        hanging.iter().all(|receiver| receiver.received().len() <= 8),
        "a receiver that hangs is hammered"
    );
}

/// The receivers of some owners, who all answered just in time, held all the places that there are: everyone else was
/// told a quarter of a minute later.
#[test]
fn slow_receivers_of_other_owners_delay_nobody() {
    let (server, quick) = (server(), Receiver::start(OK));
    let slow = Receiver::start(Manner::Dawdles(Duration::from_secs(9)));
    for owner in 0..8 {
        let (key, _) = server.issue_key("owner", Some(&format!("slow-{owner}")));
        for _ in 0..20 {
            let asked = json!({ "url": slow.url() });
            server.post("/v1/webhooks").bearer(&key).json(&asked).send().expect(201);
        }
    }
    let (key, _) = server.issue_key("owner", Some("quick"));
    server.post("/v1/webhooks").bearer(&key).json(&json!({ "url": quick.url() })).send().expect(201);
    for owner in 0..8 {
        for agent in 0..10 {
            let subject = format!("slow-{owner}-{agent}");
            server.register(&subject, &json!({ "ownerId": format!("slow-{owner}") }));
            server.create(&json!({ "subjectId": subject }));
        }
    }
    slow.wait_for(8 * 20);
    server.register("quick", &json!({ "ownerId": "quick" }));
    let begun = stopwatch();
    server.create(&json!({ "subjectId": "quick" }));
    quick.wait_for_accepted(1);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}: it waited for others", begun.elapsed());
}

/// Only what came after a webhook is news to it.
#[test]
fn a_new_webhook_begins_at_its_creation() {
    let (server, receiver) = (server(), Receiver::start(OK));
    server.session("before", 86_400);
    let webhook = server.webhook(&receiver.url(), &json!({}));
    server.session("after", 86_400);
    let told = receiver.wait_for(1);
    assert_eq!(told[0].data("subjectId"), "after");
    // It may ask for what was before.
    let body = json!({ "from": 1 });
    server.post(&webhook.path("/redeliver")).bearer(&server.admin).json(&body).send().expect(200);
    receiver.wait_for_accepted(2);
    pause(Duration::from_millis(50));
    let subjects: Vec<_> = receiver.received().iter().map(|request| request.data("subjectId")).collect();
    assert_eq!(subjects.iter().filter(|subject| **subject == "before").count(), 1);
}

#[test]
fn a_bulk_revocation_is_delivered_once_to_each_owner_concerned() {
    let server = server();
    let (alice, bob, all) = (Receiver::start(BROKEN), Receiver::start(OK), Receiver::start(OK));
    for (subject, owner) in [("a", "alice"), ("b", "alice"), ("c", "bob")] {
        server.register(subject, &json!({ "ownerId": owner }));
        server.create(&json!({ "subjectId": subject, "device": "laptop" }));
        server.create(&json!({ "subjectId": subject }));
    }
    let only = |owner: Option<&str>| json!({ "ownerId": owner, "kinds": ["SESSION_REVOKED"] });
    let of_alice = server.webhook(&alice.url(), &only(Some("alice")));
    server.webhook(&bob.url(), &only(Some("bob")));
    server.webhook(&all.url(), &json!({ "kinds": ["SESSION_REVOKED"] }));
    let body = json!({ "selector": { "device": "laptop" }, "reason": "the laptops were stolen" });
    let ended = server.post("/v1/revocations").bearer(&server.admin).json(&body).send().expect(200).json();
    assert_eq!(ended["matched"], 3);

    // The two do not wait for one another.
    let both = all.wait_for_accepted(2);
    let told: BTreeMap<_, _> = both
        .iter()
        .map(|request| (request.id(), [request.data("ownerId"), request.data("matched")]))
        .collect();
    let id = |number| format!("msg_{}_{number}", ended["position"]);
    let expected = [(id(1), [json!("alice"), json!(2)]), (id(2), [json!("bob"), json!(1)])];
    assert_eq!(told, BTreeMap::from(expected));
    assert_eq!(bob.wait_for_accepted(1).len(), 1);
    // One that was down at first is told too, and of nothing else.
    alice.wait_for(1);
    // Only when the failure is noted is it known from when on the next attempt is due.
    let is_noted =
        |deliveries: &[Value]| deliveries.iter().any(|one| !one["attempts"].as_array().unwrap().is_empty());
    server.wait_for_deliveries(&of_alice, is_noted);
    alice.behave(OK);
    server.advance(60);
    let told = &alice.wait_for_accepted(1)[0];
    assert_eq!(told.id(), id(1));
    assert_eq!(
        (told.data("trigger"), told.data("reason")),
        (json!("bulk"), json!("the laptops were stolen"))
    );
    assert_eq!((told.data("sessionId"), told.data("subjectId")), (Value::Null, Value::Null));
    assert_eq!((told.data("selector")["device"].clone(), told.data("matched")), (json!("laptop"), json!(2)));
    let deliveries = server.wait_for_deliveries(&of_alice, is_delivered);
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
}

/// A list of webhooks from before one was made took it for deleted: its file was removed, and it never told anything.
#[test]
fn webhooks_made_at_the_same_moment_all_tell() {
    let (server, receiver) = (server(), Receiver::start(OK));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let webhook = server.webhook(&receiver.url(), &json!({}));
                    server.deliveries(&webhook);
                }
            });
        }
    });
    server.session("agent", 86_400);
    receiver.wait_for(80);
}

/// "By API key 01a2…" did not say whose hand it was, though the owner had named the key.
#[test]
fn an_owner_is_told_by_the_name_of_its_own_key() {
    let (server, receiver) = (server(), Receiver::start(OK));
    let kinds = json!({ "format": "ntfy", "kinds": ["SESSION_REVOKED"], "ownerId": "alice" });
    server.webhook(&receiver.url(), &kinds);
    let key = |body: &Value| {
        let made = server.post("/v1/credentials").bearer(&server.admin).json(body).send().expect(201).json();
        made["key"].as_str().unwrap().to_owned()
    };
    let own = key(&json!({ "role": "owner", "ownerId": "alice", "name": "Alice's phone" }));
    let other = key(&json!({ "role": "admin", "name": "Night desk" }));
    server.register("agent", &json!({ "ownerId": "alice" }));
    for (number, key) in [&own, &other].into_iter().enumerate() {
        let session = server.create(&json!({ "subjectId": "agent" }));
        server.delete(&session.path()).bearer(key).send().expect(200);
        receiver.wait_for_accepted(number + 1);
    }
    let told: Vec<_> = receiver.accepted().iter().map(|request| request.json().to_string()).collect();
    assert!(told[0].contains("Alice's phone") && told[0].contains("API key"), "{told:?}");
    assert!(told[1].contains("By API key") && !told[1].contains("Night desk"), "{told:?}");
}
