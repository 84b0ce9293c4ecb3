//! The bytes of an answer to a plain request.

use std::cell::RefCell;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode},
    response::Response,
};
use http_body_util::{BodyExt, Collected};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::hsts;
use tenure_protocol::clock::wall_time;

/// Writes an answer behind what was written.
pub(super) async fn write(out: &mut Vec<u8>, response: Response, hsts: Option<&HeaderValue>, is_last: bool) {
    let (parts, body) = response.into_parts();
    // The answers of hot routes are there as a whole; what else there were would have failed before.
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    write_status(out, parts.status);
    write_headers(out, &parts.headers);
    if let Some(hsts) = hsts {
        write_header(out, hsts::NAME.as_str(), hsts.as_bytes());
    }
    if is_last {
        write_header(out, "connection", b"close");
    }
    write_length(out, body.len());
    write_date(out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
}

fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    headers.iter().for_each(|(name, value)| write_header(out, name.as_str(), value.as_bytes()));
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    write_header(out, "content-length", HeaderValue::from(length).as_bytes());
}

/// Says when it is written. A busy thread does that thousands of times in one second, and makes the text once.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let second = wall_time().as_millis().div_euclid(1_000);
    LAST.with_borrow_mut(|(last, text)| {
        if *last != second {
            (*last, *text) = (second, date(second));
        }
        out.extend_from_slice(text.as_bytes());
    });
}

fn date(second: i64) -> String {
    let moment = Timestamp::from_second(second).unwrap_or_default();
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&moment);
    date.map_or_else(|_| String::new(), |date| format!("date: {date}\r\n"))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::header};

    use super::*;

    fn written(response: Response, hsts: Option<&HeaderValue>, is_last: bool) -> String {
        let mut out = Vec::new();
        pollster::block_on(write(&mut out, response, hsts, is_last));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_says_all_that_hyper_would_say() {
        let mut response = Response::new(Body::from("{}"));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let text = written(response, None, false);
        assert!(
            text.starts_with(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\ndate: "
            )
        );
        assert!(text.ends_with(" GMT\r\n\r\n{}"), "{text}");
    }

    #[test]
    fn the_last_answer_of_a_connection_says_so_and_one_by_tls_tells_browsers() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let text = written(response, Some(&HeaderValue::from_static("max-age=9")), true);
        let begin =
            "HTTP/1.1 429 Too Many Requests\r\nstrict-transport-security: max-age=9\r\nconnection: close\r\n";
        assert!(text.starts_with(begin), "{text}");
    }

    #[test]
    fn a_date_is_written_as_http_writes_it() {
        assert_eq!(date(784_111_777), "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    }
}
