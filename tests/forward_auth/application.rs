//! An application behind the proxy. It answers with what it was told, and remembers it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// A request as the application got it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Told {
    /// Every value of a header, in lower case by its name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The names of all headers with this in them, in order.
    pub(crate) fn names_like(&self, part: &str) -> Vec<&str> {
        let names = self.headers.iter().map(|(name, _)| name.as_str());
        let mut found: Vec<_> = names.filter(|name| name.contains(part)).collect();
        found.sort_unstable();
        found
    }
}

/// It serves until the test ends.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Application {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&told);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let told = Arc::clone(&own);
                std::thread::spawn(move || serve(stream, &told));
            }
        });
        Self { address, told }
    }

    /// How many requests came through.
    pub(crate) fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    pub(crate) fn last(&self) -> Told {
        self.told.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

fn serve(stream: TcpStream, told: &Mutex<Vec<Told>>) {
    let mut reader = BufReader::new(stream);
    let mut request = Told::default();
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = request.all("content-length").first().and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.body = String::from_utf8(body).unwrap();
    told.lock().unwrap().push(request);
    let (status, more) = manner(&target);
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Length: 5\r\nSet-Cookie: theme=dark\r\n{more}Connection: close\r\n\r\nhello"
    );
    // A proxy that has gone away needs no answer.
    drop(reader.get_mut().write_all(reply.as_bytes()));
}

/// A file that never changes, as applications serve them, a defect, and all else.
fn manner(target: &str) -> (&'static str, &'static str) {
    match target {
        "/app.css" => (
            "200 OK",
            "Cache-Control: public, max-age=31536000\r\nCDN-Cache-Control: max-age=60\r\n\
             Surrogate-Control: max-age=70\r\n",
        ),
        "/broken" => ("500 Internal Server Error", ""),
        _ => ("200 OK", ""),
    }
}
