//! Tables in the documents that are the code's own.

use std::{fmt::Write, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use serde_json::Value;
use tenure::{
    admission::AdmissionLimits,
    backup::BackupMaker,
    config::{Networks, SharesConfig, UsageRate, settings_markdown},
    core::event::EndTrigger,
    http::{
        ApiContext, ApiSettings, PROXY_PATHS, RouteFacts, error_table, followers_markdown, openapi_document,
        route_facts,
    },
    node::{Node, NodeOptions},
};
use tower::ServiceExt;

use crate::{blocks, tree};

#[test]
fn the_table_of_errors_is_that_of_the_code() {
    blocks::check("docs/http-api.md", "errors", &error_table());
}

#[test]
fn the_table_of_settings_is_that_of_the_code() {
    blocks::check("docs/operations.md", "settings", &settings_markdown());
}

#[test]
fn what_followers_answer_is_that_of_the_code() {
    blocks::check("docs/cluster.md", "followers", &followers_markdown());
}

#[test]
fn the_table_of_routes_is_that_of_the_code() {
    let described = openapi_document();
    let mut table = "| route | what it does | API keys | session token |\n|---|---|---|---|\n".to_owned();
    for route in route_facts() {
        let what = described["paths"][&route.path][route.method.to_lowercase()]["summary"].as_str().unwrap();
        let (keys, token) = whom(&route);
        writeln!(table, "| `{} {}` | {what} | {keys} | {token} |", route.method, route.path).unwrap();
    }
    let proxies = PROXY_PATHS[0];
    let what = described["paths"][proxies]["get"]["summary"].as_str().unwrap();
    writeln!(
        table,
        "| any method `{proxies}`, and below | {what} See [forward-auth](forward-auth.md). | \
         admin, verifier, in `X-Tenure-Key` | the end user's |"
    )
    .unwrap();
    blocks::check("docs/http-api.md", "routes", &table);
}

fn whom(route: &RouteFacts) -> (String, &'static str) {
    if route.public {
        return ("needs none".to_owned(), "needs none");
    }
    let keys = if route.roles.is_empty() { "none".to_owned() } else { route.roles.join(", ") };
    (keys, if route.session_token { "its own session" } else { "no" })
}

#[test]
fn the_triggers_are_those_of_the_code() {
    let text = tree::text("docs/http-api.md".as_ref()).unwrap();
    let (_, behind) = text.split_once("| `revokedTrigger` | |\n|---|---|\n").unwrap();
    let (table, _) = behind.split_once("\n\n").unwrap();
    let listed: Vec<_> = table.lines().map(|row| row.split('`').nth(1).unwrap()).collect();
    assert_eq!(listed, EndTrigger::ALL.map(|(name, _)| name));
}

#[test]
fn the_table_of_metrics_is_that_of_a_running_authority() {
    let mut table = "| metric | type | meaning |\n|---|---|---|\n".to_owned();
    let text = metrics();
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, meaning) = line.split_once(' ').unwrap();
        let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).unwrap();
        let ending = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let name = format!("{name}{ending}");
        writeln!(table, "| `{name}` | {kind} | {} |", meaning.trim_end_matches('.')).unwrap();
    }
    blocks::check("docs/operations.md", "metrics", &table);
}

/// What `/metrics` says to an admin.
#[tokio::main(flavor = "current_thread")]
async fn metrics() -> String {
    let data = tempfile::tempdir().unwrap();
    let node = Node::open(NodeOptions::new(data.path())).unwrap();
    let key = tree::text(node.first_key.as_ref().unwrap()).unwrap();
    let settings = ApiSettings {
        backup_dir: None,
        max_body: 65_536,
        trusted_proxies: Networks::default(),
        metrics_allow: Networks::default(),
        forward_auth_trusted: Networks::default(),
        forward_auth_cookie: "__Host-tenure_session".to_owned(),
        wrong_credentials_per_minute: 0,
        limit_loopback: false,
        limits: AdmissionLimits {
            places: 768,
            buffers: 0,
            shares: SharesConfig::default(),
            usage: UsageRate::default(),
            trusted_proxies: Networks::default(),
            limit_loopback: false,
        },
        traces: None,
    };
    let api = ApiContext::new(
        Arc::clone(&node.authority),
        Arc::clone(&node.projections),
        Arc::clone(&node.evidence),
        Arc::clone(&node.webhooks),
        Arc::new(BackupMaker::of(&node)),
        settings,
        None,
    );
    let asked = Request::get("/metrics").header("authorization", format!("Bearer {}", key.trim()));
    let reply = api.router().oneshot(asked.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(reply.status(), 200);
    let body = to_bytes(reply.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn the_protected_service_is_the_example() {
    let example = tree::text("examples/protected_service.rs".as_ref()).unwrap();
    let (_, behind) = example.split_once("// begin\n").unwrap();
    let (shown, _) = behind.split_once("// end\n").unwrap();
    blocks::check("docs/verify.md", "example", &format!("```rust\n{}\n```", shown.trim_end()));
}

#[test]
fn every_route_is_in_the_openapi_document() {
    let document = openapi_document();
    let operations: usize = document["paths"].as_object().unwrap().values().map(members).sum();
    // And that of proxies, which is beside the table.
    assert_eq!(operations, route_facts().len() + 1);
}

fn members(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

#[test]
fn rates_to_choose_a_machine_by_are_those_that_were_measured() {
    let [capacity, measured] =
        ["docs/capacity.md", "docs/benchmarks.md"].map(|page| tree::text(page.as_ref()).unwrap());
    let (_, behind) = capacity.split_once("\n## How fast\n").unwrap();
    let (rates, _) = behind.split_once("\n## ").unwrap();
    let rates = rates.lines().filter_map(|row| row.split('|').nth(2)?.split_whitespace().next());
    let rates: Vec<_> = rates.filter(|rate| rate.contains(',')).collect();
    assert!(!rates.is_empty());
    for rate in rates {
        assert!(measured.contains(&format!("| {rate} |")), "{rate} is not in the page of measurements");
    }
}

#[test]
fn decisions_are_numbered_without_gaps_and_listed() {
    let mut list = "| | |\n|---|---|\n".to_owned();
    let mut files = tree::files("docs/decisions");
    files.retain(|path| !path.ends_with("README.md"));
    assert!(!files.is_empty());
    for (index, path) in files.iter().enumerate() {
        let number = format!("{:04}", index + 1);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{number}-")), "{name} should have the number {number}");
        let text = tree::text(path).unwrap();
        let title = text.lines().next().and_then(|line| line.strip_prefix("# "));
        writeln!(list, "| [{number}]({name}) | {} |", title.expect("a record opens with its title")).unwrap();
    }
    blocks::check("docs/decisions/README.md", "decisions", &list);
}
