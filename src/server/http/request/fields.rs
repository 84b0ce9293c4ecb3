//! The fields of a request, from its body or its query: each is asked for by name and range, all faults are
//! gathered, and an unknown one is a fault too. No message quotes a value: it might be a token.

use std::{collections::HashSet, fmt, ops::RangeInclusive, str::FromStr};

use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use tenure_core::{
    Amount, EpochPosition, Position, Timestamp, amount::InvalidAmount, epoch, event::PartChange,
    id::InvalidId, refusal::FieldError, text::fault_of_text, time::Seconds,
};

use super::json::{DEEPEST, JsonFault, OrderedJson};
use crate::http::reply::problem::Problem;

/// Maximum faults reported.
const REPORTED: usize = 20;
/// A longer query is refused unread; no route has parameters for half of it.
const QUERY_BYTES: usize = 2_048;
/// A query of more parameters is refused unread.
const QUERY_PARAMETERS: usize = 32;

/// The fields of a request that were not asked for yet.
#[derive(Debug, Default)]
pub(crate) struct RequestFields {
    given: Vec<(String, OrderedJson)>,
    errors: Vec<FieldError>,
    /// In a query everything is text, and an empty value is a value.
    is_query: bool,
}

impl RequestFields {
    /// The members of a JSON object.
    pub(crate) fn of_body(body: &[u8]) -> Result<Self, FieldError> {
        let json = OrderedJson::of_body(body).map_err(|error| malformed(&error))?;
        let twice = json.duplicate_keys(REPORTED);
        let given = json.into_members().ok_or_else(|| FieldError::new("body", "must be a JSON object"))?;
        let mut fields = Self { given, ..Self::default() };
        for path in twice {
            fields.fault(&shown(&path), "is given twice");
        }
        Ok(fields)
    }

    /// The parameters of a query.
    pub(crate) fn of_query(query: &str) -> Result<Self, Problem> {
        check_size(query)?;
        let mut fields = Self { is_query: true, ..Self::default() };
        let mut known = HashSet::new();
        let written = query.split('&').filter(|pair| !pair.is_empty());
        for ((name, value), written) in form_urlencoded::parse(query.as_bytes()).zip(written) {
            if percent_decode_str(written).decode_utf8().is_err() {
                fields.fault(&shown(&name), "must be UTF-8");
            }
            if known.insert(name.clone()) {
                fields.given.push((name.into_owned(), OrderedJson::Text(value.into_owned())));
            } else {
                fields.fault(&shown(&name), "is given twice");
            }
        }
        Ok(fields)
    }

    /// With the faults of another part of the same request, of which no field is asked for.
    pub(crate) fn and_none_of(mut self, other: Self) -> Self {
        self.errors.extend(other.into_errors());
        self
    }

    /// The refusal for a fault that was found elsewhere, together with those of these fields.
    pub(crate) fn refused_for(self, fault: FieldError) -> Problem {
        Problem::invalid_fields(each_once(self.and_faults([fault]).into_errors()))
    }

    /// With faults that were found elsewhere.
    pub(crate) fn and_faults(mut self, faults: impl IntoIterator<Item = FieldError>) -> Self {
        self.errors.extend(faults);
        self
    }

    fn take(&mut self, name: &str) -> Option<OrderedJson> {
        let index = self.given.iter().position(|(known, _)| known == name)?;
        let value = self.given.swap_remove(index).1;
        // Of a key written twice, which is a fault, the other values are no unknown fields.
        self.given.retain(|(known, _)| known != name);
        Some(value).filter(|value| !value.is_null())
    }

    /// Notes a fault of a field.
    pub(crate) fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(name, message));
    }

    fn read<T>(
        &mut self,
        name: &str,
        expected: impl fmt::Display,
        parse: impl FnOnce(OrderedJson) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(self.take(name)?);
        if parsed.is_none() {
            self.fault(name, format!("must be {expected}"));
        }
        parsed
    }

    /// Whether a field was given, be it right or wrong. It stays to be asked for.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(known, value)| known == name && !value.is_null())
    }

    /// How a merge patch (RFC 7396) changes a member: a missing member stays, null removes it.
    pub(crate) fn change<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> PartChange<T> {
        if !self.given.iter().any(|(known, _)| known == name) {
            return PartChange::Keep;
        }
        PartChange::To(read(self))
    }

    /// Whether a fault was found so far.
    pub(crate) fn has_faults(&self) -> bool {
        !self.errors.is_empty()
    }

    /// A text of this length in characters, none of them a control character.
    pub(crate) fn text(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<String> {
        let expected = format_args!("text of {} to {} characters", length.start(), length.end());
        let text = self.read(name, expected, OrderedJson::into_text)?;
        match fault_of_text(&text, length) {
            None => Some(text),
            Some(fault) => {
                self.fault(name, fault);
                None
            }
        }
    }

    /// A text of any content.
    pub(crate) fn raw_text(&mut self, name: &str) -> Option<String> {
        self.read(name, "text", OrderedJson::into_text)
    }

    /// A name that was chosen by a caller, or an id.
    pub(crate) fn id<T: FromStr<Err = InvalidId>>(&mut self, name: &str) -> Option<T> {
        let parsed = self.raw_text(name)?.parse();
        parsed.map_err(|InvalidId(why)| self.fault(name, why)).ok()
    }

    /// A whole number.
    pub(crate) fn whole(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = fmt::from_fn(|f| match (*range.start(), *range.end()) {
            (least, u64::MAX) => write!(f, "a whole number from {least}"),
            (least, most) => write!(f, "a whole number from {least} to {most}"),
        });
        self.number(name, expected, range.clone())
    }

    /// A position, with the epoch that it was given out in.
    pub(crate) fn position(&mut self, name: &str) -> Option<EpochPosition> {
        let is_query = self.is_query;
        self.read(name, "a whole number from 0, or <epoch>:<position>", |json| {
            if let OrderedJson::Text(text) = &json
                && (is_query || text.contains(':'))
            {
                return text.parse().ok();
            }
            let position = Position(whole_number(&json, is_query)?);
            Some(EpochPosition { epoch: epoch::FIRST, position })
        })
    }

    fn number(&mut self, name: &str, expected: impl fmt::Display, range: RangeInclusive<u64>) -> Option<u64> {
        let json = self.take(name)?;
        let number = whole_number(&json, self.is_query).filter(|value| range.contains(value));
        if number.is_none() {
            let is_text = !self.is_query && matches!(json, OrderedJson::Text(_));
            self.fault(name, format!("must be {expected}{}", if is_text { ", and not text" } else { "" }));
        }
        number
    }

    /// A whole number that fits in 32 bits.
    pub(crate) fn small(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        self.whole(name, range).and_then(|value| u32::try_from(value).ok())
    }

    /// A length of time in whole seconds. The rules check its range and report it.
    pub(crate) fn seconds(&mut self, name: &str) -> Option<Seconds> {
        self.number(name, "a whole number of seconds", 0..=u64::MAX)
            .map(|seconds| Seconds(saturated(seconds)))
    }

    /// A whole number. The rules check its range and report it.
    pub(crate) fn count(&mut self, name: &str) -> Option<u32> {
        self.number(name, "a whole number from 0", 0..=u64::MAX).map(saturated)
    }

    /// True or false.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let is_query = self.is_query;
        self.read(name, "true or false", |json| match json {
            OrderedJson::Bool(value) if !is_query => Some(value),
            OrderedJson::Text(text) if is_query => text.parse().ok(),
            OrderedJson::Null
            | OrderedJson::Bool(_)
            | OrderedJson::Number(_)
            | OrderedJson::Text(_)
            | OrderedJson::List(_)
            | OrderedJson::Object(_)
            | OrderedJson::TooDeep => None,
        })
    }

    /// A moment, RFC 3339.
    pub(crate) fn moment(&mut self, name: &str) -> Option<Timestamp> {
        let expected = "a time such as 2026-11-21T01:35:00.000Z";
        let text = self.read(name, expected, OrderedJson::into_text)?;
        let moment = Timestamp::parse(&text);
        if moment.is_none() {
            // In a query a plus is a blank, and an offset loses its sign.
            let was_plus = self.is_query && Timestamp::parse(&text.replace(' ', "+")).is_some();
            let remedy = if was_plus { "; in a query the + of an offset is written %2B" } else { "" };
            self.fault(name, format!("must be {expected}{remedy}"));
        }
        moment
    }

    /// One of some words.
    pub(crate) fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.read(name, fmt::from_fn(|f| write!(f, "one of {}", names_of(words).join(", "))), |json| {
            let given = json.into_text()?;
            words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value)
        })
    }

    /// A list of texts, of this length.
    pub(crate) fn texts(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<Vec<String>> {
        let expected = format_args!("a list of {} to {} texts", length.start(), length.end());
        self.read(name, expected, |json| {
            let items = json.into_list().filter(|items| length.contains(&items.len()))?;
            items.into_iter().map(OrderedJson::into_text).collect()
        })
    }

    /// A JSON object, up to `most` bytes in compact form; returned in that form.
    pub(crate) fn object(&mut self, name: &str, most: usize) -> Option<Box<RawValue>> {
        self.read(name, expected_object(most), |json| {
            RawValue::from_string(fitting_object(&json, most)?).ok()
        })
    }

    /// An amount: a decimal number, as text, so that it is never read as floating point.
    pub(crate) fn amount(&mut self, name: &str) -> Option<Amount> {
        match self.take(name)?.into_text().map_or(Err(InvalidAmount), |text| text.parse()) {
            Ok(amount) => Some(amount),
            Err(wrong) => {
                self.fault(name, wrong.to_string());
                None
            }
        }
    }

    /// A JSON object whose members are fields themselves, up to `most` bytes in compact form. Their faults are named
    /// `field.member`.
    pub(crate) fn members<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        let given = self.read(name, expected_object(most), |json| {
            fitting_object(&json, most)?;
            json.into_members()
        })?;
        let mut members = Self { given, ..Self::default() };
        let value = read(&mut members);
        let inner = members.into_errors().into_iter();
        self.errors
            .extend(inner.map(|error| FieldError::new(format!("{name}.{}", error.field), error.message)));
        Some(value)
    }

    /// Makes a field obligatory: a fault is noted if it was neither given nor faulty.
    pub(crate) fn required<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.errors.iter().any(|error| error.field == name) {
            self.fault(name, "is required");
        }
        value
    }

    /// All faults, those of unknown fields included.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        self.finish_with(|_| vec![])
    }

    /// The same. If there are faults, so are those that a rule finds which is applied later otherwise; it is given the
    /// faults so far.
    pub(crate) fn finish_with(
        self,
        rule: impl FnOnce(&[FieldError]) -> Vec<FieldError>,
    ) -> Result<(), Problem> {
        let mut errors = self.into_errors();
        if errors.is_empty() {
            return Ok(());
        }
        errors.extend(rule(&errors));
        Err(Problem::invalid_fields(each_once(errors)))
    }

    fn into_errors(mut self) -> Vec<FieldError> {
        let what = if self.is_query { "query parameter" } else { "field" };
        // A body full of unknown fields does not get them all named.
        for (name, _) in std::mem::take(&mut self.given).into_iter().take(REPORTED) {
            self.fault(&shown(&name), format!("is no {what} of this request"));
        }
        self.errors
    }
}

/// The first fault of each field, as far as they are reported.
fn each_once(errors: Vec<FieldError>) -> Vec<FieldError> {
    let mut seen = HashSet::new();
    errors.into_iter().filter(|error| seen.insert(error.field.clone())).take(REPORTED).collect()
}

/// Judges a query before it is read: what it costs to read and to answer is bounded, for every caller.
pub(crate) fn check_size(query: &str) -> Result<(), Problem> {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty()).count();
    if query.len() <= QUERY_BYTES && parameters <= QUERY_PARAMETERS {
        return Ok(());
    }
    let most = format!("must have at most {QUERY_BYTES} bytes and {QUERY_PARAMETERS} parameters");
    Err(Problem::invalid("query", most))
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

fn whole_number(json: &OrderedJson, is_query: bool) -> Option<u64> {
    match json {
        OrderedJson::Number(digits) if !is_query => digits.parse().ok(),
        OrderedJson::Text(text) if is_query && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        OrderedJson::Null
        | OrderedJson::Bool(_)
        | OrderedJson::Number(_)
        | OrderedJson::Text(_)
        | OrderedJson::List(_)
        | OrderedJson::Object(_)
        | OrderedJson::TooDeep => None,
    }
}

/// The parser's position is reported, its words are not: they quote what it found.
fn malformed(fault: &JsonFault) -> FieldError {
    let what = if fault.is_number { "has a number too large to be read" } else { "is not well-formed JSON" };
    FieldError::new("body", format!("{what} at line {}, column {}", fault.line, fault.column))
}

fn expected_object(most: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "a JSON object of at most {most} bytes, nested at most {DEEPEST} levels deep")
    })
}

fn names_of<'a, T>(words: &[(&'a str, T)]) -> Vec<&'a str> {
    words.iter().map(|(word, _)| *word).collect()
}

/// An object's compact text, if it is one and neither too long nor too deep.
fn fitting_object(json: &OrderedJson, most: usize) -> Option<String> {
    let is_fit = json.is_object() && !json.is_too_deep();
    is_fit.then(|| json.to_string()).filter(|text| text.len() <= most)
}
