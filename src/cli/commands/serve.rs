//! `tenure serve`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use crate::cli::{VERSION, failure::CommandError};
use tenure_server::config::{self, Config, ConfigFlag, Networks, RawConfig};
use tenure_server::serve::{self as server, ListeningServer};
use tenure_server::telemetry::{self, LineFormat};

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
    What is not given here comes from the settings file, the environment and the defaults, in this order \
    of precedence.")]
pub(crate) struct ServeArgs {
    /// Data directory; created if missing [default: ./tenure-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Address to listen on [default: 127.0.0.1:7300]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// One setting, such as session.ttl=3600; wins over file and environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<String>,

    /// What to read of the log at the start: all, or hot, what is behind the newest checkpoint [default: hot]
    #[arg(long, value_name = "WHAT")]
    pub verify: Option<String>,

    /// Let time stand still until PUT /v1/clock moves it; for tests, on a loopback address only
    #[arg(long)]
    pub test_clock: bool,

    /// Which log lines to write, such as info or tenure_log=debug
    #[arg(long, value_name = "FILTER", env = "TENURE_LOG")]
    pub log: Option<String>,

    /// Log a line for each request of the API (target `tenure::access`)
    #[arg(long)]
    pub access_log: bool,

    /// Form of the log lines on stderr: text, or json with an object per line
    #[arg(long, value_name = "FORM", value_enum, default_value_t, hide_possible_values = true)]
    pub log_format: LogFormat,
}

/// Maximum names in a warning.
const FILES_NAMED: usize = 5;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// For clap: `name=value`. Which names and values there are, the settings know.
pub(crate) fn setting(text: &str) -> Result<String, &'static str> {
    match text.split_once('=') {
        Some((name, _)) if !name.trim().is_empty() => Ok(text.to_owned()),
        Some(_) | None => Err("must be NAME=VALUE, such as session.ttl=3600"),
    }
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), CommandError> {
    let form = match args.log_format {
        LogFormat::Text => LineFormat::Text,
        LogFormat::Json => LineFormat::Json,
    };
    // A variable that is there and empty says nothing.
    let given = args.log.as_deref().filter(|filter| !filter.trim().is_empty());
    let filter = given.unwrap_or(telemetry::DEFAULT_FILTER);
    // Without the flag they are said only to those who name them in the filter.
    let access = if args.access_log { "info" } else { "off" };
    let named = filter.contains("tenure::access") && !args.access_log;
    let filter = if named { filter.to_owned() } else { format!("{filter},tenure::access={access}") };
    telemetry::init(&filter, form).map_err(|error| CommandError::Usage(error.to_string()))?;
    let config = effective(args.config.as_deref(), flags(args))?;
    if config.data_dir.is_file() {
        let data = config.data_dir.display();
        return Err(CommandError::Usage(format!("data.dir: {data} is a file, and must be a directory")));
    }
    tracing::info!(version = VERSION, "starting");
    warn_of_other_files(&config.data_dir);
    let served = server::run(&config, args.test_clock, |listening| announce(listening, &config));
    telemetry::flush();
    served.map_err(|error| CommandError::Server(error.to_string()))
}

/// What an operator puts into a directory before its first start.
const PUT_THERE: [&str; 3] = ["cluster.secret", "copy", "segments"];

/// A directory that is not a data directory yet and holds files may be another one than was meant.
fn warn_of_other_files(data: &Path) {
    let Ok(entries) = fs::read_dir(data) else { return };
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let is_data = names.iter().any(|name| name == "FORMAT");
    names.retain(|name| !PUT_THERE.contains(&name.as_str()));
    if names.is_empty() || is_data {
        return;
    }
    names.sort_unstable();
    let more = names.len().saturating_sub(FILES_NAMED);
    names.truncate(FILES_NAMED);
    let files = names.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() };
    tracing::warn!(data = %data.display(), %files, "the data directory is new, and holds files of something else");
}

/// The settings that apply, from every source.
pub(crate) fn effective(file: Option<&Path>, flags: Vec<ConfigFlag>) -> Result<Config, CommandError> {
    let raw = RawConfig::read(file, config::environment(), flags);
    raw.and_then(|raw| raw.check()).map_err(|faults| CommandError::Usage(faults.to_string()))
}

fn flags(args: &ServeArgs) -> Vec<ConfigFlag> {
    let data =
        args.data.as_ref().map(|dir| ConfigFlag::of_its_own("--data", "data.dir", &dir.to_string_lossy()));
    let listen = args.listen.as_ref().map(|addr| ConfigFlag::of_its_own("--listen", "server.listen", addr));
    let verify = args.verify.as_ref().map(|what| ConfigFlag::of_its_own("--verify", "log.verify", what));
    args.set.iter().map(|text| ConfigFlag::set(text)).chain(data).chain(listen).chain(verify).collect()
}

fn announce(listening: &ListeningServer, config: &Config) {
    let is_encrypted = config.server.tls_cert.is_some();
    let is_reachable = !listening.address.ip().is_loopback();
    if is_reachable && !is_encrypted && config.server.trusted_proxies == Networks::default() {
        tracing::warn!(
            address = %listening.address,
            "other hosts can connect, and what they send is not encrypted, keys and tokens included: put a proxy with \
             TLS in front, and name it in server.trusted_proxies, or give server.tls_cert and server.tls_key"
        );
    }
    if let Some(path) = &listening.first_key {
        tracing::info!(path = %path.display(), "made the first admin key; keep it secret");
    }
    let scheme = if is_encrypted { "https" } else { "http" };
    tracing::info!("listening on {scheme}://{}", listening.address);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_name_and_a_value() {
        assert_eq!(setting("session.ttl=3600"), Ok("session.ttl=3600".to_owned()));
        assert!(setting("a=b=c").is_ok() && setting("a=").is_ok());
        assert!(setting("session.ttl").is_err() && setting("=3600").is_err());
    }
}
