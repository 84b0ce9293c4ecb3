//! Writers that never stop believing that they lead, acknowledgements that get lost, a broker that dies and sleeps.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use serde_json::json;
use tenure_protocol::clock::{pause, stopwatch};

use super::{Broker, Faults, MAKING, broker, make, names, node, operator, surroundings::variable};
use crate::{
    AppendOutcome, EventLog, LogError,
    conformance::append_all,
    jetstream::{
        BrokerConnection, JetStreamLog, JetStreamOptions, Leadership, StreamSettings, bar,
        copy::LocalCopy,
        init,
        publisher::{FramePublisher, PublishOutcome},
        read_end::ReadEnd,
        sealing::RangeSearch,
        standby::Standby,
    },
    samples::{at, commit, small, subject},
    segment_store::SegmentStore,
    sled::data_dir::DataDir,
};
use tenure_core::CommitId;

/// A node that takes the lead without asking for the lease: only the log itself can tell it no.
pub(super) fn believer(data: &Path, options: &JetStreamOptions) -> JetStreamLog {
    let copy = Arc::new(LocalCopy::open(data).unwrap());
    let mut end = ReadEnd::new();
    copy.scan(&mut end, &mut |_, _| Ok(())).unwrap();
    let mut standby = Standby::new(options.clone(), Arc::clone(&copy), end, Arc::new(|_| ()));
    let open = || BrokerConnection::open(&options.access, &options.claim.node);
    let begun = stopwatch();
    let connection = loop {
        match open() {
            Ok(connection) => break connection,
            Err(error) => assert!(error.passes() && begun.elapsed() < Duration::from_secs(30), "{error}"),
        }
        pause(Duration::from_millis(50));
    };
    let publisher = FramePublisher::new(connection, options.names.clone());
    loop {
        let filled = standby.fill(publisher.connection(), &mut |_, _| Ok(()));
        if filled.is_ok() && bar(&mut standby, &publisher).unwrap() == PublishOutcome::Stored {
            break;
        }
        pause(Duration::from_millis(5));
    }
    let end = standby.end;
    let segment_store = SegmentStore::of(DataDir::of(data), Vec::new());
    JetStreamLog {
        head: RwLock::new(end.tail.head()),
        copy,
        search: Mutex::new(RangeSearch::behind(segment_store.end(), options.cut)),
        segment_store,
        writer: Mutex::new(Some(super::super::JetStreamWriter {
            publisher,
            end,
            patience: Duration::from_mins(1),
        })),
        stopped: OnceLock::new(),
        leadership: RwLock::new(Some(Leadership::begin())),
        lease: Mutex::new(None),
        resent: Arc::default(),
        unknown: AtomicU64::new(0),
    }
}

fn faults(log: &JetStreamLog) -> Arc<Faults> {
    Arc::clone(&log.writer.lock().as_ref().unwrap().publisher.faults)
}

/// All commits of a log, as one that has nothing of it reads them; each frame is checked on the way.
fn history(options: &JetStreamOptions) -> HashMap<CommitId, u32> {
    let dir = tempfile::tempdir().unwrap();
    let log = believer(dir.path(), options);
    let mut found = HashMap::new();
    for stored in log.read(tenure_core::Position::ZERO, usize::MAX).unwrap() {
        *found.entry(stored.commit.id).or_default() += 1;
    }
    found
}

/// Shortens the time for which the broker knows a message by its id.
fn shorten_window(broker: &Broker, log: u32) {
    let operator = operator(broker);
    let stream = names(log).log_stream();
    let mut info = operator.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).unwrap();
    info["config"]["duplicate_window"] = json!(100_000_000);
    operator.ask(&format!("$JS.API.STREAM.UPDATE.{stream}"), &info["config"]).unwrap();
}

/// "Is the last frame mine?" is the question that one would ask, and the answer was "no" of a frame that was stored:
/// another writer had put its own behind it. The broker, whose memory for ids was over, called the resent frame a
/// conflict. The content of the frame's place decides.
#[test]
fn a_frame_whose_acknowledgement_is_lost_is_found_below_that_of_another_writer() {
    let Some(program) = broker::program("that a frame is found whose acknowledgement was lost") else {
        return;
    };
    let broker = Broker::start(&program);
    make(&broker, 1);
    shorten_window(&broker, 1);
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = believer(one.path(), &node(&broker, 1, "one"));
    append_all(&log, vec![small(1)]);
    let (data, options) = (other.path().to_owned(), node(&broker, 1, "other"));
    *faults(&log).next.lock() = Some(Box::new(move || {
        append_all(&believer(&data, &options), vec![small(3)]);
        pause(Duration::from_millis(300));
    }));
    // It is stored, and the log says so; that another leads meanwhile is noticed with the next one.
    append_all(&log, vec![small(2)]);
    let end = log.head().position;
    assert!(matches!(log.append(end, vec![small(4)]), Err(LogError::Deposed { .. })));
    assert!(log.stopped().is_some());
    let found = history(&node(&broker, 1, "reader"));
    assert_eq!((found.len(), found.values().max()), (3, Some(&1)));
}

/// Makes the streams, on as many servers as there are, once these have found each other.
fn make_on(brokers: &[Broker], log: u32) {
    let making = StreamSettings { replicas: u8::try_from(brokers.len()).unwrap(), ..MAKING };
    let begun = stopwatch();
    while let Err(error) = init(&operator(&brokers[0]), &names(log), making) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{error}");
        pause(Duration::from_millis(200));
    }
}

/// What each writer was told.
#[derive(Default)]
struct Told {
    stored: Mutex<Vec<CommitId>>,
    refused: Mutex<Vec<CommitId>>,
    count: AtomicU64,
    over: AtomicBool,
}

/// Appends until it is over; whenever it is deposed it takes the lead again.
fn write(data: &Path, options: &JetStreamOptions, told: &Told, from: u64) {
    let mut n = from;
    while !told.over.load(Ordering::SeqCst) {
        let log = believer(data, options);
        faults(&log).every.store(7, Ordering::Relaxed);
        loop {
            n += 1;
            let moment = log.head().recorded_at.as_millis() - at(0).as_millis() + 1;
            let commit = crate::encode(&commit(n, subject(n), 0, moment.max(0), 1 + n % 3)).unwrap();
            let id = commit.id();
            match log.append(log.head().position, vec![commit]) {
                Ok(AppendOutcome::Appended) => {
                    told.stored.lock().push(id);
                    told.count.fetch_add(1, Ordering::SeqCst);
                }
                Err(LogError::Deposed { .. }) => {
                    told.refused.lock().push(id);
                    break;
                }
                other => panic!("{other:?}: {:?}", log.stopped()),
            }
            if told.over.load(Ordering::SeqCst) {
                break;
            }
        }
    }
}

/// Waits until this many more frames were acknowledged.
fn more(told: &Told, frames: u64) {
    let (begun, wanted) = (stopwatch(), told.count.load(Ordering::SeqCst) + frames);
    while told.count.load(Ordering::SeqCst) < wanted {
        assert!(begun.elapsed() < Duration::from_mins(1), "nothing is acknowledged any more");
        pause(Duration::from_millis(5));
    }
}

/// The log is what fences: whatever two writers believe, there is one chain, and each was told the truth of each frame.
#[test]
fn two_writers_that_never_stop_believing_are_told_the_truth_of_each_frame() {
    let Some(program) = broker::program("that two writers never fork the log") else { return };
    let is_long = variable("TENURE_TEST_CLUSTER_LONG").is_some();
    let (rounds, many) = if is_long { (30, 300) } else { (1, 40) };
    let mut brokers = if is_long { Broker::three(&program) } else { vec![Broker::start(&program)] };
    make_on(&brokers, 2);
    shorten_window(&brokers[0], 2);
    let url = brokers.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect::<Vec<_>>().join(",");
    let at_all = |name: &str| {
        let mut options = node(&brokers[0], 2, name);
        options.access.url = format!("nats://{url}");
        options
    };
    let (reader, nodes) = (at_all("reader"), ["one", "two"].map(at_all));
    let (told, dirs) = (Told::default(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    thread::scope(|scope| {
        for (index, (dir, options)) in (0_u64..).zip(dirs.iter().zip(&nodes)) {
            let told = &told;
            scope.spawn(move || write(dir.path(), options, told, index * 1_000_000_000));
        }
        // Whatever fails here must end the writers too.
        let faulty = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds {
                let turn = round % brokers.len();
                let broker = &mut brokers[turn];
                more(&told, many);
                broker.kill();
                broker.begin();
                more(&told, many);
                broker.freeze();
                pause(Duration::from_millis(1_500));
                broker.thaw();
                more(&told, many);
            }
        }));
        told.over.store(true, Ordering::SeqCst);
        faulty.unwrap();
    });
    let found = history(&reader);
    let (stored, refused) = (told.stored.into_inner(), told.refused.into_inner());
    assert!(
        stored.iter().all(|id| found.get(id) == Some(&1)),
        "an acknowledged commit is lost, or there twice"
    );
    assert!(refused.iter().all(|id| !found.contains_key(id)), "a commit is there that was said not to be");
    assert_eq!(found.len(), stored.len(), "a commit is there of which nobody was told");
    assert!(!refused.is_empty(), "they never met");
}

/// A broker that sleeps, or dies and comes back, costs time and nothing else.
#[test]
fn a_broker_that_sleeps_or_dies_only_costs_time() {
    let Some(program) = broker::program("that a broker's death loses nothing") else { return };
    let mut broker = Broker::start(&program);
    make(&broker, 3);
    let dir = tempfile::tempdir().unwrap();
    let log = believer(dir.path(), &node(&broker, 3, "one"));
    append_all(&log, vec![small(1)]);
    broker.freeze();
    thread::scope(|scope| {
        let appended = scope.spawn(|| append_all(&log, vec![small(2)]));
        pause(Duration::from_millis(1_300));
        assert!(!appended.is_finished(), "a broker that sleeps has acknowledged something");
        assert_eq!(log.head().position.0, 1, "what is not acknowledged is shown to nobody");
        broker.thaw();
    });
    broker.kill();
    thread::scope(|scope| {
        let appended = scope.spawn(|| append_all(&log, vec![small(3)]));
        pause(Duration::from_millis(300));
        assert!(!appended.is_finished(), "a broker that is dead has acknowledged something");
        broker.begin();
    });
    assert_eq!(history(&node(&broker, 3, "reader")).len(), 3);
}

/// A stream that is full says so for certain, and takes what comes once there is room again.
#[test]
fn a_full_stream_is_no_end() {
    let Some(program) = broker::program("that a full stream stops no node for good") else { return };
    let broker = Broker::start(&program);
    make(&broker, 4);
    let resize = |bytes: i64| {
        let (operator, stream) = (operator(&broker), names(4).log_stream());
        let mut info = operator.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).unwrap();
        info["config"]["max_bytes"] = json!(bytes);
        operator.ask(&format!("$JS.API.STREAM.UPDATE.{stream}"), &info["config"]).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    let log = believer(dir.path(), &node(&broker, 4, "one"));
    append_all(&log, vec![small(1)]);
    resize(700);
    let full = log.append(log.head().position, vec![crate::samples::largest(2)]);
    assert!(matches!(full, Err(LogError::Full { .. })), "{full:?}");
    assert_eq!((log.stopped(), log.head().position.0), (None, 1));
    resize(1 << 30);
    append_all(&log, vec![small(3)]);
    assert_eq!(history(&node(&broker, 4, "reader")).len(), 2);
}
