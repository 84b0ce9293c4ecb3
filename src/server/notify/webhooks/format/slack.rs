//! A message in a channel of Slack. `text` is what a notification shows.

use serde_json::{Value, json};

use super::{
    escapes::{cut, entities, plain},
    notice_text::{NoticeText, VETO_OR_END},
};

/// The longest header of Slack.
const HEADER: usize = 150;

pub(super) fn body(words: &NoticeText) -> Value {
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": header(&plain(&words.title)), "emoji": false } }),
        // Verbatim: what looks like a channel or a person in a name stays text.
        section(&entities(&plain(&words.lines.join("\n")))),
    ];
    if let Some(link) = &words.link {
        blocks.push(section(&format!("<{}|{VETO_OR_END}>", entities(link).replace('|', "%7C"))));
    }
    json!({ "text": entities(&plain(&words.title)), "blocks": blocks })
}

/// The three characters count as the entities that they are written as.
fn header(title: &str) -> String {
    let lengths = (1..=HEADER).rev();
    let mut written = lengths.map(|most| entities(&cut(title, most)));
    written.find(|text| text.chars().count() <= HEADER).unwrap_or_default()
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}
