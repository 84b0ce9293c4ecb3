//! What a receiver gets to read, as the service that it is for documents it.

mod chat;
mod machine;

mod notice_text;
#[cfg(test)]
mod tests;

use serde_json::Value;
use url::Url;

use super::destination::Destination;
use crate::notify::notice::Notice;
use tenure_core::{Timestamp, webhook::WebhookFormat};

/// A request's body, and where it goes.
pub(super) struct Message {
    pub(super) url: Url,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

/// What there is to tell.
pub(super) enum News<'a> {
    /// Something happened.
    Notice(&'a Notice),
    /// Somebody wants to know whether the webhook works.
    Test(Timestamp),
}

/// Where the authority says that it is.
#[derive(Clone, Debug)]
pub(super) struct Source(pub(super) String);

/// Writes a message.
pub(super) fn write(
    format: WebhookFormat,
    to: &Destination,
    source: &Source,
    id: &str,
    news: &News<'_>,
) -> Message {
    let words = || match news {
        News::Notice(notice) => notice_text::of_notice(notice),
        News::Test(_) => notice_text::of_test(),
    };
    let url = to.parsed();
    let (url, content_type, body) = match format {
        WebhookFormat::Standard => (url.clone(), "application/json", machine::standard(news)),
        WebhookFormat::CloudEvents => {
            (url.clone(), "application/cloudevents+json", machine::cloud_event(source, id, news))
        }
        WebhookFormat::Ntfy => chat::ntfy(url, &words()),
        WebhookFormat::Discord => (url.clone(), "application/json", chat::discord(&words())),
        WebhookFormat::Telegram => chat::telegram(url, &words()),
        WebhookFormat::Slack => (url.clone(), "application/json", chat::slack(&words())),
    };
    Message { url, content_type, body: as_bytes(&body) }
}

fn as_bytes(body: &Value) -> Vec<u8> {
    serde_json::to_vec(body).expect("JSON of ours can be written")
}

/// What a URL lacks that the service needs.
pub(super) fn fault_of_url(format: WebhookFormat, url: &Url) -> Option<&'static str> {
    match format {
        WebhookFormat::Ntfy => chat::ntfy_topic(url)
            .is_none()
            .then_some("must end with a topic, such as https://ntfy.sh/my-topic, for the format ntfy"),
        WebhookFormat::Telegram => (!chat::is_telegram(url)).then_some(
            "must end with /sendMessage and have the chat in its query, such as \
             https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>, for the format telegram",
        ),
        WebhookFormat::Standard
        | WebhookFormat::CloudEvents
        | WebhookFormat::Discord
        | WebhookFormat::Slack => None,
    }
}
