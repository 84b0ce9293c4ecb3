//! The fields of a request, from its body or its query: each is asked for by name and range, all faults are
//! gathered, and what nobody asked for is a fault too. No message quotes a value: it might be a token.

use std::{ops::RangeInclusive, str::FromStr};

use serde_json::Value;

use crate::domain::{
    Amount, Timestamp, amount::InvalidAmount, id::InvalidId, refusal::FieldError, time::Seconds,
};

use super::{json::Json, problem::Problem};

/// The fields of a request that were not asked for yet.
#[derive(Debug, Default)]
pub(super) struct Fields {
    given: Vec<(String, Json)>,
    errors: Vec<FieldError>,
    /// In a query everything is text, and an empty value is a value.
    is_query: bool,
}

impl Fields {
    /// The members of a JSON object.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, Problem> {
        let json: Json = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        if let Some(path) = json.duplicate_key() {
            return Err(Problem::invalid(&shown(&path), "is given twice"));
        }
        let given = json.into_members().ok_or_else(|| Problem::invalid("body", "must be a JSON object"))?;
        Ok(Self { given, ..Self::default() })
    }

    /// The parameters of a query.
    pub(super) fn of_query(query: &str) -> Result<Self, Problem> {
        let mut fields = Self { is_query: true, ..Self::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if fields.given.iter().any(|(known, _)| *known == name) {
                return Err(Problem::invalid(&shown(&name), "is given twice"));
            }
            fields.given.push((name.into_owned(), Json::Text(value.into_owned())));
        }
        Ok(fields)
    }

    fn take(&mut self, name: &str) -> Option<Json> {
        let index = self.given.iter().position(|(known, _)| known == name)?;
        Some(self.given.swap_remove(index).1).filter(|value| !value.is_null())
    }

    /// Notes a fault of a field.
    pub(super) fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(name, message));
    }

    fn read<T>(&mut self, name: &str, expected: &str, parse: impl FnOnce(Json) -> Option<T>) -> Option<T> {
        let parsed = parse(self.take(name)?);
        if parsed.is_none() {
            self.fault(name, format!("must be {expected}"));
        }
        parsed
    }

    /// Whether a field was given, be it right or wrong. It stays to be asked for.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(known, value)| known == name && !value.is_null())
    }

    /// Whether a fault was found so far.
    pub(super) fn has_faults(&self) -> bool {
        !self.errors.is_empty()
    }

    /// A text with so many characters, none of them a control character.
    pub(super) fn text(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<String> {
        let expected = format!("text of {} to {} characters", length.start(), length.end());
        let is_fit =
            |text: &String| length.contains(&text.chars().count()) && !text.contains(char::is_control);
        self.read(name, &expected, |json| json.into_text().filter(is_fit))
    }

    /// A text of any content.
    pub(super) fn raw_text(&mut self, name: &str) -> Option<String> {
        self.read(name, "text", Json::into_text)
    }

    /// A name that was chosen by a caller, or an id.
    pub(super) fn id<T: FromStr<Err = InvalidId>>(&mut self, name: &str) -> Option<T> {
        let parsed = self.raw_text(name)?.parse();
        parsed.map_err(|InvalidId(why)| self.fault(name, why)).ok()
    }

    /// A whole number.
    pub(super) fn whole(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = match (*range.start(), *range.end()) {
            (least, u64::MAX) => format!("a whole number from {least}"),
            (least, most) => format!("a whole number from {least} to {most}"),
        };
        self.number(name, &expected, range)
    }

    fn number(&mut self, name: &str, expected: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let json = self.take(name)?;
        let number = whole_number(&json, self.is_query).filter(|value| range.contains(value));
        if number.is_none() {
            let is_text = !self.is_query && matches!(json, Json::Text(_));
            self.fault(name, format!("must be {expected}{}", if is_text { ", and not text" } else { "" }));
        }
        number
    }

    /// A whole number that fits in 32 bits.
    pub(super) fn small(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        self.whole(name, range).and_then(|value| u32::try_from(value).ok())
    }

    /// A length of time in whole seconds. Its range is for the rules to judge, and to tell.
    pub(super) fn seconds(&mut self, name: &str) -> Option<Seconds> {
        self.number(name, "a whole number of seconds", 0..=u64::MAX)
            .map(|seconds| Seconds(saturated(seconds)))
    }

    /// A whole number whose range is for the rules to judge, and to tell.
    pub(super) fn count(&mut self, name: &str) -> Option<u32> {
        self.number(name, "a whole number from 0", 0..=u64::MAX).map(saturated)
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let is_query = self.is_query;
        self.read(name, "true or false", |json| match json {
            Json::Bool(value) if !is_query => Some(value),
            Json::Text(text) if is_query => text.parse().ok(),
            Json::Null
            | Json::Bool(_)
            | Json::Number(_)
            | Json::Text(_)
            | Json::List(_)
            | Json::Object(_) => None,
        })
    }

    /// A moment, RFC 3339.
    pub(super) fn moment(&mut self, name: &str) -> Option<Timestamp> {
        let expected = "a time such as 2026-11-21T01:35:00.000Z";
        self.read(name, expected, |json| Timestamp::parse(&json.into_text()?))
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.read(name, &format!("one of {}", known.join(", ")), |json| {
            let given = json.into_text()?;
            words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value)
        })
    }

    /// A list of texts, so many of them.
    pub(super) fn texts(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<Vec<String>> {
        let expected = format!("a list of {} to {} texts", length.start(), length.end());
        self.read(name, &expected, |json| {
            let items = json.into_list().filter(|items| length.contains(&items.len()))?;
            items.into_iter().map(Json::into_text).collect()
        })
    }

    /// A JSON object, up to so many bytes when written compactly; given back in that form.
    pub(super) fn object(&mut self, name: &str, most: usize) -> Option<String> {
        let expected = format!("a JSON object of at most {most} bytes");
        self.read(name, &expected, |json| {
            let object = json.into_value();
            object.is_object().then(|| object.to_string()).filter(|text| text.len() <= most)
        })
    }

    /// An amount: a decimal number, as text, so that nobody reads it as floating point.
    pub(super) fn amount(&mut self, name: &str) -> Option<Amount> {
        match self.take(name)?.into_text().map_or(Err(InvalidAmount), |text| text.parse()) {
            Ok(amount) => Some(amount),
            Err(wrong) => {
                self.fault(name, wrong.to_string());
                None
            }
        }
    }

    /// A JSON object whose members are fields themselves, up to so many bytes when written compactly. Their
    /// faults are named `field.member`.
    pub(super) fn members<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        let expected = format!("a JSON object of at most {most} bytes");
        let given = self.read(name, &expected, |json| {
            let length = json.clone().into_value().to_string().len();
            json.into_members().filter(|_| length <= most)
        })?;
        let mut members = Self { given, ..Self::default() };
        let value = read(&mut members);
        let inner = members.into_errors().into_iter();
        self.errors
            .extend(inner.map(|error| FieldError::new(format!("{name}.{}", error.field), error.message)));
        Some(value)
    }

    /// Makes a field obligatory: a fault is noted if it was neither given nor faulty.
    pub(super) fn required<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.errors.iter().any(|error| error.field == name) {
            self.fault(name, "is required");
        }
        value
    }

    /// All faults, those of fields that nobody asked for included.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let errors = self.into_errors();
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(errors)) }
    }

    fn into_errors(mut self) -> Vec<FieldError> {
        let what = if self.is_query { "query parameter" } else { "field" };
        for (name, _) in std::mem::take(&mut self.given) {
            self.fault(&shown(&name), format!("is no {what} of this request"));
        }
        self.errors
    }
}

/// A name is shown because it is the caller's own word for a field; but it may be anything, so it is cut, and
/// hidden where it looks like a credential.
fn shown(name: &str) -> String {
    if name.contains("tnr_") { "(hidden)".to_owned() } else { name.chars().take(64).collect() }
}

/// What does not fit is beyond every range of the rules, and so is the most that fits.
fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn whole_number(json: &Json, is_query: bool) -> Option<u64> {
    match json {
        Json::Number(number) if !is_query => number.as_u64(),
        Json::Text(text) if is_query && text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => {
            None
        }
    }
}

/// The parser's place is told, its words are not: they quote what it found.
fn malformed(error: &serde_json::Error) -> Problem {
    let place = format!("is not well-formed JSON at line {}, column {}", error.line(), error.column());
    Problem::invalid("body", place)
}

/// Reads metadata back.
pub(super) fn parsed_object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
