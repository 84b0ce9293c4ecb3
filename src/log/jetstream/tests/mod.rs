//! The promises of the log, kept beside a real broker that is killed, frozen and fought over.

mod access;
mod copies;
mod credentials;
mod faults;
mod leads;
mod races;
mod secrets;
mod segments;

use std::{
    cell::{Cell, RefCell},
    path::Path,
    sync::Arc,
};

use tenure_testing::{
    broker::{self, Broker},
    surroundings,
};

pub(super) use self::faults::Faults;
use super::{
    BrokerAccess, BrokerConnection, FrameReader, JetStreamLog, JetStreamOptions, LeaseClaim, MemberStep,
    StatusListener, StreamNames, StreamSettings, init, is_of_segments, join, join_for, set_segments_aside,
};
use crate::{EventLog, OpenError, SegmentEvents, StoredCommit, conformance};

const MAKING: StreamSettings = StreamSettings { replicas: 1, max_bytes: Some(64 << 20) };

/// A node of this name, on the log of this number at the broker.
fn node(broker: &Broker, log: u32, name: &str) -> JetStreamOptions {
    JetStreamOptions {
        access: BrokerAccess { url: broker.url(), ..BrokerAccess::default() },
        names: names(log),
        claim: LeaseClaim {
            node: name.into(),
            start: format!("{name} {log}"),
            address: format!("http://{name}"),
        },
        cut: SegmentEvents::By(10),
    }
}

fn names(log: u32) -> StreamNames {
    StreamNames::new(&format!("T{log}"), &format!("t{log}.v1"))
}

/// Makes the streams of the log of this number.
fn make(broker: &Broker, log: u32) {
    init(&operator(broker), &names(log), MAKING).unwrap();
}

fn operator(broker: &Broker) -> BrokerConnection {
    BrokerConnection::open(&BrokerAccess { url: broker.url(), ..BrokerAccess::default() }, "operator")
        .unwrap()
}

/// A node that leads, sooner or later.
fn led(data: &Path, options: &JetStreamOptions) -> Result<JetStreamLog, OpenError> {
    lead(data, options, Arc::new(|_| ()), &mut |_| Ok(()))
}

/// Follows until this node leads.
fn lead(
    data: &Path,
    options: &JetStreamOptions,
    told: StatusListener,
    fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
) -> Result<JetStreamLog, OpenError> {
    let mut member = join(data, options, told, fold)?;
    while member.step(&mut |commits| commits.into_iter().try_for_each(&mut *fold))? == MemberStep::Follows {}
    let log = Arc::clone(member.log());
    drop(member);
    Ok(Arc::into_inner(log).unwrap())
}

#[test]
fn it_keeps_the_promises() {
    let Some(program) = broker::program("that the log of several machines keeps the promises of every log")
    else {
        return;
    };
    let broker = Broker::start(&program);
    let (number, dirs) = (Cell::new(0), RefCell::new(vec![]));
    conformance::check(&|| {
        number.set(number.get() + 1);
        make(&broker, number.get());
        let dir = tempfile::tempdir().unwrap();
        let log = led(dir.path(), &node(&broker, number.get(), "a")).unwrap();
        dirs.borrow_mut().push(dir);
        Box::new(log) as Box<dyn EventLog>
    });
    make(&broker, 900);
    let dir = tempfile::tempdir().unwrap();
    conformance::check_reopen(&|| Box::new(led(dir.path(), &node(&broker, 900, "a")).unwrap()));
}
