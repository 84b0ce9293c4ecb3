//! `tenure doctor`
//!
//! Each check says `ok`, `warn`, `fail` or `skip`, and why; the exit code is that of the first failure.

mod repair;
mod storage;
mod verify;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::serve;
use crate::cli::{
    connection::client::{ApiReply, ApiRequest},
    context::{CommandContext, GlobalArgs},
    environment,
    failure::{CommandError, ExitStatus},
    output::{Column, Output, humanize},
};
use tenure_core::Timestamp;
use tenure_server::config::ConfigFlag;

/// A reply takes its time: below this the clocks agree.
const SKEW_MILLIS: u64 = 5_000;

/// A key with less time left than two weeks should be replaced soon, in seconds.
const ENDS_SOON: u64 = 14 * 86_400;
/// An admin key without an end should be replaced once a year, in seconds.
const OLD: u64 = 365 * 86_400;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Show which settings apply and where each comes from, with this settings file if one is named
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "clap's form of an option whose value may be left out")]
    config: Option<Option<PathBuf>>,

    /// With --config: one setting, such as session.ttl=3600; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = serve::setting, requires = "config")]
    set: Vec<String>,

    /// The data directory, with --verify or --repair-from
    #[arg(long, value_name = "DIR", requires = "what", conflicts_with = "config")]
    data: Option<PathBuf>,

    /// With --data: read all of the log of a stopped server and name each
    /// damaged file
    #[arg(long, requires = "data", group = "what")]
    verify: bool,

    /// With --data: replace damaged and missing segments by the same bytes
    /// from this backup or other data directory; the server may be running
    #[arg(long, value_name = "COPY", requires = "data", group = "what")]
    repair_from: Option<PathBuf>,
}

impl DoctorArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        match (&self.data, &self.repair_from, &self.config) {
            (Some(data), Some(from), _) => repair::repair_from(global, data, from),
            (Some(data), None, _) => verify::verify(global, data),
            (None, _, Some(file)) => settings(global, file.as_ref(), &self.set),
            (None, _, None) => examine(&global.context()?),
        }
    }
}

const SETTINGS: &[Column] =
    &[Column::plain("SETTING", "name"), Column::plain("VALUE", "value"), Column::plain("FROM", "source")];

/// What applies, and where it comes from.
fn settings(global: &GlobalArgs, file: Option<&PathBuf>, set: &[String]) -> Result<(), CommandError> {
    let flags = set.iter().map(|text| ConfigFlag::set(text)).collect();
    let config = serve::effective(file.map(PathBuf::as_path), flags)?;
    let items: Vec<_> = config
        .effective()
        .into_iter()
        .map(|setting| {
            json!({"name": setting.name, "value": setting.value, "source": setting.source.to_string()})
        })
        .collect();
    global.output().list(&json!({"items": items}), SETTINGS, environment::now())
}

const COLUMNS: &[Column] =
    &[Column::plain("CHECK", "check"), Column::state("RESULT", "result"), Column::plain("DETAIL", "detail")];

fn examine(cli: &CommandContext) -> Result<(), CommandError> {
    let health = cli.client.send(&ApiRequest::get(&["healthz"]));
    let mut checks = vec![alive(cli, &health)];
    if health.is_ok() {
        let (ready, node) = ready(cli);
        checks.extend([ready].into_iter().chain(node));
        checks.extend([key(cli), version(cli), clock(cli)]);
        checks.extend(storage::history(cli));
    }
    examined(cli.output, checks, cli.now())
}

/// Prints the checks; the first that failed is the exit code.
fn examined(output: Output, checks: Vec<CheckResult>, now: Timestamp) -> Result<(), CommandError> {
    let items: Vec<_> = checks.iter().map(CheckResult::document).collect();
    output.list(&json!({"items": items}), COLUMNS, now)?;
    match checks.into_iter().find(|check| check.result == "fail") {
        Some(CheckResult { exit, name, detail, .. }) => {
            Err(CommandError::Unhealthy { exit, why: format!("{name}: {detail}") })
        }
        None => Ok(()),
    }
}

/// What one look showed.
#[derive(Debug)]
struct CheckResult {
    name: &'static str,
    result: &'static str,
    detail: String,
    exit: ExitStatus,
}

impl CheckResult {
    fn new(name: &'static str, result: &'static str, detail: impl Into<String>) -> Self {
        Self { name, result, detail: detail.into(), exit: ExitStatus::Server }
    }

    fn failed(name: &'static str, failure: &CommandError) -> Self {
        let said = failure.problem().and_then(|problem| problem.missing.clone().or(problem.detail.clone()));
        let detail = said.unwrap_or_else(|| failure.to_string());
        Self { name, result: "fail", detail, exit: failure.exit() }
    }

    fn document(&self) -> Value {
        json!({"check": self.name, "result": self.result, "detail": self.detail})
    }
}

fn alive(cli: &CommandContext, health: &Result<ApiReply, CommandError>) -> CheckResult {
    match health {
        Ok(_) => CheckResult::new("server", "ok", format!("{} is alive", cli.client.url())),
        Err(failure) => CheckResult::failed("server", failure),
    }
}

/// Whether it can serve, and of a node of several how it stands to the others.
fn ready(cli: &CommandContext) -> (CheckResult, Vec<CheckResult>) {
    match cli.client.send(&ApiRequest::get(&["readyz"])) {
        Ok(reply) => {
            let ready = match reply.body["alarms"].as_array().map_or(&[][..], Vec::as_slice) {
                [] => CheckResult::new("ready", "ok", "it can serve and write"),
                [alarm, ..] => CheckResult::new("ready", "warn", alarm.as_str().unwrap_or_default()),
            };
            (ready, nodes(&reply.body))
        }
        Err(failure) => (CheckResult::failed("ready", &failure), vec![]),
    }
}

fn nodes(ready: &Value) -> Vec<CheckResult> {
    node_in_words(ready).into_iter().chain(others_in_words(ready)).collect()
}

/// Warns before the state is too old to answer from.
const STALE: u64 = 5_000;

fn node_in_words(ready: &Value) -> Option<CheckResult> {
    let role = ready["role"].as_str()?;
    let (term, lag) = (&ready["term"], &ready["lag"]);
    let stale = ready["stalenessMs"].as_u64();
    let age = stale.map_or_else(|| "of unknown age".to_owned(), |stale| format!("at most {stale} ms old"));
    let Some(leader) = ready["leader"].as_str() else {
        return Some(CheckResult::new(
            "node",
            "warn",
            format!("a {role}, and no node leads; its state is {age}"),
        ));
    };
    let whose = if role == "leader" { String::new() } else { format!(" of {leader}") };
    let said = format!("{role}{whose}, term {term}, {lag} events behind, its state is {age}");
    let result = if stale.is_some_and(|stale| stale < STALE) { "ok" } else { "warn" };
    Some(CheckResult::new("node", result, said))
}

/// Which nodes there are. Nodes that differ, lag or run another version are named by address.
fn others_in_words(ready: &Value) -> Option<CheckResult> {
    let nodes = ready["nodes"].as_array()?;
    let address = |node: &Value| node["address"].as_str().unwrap_or_default().to_owned();
    let told = |node: &Value| {
        if node["differs"] == true {
            return Some(format!("the history of {} differs", address(node)));
        }
        let stale = node["stalenessMs"].as_u64();
        if stale.is_none_or(|stale| stale >= STALE) {
            let at = &node["position"];
            return Some(format!("{} lags, it was at position {at}", address(node)));
        }
        let version = node["version"].as_str().unwrap_or_default();
        (version != env!("CARGO_PKG_VERSION")).then(|| format!("{} is of version {version}", address(node)))
    };
    let said: Vec<_> = nodes.iter().filter_map(told).collect();
    let all: Vec<_> = nodes.iter().map(address).collect();
    let all = format!("{} of them: {}", all.len(), all.join(", "));
    Some(match &said[..] {
        [] => CheckResult::new("nodes", "ok", all),
        said => CheckResult::new("nodes", "warn", said.join("; ")),
    })
}

/// What the server says of this key. One that ends soon, and an old admin's key without an end, are worth
/// a warning.
fn key(cli: &CommandContext) -> CheckResult {
    if !cli.client.has_key() {
        return CheckResult::new("key", "skip", "none given; see --key-file, --key and TENURE_KEY");
    }
    match cli.client.send(&ApiRequest::get(&["v1", "credentials", "self"])) {
        Ok(reply) => key_in_words(&reply.body, cli.time_of(&reply.body)),
        Err(CommandError::Problem(problem)) if problem.status == 403 => {
            CheckResult::new("key", "ok", "known to the server; no API key")
        }
        Err(failure) => CheckResult::failed("key", &failure),
    }
}

fn key_in_words(key: &Value, now: Timestamp) -> CheckResult {
    let role = key["role"].as_str().unwrap_or("unknown");
    let moment = |field: &str| key[field].as_str().and_then(Timestamp::parse);
    if let Some(end) = moment("expiresAt") {
        let result = if end.seconds_since(now) < ENDS_SOON { "warn" } else { "ok" };
        return CheckResult::new("key", result, format!("role {role}, {}", humanize::left(end, now)));
    }
    let age = moment("createdAt").map_or(0, |created| now.seconds_since(created));
    if role == "admin" && age >= OLD {
        let aged = humanize::duration(age);
        return CheckResult::new(
            "key",
            "warn",
            format!("role admin, without an end and {aged} old: replace it"),
        );
    }
    CheckResult::new("key", "ok", format!("role {role}, without an end"))
}

fn version(cli: &CommandContext) -> CheckResult {
    let own = env!("CARGO_PKG_VERSION");
    match cli.client.send(&ApiRequest::get(&["openapi.json"])) {
        Ok(reply) => match reply.body["info"]["version"].as_str() {
            Some(theirs) if theirs == own => CheckResult::new("version", "ok", own),
            Some(theirs) => {
                CheckResult::new("version", "warn", format!("the server is {theirs}, this is {own}"))
            }
            None => CheckResult::new("version", "warn", "the server does not say which it is"),
        },
        Err(failure) => CheckResult::failed("version", &failure),
    }
}

/// A test clock is shown to admins only; what its time is, every reply says.
fn clock(cli: &CommandContext) -> CheckResult {
    let shown = cli.client.send(&ApiRequest::get(&["v1", "clock"]));
    let local = environment::now();
    let test_clock = shown.ok().and_then(|reply| Timestamp::parse(reply.body["now"].as_str()?));
    test_clock.map_or_else(|| wall_clock(cli.client.server_time(), local), |now| stopped_clock(now, local))
}

fn stopped_clock(now: Timestamp, local: Timestamp) -> CheckResult {
    let apart = humanize::duration(now.millis_since(local).unsigned_abs() / 1000);
    let side = if now > local { "ahead" } else { "behind" };
    CheckResult::new("clock", "ok", format!("test clock, {apart} {side}"))
}

fn wall_clock(server: Option<Timestamp>, local: Timestamp) -> CheckResult {
    let Some(server) = server else {
        return CheckResult::new("clock", "warn", "the server does not say what time it is");
    };
    let apart = server.millis_since(local).unsigned_abs();
    if apart <= SKEW_MILLIS {
        return CheckResult::new("clock", "ok", "the server's and this one agree");
    }
    let side = if server > local { "ahead of" } else { "behind" };
    CheckResult::new(
        "clock",
        "warn",
        format!("the server is {} {side} this host", humanize::duration(apart / 1000)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Timestamp {
        Timestamp::parse("2026-11-21T01:35:00Z").unwrap()
    }

    #[test]
    fn a_node_of_several_says_how_it_stands_to_the_others() {
        let told = |leader: Value, stale: Value| json!({"role": "follower", "leader": leader, "term": 3, "lag": 0, "stalenessMs": stale});
        assert!(node_in_words(&json!({"status": "ready", "alarms": []})).is_none());
        let fresh = node_in_words(&told("http://b:7300".into(), 300.into())).unwrap();
        let words = "follower of http://b:7300, term 3, 0 events behind, its state is at most 300 ms old";
        assert_eq!((fresh.result, &*fresh.detail), ("ok", words));
        for (leader, stale) in
            [("http://b".into(), 6_000.into()), (Value::Null, 1.into()), ("b".into(), Value::Null)]
        {
            assert_eq!(node_in_words(&told(leader, stale)).unwrap().result, "warn");
        }
    }

    #[test]
    fn a_node_that_lags_or_differs_is_told_by_its_address() {
        let node = |name: &str, stale: Value, differs: bool| {
            let (address, version) = (format!("http://{name}"), env!("CARGO_PKG_VERSION"));
            json!({"address": address, "position": 7, "stalenessMs": stale, "differs": differs, "version": version})
        };
        assert!(others_in_words(&json!({"status": "ready", "alarms": []})).is_none());
        let told = |nodes: Value| {
            let check = others_in_words(&json!({ "nodes": nodes })).unwrap();
            (check.result, check.detail)
        };
        let good = || node("a", 0.into(), false);
        let (result, said) = told(json!([good(), node("b", 400.into(), false)]));
        assert_eq!((result, &*said), ("ok", "2 of them: http://a, http://b"));
        let (result, said) =
            told(json!([good(), node("b", 5_000.into(), false), node("c", Value::Null, true)]));
        let words = "http://b lags, it was at position 7; the history of http://c differs";
        assert_eq!((result, &*said), ("warn", words));
    }

    #[test]
    fn clocks_that_agree_to_a_few_seconds_are_fine() {
        assert_eq!(wall_clock(Timestamp::parse("2026-11-21T01:35:04Z"), local()).result, "ok");
    }

    #[test]
    fn clocks_apart_are_told_by_how_much_and_which_way() {
        let check = wall_clock(Timestamp::parse("2026-11-21T02:40:00Z"), local());
        assert_eq!((check.result, check.detail.as_str()), ("warn", "the server is 1h 5m ahead of this host"));
        let check = wall_clock(Timestamp::parse("2026-11-21T01:34:00Z"), local());
        assert_eq!(check.detail, "the server is 1m behind this host");
    }

    #[test]
    fn a_key_that_ends_soon_and_an_old_one_of_an_admin_are_warnings() {
        let judged = |key: Value| {
            let check = key_in_words(&key, local());
            (check.result, check.detail)
        };
        let ending =
            |at: &str| json!({"role": "issuer", "createdAt": "2025-01-01T00:00:00Z", "expiresAt": at});
        assert_eq!(judged(ending("2026-11-25T01:35:00Z")), ("warn", "role issuer, 4d left".to_owned()));
        assert_eq!(judged(ending("2027-01-21T01:35:00Z")).0, "ok");
        let endless =
            |role: &str, created: &str| json!({"role": role, "createdAt": created, "expiresAt": null});
        let (result, said) = judged(endless("admin", "2025-11-01T01:35:00Z"));
        assert_eq!((result, said.as_str()), ("warn", "role admin, without an end and 385d old: replace it"));
        assert_eq!(judged(endless("admin", "2026-11-01T00:00:00Z")).0, "ok");
        assert_eq!(
            judged(endless("auditor", "2020-01-01T00:00:00Z")),
            ("ok", "role auditor, without an end".to_owned())
        );
    }

    #[test]
    fn no_time_is_a_warning() {
        assert_eq!(wall_clock(None, local()).result, "warn");
    }

    #[test]
    fn a_test_clock_says_how_far_it_is() {
        let check = stopped_clock(local().plus_millis(43_200_000), local());
        assert_eq!((check.result, check.detail.as_str()), ("ok", "test clock, 12h ahead"));
        assert_eq!(stopped_clock(local().plus_millis(-60_000), local()).detail, "test clock, 1m behind");
    }
}
