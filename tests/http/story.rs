//! Plays `fixtures/stories/*.story`: requests and the replies that must follow, written to be read.
//!
//! ```text
//! # Prose.
//! with limits.per_subject=1                    a setting of the server, before the first request
//!
//! POST /v1/sessions as issuer                  a request, and who sends it
//! Idempotency-Key: order-7                     its headers
//! {"subjectId": "agent", "ttl": 300}           its JSON body
//! => 201                                       the status, and the code of a refusal
//! cache-control: no-store                      headers that the reply must have; `-` says it must not
//! {"token": "<token>",                         members that it must have; <token> gives the value a name,
//!  "expiresAt": "{now+300}"}                   {…} is a named value, or the time, plus or minus a number
//!
//! clock +300                                   time passes
//! restart                                      stop and start again; `kill` does it with kill -9
//! ```
//!
//! Who sends it: `admin`, `issuer`, `verifier`, `auditor`, `owner:NAME` (their keys are made when they are first
//! needed), `nobody`, or the name of a value. In a reply `"*"` is any value that is not null, `"absent"` a member
//! that is not there; other members may be there unless `exactly` stands before the body. Lists must match
//! item by item.

use std::{collections::HashMap, fs, path::Path};

use serde_json::{Value, json};
use tenure::core::Timestamp;

use crate::server::{Reply, Request, Server};

#[test]
fn every_story_goes_as_it_is_told() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stories");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "story"));
    files.sort();
    assert!(files.len() >= 10, "only {} stories", files.len());
    let faults: Vec<_> = files.iter().filter_map(|path| play(path).err()).collect();
    assert!(
        faults.is_empty(),
        "{} of {} stories fail:\n\n{}",
        faults.len(),
        files.len(),
        faults.join("\n\n")
    );
}

fn play(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).unwrap();
    let name = Path::new("fixtures/stories").join(path.file_name().unwrap());
    let steps = parse(&text).map_err(|(line, why)| format!("{}:{line}: {why}", name.display()))?;
    let mut player = Player::new(&settings(&text));
    for step in steps {
        player.play(&step).map_err(|why| format!("{}:{}: {why}", name.display(), step.line))?;
    }
    Ok(())
}

fn settings(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("with ")).collect()
}

struct Step {
    line: usize,
    what: What,
}

enum What {
    /// So many seconds pass.
    Clock(u64),
    Restart,
    Kill,
    Request(Box<Asked>, Box<Expected>),
}

struct Asked {
    method: String,
    target: String,
    who: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Default)]
struct Expected {
    status: u16,
    code: Option<String>,
    headers: Vec<(String, String)>,
    exactly: bool,
    body: Option<Value>,
}

type ParseFault = (usize, String);

/// A line and its number.
type Line<'a> = (usize, &'a str);

/// Steps are paragraphs; a line that begins with `#` is prose.
fn parse(text: &str) -> Result<Vec<Step>, ParseFault> {
    let lines: Vec<Line<'_>> = text.lines().enumerate().map(|(index, line)| (index + 1, line)).collect();
    let paragraphs = lines.split(|(_, line)| line.trim().is_empty());
    let mut steps = Vec::new();
    for paragraph in paragraphs {
        let spoken = |line: &Line<'_>| !line.1.starts_with('#') && !line.1.starts_with("with ");
        let paragraph: Vec<_> = paragraph.iter().copied().filter(spoken).collect();
        if let [(line, first), rest @ ..] = paragraph.as_slice() {
            let what = parse_step(first, rest).map_err(|why| (*line, why))?;
            steps.push(Step { line: *line, what });
        }
    }
    Ok(steps)
}

fn parse_step(first: &str, rest: &[Line<'_>]) -> Result<What, String> {
    match first.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["restart"] => Ok(What::Restart),
        ["kill"] => Ok(What::Kill),
        ["clock", by] => by.parse().map(What::Clock).map_err(|_| format!("{by} is no number of seconds")),
        [method, target, "as", who] => {
            let end = rest.iter().position(|(_, line)| line.starts_with("=>")).ok_or("there is no `=>`")?;
            let (headers, body) = split_body(&rest[..end]);
            let asked = Asked {
                method: (*method).into(),
                target: (*target).into(),
                who: (*who).into(),
                headers,
                body,
            };
            Ok(What::Request(Box::new(asked), Box::new(parse_expected(&rest[end..])?)))
        }
        _ => Err(format!("cannot be read: {first}")),
    }
}

fn split_body(lines: &[Line<'_>]) -> (Vec<(String, String)>, String) {
    let is_header = |line: &str| !line.starts_with(['{', '[', ' ', '!', '"']) && line.contains(": ");
    let end = lines.iter().position(|(_, line)| !is_header(line)).unwrap_or(lines.len());
    let headers = lines[..end].iter().filter_map(|(_, line)| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let body = lines[end..].iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
    (headers, body)
}

fn parse_expected(lines: &[Line<'_>]) -> Result<Expected, String> {
    let (first, rest) = lines.split_first().ok_or("there is no `=>`")?;
    let words: Vec<_> = first.1.split_whitespace().collect();
    let status = words.get(1).and_then(|status| status.parse().ok()).ok_or("there is no status")?;
    let code = words.get(2).map(|code| (*code).to_owned());
    let (headers, body) = split_body(rest);
    let exactly = body.starts_with("!exactly");
    let body = body.trim_start_matches("!exactly").trim();
    let body = (!body.is_empty()).then(|| serde_json::from_str(body)).transpose();
    let body = body.map_err(|error| format!("the expected body is no JSON: {error}"))?;
    Ok(Expected { status, code, headers, exactly, body })
}

struct Player {
    server: Server,
    /// Named values.
    known: HashMap<String, Value>,
    /// The keys that were made.
    keys: HashMap<String, String>,
}

impl Player {
    fn new(settings: &[&str]) -> Self {
        let mut player = Self { server: Server::with(settings), known: HashMap::new(), keys: HashMap::new() };
        player.look_at_clock();
        player
    }

    fn look_at_clock(&mut self) {
        let now = self.server.get("/v1/clock").bearer(&self.server.admin).send().expect(200);
        self.known.insert("now".into(), now.json()["now"].clone());
    }

    fn play(&mut self, step: &Step) -> Result<(), String> {
        match &step.what {
            What::Clock(seconds) => self.server.advance(*seconds),
            What::Restart => self.server.restart(),
            What::Kill => self.server.kill9(),
            What::Request(asked, expected) => {
                let request = self.request(asked)?;
                let reply = request.send();
                return self.check(expected, &reply).map_err(|why| {
                    format!("{why}\n  {} {}\n  {} {}", asked.method, asked.target, reply.status, reply.body)
                });
            }
        }
        self.look_at_clock();
        Ok(())
    }

    fn request(&mut self, asked: &Asked) -> Result<Request, String> {
        let mut request = self.server.request(&asked.method, &self.filled(&asked.target)?);
        if let Some(credential) = self.credential(&asked.who)? {
            request = request.bearer(&credential);
        }
        for (name, value) in &asked.headers {
            request = request.header(name, self.filled(value)?);
        }
        if asked.body.is_empty() { Ok(request) } else { Ok(request.json_text(&self.filled(&asked.body)?)) }
    }

    fn credential(&mut self, who: &str) -> Result<Option<String>, String> {
        let (role, owner) = match who.split_once(':') {
            Some((role, owner)) => (role, Some(owner)),
            None => (who, None),
        };
        match role {
            "nobody" => Ok(None),
            "admin" => Ok(Some(self.server.admin.clone())),
            "issuer" | "owner" | "verifier" | "auditor" => {
                let server = &self.server;
                let key = self.keys.entry(who.into()).or_insert_with(|| server.issue_key(role, owner).0);
                Ok(Some(key.clone()))
            }
            _ => self.named(who).map(|value| value.as_str().map(str::to_owned)),
        }
    }

    fn named(&self, name: &str) -> Result<&Value, String> {
        self.known.get(name).ok_or_else(|| format!("nothing is called {name}"))
    }

    /// Puts the values of `{names}` into a text.
    fn filled(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, after) = rest.split_at(start);
            filled.push_str(before);
            let inner = after[1..].split_once('}').filter(|(inner, _)| is_expression(inner));
            let Some((inner, after)) = inner else {
                filled.push('{');
                rest = &after[1..];
                continue;
            };
            let value = self.value(inner)?;
            filled.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// The value of a name, plus or minus a number: seconds for a time.
    fn value(&self, expression: &str) -> Result<Value, String> {
        let split = expression.find(['+', '-']).unwrap_or(expression.len());
        let (name, by) = expression.split_at(split);
        let value = self.named(name)?.clone();
        let by: i64 = if by.is_empty() { 0 } else { by.parse().map_err(|_| format!("{by} is no number"))? };
        if by == 0 {
            return Ok(value);
        }
        if let Some(text) = value.as_str() {
            let time = Timestamp::parse(text).ok_or_else(|| format!("{name} is no time"))?;
            return Ok(json!(time.plus_millis(by * 1000)));
        }
        let number = value.as_i64().ok_or_else(|| format!("{name} is no whole number"))?;
        Ok(json!(number + by))
    }

    fn check(&mut self, expected: &Expected, reply: &Reply) -> Result<(), String> {
        if reply.status != expected.status {
            return Err(format!("the status is {}, not {}", reply.status, expected.status));
        }
        if let Some(code) = &expected.code
            && reply.code() != *code
        {
            return Err(format!("the code is {:?}, not {code}", reply.code()));
        }
        for (name, value) in &expected.headers {
            self.check_header(name, value, reply)?;
        }
        let Some(body) = &expected.body else { return Ok(()) };
        self.matches("body", body, &reply.json(), expected.exactly)
    }

    fn check_header(&mut self, name: &str, pattern: &str, reply: &Reply) -> Result<(), String> {
        let given = reply.header(&name.to_ascii_lowercase());
        if pattern == "-" {
            return given.map_or(Ok(()), |given| Err(format!("there is a header {name}: {given}")));
        }
        let given = given.ok_or_else(|| format!("there is no header {name}"))?;
        // Numbers in headers are numbers, so that they can be compared with those in bodies.
        let valued = |text: &str| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
        self.matches(name, &valued(pattern), &valued(given), false)
    }

    fn matches(&mut self, at: &str, pattern: &Value, given: &Value, exactly: bool) -> Result<(), String> {
        match (pattern, given) {
            (Value::Object(pattern), Value::Object(members)) => {
                for (name, pattern) in pattern {
                    let given = members.get(name);
                    self.matches_member(&format!("{at}.{name}"), pattern, given, exactly)?;
                }
                let further = members.keys().find(|name| exactly && !pattern.contains_key(*name));
                further.map_or(Ok(()), |name| Err(format!("{at} has a member {name}")))
            }
            (Value::Array(patterns), Value::Array(items)) => {
                if patterns.len() != items.len() {
                    return Err(format!("{at} has {} items, not {}", items.len(), patterns.len()));
                }
                let mut pairs = patterns.iter().zip(items).enumerate();
                pairs.try_for_each(|(index, (pattern, given))| {
                    self.matches(&format!("{at}[{index}]"), pattern, given, exactly)
                })
            }
            (Value::String(text), given) => self.matches_text(at, text, given),
            (pattern, given) if pattern == given => Ok(()),
            (pattern, given) => Err(format!("{at} is {given}, not {pattern}")),
        }
    }

    fn matches_member(
        &mut self,
        at: &str,
        pattern: &Value,
        given: Option<&Value>,
        exactly: bool,
    ) -> Result<(), String> {
        match (pattern, given) {
            (Value::String(text), None) if text == "absent" => Ok(()),
            (Value::String(text), Some(_)) if text == "absent" => Err(format!("{at} is there")),
            (_, None) => Err(format!("{at} is missing")),
            (pattern, Some(given)) => self.matches(at, pattern, given, exactly),
        }
    }

    fn matches_text(&mut self, at: &str, text: &str, given: &Value) -> Result<(), String> {
        if text == "*" {
            return if given.is_null() { Err(format!("{at} is null")) } else { Ok(()) };
        }
        if let Some(name) = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            if given.is_null() {
                return Err(format!("{at} is null"));
            }
            self.known.insert(name.into(), given.clone());
            return Ok(());
        }
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let wanted = match inner.filter(|inner| is_expression(inner)) {
            Some(expression) => self.value(expression)?,
            None => Value::String(self.filled(text)?),
        };
        if wanted == *given { Ok(()) } else { Err(format!("{at} is {given}, not {wanted}")) }
    }
}

/// A name, and perhaps a number to add.
fn is_expression(text: &str) -> bool {
    let is_name = text.starts_with(|first: char| first.is_ascii_alphabetic());
    is_name && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_".contains(&byte))
}

#[test]
fn a_reply_that_differs_is_named_by_line_and_member() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wrong.story");
    fs::write(&path, "# Prose\n\nGET /healthz as nobody\n=> 200\n{\"status\": \"dead\"}\n").unwrap();
    let fault = play(&path).unwrap_err();
    assert!(
        fault.starts_with("fixtures/stories/wrong.story:3: body.status is \"ok\", not \"dead\""),
        "{fault}"
    );
}
