//! For people: messages of services, each within the limits and with the escapes that the service documents.

use serde_json::{Map, Value, json};
use url::Url;

use super::notice_text::{FOREIGN, NoticeText, Urgency};

const JSON: &str = "application/json";
/// The longest text that Discord takes as the content of a message.
const DISCORD_CONTENT: usize = 2_000;
/// The flag of a message whose links have no previews.
const SUPPRESS_EMBEDS: u32 = 4;
/// The longest header of Slack.
const SLACK_HEADER: usize = 150;

/// A message on a topic of ntfy, published as JSON at the root of the server, because only there may the title have any
/// characters. The topic is the end of the URL's path; the query, which may have an access token, stays.
pub(super) fn ntfy(url: &Url, words: &NoticeText) -> (Url, &'static str, Value) {
    let (root, topic) = ntfy_topic(url).unwrap_or_else(|| (url.clone(), String::new()));
    let priority = match words.urgency {
        Urgency::Low => 2,
        Urgency::Normal => 3,
        Urgency::High => 4,
    };
    let mut body = json!({
        "topic": topic,
        "title": plain(&words.title),
        "message": plain(&words.lines.join("\n")),
        "priority": priority,
        "tags": [words.tag],
    });
    if let Some(link) = &words.link {
        body["click"] = link.as_str().into();
    }
    (root, JSON, body)
}

/// Words without the marks around texts that people chose.
fn plain(text: &str) -> String {
    text.replace(FOREIGN, "")
}

/// The root of an ntfy server and the topic that a URL names.
pub(super) fn ntfy_topic(url: &Url) -> Option<(Url, String)> {
    let topic = url.path_segments()?.next_back().filter(|topic| !topic.is_empty())?.to_owned();
    let is_right =
        topic.len() <= 64 && topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let mut root = url.clone();
    root.path_segments_mut().ok()?.pop().push("");
    is_right.then_some((root, topic))
}

/// A message in a channel of Discord, without mentions and previews whatever it says.
pub(super) fn discord(words: &NoticeText) -> Value {
    let escaped = |text: &str| escape(&plain(text), |c| r"\*_~`|<>[]#".contains(c).then_some('\\'));
    let mut content = format!("**{}**\n{}", escaped(&words.title), escaped(&words.lines.join("\n")));
    if let Some(link) = &words.link {
        content = format!("{content}\n<{link}>");
    }
    json!({ "content": cut(&content, DISCORD_CONTENT), "allowed_mentions": { "parse": [] }, "flags": SUPPRESS_EMBEDS })
}

fn escape(text: &str, before: impl Fn(char) -> Option<char>) -> String {
    text.chars().flat_map(|c| before(c).into_iter().chain([c])).collect()
}

/// A message of a Telegram bot. The chat, and whatever else the bot's method takes, is in the URL's query.
pub(super) fn telegram(url: &Url, words: &NoticeText) -> (Url, &'static str, Value) {
    let mut text = format!("{}\n{}", bold(&words.title), code(&words.lines.join("\n"), ["", ""]));
    if let Some(link) = &words.link {
        let address = entities(link).replace('"', "&quot;");
        text = format!("{text}\n<a href=\"{address}\">Veto or end it</a>");
    }
    let asked = url.query_pairs().map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())));
    let mut body: Map<_, _> = asked.collect();
    body.insert("text".into(), text.into());
    body.insert("parse_mode".into(), "HTML".into());
    body.insert("link_preview_options".into(), json!({ "is_disabled": true }));
    let mut bare = url.clone();
    bare.set_query(None);
    (bare, JSON, body.into())
}

fn bold(title: &str) -> String {
    format!("<b>{}</b>", code(title, ["</b>", "<b>"])).replace("<b></b>", "")
}

/// Texts that people chose are code: there Telegram makes neither links nor mentions of anything. Code stands in no
/// other mark, so those around it end before it and begin again after it.
fn code(text: &str, [end, again]: [&str; 2]) -> String {
    let [begin_foreign, end_foreign] = FOREIGN;
    let text = entities(text).replace(begin_foreign, &format!("{end}<code>"));
    text.replace(end_foreign, &format!("</code>{again}"))
}

/// Whether a URL is that of a bot's method to send a message to a chat.
pub(super) fn is_telegram(url: &Url) -> bool {
    url.path().ends_with("/sendMessage")
        && url.query_pairs().any(|(name, value)| name == "chat_id" && !value.is_empty())
}

/// The three characters that Telegram and Slack want as entities.
fn entities(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A message in a channel of Slack. `text` is what a notification shows.
pub(super) fn slack(words: &NoticeText) -> Value {
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": slack_header(&plain(&words.title)), "emoji": false } }),
        // Verbatim: what looks like a channel or a person in a name stays text.
        section(&entities(&plain(&words.lines.join("\n")))),
    ];
    if let Some(link) = &words.link {
        blocks.push(section(&format!("<{}|Veto or end it>", entities(link).replace('|', "%7C"))));
    }
    json!({ "text": entities(&plain(&words.title)), "blocks": blocks })
}

/// The three characters count as the entities that they are written as.
fn slack_header(title: &str) -> String {
    let lengths = (1..=SLACK_HEADER).rev();
    let mut written = lengths.map(|most| entities(&cut(title, most)));
    written.find(|text| text.chars().count() <= SLACK_HEADER).unwrap_or_default()
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
