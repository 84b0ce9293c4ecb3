//! What a service manager hears: a real socket stands for systemd's.

use std::{collections::HashMap, os::unix::net::UnixDatagram, time::Duration};

use tempfile::TempDir;

use crate::server::{PATIENCE, Server};

/// The manager's end of the socket.
struct Manager {
    directory: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { directory, socket }
    }

    fn environment(&self) -> HashMap<&'static str, String> {
        let path = self.directory.path().join("notify");
        HashMap::from([("NOTIFY_SOCKET", path.to_str().unwrap().to_owned())])
    }

    /// The next message, none once it is quiet.
    fn next(&self) -> Option<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    /// Messages until one that holds this line, that one included.
    fn until(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while !heard.last().is_some_and(|message: &String| message.lines().any(|it| it == line)) {
            let next = self.next();
            heard.push(next.unwrap_or_else(|| panic!("{line} is not in {heard:?}")));
        }
        heard
    }
}

/// Units were `Type=exec`: programs that depend on the server were started while it still read its log.
#[test]
fn a_manager_hears_that_the_server_is_ready_alive_and_stopping() {
    let manager = Manager::new();
    let mut environment = manager.environment();
    environment.insert("WATCHDOG_USEC", "600000".to_owned());
    let mut server = Server::with(&[], &environment);
    let first = manager.next().unwrap();
    assert_eq!(first.lines().next(), Some("READY=1"), "{first}");
    // It is ready when it listens, and not before.
    assert!(server.get("/healthz").contains("ok"));
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    assert!(server.stop().success());
    manager.until("STOPPING=1");
}

#[test]
fn without_a_watchdog_the_server_sends_no_heartbeat() {
    let manager = Manager::new();
    let _server = Server::with(&[], &manager.environment());
    let heard = manager.until("READY=1");
    assert_eq!(heard.len(), 1, "{heard:?}");
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(manager.next(), None);
}

/// A watchdog of another process, as in a shell that a unit starts.
#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new();
    let mut environment = manager.environment();
    environment.extend([("WATCHDOG_USEC", "300000".to_owned()), ("WATCHDOG_PID", "1".to_owned())]);
    let _server = Server::with(&[], &environment);
    manager.until("READY=1");
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(manager.next(), None);
}

/// The manager has gone: its socket is a file that nothing reads.
#[test]
fn a_manager_that_is_gone_stops_nothing() {
    let manager = Manager::new();
    let environment = manager.environment();
    drop(manager.socket);
    let mut server = Server::with(&[], &environment);
    assert!(server.get("/healthz").contains("ok"));
    assert!(server.stop().success());
}
