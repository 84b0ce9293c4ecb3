//! The bytes of an answer to a plain request, as far as the connection adds them.

use std::cell::RefCell;

use axum::http::HeaderValue;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::hsts;
use crate::http::{write_header, write_number};
use tenure_protocol::clock::wall_time;

/// Completes the head of an answer, and writes its body.
pub(super) fn complete(out: &mut Vec<u8>, body: &[u8], hsts: Option<&HeaderValue>, is_last: bool) {
    if let Some(hsts) = hsts {
        write_header(out, hsts::NAME.as_str(), hsts.as_bytes());
    }
    if is_last {
        write_header(out, "connection", b"close");
    }
    write_number(out, "content-length", body.len() as u64);
    write_date(out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
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
    use super::*;

    fn completed(body: &[u8], hsts: Option<&HeaderValue>, is_last: bool) -> String {
        let mut out = b"HTTP/1.1 200 OK\r\n".to_vec();
        complete(&mut out, body, hsts, is_last);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_says_how_long_it_is_and_when_it_was_written() {
        let text = completed(b"{}", None, false);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: "), "{text}");
        assert!(text.ends_with(" GMT\r\n\r\n{}"), "{text}");
    }

    #[test]
    fn the_last_answer_of_a_connection_says_so_and_one_by_tls_tells_browsers() {
        let text = completed(b"", Some(&HeaderValue::from_static("max-age=9")), true);
        let begin = "HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=9\r\nconnection: close\r\n";
        assert!(text.starts_with(begin), "{text}");
    }

    #[test]
    fn a_date_is_written_as_http_writes_it() {
        assert_eq!(date(784_111_777), "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    }
}
