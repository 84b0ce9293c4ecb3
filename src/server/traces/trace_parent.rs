//! Which trace a request belongs to, by the header `traceparent` (W3C Trace Context, level 1).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The header.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What version 00 has; a later one may have more behind it.
const LENGTH: usize = 55;

/// What the caller says; `None` if it says nothing, more than one thing, or nothing that can be read. The header's
/// `tracestate` is of other makers, and not passed on.
pub(crate) fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let only = given.next().filter(|_| given.next().is_none())?;
    read(only)
}

fn read(value: &HeaderValue) -> Option<SpanContext> {
    let text = value.to_str().ok()?;
    let (known, more) = text.split_at_checked(LENGTH)?;
    let [version, trace, span, flags] = known.split('-').collect::<Vec<_>>().try_into().ok()?;
    let lengths = [version, trace, span, flags].map(str::len);
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if lengths != [2, 32, 16, 2] || ![version, trace, span, flags].into_iter().all(is_hex) {
        return None;
    }
    let is_whole = if version == "00" { more.is_empty() } else { more.is_empty() || more.starts_with('-') };
    if version == "ff" || !is_whole {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let parent = SpanContext::new(trace, span, flags, true, TraceState::default());
    parent.is_valid().then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(values: &[&str]) -> Option<SpanContext> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        parent(&headers)
    }

    #[test]
    fn a_parent_is_read_as_its_standard_says() {
        let sampled = of(&[&format!("00-{TRACE}-00f067aa0ba902b7-01")]).unwrap();
        assert_eq!((sampled.trace_id().to_string(), sampled.is_sampled()), (TRACE.to_owned(), true));
        assert_eq!(sampled.span_id().to_string(), "00f067aa0ba902b7");
        assert!(!of(&[&format!("00-{TRACE}-00f067aa0ba902b7-00")]).unwrap().is_sampled());
        // Of a later version what is known is read, and unknown flags are passed over.
        assert!(of(&[&format!("cc-{TRACE}-00f067aa0ba902b7-ff-what")]).unwrap().is_sampled());
    }

    #[test]
    fn what_is_no_parent_begins_no_other_trace() {
        let right = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let no_span = format!("00-{TRACE}-{}-01", "0".repeat(16));
        let more = format!("{right}-x");
        let forbidden = right.replacen("00", "ff", 1);
        let upper = right.to_uppercase();
        let shifted = format!("00-{}-100f067aa0ba902b7-01", &TRACE[1..]);
        for wrong in
            ["", "00", &zeros, &no_span, &more, &forbidden, &upper, &shifted, &right[..54], "tnr_sess_x"]
        {
            assert_eq!(of(&[wrong]), None, "{wrong}");
        }
        assert_eq!(of(&[&right, &right]), None, "two of them");
        assert_eq!(of(&[]), None);
    }
}
