//! A verifier and its authority over time: revocations, rotations, silence.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tenure::{
    clock::{TestClock, pause, stopwatch},
    core::Timestamp,
    entropy::OsEntropy,
    verify::{Rejection, Verifier, VerifierConfig},
};

use crate::{
    fake::{Fake, PATIENCE, eventually, hurried, token_of},
    tokens::{Key, claims, noon, session_id},
};

/// So many revocations are measured.
const MEASURED: u32 = 200;

/// A machine that is busy with other things may hold up a round for so long, now and then.
const HELD_UP: Duration = Duration::from_millis(600);

/// How long a revocation takes to count, with the default rules: the figure in `docs/verify.md`.
#[tokio::test(flavor = "multi_thread")]
async fn measured_a_revocation_counts_within_the_poll_and_two_round_trips() {
    let fake = Fake::start();
    let verifier = Verifier::new(VerifierConfig::of("tenure")).unwrap();
    let _follower = fake.followed(&verifier).await;
    let mut waiting = Vec::new();
    let mut latencies = Vec::new();
    let mut number = 0;
    while latencies.len() < MEASURED as usize {
        if number < MEASURED {
            let (session, token) = token_of(number);
            assert_eq!(said(&verifier, &token), Ok(()));
            fake.revoke(&json!({ "sessionId": session }));
            waiting.push((stopwatch(), token));
            number += 1;
        }
        // A prime, so that they fall everywhere between two polls.
        let until = stopwatch();
        while until.elapsed() < Duration::from_millis(23) {
            waiting.retain(|(since, token)| {
                let is_refused = said(&verifier, token) == Err(Rejection::Revoked);
                latencies.extend(is_refused.then(|| since.elapsed()));
                !is_refused
            });
            pause(Duration::from_millis(1));
        }
    }
    are_within_the_poll_and_two_round_trips(latencies, verifier.config());
}

/// Prints the median, the 99th of 100 and the worst. Round trips on one machine take next to nothing: so the worst of
/// a poll twice as long is well beyond what is allowed here, and so is the median of one that is much longer.
#[expect(clippy::print_stdout, reason = "it is what was measured")]
#[track_caller]
pub(crate) fn are_within_the_poll_and_two_round_trips(mut latencies: Vec<Duration>, rules: &VerifierConfig) {
    latencies.sort_unstable();
    let of = |part: usize| latencies[(latencies.len() * part / 100).min(latencies.len() - 1)];
    let (count, median, late, worst) = (latencies.len(), of(50), of(99), of(100));
    println!(
        "of {count} revocations: median {} ms, p99 {} ms, worst {} ms",
        median.as_millis(),
        late.as_millis(),
        worst.as_millis()
    );
    assert!(median < rules.poll, "half of them took {median:?} or longer");
    assert!(late < rules.poll + HELD_UP, "of 100 of them one took {late:?} or longer");
    assert!(worst < rules.staleness_bound, "{worst:?}");
}

/// A verifier whose time stands still until a test moves it.
fn with_clock(rules: VerifierConfig) -> (Verifier, Arc<TestClock>) {
    let clock = Arc::new(TestClock::new(Timestamp::from_millis(1_000_000)));
    let verifier = Verifier::with(rules, Arc::<TestClock>::clone(&clock), &OsEntropy).unwrap();
    (verifier, clock)
}

pub(crate) fn said(verifier: &Verifier, token: &str) -> Result<(), Rejection> {
    verifier.check(token).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_starts_refuses_everything_until_all_was_heard() {
    let fake = Fake::start();
    for number in 0..1_000 {
        fake.revoke(&json!({ "sessionId": token_of(number).0 }));
    }
    fake.tell(|told| told.failing = Some(503));
    let verifier = Verifier::new(hurried()).unwrap();
    assert_eq!(said(&verifier, &token_of(2_000).1), Err(Rejection::NotReady));
    let follower = verifier.follow(fake.connection());
    eventually("it was asked", || fake.answered("/v1/keys", 503) > 1);
    assert_eq!(said(&verifier, &token_of(2_000).1), Err(Rejection::NotReady));
    fake.tell(|told| told.failing = None);
    tokio::time::timeout(PATIENCE, verifier.ready()).await.unwrap();
    assert_eq!(said(&verifier, &token_of(2_000).1), Ok(()));
    for number in [0, 199, 200, 500, 999] {
        assert_eq!(said(&verifier, &token_of(number).1), Err(Rejection::Revoked), "{number}");
    }
    drop(follower);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_a_token_that_was_taken_before() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let ((session, token), (_, other)) = (token_of(1), token_of(2));
    assert_eq!((said(&verifier, &token), said(&verifier, &other)), (Ok(()), Ok(())));
    fake.revoke(&json!({ "sessionId": session }));
    eventually("it is refused", || said(&verifier, &token) == Err(Rejection::Revoked));
    assert_eq!(said(&verifier, &other), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_end_whom_they_mean() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let token = token_of(1).1;
    let mut of_other = claims(&session_id(noon().plus_millis(-60_000), 2));
    of_other["sub"] = json!("agent-8");
    let of_other = Key::number(1).sign(&of_other);
    fake.revoke(&json!({ "selector": { "all": false, "subjectId": "agent-7", "ownerId": null } }));
    eventually("the subject's is refused", || said(&verifier, &token) == Err(Rejection::Revoked));
    assert_eq!(said(&verifier, &of_other), Ok(()));
    fake.revoke(&json!({ "selector": { "ownerId": "alice" } }));
    eventually("whoever could be meant is refused", || said(&verifier, &of_other) == Err(Rejection::Revoked));
    let mut again = claims(&session_id(noon().plus_millis(-60_000), 2));
    (again["sub"], again["iat"]) = (json!("agent-8"), json!(noon().plus_millis(5_001)));
    fake.tell(|told| told.now = noon().plus_millis(5_001));
    let again = Key::number(1).sign(&again);
    eventually("a token that was signed later passes", || said(&verifier, &again) == Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_with_overlap_ends_old_tokens_at_its_end_and_new_ones_work_at_once() {
    let fake = Fake::start();
    let (verifier, _clock) = with_clock(hurried());
    let _follower = fake.followed(&verifier).await;
    let old = token_of(1).1;
    let new = Key::number(2).sign(&claims(&session_id(noon(), 1)));
    let over = noon().plus_millis(30_000);
    fake.tell(|told| told.keys = vec![Key::number(2).shown(None), Key::number(1).shown(Some(over))]);
    eventually("the new key is known", || said(&verifier, &new) == Ok(()));
    assert_eq!(said(&verifier, &old), Ok(()));
    fake.tell(|told| told.now = over.plus_millis(-1));
    pause(Duration::from_millis(100));
    assert_eq!(said(&verifier, &old), Ok(()), "a millisecond before its end");
    fake.tell(|told| told.now = over);
    eventually("the old key is over", || said(&verifier, &old) == Err(Rejection::UnknownKey));
    assert_eq!(said(&verifier, &new), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_without_overlap_ends_every_token_of_the_old_key() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let old = token_of(1).1;
    assert_eq!(said(&verifier, &old), Ok(()));
    fake.tell(|told| told.keys = vec![Key::number(2).shown(None)]);
    eventually("it is refused", || said(&verifier, &old) == Err(Rejection::UnknownKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_gone_makes_everything_refused_after_the_bound_and_not_before() {
    let mut fake = Fake::start();
    let (verifier, clock) = with_clock(hurried());
    let _follower = fake.followed(&verifier).await;
    let token = token_of(1).1;
    fake.stop();
    // A round that was under way may have ended well.
    pause(Duration::from_millis(100));
    clock.advance(9).unwrap();
    assert_eq!(said(&verifier, &token), Ok(()));
    clock.advance(1).unwrap();
    let age = Duration::from_secs(10);
    assert_eq!(said(&verifier, &token), Err(Rejection::Stale { age }));
    assert_eq!(said(&verifier, "no token at all"), Err(Rejection::Stale { age }));
    let (session, other) = token_of(2);
    fake.revoke(&json!({ "sessionId": session }));
    fake.start_again();
    eventually("it is heard again", || said(&verifier, &token) == Ok(()));
    assert_eq!(said(&verifier, &other), Err(Rejection::Revoked), "what was revoked meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_answers_nonsense_is_one_that_is_gone() {
    for break_it in [
        (|told| told.failing = Some(500)) as fn(&mut crate::fake::Told),
        |told| told.failing = Some(302),
        |told| told.keys = vec![json!({ "keyId": "k4.pid.x", "paserk": "k4.public.x", "state": "active" })],
        |told| {
            told.items =
                vec![json!({ "position": 1, "at": "yesterday", "sessionId": session_id(noon(), 1) })];
        },
        |told| told.items = vec![json!({ "position": 9, "at": noon(), "sessionId": session_id(noon(), 1) })],
        |told| told.dawdling = Duration::from_secs(30),
    ] {
        let fake = Fake::start();
        let (verifier, clock) = with_clock(hurried());
        let _follower = fake.followed(&verifier).await;
        fake.tell(break_it);
        pause(Duration::from_millis(150));
        clock.advance(10).unwrap();
        pause(Duration::from_millis(50));
        assert!(matches!(said(&verifier, &token_of(3).1), Err(Rejection::Stale { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_follower_hears_no_more() {
    let fake = Fake::start();
    let (verifier, clock) = with_clock(hurried());
    let follower = fake.followed(&verifier).await;
    assert!(verifier.status().is_fresh);
    drop(follower);
    pause(Duration::from_millis(100));
    clock.advance(10).unwrap();
    pause(Duration::from_millis(100));
    assert!(matches!(said(&verifier, &token_of(1).1), Err(Rejection::Stale { .. })));
}

/// Somebody put the authority back from a backup: positions that were read before now say something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_put_back_is_read_anew() {
    let fake = Fake::start();
    let rules = VerifierConfig { staleness_bound: Duration::from_millis(500), ..hurried() };
    let verifier = Verifier::new(rules).unwrap();
    let _follower = fake.followed(&verifier).await;
    for number in 0..9 {
        fake.revoke(&json!({ "sessionId": token_of(number).0 }));
    }
    eventually("all is read", || said(&verifier, &token_of(8).1) == Err(Rejection::Revoked));
    let token = token_of(20).1;
    assert_eq!(said(&verifier, &token), Ok(()));
    fake.tell(|told| {
        told.now = noon().plus_millis(1);
        let restore = json!({ "position": 5, "at": told.now, "selector": { "all": true } });
        told.items.truncate(4);
        told.items.push(restore);
        let later = (6..40).map(|position| {
            json!({ "position": position, "at": told.now, "sessionId": session_id(noon(), position) })
        });
        told.items.extend(later);
        told.head = 39;
    });
    eventually("what the restore ended is refused", || said(&verifier, &token) == Err(Rejection::Revoked));
    assert_eq!(said(&verifier, &token_of(8).1), Err(Rejection::Revoked), "what was known is not forgotten");
}

/// Whoever puts a backup back stops the authority: after a silence nobody waits for the next look back, which is half
/// of the bound away.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_put_back_in_a_silence_is_noticed_at_its_end() {
    let mut fake = Fake::start();
    let rules = VerifierConfig { staleness_bound: Duration::from_hours(1), ..hurried() };
    let verifier = Verifier::new(rules).unwrap();
    let _follower = fake.followed(&verifier).await;
    for number in 0..9 {
        fake.revoke(&json!({ "sessionId": token_of(number).0 }));
    }
    eventually("all is read", || said(&verifier, &token_of(8).1) == Err(Rejection::Revoked));
    let token = token_of(20).1;
    assert_eq!(said(&verifier, &token), Ok(()));
    fake.stop();
    let silent = verifier.status().age.unwrap();
    eventually("a round has failed", || verifier.status().age.unwrap() > silent + Duration::from_millis(500));
    fake.tell(|told| {
        told.now = noon().plus_millis(1);
        told.items.truncate(4);
        told.items.push(json!({ "position": 5, "at": told.now, "selector": { "all": true } }));
        let later = (6..40).map(|position| {
            json!({ "position": position, "at": told.now, "sessionId": session_id(noon(), position) })
        });
        told.items.extend(later);
        told.head = 39;
    });
    fake.start_again();
    eventually("what the restore ended is refused", || said(&verifier, &token) == Err(Rejection::Revoked));
}

/// The backup was so old that its log is shorter than what was read. What it ended since is lost with the rest, so no
/// token that was signed before is taken any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_ends_before_what_was_read_ends_the_tokens_of_before() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    fake.tell(|told| told.head = 50);
    pause(Duration::from_millis(100));
    let (session, before) = token_of(20);
    assert_eq!(said(&verifier, &before), Ok(()));
    let put_back = noon().plus_millis(3_000);
    fake.tell(|told| (told.now, told.head) = (put_back, 3));
    eventually("what was signed before is refused", || said(&verifier, &before) == Err(Rejection::Revoked));
    let mut fresh = claims(&session);
    fresh["iat"] = json!(put_back.plus_millis(1_000));
    assert_eq!(said(&verifier, &Key::number(1).sign(&fresh)), Ok(()), "signed after it");
    fake.revoke(&json!({ "sessionId": session }));
    let token = Key::number(1).sign(&fresh);
    eventually("news counts from 0 on", || said(&verifier, &token) == Err(Rejection::Revoked));
    assert_eq!(fake.answered("/v1/revocations/feed", 409), 1);
}

/// The backup was so old that its log is shorter than what was read, and an authority of before says so with 400.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_became_shorter_is_read_anew() {
    let fake = Fake::start();
    fake.tell(|told| told.beyond = 400);
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    fake.tell(|told| told.head = 50);
    pause(Duration::from_millis(100));
    let token = token_of(20).1;
    fake.tell(|told| {
        told.items = vec![json!({ "position": 3, "at": told.now, "selector": { "all": true } })];
        told.head = 3;
    });
    eventually("what the restore ended is refused", || said(&verifier, &token) == Err(Rejection::Revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_not_read_from_its_beginning() {
    let fake = Fake::start();
    let day = 86_400_000;
    fake.tell(|told| {
        let item = |position: i64| {
            let at = noon().plus_millis(-day + position * day / 100_000);
            let number = u32::try_from(position).unwrap();
            json!({ "position": position, "at": at, "sessionId": session_id(noon().plus_millis(-2 * day), number) })
        };
        told.items = (1..=100_000).map(item).collect();
        told.head = 100_000;
    });
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    let remembered = verifier.status().revocations;
    // 1 810 s of a day that had a hundred thousand.
    assert!((2_094..=2_294).contains(&remembered), "{remembered}");
    let pages = fake.answered("/v1/revocations/feed", 200);
    assert!(pages < 60, "{pages} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_bounded_by_time_and_by_number() {
    let fake = Fake::start();
    let rules = VerifierConfig { remembered_revocations: 300, ..hurried() };
    let verifier = Verifier::new(rules).unwrap();
    let _follower = fake.followed(&verifier).await;
    for number in 0..1_000 {
        fake.revoke(&json!({ "sessionId": token_of(number).0 }));
    }
    eventually("the last is known", || said(&verifier, &token_of(999).1) == Err(Rejection::Revoked));
    assert_eq!(verifier.status().revocations, 300);
    assert_eq!(said(&verifier, &token_of(0).1), Err(Rejection::Revoked), "the first is not let in");
    fake.tell(|told| told.now = noon().plus_millis(1_810_000));
    eventually("all is forgotten", || verifier.status().revocations == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_asked_for_at_once_and_a_flood_of_unknown_keys_asks_once() {
    let fake = Fake::start();
    let rules = VerifierConfig { poll: Duration::from_secs(2), ..VerifierConfig::of("tenure") };
    let verifier = Verifier::new(rules).unwrap();
    let _follower = fake.followed(&verifier).await;
    fake.tell(|told| told.keys = vec![Key::number(2).shown(None), Key::number(1).shown(Some(noon()))]);
    let new = Key::number(2).sign(&claims(&session_id(noon(), 1)));
    assert_eq!(said(&verifier, &new), Err(Rejection::UnknownKey), "by what is known");
    let begun = stopwatch();
    assert!(verifier.check_with_update(&new).await.is_ok());
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    let before = fake.answered("/v1/keys", 200);
    for number in 3..100 {
        let forged = Key::number(number).sign(&claims(&session_id(noon(), 1)));
        let judged = verifier.check_with_update(&forged).await.map(drop);
        assert_eq!(judged, Err(Rejection::UnknownKey));
    }
    assert_eq!(fake.answered("/v1/keys", 200), before, "the next time is a poll later");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_did_not_change_are_not_sent_again() {
    let fake = Fake::start();
    fake.tell(|told| told.etag = true);
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    eventually("they are asked for again", || fake.answered("/v1/keys", 304) > 3);
    assert_eq!(fake.answered("/v1/keys", 200), 1);
    assert_eq!(said(&verifier, &token_of(1).1), Ok(()));
    fake.tell(|told| told.keys.push(Key::number(2).shown(None)));
    let new = Key::number(2).sign(&claims(&session_id(noon(), 1)));
    eventually("a change is seen", || said(&verifier, &new) == Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_hold_many_revocations_of_one_position() {
    let fake = Fake::start();
    let verifier = Verifier::new(hurried()).unwrap();
    let _follower = fake.followed(&verifier).await;
    fake.tell(|told| {
        let item = |number| json!({ "position": 7, "at": noon(), "sessionId": token_of(number).0 });
        told.items = (0..50).map(item).collect::<Vec<Value>>();
        told.head = 9;
    });
    eventually("the last is known", || said(&verifier, &token_of(49).1) == Err(Rejection::Revoked));
    assert_eq!(said(&verifier, &token_of(0).1), Err(Rejection::Revoked));
    pause(Duration::from_millis(100));
    assert_eq!(verifier.status().revocations, 50);
}
