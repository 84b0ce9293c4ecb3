//! Pages that keep themselves up to date, made once for all who see the same: fifty open consoles that look every few
//! seconds cost what one does, and each page is made once a second at most.
//!
//! A shared page has no frame of a sign-in, and [`MARK`] where each reader has its own mark. The first page of a reader
//! is never a shared one, so readers see their own changes at once.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tenure_core::{OwnerId, event::Role};
use tenure_protocol::clock::stopwatch;
use tokio::{sync::Mutex as Turn, time::Instant};

use super::{
    request::SignedInRequest,
    response::{PageFailure, PageResult},
};

/// Stands for the mark of the reader. Control characters are in no text on a page: they are shown as words.
pub(super) const MARK: &str = "\u{1}mark\u{1}";
/// How long a page is good for.
const FRESH: Duration = Duration::from_secs(1);
/// Pages kept at once.
const KEPT: usize = 64;

/// Readers with equal rights see the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PageKey {
    address: String,
    role: Role,
    owner: Option<OwnerId>,
}

#[derive(Clone)]
struct SharedPage {
    made: Instant,
    headers: HeaderMap,
    text: Arc<str>,
    /// The same for the same content: what the reader sees of the page has not changed.
    tag: String,
}

impl SharedPage {
    fn is_fresh(&self) -> bool {
        self.made.elapsed() < FRESH
    }
}

/// One place for each page: who comes while it is made waits for it.
type PagePlace = Arc<Turn<Option<SharedPage>>>;

/// The pages made lately.
#[derive(Default)]
pub(super) struct SharedPages(Mutex<HashMap<PageKey, PagePlace>>);

impl SharedPages {
    fn place(&self, key: PageKey) -> PagePlace {
        let mut places = self.0.lock();
        if places.len() >= KEPT && !places.contains_key(&key) {
            let is_in_use = |place: &PagePlace| {
                place.try_lock().map_or(true, |page| page.as_ref().is_some_and(SharedPage::is_fresh))
            };
            places.retain(|_, place| is_in_use(place));
        }
        Arc::clone(places.entry(key).or_default())
    }
}

/// The page as others have just got it, or as it is now.
pub(super) async fn shared(visit: &SignedInRequest, page: impl Future<Output = PageResult>) -> PageResult {
    if !visit.is_shared() {
        return page.await;
    }
    let credential = &visit.credential;
    let key = PageKey { address: visit.address(), role: credential.role, owner: credential.owner_id.clone() };
    let place = visit.console().shared.place(key);
    let mut kept = place.lock().await;
    if let Some(known) = kept.as_ref().filter(|page| page.is_fresh()) {
        return Ok(sent(visit, known));
    }
    let response = page.await?;
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let text = body.collect().await.map_err(|error| PageFailure::of_ours(&error.to_string()))?.to_bytes();
    let text = String::from_utf8(text.into()).map_err(|error| PageFailure::of_ours(&error.to_string()))?;
    let tag = tag_of(&text);
    let made = SharedPage { made: stopwatch().into(), headers: parts.headers, text: text.into(), tag };
    let response = sent(visit, &made);
    *kept = Some(made);
    Ok(response)
}

/// The time of the server stands before the body, so it does not count.
fn tag_of(text: &str) -> String {
    let body = text.split_once("<body>").map_or(text, |(_, body)| body);
    blake3::hash(body.as_bytes()).to_hex().to_string()
}

/// The page with the mark of its reader, or, to one that has it already, that it has not changed.
fn sent(visit: &SignedInRequest, page: &SharedPage) -> Response {
    let mark = visit.mark();
    let tag = tag_of_reader(&page.tag, &mark);
    let is_known = visit.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known == &*tag);
    let body = if is_known { Body::empty() } else { Body::from(page.text.replace(MARK, &mark)) };
    let mut response = Response::new(body);
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.headers_mut() = page.headers.clone();
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// A tag that is another one after another sign-in in the same browser: a page that stayed open needs the new mark.
fn tag_of_reader(content: &str, mark: &str) -> String {
    let reader = blake3::derive_key("tenure 2026 tag of a reader of a page", mark.as_bytes());
    let reader = u64::from_le_bytes(*reader.first_chunk().expect("it is longer"));
    format!("\"{content}-{reader:016x}\"")
}
