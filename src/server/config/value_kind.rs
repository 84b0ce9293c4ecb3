//! The kinds of settings: what a value of each may be, how it is read and how it is shown.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use http::Uri;

use super::{Config, Fraction, Networks, NoticeTimeZone};
use tenure_core::{
    Seconds,
    policy::{OnLimit, OnReuse},
};
use tenure_log::VerifyScope;

/// Where in the [`Config`] a setting is kept.
type ConfigField<T> = fn(&mut Config) -> &mut T;

/// What a setting holds.
pub(super) enum SettingKind {
    /// Whole seconds, from the one to the other.
    Seconds(u32, u32, ConfigField<Seconds>),
    /// The same, or none.
    SecondsOrNone(u32, u32, ConfigField<Option<Seconds>>),
    /// A whole number, from the one to the other.
    Count(u32, u32, ConfigField<u32>),
    /// A part of a whole.
    Fraction(ConfigField<Fraction>),
    Flag(ConfigField<bool>),
    OnLimit(ConfigField<OnLimit>),
    OnReuse(ConfigField<OnReuse>),
    Verify(ConfigField<VerifyScope>),
    Address(ConfigField<SocketAddr>),
    Url(ConfigField<Option<String>>),
    Broker(ConfigField<Option<String>>),
    Directory(ConfigField<PathBuf>),
    File(ConfigField<Option<PathBuf>>),
    Networks(ConfigField<Networks>),
    CookieName(ConfigField<String>),
    TimeZone(ConfigField<NoticeTimeZone>),
}

/// A value as its source gives it. TOML has types and they must fit; the environment and flags have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawValue {
    Untyped(String),
    Text(String),
    Number(String),
    Flag(bool),
    List(Vec<String>),
    /// No setting holds such a thing.
    Other,
}

/// The value is not of the kind, or out of its range.
pub(super) struct UnfitValue;

impl SettingKind {
    /// Puts the value in its place.
    pub(super) fn set(&self, config: &mut Config, value: &RawValue) -> Result<(), UnfitValue> {
        let text = self.text(value).ok_or(UnfitValue)?;
        match self {
            Self::Seconds(least, most, place) => put(place(config), seconds(&text, *least, *most)),
            Self::SecondsOrNone(least, most, place) => {
                put(place(config), seconds_or_none(&text, *least, *most))
            }
            Self::Count(least, most, place) => put(place(config), number(&text, *least, *most)),
            Self::Fraction(place) => put(place(config), text.parse().ok()),
            Self::Flag(place) => put(place(config), text.parse().ok()),
            Self::OnLimit(place) => put(place(config), choose(&OnLimit::NAMES, &text)),
            Self::OnReuse(place) => put(place(config), choose(&OnReuse::NAMES, &text)),
            Self::Verify(place) => put(place(config), choose(&VerifyScope::NAMES, &text)),
            Self::Address(place) => put(place(config), address(&text)),
            Self::Url(place) => put(place(config), url(&text)),
            Self::Broker(place) => put(place(config), broker(&text)),
            Self::Directory(place) => put(place(config), directory(&text)),
            Self::File(place) => put(place(config), file(&text)),
            Self::Networks(place) => put(place(config), text.parse().ok()),
            Self::CookieName(place) => put(place(config), cookie_name(&text)),
            Self::TimeZone(place) => put(place(config), text.parse().ok()),
        }
    }

    /// The value in its place, as a flag would give it.
    pub(super) fn show(&self, config: &mut Config) -> String {
        match self {
            Self::Seconds(_, _, place) => place(config).0.to_string(),
            Self::SecondsOrNone(_, _, place) => {
                place(config).map_or_else(String::new, |seconds| seconds.0.to_string())
            }
            Self::Count(_, _, place) => place(config).to_string(),
            Self::Fraction(place) => place(config).to_string(),
            Self::Flag(place) => place(config).to_string(),
            Self::OnLimit(place) => word(&OnLimit::NAMES, place(config)),
            Self::OnReuse(place) => word(&OnReuse::NAMES, place(config)),
            Self::Verify(place) => word(&VerifyScope::NAMES, place(config)),
            Self::Address(place) => place(config).to_string(),
            Self::Url(place) | Self::Broker(place) => place(config).clone().unwrap_or_default(),
            Self::Directory(place) => place(config).display().to_string(),
            Self::File(place) => {
                place(config).as_ref().map_or_else(String::new, |path| path.display().to_string())
            }
            Self::Networks(place) => place(config).to_string(),
            Self::CookieName(place) => place(config).clone(),
            Self::TimeZone(place) => place(config).to_string(),
        }
    }

    /// What a value may be, in words.
    pub(super) fn range(&self) -> String {
        match self {
            Self::Seconds(least, most, _) => format!("{least} to {most} seconds"),
            Self::SecondsOrNone(least, most, _) => format!("{least} to {most} seconds, or empty for none"),
            Self::Count(least, most, _) => format!("{least} to {most}"),
            Self::Fraction(_) => "0.001 to 1".to_owned(),
            Self::Flag(_) => "true or false".to_owned(),
            Self::OnLimit(_) => words(&OnLimit::NAMES),
            Self::OnReuse(_) => words(&OnReuse::NAMES),
            Self::Verify(_) => words(&VerifyScope::NAMES),
            Self::Address(_) => {
                "an IP address and a port, such as 127.0.0.1:7300, localhost:7300, or :7300 for all interfaces"
                    .to_owned()
            }
            Self::Url(_) => "an http or https URL without query, or empty for none".to_owned(),
            Self::Broker(_) => {
                "the servers of a broker, such as nats://a:4222,b:4222,c:4222 or tls://…, or empty for none".to_owned()
            }
            Self::Directory(_) => "a path".to_owned(),
            Self::File(_) => "a path, or empty for none".to_owned(),
            Self::Networks(_) => "IP addresses and networks, such as 10.0.0.0/8".to_owned(),
            Self::CookieName(_) => "1 to 64 letters, digits or any of !#$%&'*+-.^_~".to_owned(),
            Self::TimeZone(_) => "a time zone of the IANA, such as Europe/Berlin".to_owned(),
        }
    }

    /// The value as a number, where it is one.
    pub(super) fn number(&self, config: &mut Config) -> Option<u32> {
        match self {
            Self::Seconds(_, _, place) => Some(place(config).0),
            Self::Count(_, _, place) => Some(*place(config)),
            Self::SecondsOrNone(_, _, place) => place(config).map(|seconds| seconds.0),
            Self::Fraction(_)
            | Self::Flag(_)
            | Self::OnLimit(_)
            | Self::OnReuse(_)
            | Self::Verify(_)
            | Self::Address(_)
            | Self::Url(_)
            | Self::Broker(_)
            | Self::Directory(_)
            | Self::File(_)
            | Self::Networks(_)
            | Self::CookieName(_)
            | Self::TimeZone(_) => None,
        }
    }

    /// The value as text, when its type is right for this kind.
    fn text<'a>(&self, value: &'a RawValue) -> Option<Cow<'a, str>> {
        match (self, value) {
            (_, RawValue::Untyped(text))
            | (
                Self::Seconds(..) | Self::SecondsOrNone(..) | Self::Count(..) | Self::Fraction(_),
                RawValue::Number(text),
            )
            | (
                Self::OnLimit(_)
                | Self::OnReuse(_)
                | Self::Verify(_)
                | Self::Address(_)
                | Self::Url(_)
                | Self::Broker(_)
                | Self::Directory(_)
                | Self::File(_)
                | Self::CookieName(_)
                | Self::TimeZone(_),
                RawValue::Text(text),
            ) => Some(Cow::Borrowed(text)),
            // A number is not text in TOML; a duration with its unit is.
            (Self::Seconds(..) | Self::SecondsOrNone(..), RawValue::Text(text))
                if text.ends_with(|c: char| c.is_ascii_alphabetic()) =>
            {
                Some(Cow::Borrowed(text))
            }
            (Self::Flag(_), RawValue::Flag(flag)) => Some(Cow::Owned(flag.to_string())),
            (Self::Networks(_), RawValue::List(items)) => Some(Cow::Owned(items.join(","))),
            (
                _,
                RawValue::Text(_)
                | RawValue::Number(_)
                | RawValue::Flag(_)
                | RawValue::List(_)
                | RawValue::Other,
            ) => None,
        }
    }
}

/// The words of choices, as in the API.
fn choose<T: Copy>(choices: &[(&str, T)], text: &str) -> Option<T> {
    choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice)
}

fn word<T: PartialEq>(choices: &[(&str, T)], chosen: &T) -> String {
    let found = choices.iter().find(|(_, choice)| choice == chosen);
    found.map(|(word, _)| (*word).to_owned()).unwrap_or_default()
}

fn words<T>(choices: &[(&str, T)]) -> String {
    choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ")
}

fn put<T>(place: &mut T, value: Option<T>) -> Result<(), UnfitValue> {
    *place = value.ok_or(UnfitValue)?;
    Ok(())
}

/// A number of seconds, or such as `30m`, `1h30m`, `7d`.
fn seconds(text: &str, least: u32, most: u32) -> Option<Seconds> {
    let span: Seconds = text.parse().ok()?;
    (least..=most).contains(&span.0).then_some(span)
}

/// An IP address and a port; `localhost:7300` is this host, `:7300` every interface.
fn address(text: &str) -> Option<SocketAddr> {
    match text.rsplit_once(':')? {
        ("localhost", port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
        ("", port) => Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.parse().ok()?))),
        _ => text.parse().ok(),
    }
}

fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

#[expect(clippy::option_option, reason = "no length at all is a value, other than a wrong one")]
fn seconds_or_none(text: &str, least: u32, most: u32) -> Option<Option<Seconds>> {
    if text.is_empty() { Some(None) } else { seconds(text, least, most).map(Some) }
}

/// The replacement of a variable without valid UTF-8 is not the path that was meant.
fn directory(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER)).then(|| PathBuf::from(text))
}

/// A token of RFC 9110, less the two characters that a table of settings in Markdown cannot show.
fn cookie_name(text: &str) -> Option<String> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_~".contains(&byte);
    ((1..=64).contains(&text.len()) && text.bytes().all(is_fit)).then(|| text.to_owned())
}

#[expect(clippy::option_option, reason = "no file at all is a value, other than a wrong one")]
fn file(text: &str) -> Option<Option<PathBuf>> {
    if text.is_empty() { Some(None) } else { directory(text).map(Some) }
}

#[expect(clippy::option_option, reason = "no broker at all is a value, other than a wrong one")]
fn broker(text: &str) -> Option<Option<String>> {
    if text.is_empty() {
        return Some(None);
    }
    let hosts = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"))?;
    let fits = hosts.split(',').all(|host| !host.trim().is_empty() && !host.contains(['@', '/']));
    fits.then(|| Some(text.to_owned()))
}

/// Links are made by adding a path to it, so there is nothing behind its own path.
#[expect(clippy::option_option, reason = "no URL at all is a value, other than a wrong one")]
fn url(text: &str) -> Option<Option<String>> {
    if text.is_empty() {
        return Some(None);
    }
    // `Uri` cuts off a fragment without a word.
    let uri: Uri = text.parse().ok().filter(|_| !text.contains('#'))?;
    let scheme = uri.scheme_str().is_some_and(|scheme| scheme == "https" || scheme == "http");
    let host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let fits = scheme && host && uri.query().is_none();
    fits.then(|| Some(text.trim_end_matches('/').to_owned()))
}
