//! How schemas are written, so that other people's tools make of them what a person would: an object is one object, a
//! page holds its items by name, a notice is distinguished by its kind, and what a request may not have is stated.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::json_schema::references;

const SCHEMAS: &str = "#/components/schemas/";

/// Gives all schemas their shape. Those in `asked` are of requests.
pub(super) fn shape(schemas: &mut Value, asked: &BTreeSet<String>) {
    tag_variants(schemas);
    let whole = schemas.clone();
    for (name, schema) in schemas.as_object_mut().expect("it was written as an object") {
        join(&whole, schema);
        if let Some(item) = name.strip_prefix("Page_") {
            schema["properties"]["items"]["items"] = reference(item);
        }
        if asked.contains(name) {
            close(schema);
        }
        free(schema);
    }
    forget_unused(schemas, &whole);
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

fn named(reference: &Value) -> Option<&str> {
    reference["$ref"].as_str()?.strip_prefix(SCHEMAS)
}

/// Variants distinguished by a word of theirs: each has the word itself, and the whole says where to look.
fn tag_variants(schemas: &mut Value) {
    let names: Vec<_> = schemas.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    for name in names {
        let Some(variants) = variants(&schemas[&name]) else { continue };
        let mut mapping = Map::new();
        for (own, tag, word) in &variants {
            let tagged = json!({ "type": "object", "required": [tag],
                "properties": { tag: { "type": "string", "const": word } } });
            let rest = std::mem::take(&mut schemas[own]);
            schemas[own] = json!({ "description": rest["description"], "allOf": [tagged, rest] });
            mapping.insert(word.clone(), format!("{SCHEMAS}{own}").into());
        }
        let tag = &variants[0].1;
        schemas[&name]["discriminator"] = json!({ "propertyName": tag, "mapping": mapping });
        schemas[&name]["oneOf"] = variants.iter().map(|(own, _, _)| reference(own)).collect();
    }
}

/// The schema, the tag and its value of each variant; `None` unless a schema consists of such variants alone.
fn variants(schema: &Value) -> Option<Vec<(String, String, String)>> {
    schema["oneOf"].as_array().filter(|variants| !variants.is_empty())?.iter().map(variant).collect()
}

fn variant(schema: &Value) -> Option<(String, String, String)> {
    let [own, tagged] = schema["allOf"].as_array()?.as_slice() else { return None };
    let (tag, word) = tagged["properties"].as_object()?.iter().next()?;
    let [word] = word["enum"].as_array()?.as_slice() else { return None };
    Some((named(own)?.to_owned(), tag.clone(), word.as_str()?.to_owned()))
}

/// A sum of objects becomes one object.
fn join(schemas: &Value, schema: &mut Value) {
    let Some(joined) = joined(schemas, schema) else { return };
    let description = schema["description"].take();
    *schema = joined;
    if description.is_string() {
        schema["description"] = description;
    }
}

fn joined(schemas: &Value, schema: &Value) -> Option<Value> {
    let parts = schema["allOf"].as_array()?;
    let (mut properties, mut required) = (Map::new(), BTreeSet::new());
    for part in parts {
        let part = named(part).map_or(part, |name| &schemas[name]);
        let part = joined(schemas, part).unwrap_or_else(|| part.clone());
        properties.extend(part["properties"].as_object()?.clone());
        required.extend(
            part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
        );
    }
    Some(json!({ "type": "object", "required": required, "properties": properties }))
}

/// A request with an unknown field is refused.
fn close(schema: &mut Value) {
    if schema["properties"].is_object() {
        schema["additionalProperties"] = false.into();
    }
}

/// An object without a description may have any members.
fn free(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let says_object = |kind: &Value| kind == "object";
            let is_object = members.get("type").is_some_and(|kind| {
                says_object(kind) || kind.as_array().into_iter().flatten().any(says_object)
            });
            if is_object
                && !members.contains_key("properties")
                && !members.contains_key("additionalProperties")
            {
                members.insert("additionalProperties".into(), true.into());
            }
            members.values_mut().for_each(free);
        }
        Value::Array(items) => items.iter_mut().for_each(free),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What was only a part of others is nothing by itself any more.
fn forget_unused(schemas: &mut Value, before: &Value) {
    let parts: BTreeSet<_> = before
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(_, schema)| references(&schema["allOf"]))
        .collect();
    let used: BTreeSet<_> = references(schemas).into_iter().collect();
    let members = schemas.as_object_mut().expect("it was written as an object");
    members.retain(|name, _| used.contains(name) || !parts.contains(name));
}
