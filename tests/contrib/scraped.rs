//! A real Prometheus on the configuration, the rules and the expressions of the dashboard, beside a real server.

use std::{
    collections::HashMap,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tenure::clock::{pause, stopwatch};

use crate::{
    monitoring::expressions,
    server::{PATIENCE, Server, file, tool},
    surroundings::not_run,
};

/// A running Prometheus; killed when it goes out of scope.
struct Prometheus {
    process: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Prometheus {
    /// On the documented configuration, with nothing put in but the target, the key and shorter intervals.
    fn start(binary: &Path, target: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(place("tenure.key"), key).unwrap();
        fs::write(place("tenure.rules.yml"), file("contrib/prometheus/tenure.rules.yml")).unwrap();
        let put = |text: &str, said: &str, instead: &str| {
            assert!(text.contains(said), "the configuration lacks {said}");
            text.replace(said, instead)
        };
        let configuration = put(&file("contrib/prometheus/scrape.yml"), "127.0.0.1:7300", target);
        let configuration = put(&configuration, "/etc/prometheus/tenure.key", &place("tenure.key"));
        let configuration = put(&configuration, "scrape_interval: 15s", "scrape_interval: 500ms");
        let configuration = format!("global:\n  evaluation_interval: 500ms\n{configuration}");
        fs::write(place("prometheus.yml"), configuration).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(binary)
            .arg(format!("--config.file={}", place("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", place("data")))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { process, url: format!("http://{address}"), folder }
    }

    fn get(&self, path: &str) -> Result<Value, ureq::Error> {
        let body = ureq::get(format!("{}{path}", self.url)).call()?.body_mut().read_to_string()?;
        Ok(serde_json::from_str::<Value>(&body).unwrap()["data"].take())
    }

    fn query(&self, expression: &str) -> Result<Value, ureq::Error> {
        let query: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        Ok(self.get(&format!("/api/v1/query?query={query}"))?["result"].take())
    }

    /// Asks until the answer is one that is meant.
    fn until(&self, what: &str, ask: impl Fn() -> bool) {
        let begun = stopwatch();
        while !ask() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let targets = self.get("/api/v1/targets");
            assert!(begun.elapsed() < PATIENCE, "{what}: {targets:?}\n{log}");
            pause(Duration::from_millis(100));
        }
    }
}

/// A test that only compared names let a rule through whose two sides had no label in common.
#[test]
fn a_real_prometheus_scrapes_the_server_and_evaluates_every_rule_and_panel() {
    let Some(binary) = tool("prometheus") else {
        return not_run("a real scrape", "there is no prometheus; as root, tests/run installs it");
    };
    let server = Server::with(&[], &HashMap::new());
    let issued = server.run(&["credential", "create", "--role", "auditor", "-o", "json"]);
    let issued: Value = serde_json::from_slice(&issued.stdout).unwrap();
    let key = issued["key"].as_str().unwrap();
    let prometheus = Prometheus::start(&binary, server.url.trim_start_matches("http://"), key);

    let is_ready = |value: &Value| value[0]["value"][1] == "1";
    prometheus.until("it is scraped", || prometheus.query("tenure_ready").is_ok_and(|it| is_ready(&it)));
    prometheus.until("all rules are evaluated without a fault", || {
        let groups = prometheus.get("/api/v1/rules").unwrap();
        let rules = groups["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        let is_well = |rule: &Value| rule["health"] == "ok" && rule["state"] != "firing";
        rules.len() > 10 && rules.iter().all(is_well)
    });
    for (title, expression) in expressions() {
        let result = prometheus.query(&expression);
        assert!(result.is_ok(), "{title}: {expression}: {result:?}");
    }
    // What a panel shows of a healthy server at rest is a number, not an empty panel.
    for expression in ["tenure_taken / tenure_room", "tenure_position - tenure_signed_position"] {
        let result = prometheus.query(expression).unwrap();
        assert!(!result.as_array().unwrap().is_empty(), "{expression} matches nothing");
    }
}
