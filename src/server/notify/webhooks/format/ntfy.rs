//! A message on a topic of ntfy, published as JSON at the root of the server, because only there may the title have any
//! characters. The topic is the end of the URL's path; the query, which may have an access token, stays.

use serde_json::{Value, json};
use url::Url;

use super::{
    escapes::plain,
    notice_text::{NoticeText, NoticeUrgency, VETO_OR_END},
};

/// What a URL lacks that the service needs.
pub(super) fn fault_of_url(url: &Url) -> Option<&'static str> {
    root_and_topic(url)
        .is_none()
        .then_some("must end with a topic, such as https://ntfy.sh/my-topic, for the format ntfy")
}

pub(super) fn url_and_body(url: &Url, words: &NoticeText) -> (Url, Value) {
    let (root, topic) = root_and_topic(url).unwrap_or_else(|| (url.clone(), String::new()));
    let priority = match words.urgency {
        NoticeUrgency::Low => 2,
        NoticeUrgency::Normal => 3,
        NoticeUrgency::High => 4,
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
        // A button: nobody sees that a message can be clicked.
        body["actions"] = json!([{ "action": "view", "label": VETO_OR_END, "url": link }]);
    }
    (root, body)
}

/// The root of an ntfy server and the topic that a URL names.
fn root_and_topic(url: &Url) -> Option<(Url, String)> {
    let topic = url.path_segments()?.next_back().filter(|topic| !topic.is_empty())?.to_owned();
    let is_right =
        topic.len() <= 64 && topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let mut root = url.clone();
    root.path_segments_mut().ok()?.pop().push("");
    is_right.then_some((root, topic))
}
