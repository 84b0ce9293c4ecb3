//! What all nodes must have: that all of it is read, whatever was replaced and erased meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{Broker, BrokerAccess, broker, make, names};
use crate::jetstream::BrokerSecrets;

fn opened(broker: &Broker, name: &str) -> BrokerSecrets {
    let access = BrokerAccess { url: broker.url(), ..BrokerAccess::default() };
    BrokerSecrets::open(&access, &names(1), name).unwrap()
}

fn put(secrets: &BrokerSecrets, number: u32, value: &str, expect: u64) -> u64 {
    secrets.put(&format!("keys.subjects.{number:08}"), value.as_bytes(), 1, expect).unwrap()
}

/// What is replaced is behind what was there, and what is erased leaves gaps, so many parts of the stream hold little or
/// nothing. It is read from many places at once.
#[test]
fn each_value_is_read_as_it_is_last_and_those_that_were_replaced_are_named() {
    let Some(program) = broker::program("that all secrets are read") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let secrets = opened(&broker, "one");
    assert_eq!(secrets.all().unwrap(), (BTreeMap::new(), vec![]));
    let (mut expected, mut replaced) = (BTreeMap::new(), BTreeSet::new());
    for number in 0..90 {
        let mut last = put(&secrets, number, "first", 0);
        for value in (0..number % 3).map(|time| format!("{number} again {time}")) {
            let before = last;
            last = put(&secrets, number, &value, before);
            if number % 2 == 0 {
                secrets.erase(before).unwrap();
            } else {
                replaced.insert(before);
            }
        }
        expected.insert(format!("keys.subjects.{number:08}"), last);
    }
    let (kept, not_erased) = secrets.all().unwrap();
    let places: BTreeMap<_, _> = kept.iter().map(|(name, value)| (name.clone(), value.sequence)).collect();
    assert_eq!((places, not_erased.into_iter().collect::<BTreeSet<_>>()), (expected, replaced));
    assert_eq!(kept["keys.subjects.00000089"].data, b"89 again 1");
    let after = kept["keys.subjects.00000080"].sequence;
    let behind: Vec<_> = secrets.since(after).unwrap().into_iter().map(|(_, value)| value.sequence).collect();
    assert!(behind.is_sorted() && behind[0] == after + 1, "{behind:?}");
}

/// The leader replaces a page and erases the one before while another node reads them: it must find one of both.
#[test]
fn a_value_that_is_replaced_while_all_are_read_is_found() {
    let Some(program) = broker::program("that secrets are read while they change") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let (leader, other) = (opened(&broker, "one"), opened(&broker, "two"));
    let mut places: Vec<_> = (0..40).map(|number| put(&leader, number, "first", 0)).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                for number in 0..40_u32 {
                    let place = &mut places[usize::try_from(number).unwrap()];
                    let before = *place;
                    *place = put(&leader, number, &format!("after {before}"), before);
                    leader.erase(before).unwrap();
                }
            }
        });
        let counts: Vec<_> = (0..30).map(|_| other.all().map(|(kept, _)| kept.len())).collect();
        is_over.store(true, Ordering::SeqCst);
        for count in counts {
            assert_eq!(count.unwrap(), 40);
        }
    });
}
