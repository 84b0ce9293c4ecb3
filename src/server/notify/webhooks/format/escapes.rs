//! What the formats for people have in common: texts without marks, escaped, cut to a length.

use super::notice_text::FOREIGN;

/// Words without the marks around texts that people chose.
pub(super) fn plain(text: &str) -> String {
    text.replace(FOREIGN, "")
}

/// The three characters that Telegram and Slack want as entities.
pub(super) fn entities(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Cut to a number of characters, the last an ellipsis if some were left out.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
