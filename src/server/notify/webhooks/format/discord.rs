//! A message in a Discord channel, which never mentions anyone and never shows a preview.

use serde_json::{Value, json};

use super::{
    escapes::{cut, plain},
    notice_text::NoticeText,
};

/// The longest text that Discord takes as the content of a message.
const CONTENT: usize = 2_000;
/// The flag of a message whose links have no previews.
const SUPPRESS_EMBEDS: u32 = 4;

pub(super) fn body(words: &NoticeText) -> Value {
    let escaped = |text: &str| escape(&plain(text), |c| r"\*_~`|<>[]#".contains(c).then_some('\\'));
    let mut content = format!("**{}**\n{}", escaped(&words.title), escaped(&words.lines.join("\n")));
    if let Some(link) = &words.link {
        content = format!("{content}\n<{link}>");
    }
    json!({ "content": cut(&content, CONTENT), "allowed_mentions": { "parse": [] }, "flags": SUPPRESS_EMBEDS })
}

fn escape(text: &str, before: impl Fn(char) -> Option<char>) -> String {
    text.chars().flat_map(|c| before(c).into_iter().chain([c])).collect()
}
