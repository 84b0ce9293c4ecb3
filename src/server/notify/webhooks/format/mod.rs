//! What a receiver gets to read, as the service that it is for documents it: a file for each format.

mod cloudevents;
mod discord;
mod ntfy;
mod slack;
mod standard;
mod telegram;

mod escapes;
mod notice_text;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};
use url::Url;

use crate::{config::NoticeTimeZone, notify::notice::Notice};
use tenure_core::{Timestamp, webhook::WebhookFormat};

/// The media type of most formats.
const JSON: &str = "application/json";
/// What a test is called where a notice has its kind.
const TEST: &str = "TEST";

/// A request's body, and where it goes.
pub(super) struct WebhookMessage {
    pub(super) url: Url,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

/// The content of a message.
pub(super) enum MessageContent<'a> {
    /// Something happened.
    Notice(&'a Notice),
    /// A test message.
    Test(Timestamp),
}

impl MessageContent<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Notice(notice) => notice.kind.name(),
            Self::Test(_) => TEST,
        }
    }

    fn data(&self) -> Value {
        match self {
            Self::Notice(notice) => serde_json::to_value(notice).expect("a notice is JSON"),
            Self::Test(_) => json!({ "message": "Test message from Tenure. Nothing has happened." }),
        }
    }

    fn at(&self) -> Timestamp {
        match self {
            Self::Notice(notice) => notice.occurred_at,
            Self::Test(at) => *at,
        }
    }
}

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct MessageSource {
    /// Where the authority says that it is.
    pub(super) name: String,
    /// By which people read its times.
    pub(super) time_zone: NoticeTimeZone,
}

/// Writes a message.
pub(super) fn write(
    format: WebhookFormat,
    url: &Url,
    source: &MessageSource,
    id: &str,
    news: &MessageContent<'_>,
) -> WebhookMessage {
    let words = || match news {
        MessageContent::Notice(notice) => notice_text::of_notice(notice, &source.time_zone),
        MessageContent::Test(_) => notice_text::of_test(),
    };
    let here = |body| (url.clone(), body);
    let (url, body) = match format {
        WebhookFormat::Standard => here(standard::body(news)),
        WebhookFormat::CloudEvents => here(cloudevents::body(source, id, news)),
        WebhookFormat::Ntfy => ntfy::url_and_body(url, &words()),
        WebhookFormat::Discord => here(discord::body(&words())),
        WebhookFormat::Telegram => telegram::url_and_body(url, &words()),
        WebhookFormat::Slack => here(slack::body(&words())),
    };
    WebhookMessage { url, content_type: content_type(format), body: as_bytes(&body) }
}

const fn content_type(format: WebhookFormat) -> &'static str {
    match format {
        WebhookFormat::CloudEvents => cloudevents::CONTENT_TYPE,
        WebhookFormat::Standard
        | WebhookFormat::Ntfy
        | WebhookFormat::Discord
        | WebhookFormat::Telegram
        | WebhookFormat::Slack => JSON,
    }
}

fn as_bytes(body: &Value) -> Vec<u8> {
    serde_json::to_vec(body).expect("its members are JSON")
}

/// What a URL lacks that the service needs.
pub(super) fn fault_of_url(format: WebhookFormat, url: &Url) -> Option<&'static str> {
    match format {
        WebhookFormat::Ntfy => ntfy::fault_of_url(url),
        WebhookFormat::Telegram => telegram::fault_of_url(url),
        WebhookFormat::Standard
        | WebhookFormat::CloudEvents
        | WebhookFormat::Discord
        | WebhookFormat::Slack => None,
    }
}
