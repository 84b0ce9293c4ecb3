//! `tenure serve`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use crate::server;

/// How the authority is to run. What is not given here comes from the settings file, the environment and the
/// defaults, in this order of precedence.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Data directory; made when it is missing [default: ./tenure-data]
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
    pub set: Vec<(String, String)>,

    /// Let time stand still until PUT /v1/clock moves it; for tests, on a loopback address only
    #[arg(long)]
    pub test_clock: bool,

    /// Form of the log lines on stderr
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// For clap: `name=value`. Which names and values there are, the settings know.
pub(crate) fn setting(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        Some(_) | None => Err("must be NAME=VALUE, such as session.ttl=3600"),
    }
}

pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    server::run(args).map_err(|error| Failure::Server(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_name_and_a_value() {
        assert_eq!(setting("session.ttl=3600"), Ok(("session.ttl".to_owned(), "3600".to_owned())));
        assert_eq!(setting("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(setting("a="), Ok(("a".to_owned(), String::new())));
        assert!(setting("session.ttl").is_err() && setting("=3600").is_err());
    }
}
