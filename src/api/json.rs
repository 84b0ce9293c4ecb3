//! JSON as it was written: duplicate keys are kept, so that they can be refused by name.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// An object with so many members is small.
const FEW: usize = 16;

/// A JSON value whose objects keep every member in the order in which it was written.
#[derive(Clone, Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The paths of keys that are written more than once in one object, so many at most.
    pub(super) fn duplicate_keys(&self, most: usize) -> Vec<String> {
        let mut found = Vec::new();
        self.find_duplicates(&mut Vec::new(), most, &mut found);
        found
    }

    fn find_duplicates(&self, path: &mut Vec<String>, most: usize, found: &mut Vec<String>) {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => {}
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

    /// Whether it says nothing.
    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if it is one.
    pub(super) fn into_text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The items, if it is a list.
    pub(super) fn into_list(self) -> Option<Vec<Json>> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The members, if it is an object.
    pub(super) fn into_members(self) -> Option<Vec<(String, Json)>> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// As an ordinary value; of duplicate keys the last one counts.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(value) => Value::Number(value),
            Self::Text(value) => Value::String(value),
            Self::List(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Object(members) => Value::Object(
                members.into_iter().map(|(key, value)| (key, value.into_value())).collect::<Map<_, _>>(),
            ),
        }
    }
}

fn duplicates_in(members: &[(String, Json)], path: &mut Vec<String>, most: usize, found: &mut Vec<String>) {
    // Most objects are small: to look at each pair is cheaper than to hash every key.
    let mut seen = HashSet::with_capacity(if members.len() > FEW { members.len() } else { 0 });
    for (index, (key, value)) in members.iter().enumerate() {
        let is_known = if members.len() > FEW {
            !seen.insert(key)
        } else {
            members[..index].iter().any(|(known, _)| known == key)
        };
        path.push(key.clone());
        if is_known && found.len() < most {
            found.push(path.join("."));
        }
        value.find_duplicates(path, most, found);
        path.pop();
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsWritten)
    }
}

struct AsWritten;

impl<'de> Visitor<'de> for AsWritten {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("a number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}
