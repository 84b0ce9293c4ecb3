//! A caller over HTTP, which knows the difference between *refused* and *no answer*.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::{Agent, http::Request};

/// Asks with one credential, over connections of its own.
#[derive(Clone)]
pub(crate) struct Caller {
    agent: Agent,
    url: String,
    key: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The last event that the request appended.
    pub(crate) position: Option<u64>,
    pub(crate) body: Value,
}

/// There was no answer: nobody knows what became of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost;

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("{member} of {self:?}")).to_owned()
    }

    pub(crate) fn number(&self, member: &str) -> u64 {
        self.body[member].as_u64().unwrap_or_else(|| panic!("{member} of {self:?}"))
    }

    pub(crate) const fn is_granted(&self) -> bool {
        matches!(self.status, 200 | 201)
    }
}

impl Caller {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .max_idle_connections_per_host(1)
            .build();
        Self { agent: config.new_agent(), url: url.to_owned(), key: key.to_owned() }
    }

    /// The same caller on a connection that nobody shares.
    pub(crate) fn apart(&self) -> Self {
        Self::new(&self.url, &self.key)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Reply, Lost> {
        self.ask("GET", path, &self.key, None, None)
    }

    pub(crate) fn put(&self, path: &str, idempotency_key: Option<&str>, body: &Value) -> Result<Reply, Lost> {
        self.ask("PUT", path, &self.key, idempotency_key, Some(body))
    }

    pub(crate) fn post(
        &self,
        path: &str,
        idempotency_key: Option<&str>,
        body: &Value,
    ) -> Result<Reply, Lost> {
        self.ask("POST", path, &self.key, idempotency_key, Some(body))
    }

    pub(crate) fn delete(&self, path: &str, idempotency_key: Option<&str>) -> Result<Reply, Lost> {
        self.ask("DELETE", path, &self.key, idempotency_key, None)
    }

    /// Renews a session by its own token.
    pub(crate) fn renew(
        &self,
        session: &str,
        token: &str,
        idempotency_key: Option<&str>,
    ) -> Result<Reply, Lost> {
        self.ask("PUT", &format!("/v1/sessions/{session}/renew"), token, idempotency_key, None)
    }

    /// What is said of these tokens, in order.
    pub(crate) fn introspect(&self, tokens: &[&str]) -> Vec<Value> {
        let judge = |part: &[&str]| {
            let reply = self.post("/v1/introspect", None, &json!({ "tokens": part })).unwrap();
            assert_eq!(reply.status, 200, "{reply:?}");
            reply.body["results"].as_array().unwrap().clone()
        };
        tokens.chunks(100).flat_map(judge).collect()
    }

    /// Every item of a list, page by page.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let mut items = vec![];
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}{cursor}")).unwrap();
            assert_eq!(page.status, 200, "{page:?}");
            items.extend(page.body["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page.body["nextCursor"].as_str() else { return items };
            cursor = format!("&cursor={next}");
        }
    }

    /// A page that is no JSON.
    pub(crate) fn text(&self, path: &str) -> String {
        let request = Request::builder().uri(format!("{}{path}", self.url));
        let request = request.header("authorization", format!("Bearer {}", self.key)).body(()).unwrap();
        self.agent.run(request).unwrap().body_mut().read_to_string().unwrap()
    }

    /// Moves the time that stands still otherwise.
    pub(crate) fn advance(&self, seconds: u64) -> Result<Reply, Lost> {
        self.put("/v1/clock", None, &json!({ "advance": seconds }))
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        credential: &str,
        idempotency_key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Reply, Lost> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header("authorization", format!("Bearer {credential}"));
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let answered = match body {
            None => self.agent.run(request.body(()).unwrap()),
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body.to_string()).unwrap())
            }
        };
        let mut answered = answered.map_err(|_| Lost)?;
        let position = answered.headers().get("x-tenure-position");
        let position = position.map(|value| value.to_str().unwrap().parse().unwrap());
        let text = answered.body_mut().read_to_string().map_err(|_| Lost)?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Reply { status: answered.status().as_u16(), position, body })
    }
}
