//! The account, step by step.

use super::*;
use crate::notify::notice::{ExpiredDetails, NoticeDetails, NoticeKind, NoticeName};
use tenure_core::event::ExpiryCause;

const T0: i64 = 1_800_000_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(T0 + seconds * 1_000)
}

fn id(position: u64) -> NoticeId {
    NoticeId { position: Position(position), number: 1 }
}

/// A notice about a session of a subject; session 0 is several at once.
fn notice(position: u64, subject: &str, session: u8) -> Notice {
    Notice {
        notice_id: NoticeName { epoch: 1, id: id(position) },
        kind: NoticeKind::SessionExpired,
        position: Position(position),
        occurred_at: at(0),
        session_id: (session > 0).then(|| SessionId::from_bytes([session; 16])),
        subject_id: Some(subject.parse().unwrap()),
        subject_name: None,
        owner_id: None,
        details: NoticeDetails::Expired(ExpiredDetails { expires_at: at(0), cause: ExpiryCause::Ttl }),
    }
}

/// An account of these sessions' notices, at positions 1, 2, 3 …, of a receiver that answers soon.
fn account(told: &[(&str, u8)]) -> DeliveryQueue {
    let mut account = DeliveryQueue { is_quick: true, ..DeliveryQueue::new(Position(0)) };
    let news: Vec<_> =
        (1..).zip(told).map(|(position, (subject, session))| notice(position, subject, *session)).collect();
    account.take(news.iter(), (Position(1), Position(told.len() as u64)), at(0));
    account
}

fn fails() -> AttemptAnswer {
    AttemptAnswer { outcome: DeliveryOutcome::HttpError, status: Some(500), retry_after: None }
}

impl DeliveryQueue {
    fn fail(&mut self, position: u64, seconds: i64) {
        self.arrive(id(position), fails(), at(seconds), u16::MAX);
    }

    fn succeed(&mut self, position: u64, seconds: i64) {
        self.arrive(id(position), DeliveryOutcome::Delivered.into(), at(seconds), 0);
    }

    fn fate(&self, position: u64) -> DeliveryState {
        self.open.get(&id(position)).or_else(|| self.closed.get(&id(position))).unwrap().fate
    }
}

fn positions(ids: &[NoticeId]) -> Vec<u64> {
    ids.iter().map(|id| id.position.0).collect()
}

#[test]
fn the_first_notice_of_each_session_goes_and_the_next_waits_for_it() {
    let mut account = account(&[("a", 1), ("a", 1), ("a", 2), ("b", 3), ("a", 1)]);
    assert_eq!(positions(&account.depart(at(0))), [1, 3, 4]);
    assert_eq!(positions(&account.depart(at(0))), Vec::<u64>::new());
    account.succeed(3, 0);
    account.fail(1, 0);
    assert_eq!(positions(&account.depart(at(0))), Vec::<u64>::new());
    assert_eq!(account.next_turn(), Some(at(5)));
    assert_eq!(positions(&account.depart(at(5))), [1]);
    account.succeed(1, 5);
    assert_eq!(positions(&account.depart(at(5))), [2]);
}

#[test]
fn a_notice_of_several_sessions_keeps_its_place_among_those_of_its_subject_only() {
    let mut account = account(&[("a", 1), ("a", 0), ("a", 2), ("b", 3)]);
    assert_eq!(positions(&account.depart(at(0))), [1, 4]);
    account.succeed(1, 0);
    assert_eq!(positions(&account.depart(at(0))), [2]);
    account.succeed(2, 0);
    assert_eq!(positions(&account.depart(at(0))), [3]);
}

#[test]
fn no_more_than_eight_are_on_their_way_at_once() {
    let told: Vec<_> = (1..=20).map(|session| ("a", session)).collect();
    let mut account = account(&told);
    assert_eq!(account.depart(at(0)).len(), ABREAST);
    account.succeed(3, 0);
    assert_eq!(positions(&account.depart(at(0))), [9]);
}

#[test]
fn what_fails_for_three_days_is_parked_and_the_session_goes_on() {
    let mut account = account(&[("a", 1), ("a", 1)]);
    let mut now = 0;
    let mut attempts = 0;
    while matches!(account.fate(1), DeliveryState::Pending(_)) {
        now = (account.next_turn().unwrap().as_millis() - T0) / 1_000;
        assert_eq!(positions(&account.depart(at(now))), [1]);
        account.fail(1, now);
        attempts += 1;
    }
    assert!((259_200..=259_200 + 21_600).contains(&now), "{now}");
    assert!((15..=30).contains(&attempts), "{attempts}");
    assert_eq!(account.fate(1), DeliveryState::Parked);
    assert_eq!(account.closed[&id(1)].attempts.len(), attempts.min(ATTEMPTS));
    assert_eq!(positions(&account.depart(at(now))), [2]);
    account.fail(2, now);
    assert_eq!(account.fate(2), DeliveryState::Parked, "it has waited for three days, too");
}

#[test]
fn a_receiver_that_wants_no_more_is_not_asked_twice() {
    let mut account = account(&[("a", 1)]);
    account.depart(at(0));
    account.arrive(id(1), DeliveryOutcome::Gone.into(), at(0), 0);
    assert_eq!((account.fate(1), account.next_turn()), (DeliveryState::Parked, None));
}

#[test]
fn a_receiver_that_is_down_is_asked_for_one_notice_at_a_time_and_gets_all_when_it_is_back() {
    let told: Vec<_> = (1..=20).map(|session| ("a", session)).collect();
    let mut account = account(&told);
    for position in positions(&account.depart(at(0))) {
        account.fail(position, 0);
    }
    assert_eq!(positions(&account.depart(at(0))), Vec::<u64>::new(), "eight failed, so it rests");
    assert_eq!(account.next_turn(), Some(at(5)));
    let probe = positions(&account.depart(at(5)));
    assert_eq!(probe.len(), 1);
    assert_eq!(positions(&account.depart(at(6))), Vec::<u64>::new());
    account.fail(probe[0], 6);
    assert_eq!(account.next_turn(), Some(at(36)));
    let probe = positions(&account.depart(at(36)));
    account.succeed(probe[0], 36);
    assert_eq!(account.depart(at(36)).len(), ABREAST);
    let (open, _, _) = account.counts();
    assert_eq!(open, 19);
    assert!(account.open.values().all(|delivery| delivery.next() <= Some(at(36))));
}

#[test]
fn what_is_too_old_is_asked_for_a_last_time_even_of_a_receiver_that_is_down() {
    let told: Vec<_> = (1..=20).map(|session| ("a", session)).collect();
    let mut account = account(&told);
    for position in positions(&account.depart(at(0))) {
        account.fail(position, 0);
    }
    let late = 259_200;
    while let due @ [_, ..] = &*positions(&account.depart(at(late))) {
        for position in due {
            account.fail(*position, late);
        }
    }
    assert_eq!(account.counts(), (0, 20, None));
}

#[test]
fn beginning_again_tells_what_was_told_and_reads_what_was_read() {
    let mut account = account(&[("a", 1), ("a", 1), ("a", 2)]);
    for position in [1, 2] {
        account.depart(at(0));
        account.succeed(position, 0);
    }
    account.begin_again(Position(2), Position(9));
    assert_eq!(
        (account.read(), account.closed.len(), account.open.len()),
        (Position(1), 1, 1),
        "3 is on its way"
    );
    // A reader that has not heard of it is not listened to.
    account.take([notice(4, "a", 4)].iter(), (Position(4), Position(4)), at(1));
    assert_eq!(account.read(), Position(1));
    let again = [notice(1, "a", 1), notice(2, "a", 1), notice(3, "a", 2)];
    account.take(again.iter(), (Position(1), Position(3)), at(1));
    assert_eq!(positions(&account.depart(at(1))), [2]);
    account.succeed(2, 1);
    account.succeed(3, 1);
    assert_eq!(positions(&account.depart(at(1))), [3], "it was on its way, and is told once more");
    account.succeed(3, 1);
    assert_eq!(account.counts().0, 0);
}

#[test]
fn what_was_saved_goes_on_where_it_stood() {
    let mut account = account(&[("a", 1), ("a", 1), ("a", 2)]);
    account.depart(at(0));
    account.fail(1, 0);
    account.succeed(3, 0);
    let unsaved = account.unsaved().unwrap();
    assert!(account.unsaved().is_none());
    account.not_saved(&unsaved);
    let unsaved = account.unsaved().unwrap();
    let deliveries = unsaved.deliveries.into_iter().map(|(id, delivery)| {
        let bytes = minicbor::to_vec(delivery.unwrap()).unwrap();
        (id, minicbor::decode(&bytes).unwrap())
    });
    let mut saved = DeliveryQueue::saved(unsaved.read, deliveries.collect());
    assert_eq!((saved.read(), &saved.open, &saved.closed), (account.read(), &account.open, &account.closed));
    assert_eq!(positions(&saved.depart(at(5))), [1]);
}

/// Receivers that answered just in time, eight requests at once to each, filled the places that all webhooks share.
#[test]
fn a_receiver_gets_one_request_at_a_time_until_it_answers_soon() {
    let told: Vec<_> = (1..=20).map(|session| ("a", session)).collect();
    let mut account = DeliveryQueue { is_quick: false, ..account(&told) };
    assert_eq!(positions(&account.depart(at(0))), [1]);
    account.succeed(1, 4);
    account.note_pace(Duration::from_millis(100));
    assert_eq!(account.depart(at(4)).len(), ABREAST);
    account.note_pace(QUICK);
    assert!(account.depart(at(4)).is_empty());
}

#[test]
fn what_is_remembered_is_bounded() {
    let told: Vec<_> = (0..DELIVERED + 10).map(|_| ("a", 1)).collect();
    let mut account = account(&told);
    for position in 1..=told.len() as u64 {
        account.depart(at(0));
        account.succeed(position, 0);
    }
    assert_eq!(account.closed.len(), DELIVERED);
    assert_eq!(account.newest(None, 1)[0].0, id(told.len() as u64));
    assert_eq!(
        account.newest(Some(id(200)), 2).iter().map(|(id, _)| id.position.0).collect::<Vec<_>>(),
        [199, 198]
    );
}

#[test]
fn a_withdrawn_notice_stands_in_nobodys_way() {
    let mut account = account(&[("a", 1), ("a", 1)]);
    account.depart(at(0));
    account.withdraw(id(1));
    assert_eq!(positions(&account.depart(at(0))), [2]);
}

#[test]
fn what_another_node_has_delivered_is_not_open_here() {
    let mut leader = account(&[("a", 1), ("b", 2), ("a", 1)]);
    leader.depart(at(0));
    leader.succeed(2, 0);
    assert_eq!(leader.done_through(), Position(0), "the first one is open");
    leader.succeed(1, 0);
    assert_eq!(leader.done_through(), Position(2));
    leader.depart(at(0));
    leader.succeed(3, 0);
    assert_eq!(leader.done_through(), Position(3));
    let mut next = account(&[("a", 1), ("b", 2)]);
    next.is_done_elsewhere(Position(1));
    assert_eq!((next.read(), positions(&next.depart(at(0)))), (Position(2), vec![2]));
    next.is_done_elsewhere(Position(3));
    assert_eq!((next.read(), next.done_through(), next.next_turn()), (Position(3), Position(3), None));
    // A note of before takes nothing back.
    next.is_done_elsewhere(Position(1));
    assert_eq!(next.read(), Position(3));
}
