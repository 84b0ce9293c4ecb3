//! JSON as it was written: numbers keep their digits, so that what a caller gives us to keep comes back as it was
//! given; duplicate keys are kept, so that they can be refused by name; and what is nested too deeply is seen and not
//! read.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Number, value::RawValue};

/// Maximum members of a small object.
const FEW: usize = 16;

/// How deeply the members of a body may be nested: `{}` is one level.
pub(crate) const DEEPEST: usize = 16;

/// A JSON value whose objects keep every member in the order in which it was written.
#[derive(Clone, Debug)]
pub(crate) enum OrderedJson {
    Null,
    Bool(bool),
    /// Its digits.
    Number(String),
    Text(String),
    List(Vec<OrderedJson>),
    Object(Vec<(String, OrderedJson)>),
    /// An object or a list below the deepest level.
    TooDeep,
}

/// The members of an object, unread.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

/// Where a body is not what can be read as JSON, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JsonFault {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// It is well-formed, and no reader could take it for a number.
    pub(crate) is_number: bool,
}

/// A body that is read in parts.
#[derive(Clone, Copy)]
struct WholeBody<'a>(&'a [u8]);

impl WholeBody<'_> {
    /// A fault of a part of it, which is a slice of it, by its place in the whole.
    fn fault(self, part: &[u8], error: &serde_json::Error) -> JsonFault {
        let begin = (part.as_ptr() as usize).saturating_sub(self.0.as_ptr() as usize).min(self.0.len());
        let before = &self.0[..begin];
        let lines = before.split(|byte| *byte == b'\n');
        let (count, column) = lines.fold((0, 0), |(count, _), line| (count + 1, line.len()));
        JsonFault {
            line: count - 1 + error.line(),
            column: error.column() + if error.line() == 1 { column } else { 0 },
            is_number: part.first().is_some_and(|first| matches!(first, b'-' | b'0'..=b'9')),
        }
    }

    fn read<'p, T: Deserialize<'p>>(self, part: &'p [u8]) -> Result<T, JsonFault> {
        serde_json::from_slice(part).map_err(|error| self.fault(part, &error))
    }

    fn value(self, raw: &RawValue, levels: usize) -> Result<OrderedJson, JsonFault> {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{' | b'[') if levels == 0 => Ok(OrderedJson::TooDeep),
            Some(b'{') => self.members(self.read(text.as_bytes())?, levels - 1),
            Some(b'[') => {
                let items: Vec<&RawValue> = self.read(text.as_bytes())?;
                let items: Result<_, _> = items.into_iter().map(|raw| self.value(raw, levels - 1)).collect();
                items.map(OrderedJson::List)
            }
            Some(b'"') => self.text(text).map(OrderedJson::Text),
            Some(b't' | b'f') => self.read(text.as_bytes()).map(OrderedJson::Bool),
            Some(b'n') | None => Ok(OrderedJson::Null),
            // One that no reader could take for a number is refused here, by the parser's own bounds.
            Some(_) => self.read::<Number>(text.as_bytes()).map(|_| OrderedJson::Number(text.to_owned())),
        }
    }

    fn members(self, RawMembers(members): RawMembers<'_>, levels: usize) -> Result<OrderedJson, JsonFault> {
        let read = |(key, raw)| Ok((key, self.value(raw, levels)?));
        members.into_iter().map(read).collect::<Result<_, _>>().map(OrderedJson::Object)
    }

    /// The text written so. Without a backslash it is what stands between the quotation marks: that it is well-formed
    /// is known already, or it were no raw value.
    fn text(self, written: &str) -> Result<String, JsonFault> {
        match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(plain) if !plain.contains('\\') => Ok(plain.to_owned()),
            Some(_) | None => self.read(written.as_bytes()),
        }
    }
}

impl OrderedJson {
    /// The document of a body. Each level is read by itself, so the number of levels bounds the work.
    pub(crate) fn of_body(body: &[u8]) -> Result<Self, JsonFault> {
        let whole = WholeBody(body);
        match body.trim_ascii_start().first() {
            Some(b'{') => whole.members(whole.read(body)?, DEEPEST),
            Some(_) | None => whole.value(whole.read(body)?, DEEPEST + 1),
        }
    }

    /// The paths of keys written more than once in one object, up to `most` of them.
    pub(crate) fn duplicate_keys(&self, most: usize) -> Vec<String> {
        let mut found = Vec::new();
        self.find_duplicates(&mut Vec::new(), most, &mut found);
        found
    }

    fn find_duplicates(&self, path: &mut Vec<String>, most: usize, found: &mut Vec<String>) {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::TooDeep => {}
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    item.find_duplicates(path, most, found);
                    path.pop();
                }
            }
            Self::Object(members) => duplicates_in(members, path, most, found),
        }
    }

    /// Whether a part of it lies below the deepest level.
    pub(crate) fn is_too_deep(&self) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => false,
            Self::List(items) => items.iter().any(Self::is_too_deep),
            Self::Object(members) => members.iter().any(|(_, value)| value.is_too_deep()),
            Self::TooDeep => true,
        }
    }

    /// Whether it has parts.
    const fn is_nested(&self) -> bool {
        matches!(self, Self::List(_) | Self::Object(_))
    }

    /// Whether it says nothing.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is an object.
    pub(crate) const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// The text, if it is one.
    pub(crate) fn into_text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The items, if it is a list.
    pub(crate) fn into_list(self) -> Option<Vec<OrderedJson>> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The members, if it is an object.
    pub(crate) fn into_members(self) -> Option<Vec<(String, OrderedJson)>> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }
}

/// As compact text, every number with the digits that it was given with.
impl fmt::Display for OrderedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null | Self::TooDeep => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(digits) => f.write_str(digits),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (index, (key, value)) in members.iter().enumerate() {
                    write!(f, "{}{}:{value}", if index > 0 { "," } else { "" }, quoted(key))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn duplicates_in(
    members: &[(String, OrderedJson)],
    path: &mut Vec<String>,
    most: usize,
    found: &mut Vec<String>,
) {
    // Most objects are small: to look at each pair is cheaper than to hash every key.
    let mut seen = HashSet::with_capacity(if members.len() > FEW { members.len() } else { 0 });
    for (index, (key, value)) in members.iter().enumerate() {
        let is_known = if members.len() > FEW {
            !seen.insert(key)
        } else {
            members[..index].iter().any(|(known, _)| known == key)
        };
        if !is_known && !value.is_nested() {
            continue;
        }
        path.push(key.clone());
        if is_known && found.len() < most {
            found.push(path.join("."));
        }
        value.find_duplicates(path, most, found);
        path.pop();
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderedVisitor;
        impl<'de> Visitor<'de> for OrderedVisitor {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawMembers<'de>, A::Error> {
                let mut object = Vec::new();
                while let Some((key, value)) = members.next_entry::<String, &'de RawValue>()? {
                    object.push((key, value));
                }
                Ok(RawMembers(object))
            }
        }
        deserializer.deserialize_map(OrderedVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> OrderedJson {
        OrderedJson::of_body(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_again_has_the_digits_and_the_order_that_were_given() {
        for text in [
            r#"{"account":12345678901234567890123,"order":18446744073709551617,"rate":1.10,"zero":-0,"b":1e99}"#,
            r#"{"z":{"b":[1,2.0,{"a":[]}],"a":null},"t":true,"f":false,"s":"\"\\/\n\u0001ä"}"#,
            "{}",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(read(" { \"a\" : [ 1 , 2 ] } ").to_string(), r#"{"a":[1,2]}"#);
    }

    #[test]
    fn a_member_may_have_sixteen_levels_and_no_more() {
        let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(!read(&nested(DEEPEST)).is_too_deep());
        assert!(read(&nested(DEEPEST + 1)).is_too_deep());
        assert!(read(&nested(30_000)).is_too_deep());
    }

    #[test]
    fn what_is_no_json_is_refused_at_whatever_depth() {
        for text in [
            "",
            "{",
            r#"{"a":1,}"#,
            r#"{"a":[[01]]}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":{"\ud800":1}}"#,
            "{\"a\":NaN}",
            "{\"a\":1e999}",
        ] {
            assert!(OrderedJson::of_body(text.as_bytes()).is_err(), "{text}");
        }
        assert!(OrderedJson::of_body(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_key_that_is_written_twice_is_named_by_its_path() {
        assert_eq!(read(r#"{"a":{"b":[0,{"c":1,"c":2}]}}"#).duplicate_keys(9), ["a.b.1.c"]);
        assert_eq!(read(r#"{"a":1,"\u0061":2}"#).duplicate_keys(9), ["a"]);
        assert_eq!(read(r#"{"a":{"a":1}}"#).duplicate_keys(9), [""; 0]);
    }
}
