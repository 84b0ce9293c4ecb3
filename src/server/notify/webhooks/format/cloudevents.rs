//! For programs: `CloudEvents` 1.0 in structured JSON. Source and id name an event together.

use serde_json::{Value, json};

use super::{MessageContent, MessageSource};

pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

pub(super) fn body(source: &MessageSource, id: &str, news: &MessageContent<'_>) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": id,
        "source": source.name,
        "type": format!("tenure.{}", news.kind()),
        "time": news.at(),
        "datacontenttype": "application/json",
        "data": news.data(),
    });
    // An attribute that has nothing to say must be absent.
    if let MessageContent::Notice(notice) = news
        && let Some(subject) = &notice.subject_id
    {
        event["subject"] = subject.as_str().into();
    }
    event
}
