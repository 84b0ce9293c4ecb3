//! For programs: type, timestamp and data, the payload that Standard Webhooks recommends.

use serde_json::{Value, json};

use super::News;

pub(super) fn body(news: &News<'_>) -> Value {
    json!({ "type": news.kind(), "timestamp": news.at(), "data": news.data() })
}
