//! As much of an HTTP/1.1 client as a benchmark needs, and no more: what it costs, the server does not get.

use std::fmt::Write as _;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A kept-alive connection.
#[derive(Debug)]
pub(super) struct BenchConnection {
    stream: TcpStream,
    host: String,
    request: String,
    reply: Vec<u8>,
}

impl BenchConnection {
    /// To a server named by host and port.
    pub(super) async fn open(host: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(host).await.map_err(|error| format!("{host}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream, host: host.to_owned(), request: String::new(), reply: Vec::new() })
    }

    /// Asks, and gives the body of the answer if it was granted.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        credential: &str,
        body: Option<&str>,
    ) -> Result<&[u8], String> {
        self.write(method, path, credential, body);
        self.stream.write_all(self.request.as_bytes()).await.map_err(|error| error.to_string())?;
        let (status, start) = self.read().await?;
        let body = &self.reply[start..];
        match status {
            200..=299 => Ok(body),
            _ => Err(format!("{method} was answered {status}: {}", String::from_utf8_lossy(body))),
        }
    }

    /// The position that the last answer names.
    pub(super) fn position(&self) -> Option<u64> {
        let head = &self.reply[..find(&self.reply, b"\r\n\r\n")?];
        let start = find(head, b"x-tenure-position: ")? + "x-tenure-position: ".len();
        str::from_utf8(&head[start..]).ok()?.lines().next()?.parse().ok()
    }

    fn write(&mut self, method: &str, path: &str, credential: &str, body: Option<&str>) {
        let Self { host, request, .. } = self;
        request.clear();
        // Writing to a text succeeds.
        let _ = write!(
            request,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {credential}\r\n"
        );
        if let Some(body) = body {
            let length = body.len();
            let _ = write!(request, "content-type: application/json\r\ncontent-length: {length}\r\n");
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
    }

    /// Reads one whole answer; gives its status and where its body begins.
    async fn read(&mut self) -> Result<(u16, usize), String> {
        self.reply.clear();
        loop {
            if let Some(head) = ResponseHead::find(&self.reply)?
                && self.reply.len() >= head.body + head.length
            {
                return Ok((head.status, head.body));
            }
            match self.stream.read_buf(&mut self.reply).await {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// What must be known of an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct ResponseHead {
    status: u16,
    body: usize,
    length: usize,
}

impl ResponseHead {
    /// None as long as it is not all there.
    fn find(reply: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = find(reply, b"\r\n\r\n") else { return Ok(None) };
        let head = str::from_utf8(&reply[..end]).map_err(|_| "the answer's head is no text")?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or("the answer is not HTTP/1.1")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let length = length.ok_or("the answer does not say how long it is")?;
        Ok(Some(Self { status, body: end + 4, length }))
    }
}

/// The value of a text field that needs no unescaping: a token, an id.
pub(super) fn text_field<'a>(document: &'a [u8], name: &str) -> Option<&'a str> {
    let text = str::from_utf8(document).ok()?;
    let (_, rest) = text.split_once(&format!(r#""{name}":""#))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// Looks for the first byte, which must be rare, before all of what is wanted.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, mut from) = (*wanted.first()?, 0);
    loop {
        from += text[from..].iter().position(|byte| *byte == first)?;
        if text[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_once_it_is_whole() {
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(ResponseHead::find(&reply[..30]), Ok(None));
        assert_eq!(ResponseHead::find(reply), Ok(Some(ResponseHead { status: 200, body: 44, length: 2 })));
        assert!(ResponseHead::find(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        let document = br#"{"sessionId":"s","token":"tnr_sess_x","n":1}"#;
        assert_eq!(text_field(document, "token"), Some("tnr_sess_x"));
        assert_eq!(text_field(document, "n"), None);
    }
}
