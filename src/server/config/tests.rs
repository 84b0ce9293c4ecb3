//! Settings from every source, right and wrong, up to each boundary.

use std::{collections::BTreeMap, path::Path};

use super::*;
use tenure_core::policy::{OnLimit, OnReuse};

fn sets(flags: &[&str]) -> Result<Config, ConfigFaults> {
    RawConfig { flags: flags.iter().copied().map(ConfigFlag::set).collect(), ..RawConfig::default() }.check()
}

fn file(text: &str) -> Result<Config, ConfigFaults> {
    RawConfig { file: Some(("tenure.toml".into(), text.into())), ..RawConfig::default() }.check()
}

fn variables(variables: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    let environment = variables.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    RawConfig { environment, ..RawConfig::default() }.check()
}

/// The faults, one per line.
fn said(result: Result<Config, ConfigFaults>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn without_any_source_the_defaults_apply() {
    let config = RawConfig::default().check().unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.policy(), Policy::default());
    assert!(config.effective().iter().all(|effective| effective.source == ValueSource::Default));
}

#[test]
fn every_default_is_in_its_own_range() {
    for setting in &SETTINGS {
        let flag = format!("{}={}", setting.name(), setting.default());
        let config = sets(&[&flag]).unwrap();
        assert_eq!(setting.value_in(&config), setting.default());
    }
}

/// Each setting writes to its own place: set one at a time, nothing else moves.
/// Another value than the default, of every setting.
const OTHERS: [(&str, &str); SETTINGS.len()] = [
    ("server.listen", "[::1]:0"),
    ("server.public_url", "https://tenure.example/a"),
    ("server.max_body", "40000"),
    ("server.trusted_proxies", "10.0.0.0/8,::1"),
    ("server.keep_alive", "20"),
    ("server.buffers", "40000000"),
    ("server.tls_cert", "/etc/tenure/tls.crt"),
    ("server.tls_key", "/etc/tenure/tls.key"),
    ("server.hsts", "60"),
    ("data.dir", "/var/lib/tenure"),
    ("data.reserve", "134217728"),
    ("log.segment_events", "100000"),
    ("log.verify", "all"),
    ("log.scrub_rate", "1048576"),
    ("log.url", "nats://a:4222,b:4222"),
    ("log.nkey_file", "/etc/tenure/node.nk"),
    ("log.creds_file", "/etc/tenure/node.creds"),
    ("retention.memory", "3600"),
    ("cluster.advertise", "https://one.example"),
    ("cluster.secret_file", "/etc/tenure/cluster.secret"),
    ("cluster.tls_ca", "/etc/tenure/ca.pem"),
    ("cluster.tls_cert", "/etc/tenure/cert.pem"),
    ("cluster.tls_key", "/etc/tenure/key.pem"),
    ("cluster.node_ca", "/etc/tenure/nodes.pem"),
    ("cluster.node_cert", "/etc/tenure/node.pem"),
    ("cluster.node_key", "/etc/tenure/node-key.pem"),
    ("cluster.max_staleness", "30"),
    ("cluster.forward", "false"),
    ("backup.dir", "/mnt/backups"),
    ("session.ttl", "3600"),
    ("session.ttl_max", "90000"),
    ("session.max_renewals", "3"),
    ("session.max_renewals_max", "50"),
    ("session.absolute_lifetime", "90000"),
    ("session.renewal_reject_window", "600"),
    ("session.idle_timeout", "900"),
    ("limits.per_subject", "7"),
    ("limits.per_device", "8"),
    ("limits.on_limit", "evict_oldest"),
    ("limits.on_device_limit", "reject"),
    ("subjects.auto_register", "true"),
    ("renewal.on_reuse", "revoke"),
    ("renewal.reuse_grace", "30"),
    ("idempotency.window", "60"),
    ("idempotency.max", "10"),
    ("sliding.enabled", "false"),
    ("keys.overlap", "7200"),
    ("access.clock_skew", "2"),
    ("forward_auth.trusted", "10.1.0.0/16"),
    ("forward_auth.cookie_name", "__Secure-app"),
    ("webhooks.allow_private", "true"),
    ("notices.veto_links", "false"),
    ("notices.time_zone", "Europe/Berlin"),
    ("console.enabled", "false"),
    ("audit.head_interval", "60"),
    ("audit.head_file", "/mnt/other/heads"),
    ("metrics.allow", "127.0.0.1"),
    ("security.wrong_credentials_per_minute", "0"),
    ("security.limit_loopback", "true"),
    ("shares.connections_per_address", "0.5"),
    ("shares.streams", "0.75"),
    ("shares.streams_per_credential", "3"),
    ("shares.in_flight_per_credential", "0.01"),
    ("shares.appends_per_second", "4"),
    ("usage.per_second", "5"),
    ("usage.burst", "6"),
    ("telemetry.otlp_endpoint", "http://127.0.0.1:4318"),
    ("telemetry.sample", "0.5"),
];

#[test]
fn every_setting_has_a_place_of_its_own() {
    assert_eq!(OTHERS.map(|(name, _)| name), SETTINGS.each_ref().map(Setting::name));
    // These mean nothing without each other.
    let is_pair = |name: &str| name.starts_with("server.tls_");
    let is_of_nodes = |name: &str| name.starts_with("cluster.node_");
    let is_shown = |name: &str| ["cluster.tls_cert", "cluster.tls_key"].contains(&name);
    let goes_with = |other: &str, name: &str| {
        is_shown(other) && is_shown(name)
            || is_pair(other) && (is_pair(name) || is_of_nodes(name))
            || is_of_nodes(other) && is_of_nodes(name)
    };
    for (name, _) in OTHERS {
        let set = OTHERS.iter().filter(|(other, _)| *other == name || goes_with(other, name));
        let set: BTreeMap<_, _> = set.copied().collect();
        let given: Vec<_> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let config = sets(&given.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for effective in config.effective() {
            let default = || Setting::named(effective.name).unwrap().default();
            let expected = set.get(effective.name).map_or_else(default, |value| (*value).to_owned());
            assert_eq!(effective.value, expected, "{} after {name}", effective.name);
        }
    }
}

#[test]
fn every_number_holds_at_its_bounds_and_not_beyond() {
    // With the bounds of others out of the way.
    let wide = ["session.ttl=300", "session.ttl_max=604800", "session.max_renewals=0"];
    for (name, least, most) in [
        ("server.max_body", 32_768, 16_777_216),
        ("cluster.max_staleness", 5, 3_600),
        ("session.ttl", 300, 604_800),
        ("session.ttl_max", 300, 604_800),
        ("session.max_renewals", 0, 100),
        ("session.max_renewals_max", 0, 100),
        ("session.absolute_lifetime", 86_400, 7_776_000),
        ("session.renewal_reject_window", 300, 86_400),
        ("access.clock_skew", 0, 60),
        ("renewal.reuse_grace", 0, 120),
        ("limits.per_subject", 1, 10_000),
        ("limits.per_device", 1, 10_000),
        ("idempotency.window", 1, 86_400),
        ("idempotency.max", 1, 10_000_000),
        ("audit.head_interval", 1, 86_400),
        ("security.wrong_credentials_per_minute", 0, 10_000),
    ] {
        let with = |value: i64| sets(&[&wide[..], &[&format!("{name}={value}")]].concat());
        for inside in [least, most] {
            assert!(with(inside).is_ok(), "{name}={inside}: {:?}", with(inside));
        }
        for outside in [least - 1, most + 1] {
            let said = said(with(outside));
            assert!(
                said.starts_with(&format!(
                    "{name} = {outside} (from --set {name}={outside}): must be {least} to {most}"
                )),
                "{said}"
            );
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    for wrong in [
        "session.ttl=1 hour",
        "forward_auth.cookie_name=",
        "forward_auth.cookie_name=a b",
        "forward_auth.cookie_name=a=b",
        "forward_auth.cookie_name=a;Domain",
        "forward_auth.cookie_name=café",
        "session.ttl=",
        "session.ttl=-1",
        "session.ttl=86400.0",
        "session.ttl=99999999999999999999",
        "subjects.auto_register=yes",
        "limits.on_limit=evict",
        "renewal.on_reuse=Revoke",
        "server.listen=127.0.0.1",
        "server.listen=7300",
        "server.public_url=tenure.example",
        "server.public_url=ftp://tenure.example",
        "server.public_url=https://tenure.example?a=b",
        "server.public_url=https://tenure.example/#a",
        "server.public_url=https://user:pass@tenure.example",
        "server.public_url=/console",
        "server.trusted_proxies=10.0.0.1/8",
        "metrics.allow=all",
        "data.dir=",
    ] {
        let said = said(sets(&[wrong]));
        assert!(said.contains("): must be ") && said.lines().count() == 1, "{wrong}: {said}");
    }
}

#[test]
fn a_public_url_loses_the_slash_at_its_end() {
    let url = |text: &str| sets(&[&format!("server.public_url={text}")]).unwrap().server.public_url;
    assert_eq!(url("https://tenure.example/").as_deref(), Some("https://tenure.example"));
    assert_eq!(url("http://[::1]:7300/auth/").as_deref(), Some("http://[::1]:7300/auth"));
    assert_eq!(url(""), None);
}

#[test]
fn a_file_may_use_all_spellings_of_toml() {
    let config = file(
        r#"
        session.ttl = 3_600
        [limits]
        per_subject = 0x10
        on_limit = "evict_oldest"
        [server]
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [subjects]
        auto_register = true
        [renewal]
        "#,
    )
    .unwrap();
    assert_eq!((config.policy.ttl, config.policy.per_subject), (Seconds(3_600), 16));
    assert_eq!((config.policy.on_limit, config.policy.on_reuse), (OnLimit::EvictOldest, OnReuse::Reject));
    assert!(config.server.trusted_proxies.contains("10.1.2.3".parse().unwrap()));
    assert!(config.policy.auto_register);
}

#[test]
fn a_fault_in_a_file_names_its_line() {
    let said = said(file("[session]\nttl = 3600\n\n  ttl_max = 1000000\n"));
    assert_eq!(said, "session.ttl_max = 1000000 (from tenure.toml line 4): must be 300 to 604800 seconds");
}

#[test]
fn a_file_that_is_no_toml_is_one_fault() {
    let said = said(file("[session]\nttl = = 3\n"));
    assert!(said.starts_with("tenure.toml line 2: ") && said.lines().count() == 1, "{said}");
    assert!(file("[session]\nttl = 600\nttl = 700\n").is_err(), "a key twice");
}

#[test]
fn a_part_of_a_whole_is_a_number_in_a_file_and_nothing_else_is_one_with_a_point() {
    let config = file("[shares]\nstreams = 0.75\nconnections_per_address = 1").unwrap();
    assert_eq!(Setting::named("shares.streams").unwrap().value_in(&config), "0.75");
    assert_eq!(Setting::named("shares.connections_per_address").unwrap().value_in(&config), "1");
    for wrong in ["[shares]\nstreams = 1.5", "[shares]\nstreams = nan", "[session]\nttl = 3600.0"] {
        assert!(file(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_types_of_toml_must_fit() {
    for wrong in [
        "session.ttl = \"3600\"",
        "session.ttl = 3600.0",
        "session.ttl = [3600]",
        "session.ttl = 2026-11-21",
        "subjects.auto_register = \"true\"",
        "subjects.auto_register = 1",
        "limits.on_limit = true",
        "metrics.allow = \"127.0.0.1\"",
        "metrics.allow = [1]",
        "session = 3",
    ] {
        assert!(file(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let missing = RawConfig::read(Some(Path::new("/nowhere/tenure.toml")), [], vec![]).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/tenure.toml: "), "{missing}");
}

#[test]
fn unknown_settings_are_refused_from_every_source() {
    let said = said(file("[session]\ntll = 5\n[sesion]\nttl = 5\n[nothing]\n"));
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0]
            .starts_with("session.tll = 5 (from tenure.toml line 2): there is no such setting; in session")
    );
    assert!(
        lines[1]
            .starts_with("sesion.ttl = 5 (from tenure.toml line 4): there is no such setting; the sections")
    );
    assert!(lines[2].starts_with("nothing = "), "{said}");
    assert!(sets(&["session.tll=5"]).is_err());
    assert!(variables(&[("TENURE_SESSION__TLL", "5")]).is_err());
    assert!(variables(&[("TENURE_X__Y", "5")]).is_err());
    assert!(variables(&[("TENURE_session__ttl", "3600")]).is_err());
}

#[test]
fn variables_that_are_no_settings_are_left_alone() {
    let others =
        [("TENURE_KEY", "k"), ("TENURE_URL", "u"), ("TENURE_LOG", "debug"), ("HOME__X", "/"), ("TENURE", "")];
    assert_eq!(variables(&others), Ok(Config::default()));
    // What Kubernetes sets for a service of this name.
    assert_eq!(variables(&[("TENURE_SERVER_PORT_7300_TCP", "tcp://10.0.0.1:7300")]), Ok(Config::default()));
}

#[test]
fn a_variable_that_misses_an_underscore_is_not_ignored() {
    let said = said(variables(&[("TENURE_SESSION_TTL", "3600")]));
    assert_eq!(said, "session.ttl = 3600 (from TENURE_SESSION_TTL): must be written TENURE_SESSION__TTL");
}

#[test]
fn a_flag_without_a_value_is_refused() {
    assert_eq!(said(sets(&["session.ttl"])), "--set session.ttl: must be --set name=value");
}

#[test]
fn the_later_source_wins_and_is_named() {
    let raw = RawConfig {
        file: Some((
            "tenure.toml".into(),
            "[session]\nttl = 1000\nmax_renewals = 1\nrenewal_reject_window = 301".into(),
        )),
        environment: vec![
            ("TENURE_SESSION__TTL".into(), "2000".into()),
            ("TENURE_SESSION__MAX_RENEWALS".into(), "2".into()),
        ],
        flags: vec![
            ConfigFlag::set("session.ttl=3000"),
            ConfigFlag::set("session.ttl = 4000"),
            ConfigFlag::of_its_own("--listen", "server.listen", "127.0.0.1:1"),
        ],
    };
    let shown: Vec<_> = raw
        .check()
        .unwrap()
        .effective()
        .into_iter()
        .filter(|effective| effective.source != ValueSource::Default)
        .map(|effective| format!("{} = {} (from {})", effective.name, effective.value, effective.source))
        .collect();
    assert_eq!(
        shown,
        [
            "server.listen = 127.0.0.1:1 (from --listen 127.0.0.1:1)",
            "session.ttl = 4000 (from --set session.ttl = 4000)",
            "session.max_renewals = 2 (from TENURE_SESSION__MAX_RENEWALS)",
            "session.renewal_reject_window = 301 (from tenure.toml line 4)",
        ]
    );
}

#[test]
fn settings_must_fit_one_another() {
    assert!(sets(&["session.ttl=3600", "session.ttl_max=3600"]).is_ok());
    assert_eq!(
        said(sets(&["session.ttl=3601", "session.ttl_max=3600"])),
        "session.ttl = 3601 (from --set session.ttl=3601): must be at most session.ttl_max, 3600 (from --set session.ttl_max=3600)"
    );
    assert!(
        said(sets(&["session.ttl_max=3600"]))
            .starts_with("session.ttl = 86400 (from default): must be at most")
    );
    assert!(
        said(sets(&["data.dir=/srv/tenure", "audit.head_file=/srv/tenure/heads"]))
            .contains("must be outside of data.dir")
    );
    assert!(sets(&["data.dir=/srv/tenure", "audit.head_file=/srv/tenure.heads"]).is_ok());
    assert!(sets(&["session.ttl=86400", "session.absolute_lifetime=86400"]).is_ok());
    assert!(
        said(sets(&["session.ttl=86401", "session.absolute_lifetime=86400"]))
            .contains("session.absolute_lifetime")
    );
    assert!(sets(&["session.max_renewals=10", "session.max_renewals_max=10"]).is_ok());
    assert!(
        said(sets(&["session.max_renewals=11", "session.max_renewals_max=10"])).contains("max_renewals_max")
    );
}

#[test]
fn all_faults_are_reported_at_once() {
    let raw = RawConfig {
        file: Some(("tenure.toml".into(), "[limits]\nper_device = 0\nper_subject = 0\n".into())),
        environment: vec![("TENURE_A__B".into(), "1".into())],
        flags: vec![
            ConfigFlag::set("session.ttl=1"),
            ConfigFlag::set("session.ttl_max=400"),
            ConfigFlag::set("session.max_renewals=99"),
            ConfigFlag::set("session.max_renewals_max=98"),
        ],
    };
    let names: Vec<_> = raw.check().unwrap_err().0.into_iter().map(|fault| fault.name).collect();
    // A wrong `session.ttl` is reported once, and not compared with anything.
    assert_eq!(
        names,
        ["limits.per_device", "limits.per_subject", "a.b", "session.ttl", "session.max_renewals"]
    );
}

#[test]
fn the_documentation_has_a_line_for_each_setting() {
    let text = settings_markdown();
    assert_eq!(text.lines().count(), 2 + SETTINGS.len());
    assert!(text.contains("| `session.ttl` | `86400` | 300 to 604800 seconds | Default period"), "{text}");
    assert!(text.contains("| `server.public_url` | none |"), "{text}");
    assert!(!SETTINGS.iter().any(|setting| setting.doc().contains('|') || setting.range().contains('|')));
}

#[test]
fn durations_and_addresses_are_taken_as_people_write_them() {
    let toml = "[server]\nlisten = \"localhost:7301\"\n[session]\nttl = \"1h30m\"\nidle_timeout = \"30m\"\n";
    let config = file(toml).unwrap();
    assert_eq!(config.server.listen, "127.0.0.1:7301".parse().unwrap());
    assert_eq!(config.policy.ttl, Seconds(5_400));
    let config = variables(&[("TENURE_SESSION__TTL", "2h"), ("TENURE_SERVER__LISTEN", ":0")]).unwrap();
    assert_eq!((config.policy.ttl, config.server.listen), (Seconds(7_200), "0.0.0.0:0".parse().unwrap()));
    assert_eq!(sets(&["keys.overlap=7d"]).unwrap().keys_overlap, Some(Seconds(604_800)));
    for wrong in ["session.ttl=8d", "session.ttl=1", "session.ttl=1x", "server.listen=elsewhere:7300"] {
        assert!(sets(&[wrong]).is_err(), "{wrong}");
    }
}

// `retention.memory` once stood among the settings of `log`: the console then had two sections of that name.
#[test]
fn the_settings_of_a_section_stand_together() {
    let mut sections: Vec<_> = SETTINGS.iter().map(Setting::section).collect();
    sections.dedup();
    let names = sections.len();
    sections.sort_unstable();
    sections.dedup();
    assert_eq!(sections.len(), names, "{sections:?}");
}
