//! The table of settings. Everything that knows settings by name comes from it.

use std::fmt::Write;

use super::{Config, value_kind::SettingKind};

/// One setting: its name, what it means, what it may hold and where it is kept.
pub struct Setting {
    name: &'static str,
    doc: &'static str,
    pub(super) kind: SettingKind,
}

impl Setting {
    /// Its name, such as `session.ttl`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it means, in one sentence, with its unit.
    pub const fn doc(&self) -> &'static str {
        self.doc
    }

    /// What it may hold, in words.
    pub fn range(&self) -> String {
        self.kind.range()
    }

    /// Its default, as a flag would give it; empty for none.
    pub fn default(&self) -> String {
        self.value_in(&Config::default())
    }

    /// Its name in the environment, such as `TENURE_SESSION__TTL`.
    pub fn variable(&self) -> String {
        format!("TENURE_{}", self.name.replace('.', "__").to_uppercase())
    }

    pub(super) fn value_in(&self, config: &Config) -> String {
        self.kind.show(&mut config.clone())
    }

    pub(super) fn section(&self) -> &'static str {
        self.name.split('.').next().unwrap_or_default()
    }

    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

const fn setting(name: &'static str, kind: SettingKind, doc: &'static str) -> Setting {
    Setting { name, doc, kind }
}

/// Every setting there is.
pub static SETTINGS: [Setting; 66] = [
    setting(
        "server.listen",
        SettingKind::Address(|config| &mut config.server.listen),
        "The address and port that requests are taken on.",
    ),
    setting(
        "server.public_url",
        SettingKind::Url(|config| &mut config.server.public_url),
        "Where callers reach the authority: the issuer of access tokens, and the source of CloudEvents.",
    ),
    setting(
        "server.max_body",
        // Below it, a batch of 100 tokens or a session with all that it may have would not fit.
        SettingKind::Count(32_768, 16_777_216, |config| &mut config.server.max_body),
        "The longest request body, in bytes.",
    ),
    setting(
        "server.trusted_proxies",
        SettingKind::Networks(|config| &mut config.server.trusted_proxies),
        "Proxies whose word on a client's address is believed.",
    ),
    setting(
        "server.keep_alive",
        SettingKind::Seconds(5, 600, |config| &mut config.server.keep_alive),
        "How long an idle connection stays open, in seconds; longer than the proxies in front keep theirs.",
    ),
    setting(
        "server.tls_cert",
        SettingKind::File(|config| &mut config.server.tls_cert),
        "A PEM file with the certificate and what it rests on: then requests are taken by TLS only. SIGHUP loads it again.",
    ),
    setting(
        "server.tls_key",
        SettingKind::File(|config| &mut config.server.tls_key),
        "A PEM file with the key of `server.tls_cert`.",
    ),
    setting(
        "server.hsts",
        SettingKind::Seconds(0, 63_072_000, |config| &mut config.server.hsts),
        "With `server.tls_cert`: how long browsers come to this host by TLS only, whatever its port (HSTS), in seconds; 0: \
         they are not told.",
    ),
    setting(
        "data.dir",
        SettingKind::Directory(|config| &mut config.data_dir),
        "The directory of the log, the keys and all other data.",
    ),
    setting(
        "data.reserve",
        SettingKind::Count(0, u32::MAX, |config| &mut config.data_reserve),
        "Disk space reserved for revocations, suspensions and rotations, in bytes; 0 reserves none.",
    ),
    setting(
        "log.segment_events",
        SettingKind::Count(1_000, u32::MAX, |config| &mut config.segment_events),
        "Number of events per segment of the history; fixed once a log has a segment.",
    ),
    setting(
        "log.verify",
        SettingKind::Verify(|config| &mut config.verify),
        "What a start reads of the log: `hot` for what is behind the newest checkpoint, `all` for everything.",
    ),
    setting(
        "log.scrub_rate",
        SettingKind::Count(0, u32::MAX, |config| &mut config.scrub_rate),
        "How fast the segments of the log are read again to find damage, in bytes a second; 0 for never.",
    ),
    setting(
        "log.url",
        SettingKind::Broker(|config| &mut config.cluster.url),
        "The servers of the NATS broker that keeps the log of several machines; none keeps it in `data.dir`.",
    ),
    setting(
        "log.nkey_file",
        SettingKind::File(|config| &mut config.cluster.nkey_file),
        "The file with the seed of the nkey that this node shows to the broker.",
    ),
    setting(
        "log.creds_file",
        SettingKind::File(|config| &mut config.cluster.creds_file),
        "The file with the credentials (`.creds`) that this node shows to a broker whose users have tokens (JWT), instead of \
         `log.nkey_file`; it is read for each connection.",
    ),
    setting(
        "retention.memory",
        SettingKind::Seconds(60, 315_360_000, |config| &mut config.retention),
        "How long a session stays in memory after its end; later it is read from the segments of the log when asked for.",
    ),
    setting(
        "cluster.advertise",
        SettingKind::Url(|config| &mut config.cluster.advertise),
        "Where other nodes and operators reach this node, as the lease says; by default `server.listen`.",
    ),
    setting(
        "cluster.secret_file",
        SettingKind::File(|config| &mut config.cluster.secret_file),
        "The file with the secret that all nodes share, under which keys are sealed at the broker; none is `cluster.secret` in `data.dir`.",
    ),
    setting(
        "cluster.tls_ca",
        SettingKind::File(|config| &mut config.cluster.tls_ca),
        "The certificates that vouch for the broker's servers, and for other nodes beside those that the system trusts.",
    ),
    setting(
        "cluster.tls_cert",
        SettingKind::File(|config| &mut config.cluster.tls_cert),
        "The certificate that this node shows to the broker.",
    ),
    setting(
        "cluster.tls_key",
        SettingKind::File(|config| &mut config.cluster.tls_key),
        "The key of that certificate.",
    ),
    setting(
        "cluster.node_ca",
        SettingKind::File(|config| &mut config.cluster.node_ca),
        "A PEM file with the authority whose certificates nodes show each other: what they hand on is taken from nobody else. \
         SIGHUP loads it again.",
    ),
    setting(
        "cluster.node_cert",
        SettingKind::File(|config| &mut config.cluster.node_cert),
        "A PEM file with the certificate that this node shows to the node that leads.",
    ),
    setting(
        "cluster.node_key",
        SettingKind::File(|config| &mut config.cluster.node_key),
        "A PEM file with the key of `cluster.node_cert`.",
    ),
    setting(
        "cluster.max_staleness",
        SettingKind::Seconds(5, 3_600, |config| &mut config.cluster.max_staleness),
        "A node whose state may be older than this answers nothing from it, in seconds; then 503.",
    ),
    setting(
        "cluster.forward",
        SettingKind::Flag(|config| &mut config.cluster.forward),
        "Whether a node that follows hands on to the leader what only that one decides; without it the answer is 421, with the leader's address.",
    ),
    setting(
        "backup.dir",
        SettingKind::File(|config| &mut config.backup_dir),
        "A folder below which admins may have backups made (`POST /v1/backup`, `tenure backup`).",
    ),
    setting(
        "session.ttl",
        SettingKind::Seconds(300, 604_800, |config| &mut config.policy.ttl),
        "The period of a session that asks for none, in seconds; at most `session.ttl_max` and `session.absolute_lifetime`.",
    ),
    setting(
        "session.ttl_max",
        SettingKind::Seconds(300, 604_800, |config| &mut config.policy.ttl_max),
        "The longest period that a session may ask for, in seconds.",
    ),
    setting(
        "session.max_renewals",
        SettingKind::Count(0, 100, |config| &mut config.policy.max_renewals),
        "How often a session that asks for no other number may be renewed; at most `session.max_renewals_max`.",
    ),
    setting(
        "session.max_renewals_max",
        SettingKind::Count(0, 100, |config| &mut config.policy.max_renewals_max),
        "The most renewals that a session may ask for.",
    ),
    setting(
        "session.absolute_lifetime",
        SettingKind::Seconds(86_400, 7_776_000, |config| &mut config.policy.absolute_lifetime),
        "How long a session may live, however often it is renewed, in seconds.",
    ),
    setting(
        "session.renewal_reject_window",
        SettingKind::Seconds(300, 86_400, |config| &mut config.policy.renewal_reject_window),
        "How long after a renewal an owner's veto is expected, in seconds.",
    ),
    setting(
        "session.idle_timeout",
        SettingKind::SecondsOrNone(60, 86_400, |config| &mut config.policy.idle_timeout),
        "After how long without use a session ends that asks for no other time; none: it does not, unless it is sliding.",
    ),
    setting(
        "limits.per_subject",
        SettingKind::Count(1, 10_000, |config| &mut config.policy.per_subject),
        "Active sessions of one subject.",
    ),
    setting(
        "limits.per_device",
        SettingKind::Count(1, 10_000, |config| &mut config.policy.per_device),
        "Active sessions of one device of a subject.",
    ),
    setting(
        "limits.on_limit",
        SettingKind::OnLimit(|config| &mut config.policy.on_limit),
        "What a create does when `limits.per_subject` is reached.",
    ),
    setting(
        "limits.on_device_limit",
        SettingKind::OnLimit(|config| &mut config.policy.on_device_limit),
        "What a create does when `limits.per_device` is reached.",
    ),
    setting(
        "subjects.auto_register",
        SettingKind::Flag(|config| &mut config.policy.auto_register),
        "Whether a session for an unknown subject registers it.",
    ),
    setting(
        "renewal.on_reuse",
        SettingKind::OnReuse(|config| &mut config.policy.on_reuse),
        "What a session that asks for neither does when a replaced token asks for a renewal and the newer one is used too, in either order; `revoke` ends the session.",
    ),
    setting(
        "renewal.reuse_grace",
        SettingKind::Seconds(0, 120, |config| &mut config.policy.reuse_grace),
        "How long after a renewal the replaced token is refused without suspicion, so that processes that share a session find its new token, in seconds.",
    ),
    setting(
        "idempotency.window",
        SettingKind::Seconds(1, 86_400, |config| &mut config.idempotency.window),
        "How long an `Idempotency-Key` is remembered, in seconds.",
    ),
    setting(
        "idempotency.max",
        SettingKind::Count(1, 10_000_000, |config| &mut config.idempotency.max),
        "How many `Idempotency-Key`s are remembered, half of them of sessions; in a full half the caller with most makes room.",
    ),
    setting(
        "sliding.enabled",
        SettingKind::Flag(|config| &mut config.policy.sliding_enabled),
        "Whether sliding sessions are refreshed; the ends of their periods hold in any case.",
    ),
    setting(
        "keys.overlap",
        SettingKind::SecondsOrNone(0, 7_776_000, |config| &mut config.keys_overlap),
        "How long tokens of a key that was replaced with an overlap work on, in seconds; none is the longest ttl that was issued.",
    ),
    setting(
        "access.clock_skew",
        SettingKind::Seconds(0, 60, |config| &mut config.access_clock_skew),
        "Seconds before their issue at which access tokens become valid, for services whose clocks are behind.",
    ),
    setting(
        "forward_auth.trusted",
        SettingKind::Networks(|config| &mut config.forward_auth_trusted),
        "Addresses of proxies that may ask `/v1/forward-auth` without a credential of their own.",
    ),
    setting(
        "forward_auth.cookie_name",
        SettingKind::CookieName(|config| &mut config.forward_auth_cookie),
        "The cookie in which `/v1/forward-auth` takes and refreshes an end user's token.",
    ),
    setting(
        "webhooks.allow_private",
        SettingKind::Flag(|config| &mut config.webhooks_allow_private),
        "Whether webhooks may lead to private addresses and to `http://`; for networks where everyone who may create one is trusted.",
    ),
    setting(
        "notices.veto_links",
        SettingKind::Flag(|config| &mut config.veto_links),
        "Whether an owner's notice of a renewal has a link that vetoes it without a sign-in; it needs `server.public_url` and the console.",
    ),
    setting(
        "console.enabled",
        SettingKind::Flag(|config| &mut config.console_enabled),
        "Whether the console is served at `/console`.",
    ),
    setting(
        "audit.head_interval",
        SettingKind::Seconds(1, 86_400, |config| &mut config.audit.head_interval),
        "Maximum seconds until recorded events are under a signed head.",
    ),
    setting(
        "audit.head_file",
        SettingKind::File(|config| &mut config.audit.head_file),
        "A file outside of the data directory to which each signed head is appended; a start compares the log with it.",
    ),
    setting(
        "metrics.allow",
        SettingKind::Networks(|config| &mut config.metrics_allow),
        "Addresses that may read `/metrics` without a credential.",
    ),
    setting(
        "security.wrong_credentials_per_minute",
        SettingKind::Count(0, 10_000, |config| &mut config.security.wrong_credentials_per_minute),
        "Wrong credentials from one address in a minute before further wrong ones get 429; 0 turns it off.",
    ),
    setting(
        "security.limit_loopback",
        SettingKind::Flag(|config| &mut config.security.limit_loopback),
        "Whether that, the shares and the rate of usage also hold for loopback addresses.",
    ),
    setting(
        "shares.connections_per_address",
        SettingKind::Fraction(|config| &mut config.shares.connections_per_address),
        "The part of all places that connections from one address have until they show a good credential.",
    ),
    setting(
        "shares.streams",
        SettingKind::Fraction(|config| &mut config.shares.streams),
        "The part of all places that streams have together.",
    ),
    setting(
        "shares.streams_per_credential",
        SettingKind::Count(1, 65_536, |config| &mut config.shares.streams_per_credential),
        "How many streams one API key has.",
    ),
    setting(
        "shares.in_flight_per_credential",
        SettingKind::Fraction(|config| &mut config.shares.in_flight_per_credential),
        "The part of all requests in flight that one credential has.",
    ),
    setting(
        "shares.appends_per_second",
        SettingKind::Count(1, 1_000_000, |config| &mut config.shares.appends_per_second),
        "How many requests that append one credential has in a second.",
    ),
    setting(
        "usage.per_second",
        SettingKind::Count(1, 1_000_000, |config| &mut config.usage.per_second),
        "How often the usage of one session is recorded in a second.",
    ),
    setting(
        "usage.burst",
        SettingKind::Count(1, 1_000_000, |config| &mut config.usage.burst),
        "How often at once, after a rest.",
    ),
    setting(
        "telemetry.otlp_endpoint",
        SettingKind::Url(|config| &mut config.telemetry.otlp_endpoint),
        "A collector of traces: a span for each request goes there, to `/v1/traces`, by OTLP over HTTP.",
    ),
    setting(
        "telemetry.sample",
        SettingKind::Fraction(|config| &mut config.telemetry.sample),
        "Which part of the traces that begin here is sent; those of callers by `traceparent` are as the caller says.",
    ),
];

/// The settings as a table for the documentation.
pub fn settings_markdown() -> String {
    let mut text = "| setting | default | values | meaning |\n|---|---|---|---|\n".to_owned();
    for setting in &SETTINGS {
        let default = setting.default();
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        let (name, range, doc) = (setting.name, setting.range(), setting.doc);
        writeln!(text, "| `{name}` | {default} | {range} | {doc} |").expect("writing to a string succeeds");
    }
    text
}
