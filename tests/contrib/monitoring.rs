//! Alerts and dashboard, by Prometheus's own tool, and against what a running server exposes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write,
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;
use tenure::http::error_table;

use crate::{
    server::{Server, file, tool},
    surroundings::not_run,
};

const FOLDER: &str = "contrib/prometheus";
const RULES: &str = "contrib/prometheus/tenure.rules.yml";
const TESTS: &str = "contrib/prometheus/tenure.rules.test.yml";
const DASHBOARD: &str = "contrib/grafana/tenure.json";

fn promtool(test: &str, arguments: &[&str], folder: &Path) {
    let Some(promtool) = tool("promtool") else {
        return not_run(test, "there is no promtool; as root, tests/run installs it");
    };
    let output = Command::new(promtool).args(arguments).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_takes_the_configuration_and_the_rules() {
    const TEST: &str = "that Prometheus takes its configuration";
    promtool(TEST, &["check", "config", "--syntax-only", "scrape.yml"], FOLDER.as_ref());
    promtool(TEST, &["check", "rules", "--lint-fatal", "tenure.rules.yml"], FOLDER.as_ref());
}

#[test]
fn the_alerts_fire_when_they_should_and_not_otherwise() {
    promtool("when alerts fire", &["test", "rules", "tenure.rules.test.yml"], FOLDER.as_ref());
    let healthy = &yaml(TESTS)["tests"][0]["alert_rule_test"];
    let silent: Vec<_> = healthy.as_array().unwrap().iter().map(|it| it["alertname"].clone()).collect();
    let alerts: Vec<_> = alerts().iter().map(|it| it["alert"].clone()).collect();
    assert_eq!(silent, alerts, "a healthy server raises none of them");
}

#[test]
fn the_configuration_names_the_rules_and_the_path_that_is_served() {
    let configuration = yaml("contrib/prometheus/scrape.yml");
    let rules = configuration["rule_files"][0].as_str().unwrap();
    assert!(Path::new(FOLDER).join(rules).is_file(), "{rules}");
    let job = &configuration["scrape_configs"][0];
    let job_name = job["job_name"].as_str().unwrap();
    assert!(file(RULES).contains(&format!("up{{job=\"{job_name}\"}}")));
    assert!(!exposed(job["metrics_path"].as_str().unwrap()).is_empty());
}

#[test]
fn each_alert_says_what_happened_what_to_do_and_how_bad_it_is() {
    for alert in alerts() {
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{alert}");
        for text in ["summary", "description"] {
            assert!(alert["annotations"][text].as_str().is_some_and(|text| text.len() > 10), "{alert}");
        }
    }
}

/// A metric was renamed, and its alert never fired again.
#[test]
fn each_metric_that_alerts_and_dashboard_name_is_exposed() {
    let exposed = exposed("/metrics");
    for path in [RULES, TESTS, DASHBOARD] {
        let used = metrics(&file(path));
        assert!(!used.is_empty(), "{path} names none");
        let unknown: Vec<_> = used.difference(&exposed).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
}

#[test]
fn each_code_that_alerts_and_dashboard_name_is_one_of_the_api() {
    let known = error_table();
    let mut count = 0;
    for path in [RULES, TESTS, DASHBOARD] {
        let text = file(path).replace('\\', "");
        for operator in ["=~", "!~", "=", "!="] {
            for behind in text.split(&format!("code{operator}\"")).skip(1) {
                for code in behind.split('"').next().unwrap().split('|').filter(|code| *code != "ok") {
                    assert!(known.contains(&format!("`{code}`")), "{path}: {code}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 4, "{count}");
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard: Value = serde_json::from_str(&file(DASHBOARD)).unwrap();
    for field in ["title", "uid", "schemaVersion", "templating", "time", "tags"] {
        assert!(!dashboard[field].is_null(), "{field}");
    }
    assert!(dashboard["id"].is_null(), "an id belongs to one Grafana");
    let mut taken = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let (id, title) = (panel["id"].as_u64().unwrap(), panel["title"].as_str().unwrap());
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24 && place("w") > 0 && place("h") > 0, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                let former = taken.insert((x, y), title);
                assert!(former.is_none(), "{title} lies over {former:?}");
            }
        }
        assert!(id > 0 && !title.is_empty());
    }
    let ids: BTreeSet<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|it| it["id"].as_u64()).collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len(), "ids are unique");
}

/// Grafana shows a wrong expression as an empty panel.
#[test]
fn each_expression_of_the_dashboard_is_one_that_prometheus_takes() {
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (index, (_, expression)) in expressions().into_iter().enumerate() {
        let expression = serde_json::to_string(&expression).unwrap();
        writeln!(rules, "  - record: p{index}\n    expr: {expression}").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("dashboard.yml"), rules).unwrap();
    promtool("the dashboard's expressions", &["check", "rules", "dashboard.yml"], folder.path());
}

/// The expressions of the dashboard with their panels' titles, as Grafana sends them.
pub(crate) fn expressions() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&file(DASHBOARD)).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|it| it["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
            let expression = expression.replace("$instance", ".*");
            assert!(!expression.contains('$'), "{expression}");
            expressions.push((panel["title"].as_str().unwrap().to_owned(), expression));
        }
    }
    expressions
}

pub(crate) fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn alerts() -> Vec<Value> {
    let groups = yaml(RULES)["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("tenure_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// The names under which a running server's metrics can be asked for.
fn exposed(path: &str) -> BTreeSet<String> {
    let server = Server::with(&["metrics.allow=127.0.0.1"], &HashMap::new());
    let text = server.get(path);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.flat_map(|(name, kind)| series(kind).iter().map(move |end| format!("{name}{end}"))).collect()
}

/// What the series of a type add to its name.
fn series(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" | "unknown" => &[""],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_count", "_sum"],
        _ => panic!("no test knows the type {kind}"),
    }
}
