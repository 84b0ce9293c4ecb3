//! Someone at a browser, without the browser: pages and forms as requests.

use serde_json::{Value, json};

use crate::server::{Reply, Server, Session};

/// Someone who is signed in.
pub(crate) struct FormClient<'s> {
    pub(crate) server: &'s Server,
    pub(crate) cookie: String,
}

/// The origin of the pages of a server on this machine.
pub(crate) fn origin(server: &Server) -> String {
    format!("http://{}", server.address())
}

/// A form as a browser sends it.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Sends the form of the sign-in.
pub(crate) fn try_key(server: &Server, fields: &[(&str, &str)]) -> Reply {
    let request = server.post("/console/sign-in").header("host", server.address().to_string());
    let request = request.header("origin", origin(server)).header("sec-fetch-site", "same-origin");
    request.header("content-type", "application/x-www-form-urlencoded").body(form(fields)).send()
}

/// The name and value of the cookie that a reply sets.
pub(crate) fn cookie_of(reply: &Reply) -> String {
    let set = reply.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {reply:?}"));
    set.split(';').next().unwrap().to_owned()
}

impl<'s> FormClient<'s> {
    pub(crate) fn sign_in(server: &'s Server, key: &str) -> Self {
        let reply = try_key(server, &[("key", key)]).expect(303);
        Self { server, cookie: cookie_of(&reply) }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        let request = self.server.get(path).header("host", self.server.address().to_string());
        request.header("cookie", self.cookie.clone()).send()
    }

    /// A page that there is.
    pub(crate) fn page(&self, path: &str) -> String {
        text(&self.get(path).expect(200))
    }

    /// The mark of the forms on the pages of this sign-in.
    pub(crate) fn mark(&self) -> String {
        let page = self.page("/console/agents");
        let (_, after) = page.split_once(r#"name="mark" value=""#).unwrap();
        after.split('"').next().unwrap().to_owned()
    }

    /// Sends a form of a page.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mark = self.mark();
        let fields: Vec<_> = fields.iter().copied().chain([("mark", &*mark)]).collect();
        self.post_unmarked(path, &fields, &origin(self.server))
    }

    /// Sends a form that some page made.
    pub(crate) fn post_unmarked(&self, path: &str, fields: &[(&str, &str)], origin: &str) -> Reply {
        let request = self.server.post(path).header("host", self.server.address().to_string());
        let request = request.header("cookie", self.cookie.clone()).header("origin", origin);
        request.header("content-type", "application/x-www-form-urlencoded").body(form(fields)).send()
    }
}

/// A page as text.
pub(crate) fn text(reply: &Reply) -> String {
    reply.body.clone()
}

/// A session of an agent of alice, renewed once, and what its holder has now.
pub(crate) fn renewed(server: &Server, subject: &str) -> Session {
    server.register(subject, &json!({ "name": "Night shift", "kind": "agent", "ownerId": "alice" }));
    let session = server.create(&json!({ "subjectId": subject, "ttl": 600, "device": "laptop" }));
    server.advance(400);
    let reply = server.renew(&session).send().expect(200);
    session.renewed(&reply)
}

/// What an API key reads.
pub(crate) fn read(server: &Server, key: &str, path: &str) -> Value {
    server.get(path).bearer(key).send().expect(200).json()
}
