//! Who leads: the lease, a standby, a leader that is gone, one that wakes up.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tenure_protocol::clock::stopwatch;

use super::{Broker, broker, lead, led, make, node};
use crate::{
    EventLog, LogError,
    conformance::{append_all, read_all},
    jetstream::{JetStreamLog, JetStreamOptions, StandbyStatus},
    samples::small,
};

/// Begins to follow on a thread; says what it stands by, and gives the log once it leads.
fn standby(
    data: &Path,
    options: &JetStreamOptions,
) -> (mpsc::Receiver<StandbyStatus>, thread::JoinHandle<JetStreamLog>) {
    let (tell, told) = mpsc::channel();
    let (data, options) = (data.to_owned(), options.clone());
    let leads = thread::spawn(move || {
        let told = move |standing: &StandbyStatus| drop(tell.send(standing.clone()));
        lead(&data, &options, Arc::new(told), &mut |_| Ok(())).unwrap()
    });
    (told, leads)
}

fn stands_by(told: &mpsc::Receiver<StandbyStatus>, leader: &str) {
    let standing = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(&standing, StandbyStatus::By(claim) if claim.node == leader), "{standing:?}");
}

#[test]
fn a_standby_takes_over_at_once_when_the_lease_is_given_back() {
    let Some(program) = broker::program("that a standby takes over") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = led(one.path(), &node(&broker, 1, "one")).unwrap();
    append_all(&log, vec![small(1)]);
    let (told, leads) = standby(two.path(), &node(&broker, 1, "two"));
    stands_by(&told, "one");
    append_all(&log, vec![small(2)]);
    assert!(!leads.is_finished(), "two nodes lead");
    let (head, term) = (log.head(), log.term());
    let begun = stopwatch();
    drop(log);
    let log = leads.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((log.head(), log.term()), (head, term.map(|term| term + 1)));
    append_all(&log, vec![small(3)]);
    assert_eq!(read_all(&log).len(), 3);
}

/// A leader that is gone without a word has no heir before its lease is over, and one soon after. When it wakes up it
/// finds out, by the lease if it is idle and by the log if it writes.
#[test]
fn a_leader_that_falls_silent_is_followed_and_fenced() {
    let Some(program) = broker::program("that a silent leader is fenced") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = super::races::believer(one.path(), &node(&broker, 1, "one"));
    append_all(&log, vec![small(1)]);
    let (_told, leads) = standby(two.path(), &node(&broker, 1, "two"));
    let heir = leads.join().unwrap();
    append_all(&heir, vec![small(2)]);
    let late = log.append(log.head().position, vec![small(3)]);
    assert!(matches!(late, Err(LogError::Deposed { .. })), "{late:?}");
    assert!(log.stopped().is_some_and(|why| why.contains("another node has appended")));
    let again = log.append(log.head().position, vec![small(4)]);
    assert!(again.is_err(), "{again:?}");
    assert_eq!(read_all(&heir).len(), 2);
}

/// An idle leader that lost its lease can see that in the lease only.
#[test]
fn an_idle_leader_notices_that_another_holds_the_lease() {
    let Some(program) = broker::program("that an idle leader notices its heir") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let dir = tempfile::tempdir().unwrap();
    let log = led(dir.path(), &node(&broker, 1, "one")).unwrap();
    let (tell, told) = mpsc::channel();
    log.leadership().unwrap().when_lost(move |why| drop(tell.send(why))).unwrap();
    let place = super::super::lease::LeaseStore {
        connection: std::sync::Arc::new(super::operator(&broker)),
        names: super::names(1),
    };
    let thief = node(&broker, 1, "two").claim;
    loop {
        let Ok(super::super::lease::LeaseStatus::Held { sequence, .. }) = place.look() else {
            panic!("it is held")
        };
        let taken = place.publish(&thief.body(), sequence, Duration::from_secs(30));
        if matches!(taken, super::super::broker_reply::PublishAck::Stored { .. }) {
            break;
        }
    }
    let why = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(why.contains("two (http://two) holds the lease"), "{why}");
    assert!(matches!(log.append(log.head().position, vec![small(1)]), Err(LogError::Deposed { .. })));
}
