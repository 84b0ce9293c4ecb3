//! The process as its surroundings treat it: connections that rest, signals, a log that nobody reads.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::server::{PATIENCE, Server};

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n";

/// Asks on a connection that stays open.
fn ask(connection: &mut TcpStream) {
    connection.write_all(HEALTHZ).unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(br#"{"status":"ok"}"#) {
        let mut piece = [0; 1024];
        let count = connection.read(&mut piece).unwrap();
        assert!(count > 0, "closed: {}", String::from_utf8_lossy(&reply));
        reply.extend_from_slice(&piece[..count]);
    }
}

/// How long until the server closes the connection.
fn seconds_until_closed(connection: &mut TcpStream) -> f64 {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let begun = stopwatch();
    let mut rest = Vec::new();
    // The end of it may be a reset.
    drop(connection.read_to_end(&mut rest));
    begun.elapsed().as_secs_f64()
}

/// An idle connection was closed after 10 s, before every usual proxy lets go of it: requests met connections that were
/// just being closed, and a POST that did became a 502.
#[test]
fn an_idle_connection_outlives_that_of_a_proxy_and_a_slow_head_does_not() {
    let server = Server::start();
    let (mut idle, mut slow, mut again, mut silent) =
        (server.connect(), server.connect(), server.connect(), server.connect());
    ask(&mut idle);
    ask(&mut again);
    slow.write_all(&HEALTHZ[..20]).unwrap();
    again.write_all(&HEALTHZ[..20]).unwrap();
    let begun = stopwatch();
    let cut: Vec<_> = [&mut slow, &mut again, &mut silent]
        .into_iter()
        .map(|connection| {
            seconds_until_closed(connection);
            begun.elapsed().as_secs_f64()
        })
        .collect();
    assert!(cut.iter().all(|after| (9.0..13.0).contains(after)), "{cut:?}");
    pause(Duration::from_secs(1));
    ask(&mut idle);
    ask(&mut idle);
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let server = Server::with(&["server.keep_alive=5"]);
    let mut connection = server.connect();
    for _ in 0..2 {
        ask(&mut connection);
        pause(Duration::from_secs(3));
    }
    ask(&mut connection);
    let after = seconds_until_closed(&mut connection);
    assert!((4.5..8.0).contains(&after), "{after}");
    // What is under way is not idle, however long it takes.
    let mut stream = server.get("/v1/events?after=latest").bearer(&server.admin).listen();
    stream.heartbeat();
    pause(Duration::from_secs(7));
    server.register("a", &json!({}));
    assert_eq!(stream.take(1)[0].1["kind"], "SubjectRegistered");
}

/// SIGHUP, which `systemctl reload`, the rotation of logs and the end of a terminal send, killed it at once.
#[test]
fn a_hangup_ends_nothing() {
    let mut server = Server::start();
    let mut stream = server.get("/v1/events").bearer(&server.admin).listen();
    for _ in 0..3 {
        server.signal(rustix::process::Signal::HUP);
        server.register(&format!("s{}", stopwatch().elapsed().as_nanos()), &json!({}));
    }
    assert!(server.is_running());
    assert!(stream.next().is_some());
    assert!(server.stop().success());
    assert!(server.said().contains("SIGHUP"), "{}", server.said());
}

/// A server whose log goes where the test says.
struct Bare {
    child: Child,
    address: String,
    directory: tempfile::TempDir,
}

impl Bare {
    fn start(filter: &str) -> (Self, BufReader<ChildStderr>) {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log", filter, "--set", "metrics.allow=127.0.0.1"])
            .arg("--data")
            .arg(directory.path().join("data"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on http://") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it does not listen");
        }
        let address = line.split_once("listening on http://").unwrap().1.trim().to_owned();
        (Self { child, address, directory }, lines)
    }

    /// Its request has an id of ours, of which a line is logged at `debug`.
    fn get(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nhost: t\r\nconnection: close\r\nx-request-id: mine\r\n\r\n")
            .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn lost_lines(&self) -> u64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix("tenure_lost_log_lines_total "));
        line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
    }

    /// Stops it in order; what is in the data directory then.
    fn stop(&mut self) -> (ExitStatus, Vec<String>) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let begun = stopwatch();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not stop");
            pause(Duration::from_millis(20));
        };
        let entries = std::fs::read_dir(self.directory.path().join("data")).unwrap();
        (status, entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A log collector was restarted, and the next line ended the authority: 101 at the stop, or an abort at the first
/// request.
#[test]
fn a_log_whose_reader_is_gone_costs_its_lines_and_nothing_else() {
    for filter in ["info", "trace"] {
        let (mut server, lines) = Bare::start(filter);
        drop(lines);
        for _ in 0..3 {
            assert!(server.get("/readyz").starts_with("HTTP/1.1 200"), "{filter}");
        }
        if filter == "trace" {
            assert!(server.lost_lines() > 0);
        }
        let (status, left) = server.stop();
        assert_eq!(status.code(), Some(0), "{filter}");
        for file in ["snapshot", "uses.recorded"] {
            assert!(left.iter().any(|name| name == file), "{filter}: no {file} in {left:?}");
        }
    }
}

/// A reader that is there and reads nothing is worse: a write to a full pipe waits.
#[test]
fn nobody_waits_for_a_log_that_is_not_read() {
    let (mut server, lines) = Bare::start("trace");
    let begun = stopwatch();
    let mut asked = 0;
    while server.lost_lines() == 0 {
        assert!(begun.elapsed() < PATIENCE * 3, "no line was lost in {asked} requests");
        for _ in 0..50 {
            assert!(server.get("/readyz?a=b").starts_with("HTTP/1.1 400"));
        }
        asked += 50;
    }
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    drop(lines);
}
