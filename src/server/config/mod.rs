//! Settings: from raw to checked and complete. Parsing opens no socket and makes no directory.
//!
//! Defaults, then a TOML file, then the environment (`TENURE_SESSION__TTL`), then flags; later wins. One
//! table ([`SETTINGS`]) knows every setting: its name, range, meaning and place in [`Config`]. Whatever is
//! wrong is reported at once, each with its name, value, range and source.

mod error;
mod fraction;
mod network;
mod raw;
mod settings;
mod telemetry;
mod time_zone;
mod value_kind;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

pub use error::{ConfigFault, ConfigFaults, ValueSource};
pub use fraction::{Fraction, InvalidFraction};
pub use network::{Network, Networks};
pub use raw::{ConfigFlag, RawConfig, environment};
pub use settings::{SETTINGS, Setting, settings_markdown};
pub use telemetry::TelemetryConfig;
pub use time_zone::{NoticeTimeZone, UnknownTimeZone};

use tenure_core::{Policy, Seconds};
use tenure_log::{
    VerifyScope,
    jetstream::{BrokerAccess, IdentityFile},
};

/// All settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `server.*`
    pub server: ServerConfig,
    /// `data.dir`
    pub data_dir: PathBuf,
    /// `data.reserve`, in bytes; 0 is off.
    pub data_reserve: u32,
    /// `log.segment_events`
    pub segment_events: u32,
    /// `log.verify`
    pub verify: VerifyScope,
    /// `log.scrub_rate`
    pub scrub_rate: u32,
    /// `retention.memory`
    pub retention: Seconds,
    /// `log.url`, `log.nkey_file`, `log.creds_file` and `cluster.*`
    pub cluster: ClusterConfig,
    /// `backup.dir`
    pub backup_dir: Option<PathBuf>,
    /// `session.*`, `limits.*`, `subjects.*`, `renewal.*`, `sliding.*`
    pub policy: Policy,
    /// `idempotency.*`
    pub idempotency: IdempotencyConfig,
    /// `keys.overlap`; `None`: as long as tokens of the old key live.
    pub keys_overlap: Option<Seconds>,
    /// `access.clock_skew`
    pub access_clock_skew: Seconds,
    /// `webhooks.allow_private`
    pub webhooks_allow_private: bool,
    /// `notices.veto_links`
    pub veto_links: bool,
    /// `notices.time_zone`
    pub notice_time_zone: NoticeTimeZone,
    /// `console.enabled`
    pub console_enabled: bool,
    /// `audit.*`
    pub audit: AuditConfig,
    /// `metrics.allow`
    pub metrics_allow: Networks,
    /// `forward_auth.trusted`
    pub forward_auth_trusted: Networks,
    /// `forward_auth.cookie_name`
    pub forward_auth_cookie: String,
    /// `security.*`
    pub security: SecurityConfig,
    /// `shares.*`
    pub shares: SharesConfig,
    /// `usage.*`
    pub usage: UsageRate,
    /// `telemetry.*`
    pub telemetry: TelemetryConfig,
    sources: BTreeMap<&'static str, ValueSource>,
}

/// `server.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// `server.listen`
    pub listen: SocketAddr,
    /// `server.public_url`, without a slash at its end.
    pub public_url: Option<String>,
    /// `server.max_body`, in bytes.
    pub max_body: u32,
    /// `server.trusted_proxies`
    pub trusted_proxies: Networks,
    /// `server.keep_alive`
    pub keep_alive: Seconds,
    /// `server.buffers`, in bytes.
    pub buffers: u32,
    /// `server.tls_cert`
    pub tls_cert: Option<PathBuf>,
    /// `server.tls_key`
    pub tls_key: Option<PathBuf>,
    /// `server.hsts`
    pub hsts: Seconds,
}

/// `log.url`, `log.nkey_file`, `log.creds_file` and `cluster.*`: a log on several machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// `log.url`; `None` for a log on this machine alone.
    pub url: Option<String>,
    /// `log.nkey_file`
    pub nkey_file: Option<PathBuf>,
    /// `log.creds_file`
    pub creds_file: Option<PathBuf>,
    /// `cluster.advertise`
    pub advertise: Option<String>,
    /// `cluster.secret_file`
    pub secret_file: Option<PathBuf>,
    /// `cluster.tls_ca`
    pub tls_ca: Option<PathBuf>,
    /// `cluster.tls_cert`
    pub tls_cert: Option<PathBuf>,
    /// `cluster.tls_key`
    pub tls_key: Option<PathBuf>,
    /// `cluster.node_ca`
    pub node_ca: Option<PathBuf>,
    /// `cluster.node_cert`
    pub node_cert: Option<PathBuf>,
    /// `cluster.node_key`
    pub node_key: Option<PathBuf>,
    /// `cluster.max_staleness`
    pub max_staleness: Seconds,
    /// `cluster.forward`
    pub forward: bool,
}

impl ClusterConfig {
    fn identity(&self) -> Option<IdentityFile> {
        let (nkey, creds) = (self.nkey_file.clone(), self.creds_file.clone());
        creds.map(IdentityFile::Credentials).or(nkey.map(IdentityFile::Nkey))
    }

    /// How the broker is reached; `None` for a log on this machine alone.
    pub fn access(&self) -> Option<BrokerAccess> {
        Some(BrokerAccess {
            url: self.url.clone()?,
            identity: self.identity(),
            tls_ca: self.tls_ca.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
        })
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            url: None,
            nkey_file: None,
            creds_file: None,
            advertise: None,
            secret_file: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            node_ca: None,
            node_cert: None,
            node_key: None,
            max_staleness: Seconds(15),
            forward: true,
        }
    }
}

/// `idempotency.*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyConfig {
    /// `idempotency.window`
    pub window: Seconds,
    /// `idempotency.max`
    pub max: u32,
}

/// `audit.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// `audit.head_interval`
    pub head_interval: Seconds,
    /// `audit.head_file`
    pub head_file: Option<PathBuf>,
}

/// `security.*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityConfig {
    /// `security.wrong_credentials_per_minute`; 0 is off.
    pub wrong_credentials_per_minute: u32,
    /// `security.limit_loopback`
    pub limit_loopback: bool,
}

/// `shares.*`: what one caller may have of what all have, while more than half of it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharesConfig {
    /// `shares.connections_per_address`
    pub connections_per_address: Fraction,
    /// `shares.streams`
    pub streams: Fraction,
    /// `shares.streams_per_credential`
    pub streams_per_credential: u32,
    /// `shares.in_flight_per_credential`
    pub in_flight_per_credential: Fraction,
    /// `shares.appends_per_second`
    pub appends_per_second: u32,
}

impl Default for SharesConfig {
    fn default() -> Self {
        Self {
            connections_per_address: Fraction::millionths(125_000),
            streams: Fraction::millionths(500_000),
            streams_per_credential: 64,
            in_flight_per_credential: Fraction::millionths(250_000),
            appends_per_second: 5_000,
        }
    }
}

/// `usage.*`: how often the usage of one session is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageRate {
    /// `usage.per_second`
    pub per_second: u32,
    /// `usage.burst`
    pub burst: u32,
}

impl Default for UsageRate {
    fn default() -> Self {
        Self { per_second: 20, burst: 100 }
    }
}

/// The defaults. The table has no defaults of its own.
impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7300)),
                public_url: None,
                max_body: 65_536,
                trusted_proxies: Networks::default(),
                keep_alive: Seconds(75),
                buffers: 268_435_456,
                tls_cert: None,
                tls_key: None,
                hsts: Seconds(31_536_000),
            },
            data_dir: PathBuf::from("./tenure-data"),
            data_reserve: 67_108_864,
            segment_events: 250_000,
            verify: VerifyScope::Hot,
            scrub_rate: 16_777_216,
            retention: Seconds(86_400),
            cluster: ClusterConfig::default(),
            backup_dir: None,
            policy: Policy::default(),
            idempotency: IdempotencyConfig { window: Seconds(600), max: 1_000_000 },
            keys_overlap: None,
            access_clock_skew: Seconds(5),
            webhooks_allow_private: false,
            veto_links: true,
            notice_time_zone: NoticeTimeZone::default(),
            console_enabled: true,
            audit: AuditConfig { head_interval: Seconds(1), head_file: None },
            metrics_allow: Networks::default(),
            forward_auth_trusted: Networks::default(),
            forward_auth_cookie: "__Host-tenure_session".to_owned(),
            security: SecurityConfig { wrong_credentials_per_minute: 10, limit_loopback: false },
            shares: SharesConfig::default(),
            usage: UsageRate::default(),
            telemetry: TelemetryConfig::default(),
            sources: BTreeMap::new(),
        }
    }
}

/// A setting as it applies, for `tenure doctor --config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// Its name.
    pub name: &'static str,
    /// Its value, as a flag would give it; empty for none.
    pub value: String,
    /// Where the value is from.
    pub source: ValueSource,
}

impl Config {
    /// The limits under which sessions are granted.
    pub fn policy(&self) -> Policy {
        self.policy.clone()
    }

    /// Every setting with its value and source, in the order of the table.
    pub fn effective(&self) -> Vec<EffectiveSetting> {
        let of = |setting: &Setting| EffectiveSetting {
            name: setting.name(),
            value: setting.value_in(self),
            source: self.source(setting.name()),
        };
        SETTINGS.iter().map(of).collect()
    }

    fn source(&self, name: &str) -> ValueSource {
        self.sources.get(name).cloned().unwrap_or(ValueSource::Default)
    }
}

#[cfg(test)]
mod tests;
