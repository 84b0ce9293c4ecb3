//! For programs: type, timestamp and data, the payload that Standard Webhooks recommends.

use serde_json::{Value, json};

use super::MessageContent;

pub(super) fn body(news: &MessageContent<'_>) -> Value {
    json!({ "type": news.kind(), "timestamp": news.at(), "data": news.data() })
}
