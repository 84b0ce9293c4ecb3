//! The OpenAPI document says what a request may hold, for every route, whoever adds it.
//!
//! Its limits are read from the constants by which requests are checked (`src/server/http/openapi/bounds.rs`). Here is that
//! none is missing, and that the words beside them say the same. `tests/http/bounds.rs` asks the binary.

use std::collections::BTreeSet;

use serde_json::Value;
use tenure::http::openapi_document;

/// Text of which any is taken: what is no token, no UUID or no place in the record is answered as such.
const ANY_TEXT: [&str; 7] =
    ["token", "tokens", "sessionId", "after", "Last-Event-ID", "X-Tenure-Key", "If-None-Match"];

/// A part of a request: where it is, its name, and its schema.
struct Part {
    place: String,
    name: String,
    schema: Value,
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// What may be null is one of two, and the other one counts.
fn of_value<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let schema = resolved(document, schema);
    let either = schema["oneOf"].as_array().into_iter().flatten().find(|one| one["type"] != "null");
    either.map_or(schema, |one| resolved(document, one))
}

fn is(schema: &Value, kind: &str) -> bool {
    let own = &schema["type"];
    own == kind || own.as_array().into_iter().flatten().any(|one| one == kind)
}

fn operations<'a>(document: &'a Value) -> Vec<(String, &'a Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let of_path = |(path, methods): (&'a String, &'a Value)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    };
    paths.flat_map(of_path).collect()
}

/// Every part of every request, down to the items of its lists.
fn parts(document: &Value) -> Vec<Part> {
    let mut parts = Vec::new();
    for (place, operation) in operations(document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        // A cookie may be anything: one that is no token is answered as such.
        for parameter in parameters.filter(|parameter| parameter["in"] != "cookie") {
            let described = described(&parameter["schema"], &parameter["description"]);
            gather(document, &place, parameter["name"].as_str().unwrap(), &described, &mut parts);
        }
        for body in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            gather(document, &place, "body", &body.1["schema"], &mut parts);
        }
    }
    assert!(parts.len() > 100, "only {} parts of requests are described", parts.len());
    parts
}

fn described(schema: &Value, description: &Value) -> Value {
    let mut schema = schema.clone();
    schema["description"] = description.clone();
    schema
}

fn gather(document: &Value, place: &str, name: &str, schema: &Value, parts: &mut Vec<Part>) {
    let mut own = of_value(document, schema).clone();
    // What stands beside a reference holds as well.
    let beside = schema.as_object().into_iter().flatten();
    let beside = beside.filter(|(word, _)| !["$ref", "oneOf"].contains(&word.as_str()));
    own.as_object_mut().unwrap().extend(beside.map(|(word, value)| (word.clone(), value.clone())));
    for (member, inner) in own["properties"].as_object().into_iter().flatten() {
        gather(document, &format!("{place} {name}"), member, inner, parts);
    }
    if own["items"].is_object() {
        gather(document, place, name, &own["items"], parts);
    }
    parts.push(Part { place: place.to_owned(), name: name.to_owned(), schema: own });
}

#[test]
fn every_part_of_a_request_says_how_long_how_many_or_how_large_it_may_be() {
    let document = openapi_document();
    for Part { place, name, schema } in parts(&document) {
        let says = |any: &[&str]| any.iter().any(|word| !schema[word].is_null());
        let is_chosen = says(&["enum", "const"]);
        let where_it_is = format!("{place} {name}: {schema}");
        if is(&schema, "string") && !ANY_TEXT.contains(&name.as_str()) {
            assert!(is_chosen || says(&["pattern", "maxLength", "format"]), "{where_it_is}");
        }
        if is(&schema, "integer") {
            assert!(is_chosen || says(&["minimum"]) && says(&["maximum"]), "{where_it_is}");
        }
        if is(&schema, "array") {
            assert!(says(&["maxItems"]), "{where_it_is}");
        }
        if is(&schema, "object") {
            let expected = schema["properties"].is_null();
            assert_eq!(schema["additionalProperties"], expected, "{where_it_is}");
        }
    }
}

/// `1 to 10 000 of them`: 1 and 10000.
fn range_in(words: &str) -> Option<(u64, u64)> {
    let (before, after) = words.split_once(" to ")?;
    let is_part = |c: &char| c.is_ascii_digit() || [' ', ','].contains(c);
    let last: String = before.chars().rev().take_while(is_part).collect();
    let digits = |text: String| text.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok();
    Some((digits(last.chars().rev().collect())?, digits(after.chars().take_while(is_part).collect())?))
}

#[test]
fn the_words_beside_a_limit_say_the_same() {
    let document = openapi_document();
    let mut compared = 0;
    for Part { place, name, schema } in parts(&document) {
        let Some((least, most)) = schema["description"].as_str().and_then(range_in) else { continue };
        // Of a list it is said how long it may be, or else each of its items.
        let schema = if schema["items"]["maxLength"].is_null() { &schema } else { &schema["items"] };
        let limits = [("minLength", "maxLength"), ("minimum", "maximum"), ("minItems", "maxItems")];
        let Some((from, to)) = limits.iter().find(|(_, to)| !schema[to].is_null()) else { continue };
        compared += 1;
        let said = (schema[from].as_u64().unwrap(), schema[to].as_u64().unwrap());
        assert_eq!(said, (least, most), "{place} {name}: {schema}");
    }
    assert!(compared > 20, "only {compared} limits are told in words");
}

/// Two members of `Problem` once stood twice in its `required`, and no other tool read the document at all.
#[test]
fn what_is_required_is_named_once_and_described() {
    fn look(at: &Value) {
        if let (Some(required), Some(properties)) = (at["required"].as_array(), at["properties"].as_object())
        {
            let names: BTreeSet<_> = required.iter().map(|name| name.as_str().unwrap()).collect();
            assert_eq!(names.len(), required.len(), "something is required twice: {required:?}");
            assert!(names.iter().all(|name| properties.contains_key(*name)), "{required:?}");
        }
        let members = at.as_object().into_iter().flatten().map(|(_, value)| value);
        members.chain(at.as_array().into_iter().flatten()).for_each(look);
    }
    look(&openapi_document());
}

#[test]
fn every_operation_has_a_tag_that_is_explained_and_every_answer_its_headers() {
    let document = openapi_document();
    assert!(document["servers"][0]["url"].is_string());
    let explained: BTreeSet<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut used = BTreeSet::new();
    for (place, operation) in operations(&document) {
        let tags = operation["tags"].as_array().unwrap();
        assert_eq!(tags.len(), 1, "{place}");
        used.insert(tags[0].as_str().unwrap());
        for (status, response) in operation["responses"].as_object().unwrap() {
            let has = |name: &str| response["headers"][name].is_object();
            assert!(has("x-request-id"), "{place} {status}");
            let is_kept = ["get /v1/keys", "get /openapi.json"].contains(&place.as_str()) && status == "200";
            assert_eq!(has("x-tenure-time"), !is_kept, "{place} {status}");
            assert_eq!(has("Retry-After"), ["429", "503"].contains(&status.as_str()), "{place} {status}");
            assert_eq!(has("WWW-Authenticate"), status == "401", "{place} {status}");
        }
    }
    assert_eq!(used, explained);
    // A client that is generated need not think of a reply without it.
    assert_eq!(document["components"]["headers"]["Time"]["required"], true);
}

#[test]
fn a_page_has_items_of_the_class_of_a_single_one() {
    let document = openapi_document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let pages: Vec<_> = schemas.iter().filter(|(name, _)| name.starts_with("Page_")).collect();
    assert!(pages.len() >= 7, "{pages:?}");
    for (name, page) in pages {
        let items = page["properties"]["items"]["items"]["$ref"].as_str().unwrap_or_default();
        assert_eq!(items, name.replace("Page_", "#/components/schemas/"));
    }
}

#[test]
fn what_has_kinds_is_told_apart_by_them() {
    let document = openapi_document();
    let schemas = &document["components"]["schemas"];
    let discriminator = &schemas["NoticeView"]["discriminator"];
    assert_eq!(discriminator["propertyName"], "kind");
    for (kind, schema) in discriminator["mapping"].as_object().unwrap() {
        let described = document.pointer(schema.as_str().unwrap().trim_start_matches('#')).unwrap();
        assert_eq!(&described["properties"]["kind"]["const"], kind);
        assert!(described["required"].as_array().unwrap().contains(&"kind".into()), "{described}");
    }
    let active = |name: &str| schemas[name]["properties"]["active"]["const"].clone();
    assert_eq!((active("LiveToken"), active("DeadToken")), (true.into(), false.into()));
}
