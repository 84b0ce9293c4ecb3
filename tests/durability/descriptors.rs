//! Others take all descriptors that there are: writes go on, or come back by themselves.

use std::{ffi::OsStr, net::TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::{
    ambient::not_run,
    authority::{Authority, serve_through},
    caller::Caller,
};

/// More than a login shell gives a server descriptors for.
const SILENT: usize = 1_100;

/// Starts with so many descriptors at most.
fn start_with(limit: &str, data: &std::path::Path) -> Result<Authority, crate::authority::Ended> {
    let under = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
    let runner = ["sh", "-c", &under].map(OsStr::new);
    Authority::launch(serve_through(&runner, data), data)
}

fn register(caller: &Caller, subject: &str) -> u16 {
    let reply = caller.put(&format!("/v1/subjects/{subject}"), None, &json!({})).unwrap();
    assert!([200, 201].contains(&reply.status), "{reply:?}");
    reply.status
}

/// About a thousand connections that sent nothing once took every descriptor of a server under `ulimit -n 1024`. The
/// next commit opened a directory, could not, and the log was stopped: no revocation, renewal or creation until a
/// restart, long after the connections had gone.
#[test]
fn silent_connections_by_the_thousand_stop_no_writes() {
    let own = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: own.maximum, maximum: own.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() || own.maximum.is_some_and(|most| most < 4_096) {
        return not_run("descriptors", "this process may not open enough connections itself");
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = start_with("1024", dir.path()).unwrap();
    let admin = authority.admin();
    register(&admin, "before");
    let silent: Vec<_> = (0..SILENT).map(|_| authority.connect()).collect();
    for number in 0..20 {
        register(&admin, &format!("meanwhile-{number}"));
    }
    assert_eq!(admin.get("/readyz").unwrap().status, 200);
    // One that comes now waits until silent ones are cut off; then it is served like any other.
    register(&admin.apart(), "in-the-crowd");
    drop::<Vec<TcpStream>>(silent);
    register(&admin.apart(), "after");
    let ready = admin.apart().get("/readyz").unwrap();
    assert_eq!((ready.status, &ready.body["alarms"]), (200, &json!([])));
    authority.until_said("limit=1024");
    authority.until_said("connections=768");
    authority.stop_well();
}

#[test]
fn too_few_descriptors_to_serve_are_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let ended = start_with("500", dir.path()).err().unwrap();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.said.contains("may open 500 files") && ended.said.contains("LimitNOFILE"), "{ended:?}");
}
