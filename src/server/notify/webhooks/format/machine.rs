//! For programs: the payload that Standard Webhooks recommends, and `CloudEvents` 1.0 in structured JSON.

use serde_json::{Value, json};

use super::{News, Source};
use tenure_core::Timestamp;

/// What a test is called where a notice has its kind.
const TEST: &str = "TEST";

fn kind(news: &News<'_>) -> &'static str {
    match news {
        News::Notice(notice) => notice.kind.name(),
        News::Test(_) => TEST,
    }
}

fn data(news: &News<'_>) -> Value {
    match news {
        News::Notice(notice) => serde_json::to_value(notice).expect("a notice is JSON"),
        News::Test(_) => json!({ "message": "Test message from Tenure. Nothing has happened." }),
    }
}

fn at(news: &News<'_>) -> Timestamp {
    match news {
        News::Notice(notice) => notice.occurred_at,
        News::Test(at) => *at,
    }
}

/// Type, timestamp and data.
pub(super) fn standard(news: &News<'_>) -> Value {
    json!({ "type": kind(news), "timestamp": at(news), "data": data(news) })
}

/// A `CloudEvent`: source and id name it together.
pub(super) fn cloud_event(source: &Source, id: &str, news: &News<'_>) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": id,
        "source": source.0,
        "type": format!("tenure.{}", kind(news)),
        "time": at(news),
        "datacontenttype": "application/json",
        "data": data(news),
    });
    // An attribute that has nothing to say must be absent.
    if let News::Notice(notice) = news
        && let Some(subject) = &notice.subject_id
    {
        event["subject"] = subject.as_str().into();
    }
    event
}
