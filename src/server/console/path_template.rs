//! The path of a page for traces, with `{id}` in place of names and tokens: `/console/sessions/{id}`.

/// The words in paths of pages and actions. Any other part of a path is a name.
const WORDS: [&str; 25] = [
    "agents",
    "audit",
    "by",
    "end",
    "erase",
    "event",
    "head",
    "keys",
    "log",
    "proof",
    "redeliver",
    "resume",
    "revoke",
    "rotate",
    "sessions",
    "settings",
    "sign-in",
    "sign-ins",
    "sign-out",
    "stream",
    "subjects",
    "suspend",
    "test",
    "veto",
    "webhooks",
];

/// The path below `/console`, with `{id}` for what names something.
pub(super) fn of(path: &str) -> String {
    let mut route = "/console".to_owned();
    // No page has more parts.
    for (number, part) in path.split('/').filter(|part| !part.is_empty()).take(3).enumerate() {
        let is_word = WORDS.contains(&part) || part == "what-if";
        // What follows the kind of a thing is its name, also where that looks like a word.
        let is_name = number == 1 && (path.starts_with("subjects/") || path.starts_with("veto/"));
        route.push('/');
        route.push_str(if is_word && !is_name { part } else { "{id}" });
    }
    route
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_words_of_the_console_alone() {
        for (path, route) in [
            ("", "/console"),
            ("agents", "/console/agents"),
            ("sessions/01a2-7/end", "/console/sessions/{id}/end"),
            ("subjects/end/suspend", "/console/subjects/{id}/suspend"),
            ("veto/tnr_veto_secret", "/console/veto/{id}"),
            ("jane@example.com", "/console/{id}"),
            ("audit/proof", "/console/audit/proof"),
        ] {
            assert_eq!(of(path), route);
        }
    }
}
