//! A node's own copy: filled again where it is behind or damaged, refused where it says otherwise.

use super::{Broker, broker, led, make, node};
use crate::{
    EventLog,
    conformance::{append_all, read_all},
    samples::small,
    sled::waiting_open::open_waiting,
};

#[test]
fn a_copy_that_is_gone_behind_or_damaged_is_filled_again() {
    let Some(program) = broker::program("that a node's copy of the log is filled again") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let (dir, options) = (tempfile::tempdir().unwrap(), node(&broker, 1, "a"));
    let log = led(dir.path(), &options).unwrap();
    for n in 0..40 {
        append_all(&log, vec![small(n)]);
    }
    let (head, history) = (log.head(), read_all(&log));
    drop(log);
    let copy = dir.path().join("copy");
    let store = || open_waiting(&::sled::Config::new().path(&copy).segment_size(8 << 20)).unwrap();
    let spoil: [&dyn Fn(); 4] = [
        &|| std::fs::remove_dir_all(&copy).unwrap(),
        // No store at all.
        &|| std::fs::write(copy.join("db"), [7; 100]).unwrap(),
        // Without its last frames, and without one amid them.
        &|| {
            let db = store();
            (0..5).for_each(|_| drop(db.pop_max().unwrap()));
        },
        &|| {
            let db = store();
            let key = db.iter().keys().nth(17).unwrap().unwrap();
            db.insert(key, b"no frame").unwrap();
        },
    ];
    for spoil in spoil {
        spoil();
        let log = led(dir.path(), &options).unwrap();
        assert_eq!((log.head(), read_all(&log)), (head, history.clone()));
    }
}

/// A broker that was set up again, or put back from a copy, has acknowledged what it does not have. Only the
/// nodes notice.
#[test]
fn a_broker_that_has_less_than_a_node_or_something_else_is_refused() {
    let Some(program) = broker::program("that a broker that has lost something is noticed") else { return };
    let broker = Broker::start(&program);
    (1..=3).for_each(|log| make(&broker, log));
    let dir = tempfile::tempdir().unwrap();
    let log = led(dir.path(), &node(&broker, 1, "a")).unwrap();
    append_all(&log, (0..9).map(small).collect());
    append_all(&log, vec![small(9)]);
    drop(log);
    let other = tempfile::tempdir().unwrap();
    let log = led(other.path(), &node(&broker, 2, "b")).unwrap();
    for n in 20..29 {
        append_all(&log, vec![small(n)]);
    }
    drop(log);
    for (log, said) in
        [(2, "is another one than this copy has"), (3, "the broker has lost a part of the log")]
    {
        let refused = led(dir.path(), &node(&broker, log, "a")).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    led(dir.path(), &node(&broker, 1, "a")).unwrap();
}

/// Two logs in one directory would each seem to be the whole truth.
#[test]
fn a_directory_with_a_log_of_its_own_is_none_of_a_cluster_and_the_other_way_round() {
    let Some(program) = broker::program("that a directory has one log") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let (own, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(crate::open(own.path(), &mut |_| Ok(())).unwrap());
    let refused = led(own.path(), &node(&broker, 1, "a")).unwrap_err().to_string();
    assert!(refused.contains("a log of its own"), "{refused}");
    drop(led(shared.path(), &node(&broker, 1, "a")).unwrap());
    let refused = crate::open(shared.path(), &mut |_| Ok(())).unwrap_err().to_string();
    assert!(refused.contains("tenure-data cluster 1"), "{refused}");
}
