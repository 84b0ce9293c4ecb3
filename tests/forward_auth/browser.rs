//! A browser, as far as cookies go: it keeps what it is given until it is told to drop it, and sends it each time.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read, Write as _},
    net::{SocketAddr, TcpStream},
};

use crate::server::PATIENCE;

/// A reply as the browser got it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Page {
    /// Every value of a header, in lower case by its name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// What it says of the session's cookie.
    pub(crate) fn session_cookie(&self) -> Option<&str> {
        self.all("set-cookie").into_iter().find(|cookie| cookie.starts_with("__Host-tenure_session="))
    }
}

/// A browser and its cookies.
#[derive(Clone)]
pub(crate) struct Browser {
    proxy: SocketAddr,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(proxy: SocketAddr) -> Self {
        Self { proxy, cookies: BTreeMap::new() }
    }

    /// With the cookie that an application sets when somebody signs in.
    pub(crate) fn signed_in(proxy: SocketAddr, token: &str) -> Self {
        let mut browser = Self::new(proxy);
        browser.cookies.insert("__Host-tenure_session".into(), token.into());
        browser
    }

    pub(crate) fn has(&self, cookie: &str) -> bool {
        self.cookies.contains_key(cookie)
    }

    pub(crate) fn get(&mut self, target: &str) -> Page {
        self.send("GET", target, &[], "")
    }

    pub(crate) fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Page {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n");
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            write!(request, "Cookie: {}\r\n", pairs.join("; ")).unwrap();
        }
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        if !body.is_empty() {
            write!(request, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        let page = exchange(self.proxy, &format!("{request}\r\n{body}"));
        for cookie in page.all("set-cookie") {
            self.take(cookie);
        }
        page
    }

    /// RFC 6265, section 5.2.2: a `Max-Age` of 0 or less drops the cookie.
    fn take(&mut self, cookie: &str) {
        let mut parts = cookie.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let age: Option<i64> =
            parts.find_map(|part| part.strip_prefix("Max-Age=")).and_then(|age| age.parse().ok());
        if age.is_some_and(|age| age <= 0) {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.into(), value.into());
        }
    }
}

fn exchange(address: SocketAddr, request: &str) -> Page {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {reply:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    assert!(!headers.iter().any(|(name, _)| name == "transfer-encoding"), "{reply:?}");
    Page { status, headers, body: body.to_owned() }
}
