//! Where the requests of a command go, and nowhere else.

use reqwest::Url;

/// Layers of percent-encoding that are decoded; more of them are a sign of an attack.
const LAYERS: usize = 4;

/// The value of `--proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::commands::run) struct Upstream(Url);

/// Reads the value of `--proxy`.
pub(in crate::cli::commands::run) fn upstream(text: &str) -> Result<Upstream, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with https:// or http://".to_owned());
    }
    if !is_plain || url.query().is_some() || url.fragment().is_some() {
        return Err("must have no user, query or fragment".to_owned());
    }
    Ok(Upstream(url))
}

impl Upstream {
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    fn base(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Where a path below the proxy's leads; `None` when it is not below this upstream, or a server could read it so.
    pub(super) fn target(&self, path: &str, query: Option<&str>) -> Option<Url> {
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let url = Url::parse(&format!("{}{path}{query}", self.base())).ok()?;
        let below = self.below(&url)?;
        let is_within = below.is_empty() || below.starts_with(['/', '?']);
        (is_within && !climbs(url.path())).then_some(url)
    }

    /// What of an address is below this upstream; `None` when it is elsewhere.
    pub(super) fn below<'a>(&self, url: &'a Url) -> Option<&'a str> {
        let below = url.as_str().strip_prefix(self.base())?;
        (below.is_empty() || below.starts_with(['/', '?', '#'])).then_some(below)
    }
}

/// Whether a server that decodes once more than it should would find `..` in a path, or one that takes what follows a
/// semicolon for a parameter. The plain ones are gone: an address is made without them.
fn climbs(path: &str) -> bool {
    let mut read = path.to_ascii_lowercase();
    for _ in 0..LAYERS {
        let decoded = read
            .replace("%25", "%")
            .replace("%2e", ".")
            .replace("%2f", "/")
            .replace("%5c", "\\")
            .replace("%3b", ";");
        if decoded == read {
            return read.split(['/', '\\']).any(|segment| segment.split(';').next() == Some(".."));
        }
        read = decoded;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_upstream() {
        let upstream = upstream("https://api.example.com/v1/").unwrap();
        let target = |path: &str, query| upstream.target(path, query).map(String::from);
        let url = |below: &str| Some(format!("https://api.example.com/v1{below}"));
        assert_eq!(target("", None), url(""));
        assert_eq!(target("/items", Some("q=1%20&r")), url("/items?q=1%20&r"));
        assert_eq!(target("/a/../b", None), url("/b"));
        assert_eq!(target("//evil.example/", None), url("//evil.example/"));
        for out in ["/../admin", "/%2e%2e/admin", "/a/../../v1x", "/..", "/..\\admin"] {
            assert_eq!(target(out, None), None, "{out}");
        }
    }

    /// A front of the upstream that decodes slashes, as several do, would take these for a path beside `/v1`.
    #[test]
    fn no_layer_of_encoding_hides_a_way_up() {
        let upstream = upstream("https://api.example.com/v1/").unwrap();
        for out in [
            "/..%2fadmin",
            "/a%2F..%2F..%2fadmin",
            "/..%5cadmin",
            "/%252e%252e%252fadmin",
            "/..;/admin",
            "/..%3bx/a",
        ] {
            assert_eq!(upstream.target(out, None), None, "{out}");
        }
        assert_eq!(upstream.target(&format!("/%{}2fadmin", "25".repeat(9)), None), None);
        for fine in ["/a%2Fb", "/v1..2", "/...", "/a;b=..", "/100%25", "/%2525"] {
            assert!(upstream.target(fine, None).is_some(), "{fine}");
        }
        assert!(upstream.target("/a", Some("next=../b")).is_some(), "a query is no path");
    }

    #[test]
    fn an_upstream_is_a_plain_address() {
        for wrong in ["api.example.com", "ftp://h", "https://u:p@h/", "https://h/?q", "https://h/#f", ""] {
            assert!(upstream(wrong).is_err(), "{wrong}");
        }
        assert_eq!(upstream("http://h:1/a/").unwrap().base(), "http://h:1/a");
    }
}
