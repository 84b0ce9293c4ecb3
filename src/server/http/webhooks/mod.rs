//! `/v1/webhooks`: webhooks and their deliveries. URL and secret are returned only once, when a
//! webhook is made; later only scheme and host are.

mod health;

use axum::http::StatusCode;
use zeroize::Zeroizing;

use crate::authority::CommandError;
use crate::notify::{
    NoticeId,
    webhooks::{
        AttemptAnswer, CreationError, DeliveryAttempt, DeliveryOutcome, DeliveryReport, RecordOutcome,
        TestTooSoon, WebhookDestination, draw_secret,
    },
};
use tenure_core::{
    EpochPosition, NoticeKind, OwnerId, Position, StreamId, WebhookId,
    event::WebhookCreated,
    webhook::{Webhook, WebhookFormat},
};
use tenure_protocol::{
    Secret, entropy,
    wire::{
        AttemptView, CreatedWebhook, DeletedWebhook, DeliveryView, NewWebhook, OpenWord, Page,
        RedeliverRequest, RedeliveryView, WebhookHealthView, WebhookTestView, WebhookView,
    },
};

use self::health::health_view;
use super::{
    api::ApiContext,
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
        text::TextOpener,
    },
    request::{
        body::RequestBody,
        call::ApiCall,
        costly_reads::wait_to_refuse,
        epoch_stamp::EpochStamped,
        fields::RequestFields,
        limits,
        page::{ListName, PageQuery, page_of},
    },
};

impl RequestBody for NewWebhook {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let url = secret(fields, "url");
        let url = fields.required("url", url);
        let name = fields.text("name", limits::NAME);
        let kinds = kinds(fields);
        let owner_id = fields.id("ownerId");
        let format = fields.one_of("format", &WebhookFormat::ALL);
        let secret = secret(fields, "secret");
        // What is wrong with a secret is found where there is no URL, too.
        let url = url.unwrap_or_else(|| Secret::new(""));
        Some(Self { url, name, kinds, owner_id, format, secret })
    }
}

fn secret(fields: &mut RequestFields, name: &str) -> Option<Secret> {
    fields.raw_text(name).map(|text| Secret::as_written(Zeroizing::new(text)))
}

impl RequestBody for RedeliverRequest {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let from = fields.position("from");
        if from.is_some_and(|from| from.position == Position::ZERO) {
            fields.fault("from", "must be a whole number from 1, or <epoch>:<position>");
        }
        Some(Self { from: fields.required("from", from)? })
    }
}

/// How an attempt went, as far as the caller may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShownOutcome {
    Whole(DeliveryOutcome),
    Failed,
}

impl ShownOutcome {
    /// What an owner reads in place of words that name hosts and ports.
    pub(super) const FAILED: &'static str = "failed";

    /// Its name in the API.
    fn name(self) -> &'static str {
        match self {
            Self::Whole(outcome) => outcome.name(),
            Self::Failed => Self::FAILED,
        }
    }

    /// An owner chooses the host and the moment of a test, so it must not serve to explore the network.
    fn of_test(outcome: DeliveryOutcome, is_owner: bool) -> Self {
        if is_owner && outcome != DeliveryOutcome::Delivered { Self::Failed } else { Self::Whole(outcome) }
    }

    /// A receiver that spoke HTTP has shown that it is one; of all others an owner reads that the attempt failed.
    fn of_attempt(outcome: DeliveryOutcome, is_owner: bool) -> Self {
        if is_owner && outcome.is_of_network() { Self::Failed } else { Self::Whole(outcome) }
    }
}

fn views(call: &ApiCall, webhooks: &[Webhook]) -> Vec<WebhookView> {
    let is_owner = call.caller.owner().is_some();
    let healths = call.api.webhooks.health_of(webhooks.iter().map(Webhook::id));
    let seen = |health: Option<_>| health.map(|health| health_view(&call.api, health, is_owner));
    let texts = TextOpener::of_stream(&call.api.authority, StreamId::System);
    webhooks.iter().zip(healths).map(|(webhook, health)| view(webhook, &texts, seen(health))).collect()
}

fn view(webhook: &Webhook, texts: &TextOpener<'_>, health: Option<WebhookHealthView>) -> WebhookView {
    let asked = &webhook.asked;
    WebhookView {
        webhook_id: asked.webhook_id,
        name: texts.open("name", asked.name.as_ref()),
        url: asked.host.clone(),
        kinds: kind_names(asked.kinds.as_deref()),
        owner_id: asked.owner_id.clone(),
        format: asked.format.name().into(),
        created_at: webhook.created_at,
        health,
    }
}

fn kind_names(kinds: Option<&[NoticeKind]>) -> Option<Vec<OpenWord>> {
    kinds.map(|kinds| kinds.iter().map(|kind| kind.name().into()).collect())
}

/// What is asked for, and where it is to go.
struct WebhookRequest {
    destination: WebhookDestination,
    name: Option<String>,
    kinds: Option<Vec<NoticeKind>>,
    owner_id: Option<OwnerId>,
    format: WebhookFormat,
}

impl WebhookRequest {
    /// Reads it. Whether requests may go there is this authority's to say.
    fn of(call: &ApiCall) -> Result<Self, Problem> {
        let mut fields = call.fields()?;
        let new = NewWebhook::read(&mut fields);
        let made = new.and_then(|new| Self::to_allowed(call, new, &mut fields));
        fields.finish()?;
        made.ok_or_else(|| ProblemCode::InvalidRequest.into())
    }

    fn to_allowed(call: &ApiCall, new: NewWebhook, fields: &mut RequestFields) -> Option<Self> {
        let NewWebhook { url, name, kinds, owner_id, format, secret } = new;
        let format = format.unwrap_or(WebhookFormat::Standard);
        let drawn = || Secret::as_written(draw_secret(call.api.authority.entropy()));
        let secret = secret.unwrap_or_else(drawn);
        let allows_private = call.api.webhooks.allows_private();
        match WebhookDestination::new(url.expose(), secret.expose(), format, allows_private) {
            Ok(destination) => Some(Self { destination, name, kinds, owner_id, format }),
            Err(faults) => {
                for fault in faults {
                    fields.fault(fault.field, fault.why);
                }
                None
            }
        }
    }
}

/// The kinds in the order of their numbers, each once.
fn kinds(fields: &mut RequestFields) -> Option<Vec<NoticeKind>> {
    let named = fields.texts("kinds", 1..=NoticeKind::ALL.len())?;
    let known: Option<Vec<_>> = named.iter().map(|name| NoticeKind::from_name(name)).collect();
    if known.is_none() {
        let all = NoticeKind::ALL.map(NoticeKind::name).join(", ");
        fields.fault("kinds", format!("must be some of {all}"));
    }
    let mut known = known?;
    known.sort_unstable();
    known.dedup();
    Some(known)
}

/// Create a webhook. The URL and secret are returned only once.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", operation_id = "createWebhook",
    request_body = NewWebhook,
    responses((status = 201, description = "The webhook.", body = CreatedWebhook)))]
pub(super) async fn create(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut asked = WebhookRequest::of(&call)?;
    asked.owner_id = owner_of(&call, asked.owner_id)?;
    let (destination, event) = event_of(&call, asked)?;
    let id = event.webhook_id;
    let context = call.context()?;
    let record = async { RecordOutcome::from(call.api.authority.create_webhook(context, event).await) };
    let created = call.api.webhooks.create(id, &destination, record).await.map_err(not_created)?;
    let shown = (!created.is_repeat).then(|| (destination.expose_url(), destination.expose_secret()));
    let (url, secret) = shown.unzip();
    let event = &created.event;
    let texts = TextOpener::of_stream(&call.api.authority, StreamId::System);
    let view = CreatedWebhook {
        webhook_id: event.webhook_id,
        name: texts.open("name", event.name.as_ref()),
        url: Secret::new(url.unwrap_or(&event.host)),
        secret: secret.map(Secret::new),
        kinds: kind_names(event.kinds.as_deref()),
        owner_id: event.owner_id.clone(),
        format: event.format.name().into(),
        created_at: created.created_at,
    };
    Ok(HttpReply::json(StatusCode::CREATED, &view).at(Some(created.position)))
}

fn not_created(error: CreationError<CommandError>) -> Problem {
    match error {
        CreationError::Record(failure) => failure.into(),
        CreationError::File(error) => {
            tracing::warn!(%error, "the destination of a webhook cannot be kept");
            Problem::unavailable(&error.to_string())
        }
    }
}

/// The owner whose subjects' notices it delivers.
fn owner_of(call: &ApiCall, asked: Option<OwnerId>) -> Result<Option<OwnerId>, Problem> {
    match (call.caller.owner(), asked) {
        (Some(own), Some(asked)) if *own != asked => {
            Err(Problem::from(ProblemCode::Forbidden).saying("an owner's webhooks are for itself"))
        }
        (Some(own), _) => Ok(Some(own.clone())),
        (None, asked) => Ok(asked),
    }
}

fn event_of(call: &ApiCall, asked: WebhookRequest) -> Result<(WebhookDestination, WebhookCreated), Problem> {
    let authority = &call.api.authority;
    let event = WebhookCreated {
        webhook_id: entropy::webhook_id(authority.entropy(), authority.now()),
        owner_id: asked.owner_id,
        kinds: asked.kinds,
        format: asked.format,
        host: asked.destination.host(),
        name: asked.name.as_deref().map(|name| authority.seal_own("name", name)).transpose()?,
    };
    Ok((asked.destination, event))
}

/// List webhooks, oldest first; an owner sees its own.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", operation_id = "listWebhooks",
    params(("limit" = Option<u32>, Query, description = "1 to 200, by default 50."),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the page before.")),
    responses((status = 200, description = "One page.", body = Page<WebhookView>)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn list(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let page = PageQuery::of(&mut query, ListName::Webhooks);
    let after: Option<WebhookId> = page.parsed(&mut query);
    query.finish()?;
    let view_of_system = call.api.authority.live().system();
    let all = view_of_system.system.webhooks.values();
    let owner = call.caller.owner();
    let seen = all.filter(|known| known.is_visible_to(owner) && after.is_none_or(|after| known.id() > after));
    let mut found: Vec<_> = seen.take(page.limit + 1).cloned().collect();
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let end = found.last().filter(|_| more).map(Webhook::id);
    Ok(HttpReply::ok(&page_of(ListName::Webhooks, views(&call, &found), end)))
}

/// Read a webhook, and the health of its deliveries.
#[utoipa::path(get, path = "/v1/webhooks/{webhookId}", tag = "webhooks", operation_id = "getWebhook",
    params(("webhookId" = WebhookId, Path, description = "The webhook's id.")),
    responses((status = 200, description = "The webhook.", body = WebhookView)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn show(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let found = webhook(&call)?;
    let view = views(&call, &[found]).pop().ok_or(ProblemCode::WebhookNotFound)?;
    Ok(HttpReply::ok(&view))
}

/// The webhook in the path, if it exists for the caller.
fn webhook(call: &ApiCall) -> Result<Webhook, Problem> {
    let id: WebhookId = call.id("webhookId").ok_or(ProblemCode::WebhookNotFound)?;
    let view_of_system = call.api.authority.live().system();
    let known = view_of_system.system.webhooks.get(&id);
    let known = known.filter(|known| known.is_visible_to(call.caller.owner()));
    known.cloned().ok_or_else(|| ProblemCode::WebhookNotFound.into())
}

/// Delete a webhook. Its URL and its secret are destroyed.
#[utoipa::path(delete, path = "/v1/webhooks/{webhookId}", tag = "webhooks", operation_id = "deleteWebhook",
    params(("webhookId" = WebhookId, Path, description = "The webhook's id.")),
    responses((status = 200, description = "It is gone.", body = DeletedWebhook)))]
pub(super) async fn delete(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let context = call.context()?;
    let webhook_id = call.id("webhookId").ok_or(ProblemCode::WebhookNotFound)?;
    let owner = call.caller.owner().cloned();
    let position = call.api.authority.delete_webhook(context, webhook_id, owner).await?;
    call.api.webhooks.reconcile();
    Ok(HttpReply::ok(&DeletedWebhook { webhook_id }).at(Some(position)))
}

fn store_closed() -> Problem {
    Problem::from(ProblemCode::StorageUnavailable).saying("the delivery state of webhooks is not open")
}

/// The deliveries of a webhook, newest first: all pending ones, up to 1,000 parked and 500 delivered.
#[utoipa::path(get, path = "/v1/webhooks/{webhookId}/deliveries", tag = "webhooks",
    operation_id = "listDeliveries",
    params(("webhookId" = WebhookId, Path, description = "The webhook's id."),
        ("limit" = Option<u32>, Query, description = "1 to 200, by default 50."),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the page before.")),
    responses((status = 200, description = "One page.", body = Page<DeliveryView>)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn deliveries(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let page = PageQuery::of(&mut query, ListName::Deliveries);
    let before: Option<EpochStamped<NoticeId>> = page.parsed(&mut query);
    query.finish()?;
    let id = webhook(&call)?.id();
    let place =
        |given: &EpochStamped<NoticeId>| EpochPosition { epoch: given.epoch, position: given.place.position };
    before.as_ref().map_or(Ok(()), |given| call.api.check_resumable(place(given)))?;
    let before = before.map(|given| given.place);
    let mut found = call.api.webhooks.deliveries(id, before, page.limit + 1).ok_or_else(store_closed)?;
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let end = found.last().filter(|_| more).map(|last| name_of(&call.api, last.notice_id));
    let is_owner = call.caller.owner().is_some();
    let views = found.into_iter().map(|report| delivery_view(&call.api, report, is_owner));
    Ok(HttpReply::ok(&page_of(ListName::Deliveries, views.collect(), end)))
}

fn name_of(api: &ApiContext, id: NoticeId) -> String {
    api.named_at(id.position, id)
}

fn delivery_view(api: &ApiContext, report: DeliveryReport, is_owner: bool) -> DeliveryView {
    let DeliveryReport { notice_id, status, attempts, next_attempt_at } = report;
    let attempts = attempts.into_iter().map(|attempt| attempt_view(attempt, is_owner)).collect();
    DeliveryView {
        notice_id: name_of(api, notice_id),
        status: status.name().into(),
        attempts,
        next_attempt_at,
    }
}

fn attempt_view(attempt: DeliveryAttempt, is_owner: bool) -> AttemptView {
    let DeliveryAttempt { at, outcome, http_status } = attempt;
    let outcome = ShownOutcome::of_attempt(outcome, is_owner).name().into();
    AttemptView { at, outcome, http_status }
}

/// Deliver a webhook's notices again from a position on, parked and delivered ones alike.
///
/// One redelivery at a time: it is over when all of its notices are delivered or parked.
#[utoipa::path(post, path = "/v1/webhooks/{webhookId}/redeliver", tag = "webhooks",
    operation_id = "redeliverWebhook",
    params(("webhookId" = WebhookId, Path, description = "The webhook's id.")),
    request_body = RedeliverRequest,
    responses((status = 200, description = "They are pending again.", body = RedeliveryView)))]
pub(super) async fn redeliver(call: ApiCall) -> Result<HttpReply, Problem> {
    let RedeliverRequest { from } = call.read()?;
    let webhook_id = webhook(&call)?.id();
    call.api.check_resumable(from)?;
    let from = from.position;
    let to = call.api.authority.live().position();
    match call.api.webhooks.redeliver(webhook_id, from, to) {
        Ok(true) => Ok(HttpReply::ok(&RedeliveryView { webhook_id, from, to })),
        Ok(false) => Err(store_closed()),
        Err(not_now) => {
            Err(too_often(not_now, "an earlier redelivery by this webhook is not over yet").await)
        }
    }
}

async fn too_often(not_now: TestTooSoon, why: &str) -> Problem {
    wait_to_refuse().await;
    let mut problem = Problem::from(ProblemCode::RateLimited).saying(why);
    problem.retry_after = Some(not_now.retry_after);
    problem
}

/// Send a test message, and return the outcome.
///
/// One test at a time, and 10 in a minute. An owner learns whether it was delivered.
#[utoipa::path(post, path = "/v1/webhooks/{webhookId}/test", tag = "webhooks", operation_id = "testWebhook",
    params(("webhookId" = WebhookId, Path, description = "The webhook's id.")),
    responses((status = 200, description = "How it went.", body = WebhookTestView)))]
pub(super) async fn test(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let webhook = webhook(&call)?;
    let authority = &call.api.authority;
    let name = format!("msg_test_{}", entropy::session_id(authority.entropy(), authority.now()));
    match call.api.webhooks.test(&webhook, &name).await {
        Ok(answer) => Ok(HttpReply::ok(&test_view(answer, call.caller.owner().is_some()))),
        Err(not_now) => {
            Err(too_often(not_now, "a webhook makes one test at a time, and 10 in a minute").await)
        }
    }
}

fn test_view(answer: AttemptAnswer, is_owner: bool) -> WebhookTestView {
    let outcome = ShownOutcome::of_test(answer.outcome, is_owner);
    WebhookTestView {
        outcome: outcome.name().into(),
        http_status: answer.status.filter(|_| outcome != ShownOutcome::Failed),
    }
}
