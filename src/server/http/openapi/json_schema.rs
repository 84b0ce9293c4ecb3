//! Questions to a JSON Schema.

use serde_json::Value;

/// The names of the schemas that a value leads to.
pub(super) fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|reference| reference.rsplit('/').next()).map(str::to_owned);
            own.into_iter().chain(members.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![],
    }
}

/// Whether null is one of its values.
pub(super) fn may_be_null(schema: &Value) -> bool {
    let is_null = |kind: &Value| kind == "null";
    is_null(&schema["type"])
        || schema["type"].as_array().into_iter().flatten().any(is_null)
        || schema["oneOf"].as_array().into_iter().flatten().any(may_be_null)
}
