//! What the fields of a request have to do with each other, for what reads JSON Schema. A generated client
//! from the document passes over it.

use serde_json::{Value, json};

use tenure_core::{SessionMode, event::Role};

/// Present, and not null.
fn given(field: &str, as_what: &Value) -> Value {
    json!({ "required": [field], "properties": { field: as_what } })
}

/// Left out, or null.
fn absent(fields: &[&str]) -> Value {
    let properties: serde_json::Map<_, _> =
        fields.iter().map(|field| ((*field).to_owned(), json!({ "type": "null" }))).collect();
    json!({ "properties": properties })
}

fn either(condition: &Value, then: &Value, otherwise: &Value) -> Value {
    json!({ "if": condition, "then": then, "else": otherwise })
}

fn rules() -> [(&'static str, Value); 6] {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let batch = given("tokens", &json!({ "type": "array" }));
    let is_owner = given("role", &json!({ "const": Role::Owner.name() }));
    let is_sliding = given("mode", &json!({ "const": SessionMode::Sliding.name() }));
    let narrow = ["ownerId", "subjectId", "device", "issuedBefore", "keyId"];
    let is_narrow: Vec<_> = narrow.iter().map(|field| given(field, &text)).collect();
    [
        ("IntrospectBody", either(&batch, &absent(&["token", "include"]), &given("token", &text))),
        ("ClockBody", either(&given("advance", &number), &absent(&["to"]), &given("to", &text))),
        ("NewCredentialBody", either(&is_owner, &given("ownerId", &text), &absent(&["ownerId"]))),
        (
            "NewSessionBody",
            either(&is_sliding, &json!({ "properties": { "maxRenewals": { "maximum": 0 } } }), &json!({})),
        ),
        (
            "RevocationBody",
            either(&given("dryRun", &json!({ "const": true })), &json!({}), &given("reason", &text)),
        ),
        (
            "SelectorBody",
            either(
                &given("all", &json!({ "const": true })),
                &absent(&narrow),
                &json!({ "anyOf": is_narrow, "properties": { "all": { "type": "null" } } }),
            ),
        ),
    ]
}

/// Adds the rules to the schemas of requests.
pub(super) fn add_rules(schemas: &mut Value) {
    for (name, rule) in rules() {
        let (Some(schema), Value::Object(rule)) = (schemas[name].as_object_mut(), rule) else {
            unreachable!("the table of rules names {name}, which is not described")
        };
        schema.extend(rule);
    }
}
