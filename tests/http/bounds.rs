//! What the OpenAPI document says of lengths, ranges and numbers is what the binary goes by: at a bound a field is
//! right, and one step beyond it is refused by its name. Walks over whatever is described.

use serde_json::{Value, json};
use tenure::http::{RouteFacts, openapi_document, route_facts};

use crate::{routes::request, server::Server};

const SUBJECT: &str = "agent";
/// Of these more has to be right than a length or a number: the position must exist, the word must be one.
const MORE_THAN_BOUNDS: [&str; 15] = [
    "position",
    "size",
    "from",
    "to",
    "after",
    "asOfPosition",
    "minPosition",
    "advance",
    "cursor",
    "url",
    "amount",
    "maxAmountPerTx",
    "maxTotalAmount",
    "kinds",
    "include",
];

/// Values at the bounds that a schema states, and values just beyond them.
fn at_and_beyond(schema: &Value) -> (Vec<Value>, Vec<Value>) {
    let bound = |name: &str| schema[name].as_u64();
    let number = |number: u64| json!(number);
    let text = |length: u64| Value::from("a".repeat(usize::try_from(length).unwrap()));
    let list = |length: u64| Value::from(vec![json!("a"); usize::try_from(length).unwrap()]);
    let (mut at, mut beyond) = (Vec::new(), Vec::new());
    for (name, value) in
        [("maxLength", &text as &dyn Fn(u64) -> Value), ("maximum", &number), ("maxItems", &list)]
    {
        at.extend(bound(name).map(value));
        beyond.extend(bound(name).map(|most| value(most + 1)));
    }
    for (name, value) in
        [("minLength", &text as &dyn Fn(u64) -> Value), ("minimum", &number), ("minItems", &list)]
    {
        at.extend(bound(name).map(value));
        beyond.extend(bound(name).filter(|least| *least > 0).map(|least| value(least - 1)));
    }
    (at, beyond)
}

fn resolved(document: &Value, schema: &Value) -> Value {
    let either = schema["oneOf"].as_array().into_iter().flatten().find(|one| one["type"] != "null");
    let schema = either.unwrap_or(schema);
    let Some(reference) = schema["$ref"].as_str() else { return schema.clone() };
    let mut named = document.pointer(reference.trim_start_matches('#')).unwrap().clone();
    // What stands beside a reference holds as well.
    named.as_object_mut().unwrap().extend(schema.as_object().unwrap().clone());
    named
}

struct Walk {
    server: Server,
    session: String,
    tried: usize,
}

impl Walk {
    /// Sends a value of a field, and compares whether that field is refused with whether it should be.
    fn send(&mut self, facts: &RouteFacts, field: &str, body: Option<&Value>, query: &str, refused: bool) {
        self.tried += 1;
        let credential = if facts.roles.is_empty() { &self.session } else { &self.server.admin };
        let mut request = request(&self.server, facts, "x").bearer(credential).with_query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send();
        let is_named = reply.fields().iter().any(|named| named == field);
        let shown: String = format!("{reply:?}").chars().take(300).collect();
        assert_eq!(is_named, refused, "{} {} {field} {query}: {shown}", facts.method, facts.path);
    }

    fn body(&mut self, facts: &RouteFacts, document: &Value, schema: &Value, outer: Option<&str>) {
        for (name, described) in resolved(document, schema)["properties"].as_object().into_iter().flatten() {
            let own = resolved(document, described);
            if own["properties"].is_object() {
                self.body(facts, document, &own, Some(name));
            }
            for (value, refused) in judged(name, &own) {
                let members = members(name, &value);
                let (field, body) = match outer {
                    Some(outer) => (format!("{outer}.{name}"), json!({ outer: members })),
                    None => (name.clone(), members),
                };
                self.send(facts, &field, Some(&body), "", refused);
            }
        }
    }

    fn query(&mut self, facts: &RouteFacts, document: &Value, parameter: &Value) {
        let name = parameter["name"].as_str().unwrap();
        for (value, refused) in judged(name, &resolved(document, &parameter["schema"])) {
            let written = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.send(facts, name, None, &format!("{name}={written}"), refused);
        }
    }
}

/// The values of a field that are tried, and whether each is refused.
fn judged(name: &str, schema: &Value) -> Vec<(Value, bool)> {
    if MORE_THAN_BOUNDS.contains(&name) {
        return vec![];
    }
    let (at, beyond) = at_and_beyond(schema);
    at.into_iter().map(|one| (one, false)).chain(beyond.into_iter().map(|one| (one, true))).collect()
}

/// A member, and what it is compared with. The terms of a session are judged once it is known whose it is to be.
fn members(name: &str, value: &Value) -> Value {
    let mut members = json!({ name: value });
    if ["ttl", "maxRenewals", "absoluteLifetime", "renewalRejectWindow", "idleTimeout"].contains(&name) {
        members["subjectId"] = SUBJECT.into();
    }
    if name == "absoluteLifetime" {
        members["ttl"] = 300.into();
    }
    members
}

/// The document once gave no limits at all, so that what it allowed was refused: `limit=0`, a name of 200 letters.
#[test]
fn every_described_bound_is_that_of_the_check() {
    let (document, server) = (openapi_document(), Server::start());
    let session = server.session(SUBJECT, 3600).token;
    let mut walk = Walk { server, session, tried: 0 };
    for facts in route_facts() {
        let operation = &document["paths"][&facts.path][facts.method.to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        walk.body(&facts, &document, schema, None);
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|one| one["in"] == "query") {
            walk.query(&facts, &document, parameter);
        }
    }
    assert!(walk.tried > 80, "only {} bounds were tried", walk.tried);
}
