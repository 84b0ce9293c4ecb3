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
pub static SETTINGS: [Setting; 68] = [
    setting(
        "server.listen",
        SettingKind::Address(|config| &mut config.server.listen),
        "Listen address and port.",
    ),
    setting(
        "server.public_url",
        SettingKind::Url(|config| &mut config.server.public_url),
        "Public URL of the authority: the issuer of access tokens, and the source of CloudEvents.",
    ),
    setting(
        "server.max_body",
        // Below it, a batch of 100 tokens or a session with all that it may have would not fit.
        SettingKind::Count(32_768, 16_777_216, |config| &mut config.server.max_body),
        "Maximum request body, in bytes.",
    ),
    setting(
        "server.trusted_proxies",
        SettingKind::Networks(|config| &mut config.server.trusted_proxies),
        "Proxies trusted to set `X-Forwarded-For` and `X-Forwarded-Proto`.",
    ),
    setting(
        "server.keep_alive",
        SettingKind::Seconds(5, 600, |config| &mut config.server.keep_alive),
        "Idle timeout of a connection, in seconds; keep it above that of the proxies in front.",
    ),
    setting(
        "server.buffers",
        // Below it, a few bodies of the longest that `server.max_body` takes would not fit.
        SettingKind::Count(33_554_432, u32::MAX, |config| &mut config.server.buffers),
        "Maximum memory for requests not yet received and responses not yet sent, of all connections together, in bytes.",
    ),
    setting(
        "server.tls_cert",
        SettingKind::File(|config| &mut config.server.tls_cert),
        "PEM file with the certificate and its chain; if set, the server accepts TLS only. SIGHUP reloads it.",
    ),
    setting(
        "server.tls_key",
        SettingKind::File(|config| &mut config.server.tls_key),
        "PEM file with the private key of `server.tls_cert`.",
    ),
    setting(
        "server.hsts",
        SettingKind::Seconds(0, 63_072_000, |config| &mut config.server.hsts),
        "With `server.tls_cert`: `max-age` of HSTS, during which browsers reach this host, on every port, by TLS only, in seconds; 0 sends no HSTS header.",
    ),
    setting(
        "data.dir",
        SettingKind::Directory(|config| &mut config.data_dir),
        "Data directory: the log, the keys and all other files.",
    ),
    setting(
        "data.reserve",
        SettingKind::Count(0, u32::MAX, |config| &mut config.data_reserve),
        "Disk space reserved for revocations, suspensions and rotations, in bytes; 0 reserves none.",
    ),
    setting(
        "log.segment_events",
        SettingKind::Count(1_000, u32::MAX, |config| &mut config.segment_events),
        "Events per segment of the log; fixed once a log has a segment.",
    ),
    setting(
        "log.verify",
        SettingKind::Verify(|config| &mut config.verify),
        "What a start reads and verifies of the log: `hot`, the part after the newest checkpoint; `all`, everything.",
    ),
    setting(
        "log.scrub_rate",
        SettingKind::Count(0, u32::MAX, |config| &mut config.scrub_rate),
        "Rate at which segments of the log are reread to find damage, in bytes per second; 0 turns it off.",
    ),
    setting(
        "log.url",
        SettingKind::Broker(|config| &mut config.cluster.url),
        "Servers of the NATS broker that stores the log of a cluster; without it the log is in `data.dir`.",
    ),
    setting(
        "log.nkey_file",
        SettingKind::File(|config| &mut config.cluster.nkey_file),
        "File with the seed of the nkey with which this node authenticates to the broker.",
    ),
    setting(
        "log.creds_file",
        SettingKind::File(|config| &mut config.cluster.creds_file),
        "File with the credentials (`.creds`, a JWT and its key) with which this node authenticates to the broker, instead of `log.nkey_file`; read for each connection.",
    ),
    setting(
        "retention.memory",
        SettingKind::Seconds(60, 315_360_000, |config| &mut config.retention),
        "How long an ended session stays in memory, in seconds; later it is read from the segments of the log on demand.",
    ),
    setting(
        "cluster.advertise",
        SettingKind::Url(|config| &mut config.cluster.advertise),
        "URL at which other nodes and operators reach this node, published in the lease; by default `server.listen`.",
    ),
    setting(
        "cluster.secret_file",
        SettingKind::File(|config| &mut config.cluster.secret_file),
        "File with the secret that all nodes share, which encrypts the keys stored at the broker; by default `cluster.secret` in `data.dir`.",
    ),
    setting(
        "cluster.tls_ca",
        SettingKind::File(|config| &mut config.cluster.tls_ca),
        "CA certificates of the broker's servers, and of other nodes in addition to those that the system trusts.",
    ),
    setting(
        "cluster.tls_cert",
        SettingKind::File(|config| &mut config.cluster.tls_cert),
        "Client certificate of this node for the broker.",
    ),
    setting(
        "cluster.tls_key",
        SettingKind::File(|config| &mut config.cluster.tls_key),
        "Private key of `cluster.tls_cert`.",
    ),
    setting(
        "cluster.node_ca",
        SettingKind::File(|config| &mut config.cluster.node_ca),
        "PEM file with the CA of the nodes' certificates; if set, forwarded requests are accepted only from nodes with such a certificate. SIGHUP reloads it.",
    ),
    setting(
        "cluster.node_cert",
        SettingKind::File(|config| &mut config.cluster.node_cert),
        "PEM file with the certificate of this node for the leader.",
    ),
    setting(
        "cluster.node_key",
        SettingKind::File(|config| &mut config.cluster.node_key),
        "PEM file with the private key of `cluster.node_cert`.",
    ),
    setting(
        "cluster.max_staleness",
        SettingKind::Seconds(5, 3_600, |config| &mut config.cluster.max_staleness),
        "Maximum age of a follower's state, in seconds; beyond it the node answers 503.",
    ),
    setting(
        "cluster.forward",
        SettingKind::Flag(|config| &mut config.cluster.forward),
        "Whether a follower forwards to the leader what only the leader can answer; otherwise it answers 421 with the leader's address.",
    ),
    setting(
        "backup.dir",
        SettingKind::File(|config| &mut config.backup_dir),
        "Directory below which admins may create backups (`POST /v1/backup`, `tenure backup`).",
    ),
    setting(
        "session.ttl",
        SettingKind::Seconds(300, 604_800, |config| &mut config.policy.ttl),
        "Default period of a session, in seconds; at most `session.ttl_max` and `session.absolute_lifetime`.",
    ),
    setting(
        "session.ttl_max",
        SettingKind::Seconds(300, 604_800, |config| &mut config.policy.ttl_max),
        "Maximum period that a create may request, in seconds.",
    ),
    setting(
        "session.max_renewals",
        SettingKind::Count(0, 100, |config| &mut config.policy.max_renewals),
        "Default number of renewals of a session; at most `session.max_renewals_max`.",
    ),
    setting(
        "session.max_renewals_max",
        SettingKind::Count(0, 100, |config| &mut config.policy.max_renewals_max),
        "Maximum number of renewals that a create may request.",
    ),
    setting(
        "session.absolute_lifetime",
        SettingKind::Seconds(86_400, 7_776_000, |config| &mut config.policy.absolute_lifetime),
        "Absolute lifetime of a session, however often it is renewed, in seconds.",
    ),
    setting(
        "session.renewal_reject_window",
        SettingKind::Seconds(300, 86_400, |config| &mut config.policy.renewal_reject_window),
        "How long after a renewal the owner's revocation counts as a veto, in seconds.",
    ),
    setting(
        "session.idle_timeout",
        SettingKind::SecondsOrNone(60, 86_400, |config| &mut config.policy.idle_timeout),
        "Default time without use after which a session ends, in seconds; without it only sliding sessions have one.",
    ),
    setting(
        "limits.per_subject",
        SettingKind::Count(1, 10_000, |config| &mut config.policy.per_subject),
        "Maximum active sessions of a subject.",
    ),
    setting(
        "limits.per_device",
        SettingKind::Count(1, 10_000, |config| &mut config.policy.per_device),
        "Maximum active sessions of one device of a subject.",
    ),
    setting(
        "limits.on_limit",
        SettingKind::OnLimit(|config| &mut config.policy.on_limit),
        "What a create does at `limits.per_subject`: refuse, or end the oldest session.",
    ),
    setting(
        "limits.on_device_limit",
        SettingKind::OnLimit(|config| &mut config.policy.on_device_limit),
        "What a create does at `limits.per_device`: refuse, or end the oldest session.",
    ),
    setting(
        "subjects.auto_register",
        SettingKind::Flag(|config| &mut config.policy.auto_register),
        "Whether creating a session for an unknown subject registers the subject.",
    ),
    setting(
        "renewal.on_reuse",
        SettingKind::OnReuse(|config| &mut config.policy.on_reuse),
        "Default reaction to a replaced token that asks for a renewal: `reject` refuses it; `revoke` also ends the session once the newer token is used, in either order.",
    ),
    setting(
        "renewal.reuse_grace",
        SettingKind::Seconds(0, 120, |config| &mut config.policy.reuse_grace),
        "How long after a renewal the replaced token may still ask for one without counting as stolen, in seconds; processes that share a session find the new token meanwhile.",
    ),
    setting(
        "idempotency.window",
        SettingKind::Seconds(1, 86_400, |config| &mut config.idempotency.window),
        "How long an `Idempotency-Key` is remembered, in seconds.",
    ),
    setting(
        "idempotency.max",
        SettingKind::Count(1, 10_000_000, |config| &mut config.idempotency.max),
        "Maximum `Idempotency-Key`s remembered, half of them from session tokens; in a full half the caller with the most loses its oldest.",
    ),
    setting(
        "sliding.enabled",
        SettingKind::Flag(|config| &mut config.policy.sliding_enabled),
        "Whether use extends sliding sessions; without it they end with their period.",
    ),
    setting(
        "keys.overlap",
        SettingKind::SecondsOrNone(0, 7_776_000, |config| &mut config.keys_overlap),
        "How long tokens of a rotated key stay valid after a rotation with an overlap, in seconds; by default the longest `ttl` issued.",
    ),
    setting(
        "access.clock_skew",
        SettingKind::Seconds(0, 60, |config| &mut config.access_clock_skew),
        "How long before their issue access tokens become valid, in seconds, for services whose clocks are slow.",
    ),
    setting(
        "forward_auth.trusted",
        SettingKind::Networks(|config| &mut config.forward_auth_trusted),
        "Proxies that may call `/v1/forward-auth` without a credential of their own.",
    ),
    setting(
        "forward_auth.cookie_name",
        SettingKind::CookieName(|config| &mut config.forward_auth_cookie),
        "Name of the cookie with an end user's token, for `/v1/forward-auth`.",
    ),
    setting(
        "webhooks.allow_private",
        SettingKind::Flag(|config| &mut config.webhooks_allow_private),
        "Whether webhooks may go to private addresses and to `http://`; only for networks in which everyone who can create a webhook is trusted.",
    ),
    setting(
        "notices.veto_links",
        SettingKind::Flag(|config| &mut config.veto_links),
        "Whether an owner's notice of a renewal has a link that vetoes it without a sign-in; needs `server.public_url` and the console.",
    ),
    setting(
        "notices.time_zone",
        SettingKind::TimeZone(|config| &mut config.notice_time_zone),
        "Time zone of moments in messages for people: webhooks of the formats `ntfy`, `discord`, `telegram` and `slack`.",
    ),
    setting(
        "console.enabled",
        SettingKind::Flag(|config| &mut config.console_enabled),
        "Whether the console is served at `/console`.",
    ),
    setting(
        "audit.head_interval",
        SettingKind::Seconds(1, 86_400, |config| &mut config.audit.head_interval),
        "Maximum time until recorded events are covered by a signed head, in seconds.",
    ),
    setting(
        "audit.head_file",
        SettingKind::File(|config| &mut config.audit.head_file),
        "File outside the data directory to which each signed head is appended; a start compares the log with it.",
    ),
    setting(
        "metrics.allow",
        SettingKind::Networks(|config| &mut config.metrics_allow),
        "Addresses that may read `/metrics` without a credential.",
    ),
    setting(
        "security.wrong_credentials_per_minute",
        SettingKind::Count(0, 10_000, |config| &mut config.security.wrong_credentials_per_minute),
        "Wrong credentials per minute and address, beyond which further wrong ones get 429; 0 turns it off.",
    ),
    setting(
        "security.limit_loopback",
        SettingKind::Flag(|config| &mut config.security.limit_loopback),
        "Whether this limit, the shares and the rate of usage also apply to loopback addresses.",
    ),
    setting(
        "shares.connections_per_address",
        SettingKind::Fraction(|config| &mut config.shares.connections_per_address),
        "Fraction of all connections that one address may have open before they present a valid credential.",
    ),
    setting(
        "shares.streams",
        SettingKind::Fraction(|config| &mut config.shares.streams),
        "Fraction of all connections that streams may use together.",
    ),
    setting(
        "shares.streams_per_credential",
        SettingKind::Count(1, 65_536, |config| &mut config.shares.streams_per_credential),
        "Maximum open streams of an API key.",
    ),
    setting(
        "shares.in_flight_per_credential",
        SettingKind::Fraction(|config| &mut config.shares.in_flight_per_credential),
        "Fraction of all requests in flight that one credential may have.",
    ),
    setting(
        "shares.appends_per_second",
        SettingKind::Count(1, 1_000_000, |config| &mut config.shares.appends_per_second),
        "Requests per second that append events, per credential.",
    ),
    setting(
        "usage.per_second",
        SettingKind::Count(1, 1_000_000, |config| &mut config.usage.per_second),
        "Recorded uses per second of a session.",
    ),
    setting(
        "usage.burst",
        SettingKind::Count(1, 1_000_000, |config| &mut config.usage.burst),
        "Recorded uses of a session at once, after a pause.",
    ),
    setting(
        "telemetry.otlp_endpoint",
        SettingKind::Url(|config| &mut config.telemetry.otlp_endpoint),
        "OpenTelemetry collector that receives a span for each request, at `/v1/traces`, by OTLP over HTTP.",
    ),
    setting(
        "telemetry.sample",
        SettingKind::Fraction(|config| &mut config.telemetry.sample),
        "Fraction of the traces that begin here to send; for a request with `traceparent` its caller decides.",
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
