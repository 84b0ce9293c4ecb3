//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), as an authority sends them.

use std::collections::VecDeque;

use reqwest::{Response, header::CONTENT_TYPE};

use crate::outbound::BodyError;

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SseItem {
    /// That it is still there.
    Comment,
    /// Something.
    Event(SseEvent),
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// What it is called; empty if it has no name.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// A stream being read.
#[derive(Debug)]
pub struct SseStream {
    response: Response,
    parser: SseParser,
}

impl SseStream {
    /// The events of an answer, each up to `longest` bytes; `None` if it is not a stream.
    pub fn of(response: Response, longest: usize) -> Option<Self> {
        let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
        let is_stream = kind.split(';').next()?.trim().eq_ignore_ascii_case("text/event-stream");
        is_stream.then(|| Self { response, parser: SseParser::new(longest) })
    }

    /// The next event; `None` at the end of the stream. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection failed, or an event is too long.
    pub async fn next(&mut self) -> Result<Option<SseItem>, BodyError> {
        loop {
            if let Some(told) = self.parser.told.pop_front() {
                return Ok(Some(told));
            }
            match self.response.chunk().await.map_err(BodyError::CutOff)? {
                Some(chunk) => self.parser.read(&chunk)?,
                None => return Ok(None),
            }
        }
    }
}

/// Takes a stream apart. Pure.
#[derive(Debug)]
struct SseParser {
    longest: usize,
    line: Vec<u8>,
    event: SseEvent,
    told: VecDeque<SseItem>,
}

impl SseParser {
    fn new(longest: usize) -> Self {
        Self { longest, line: Vec::new(), event: SseEvent::default(), told: VecDeque::new() }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.event.data.len() > self.longest {
                return Err(BodyError::TooLong);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take(String::from_utf8_lossy(line.trim_ascii_end()).as_ref());
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.data.is_empty() {
                self.told.push_back(SseItem::Event(event));
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.told.push_back(SseItem::Comment),
            "event" => value.clone_into(&mut self.event.name),
            "data" if self.event.data.is_empty() => value.clone_into(&mut self.event.data),
            "data" => self.event.data.extend(["\n", value]),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> SseItem {
        SseItem::Event(SseEvent { name: name.to_owned(), data: data.to_owned() })
    }

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let text = ": 7\n\nid: 8\nevent: ended\ndata: {\"a\":1}\n\ndata: x\r\ndata:y\r\nretry: 5\r\n\r\nevent: lost\n\n";
        let expected = [SseItem::Comment, event("ended", "{\"a\":1}"), event("", "x\ny")];
        for size in [1, 2, 3, 7, text.len()] {
            let mut parser = SseParser::new(100);
            for chunk in text.as_bytes().chunks(size) {
                parser.read(chunk).unwrap();
            }
            assert_eq!(parser.told, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_does_not_end_is_not_kept() {
        for endless in [b"data: xxxxxxxxxxxxxxxx".as_slice(), b"data: xxxxxx\ndata: xxxxxx\n"] {
            assert!(matches!(SseParser::new(15).read(endless), Err(BodyError::TooLong)));
        }
    }
}
