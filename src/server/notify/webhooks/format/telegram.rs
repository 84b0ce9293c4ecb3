//! A message of a Telegram bot. The chat, and whatever else the bot's method takes, is in the URL's query.

use serde_json::{Map, Value, json};
use url::Url;

use super::{
    escapes::entities,
    notice_text::{FOREIGN, NoticeText, VETO_OR_END},
};

/// What a URL lacks that the service needs.
pub(super) fn fault_of_url(url: &Url) -> Option<&'static str> {
    (!is_message_to_chat(url)).then_some(
        "must end with /sendMessage and have the chat in its query, such as \
         https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>, for the format telegram",
    )
}

pub(super) fn url_and_body(url: &Url, words: &NoticeText) -> (Url, Value) {
    let mut text = format!("{}\n{}", bold(&words.title), code(&words.lines.join("\n"), ["", ""]));
    if let Some(link) = &words.link {
        let address = entities(link).replace('"', "&quot;");
        text = format!("{text}\n<a href=\"{address}\">{VETO_OR_END}</a>");
    }
    let asked = url.query_pairs().map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())));
    let mut body: Map<_, _> = asked.collect();
    body.insert("text".into(), text.into());
    body.insert("parse_mode".into(), "HTML".into());
    body.insert("link_preview_options".into(), json!({ "is_disabled": true }));
    let mut bare = url.clone();
    bare.set_query(None);
    (bare, body.into())
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
fn is_message_to_chat(url: &Url) -> bool {
    url.path().ends_with("/sendMessage")
        && url.query_pairs().any(|(name, value)| name == "chat_id" && !value.is_empty())
}
