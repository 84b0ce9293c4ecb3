//! `/v1/credentials`: API keys. A key is shown once, when it is issued.

use axum::http::StatusCode;

use crate::tokens::ApiKey;
use tenure_core::{CredentialId, OwnerId, Seconds, StreamId, event::Role, system::Credential};
use tenure_protocol::{
    Secret,
    wire::{CredentialView, IssuedCredential, NewCredential, Page},
};

use super::{
    api::ApiContext,
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
        text::TextOpener,
    },
    request::{
        access::Caller,
        body::RequestBody,
        call::ApiCall,
        fields::RequestFields,
        limits,
        page::{ListName, PageQuery, page_of},
    },
};

impl RequestBody for NewCredential {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let role = fields.one_of("role", &Role::ALL);
        let role = fields.required("role", role);
        let owner_id: Option<OwnerId> = fields.id("ownerId");
        match (role, &owner_id) {
            (Some(Role::Owner), None) => fields.fault("ownerId", "is required for the role owner"),
            (Some(Role::Admin | Role::Issuer | Role::Verifier | Role::Auditor), Some(_)) => {
                fields.fault("ownerId", "is only for the role owner");
            }
            (Some(_) | None, _) => {}
        }
        let name = fields.text("name", limits::NAME);
        let expires_in = fields.small("expiresIn", limits::EXPIRES_IN).map(Seconds);
        Some(Self { role: role?, owner_id, name, expires_in })
    }
}

fn view(api: &ApiContext, credential: &Credential) -> CredentialView {
    let texts = TextOpener::of_stream(&api.authority, StreamId::System);
    CredentialView {
        credential_id: credential.id,
        role: credential.role.name().into(),
        owner_id: credential.owner_id.clone(),
        name: texts.open("name", credential.name.as_ref()),
        created_at: credential.created_at,
        expires_at: credential.expires_at,
        // Uses are known to the hour, and none was before the key.
        last_used_at: api.authority.last_use_of_key(credential.id).map(|at| at.max(credential.created_at)),
        revoked_at: credential.revoked_at,
        held: credential.held_since.is_some(),
    }
}

fn view_of(api: &ApiContext, id: CredentialId) -> Result<CredentialView, Problem> {
    let system = api.authority.live().system();
    system
        .system
        .credentials
        .get(&id)
        .map(|known| view(api, known))
        .ok_or_else(|| ProblemCode::NotFound.into())
}

/// Issue an API key. It is shown once; only its hash is stored.
#[utoipa::path(post, path = "/v1/credentials", tag = "credentials", operation_id = "issueCredential",
    request_body = NewCredential,
    responses((status = 201, description = "The key.", body = IssuedCredential)))]
pub(super) async fn issue(call: ApiCall) -> Result<HttpReply, Problem> {
    let new: NewCredential = call.read()?;
    let context = call.context()?;
    let authority = &call.api.authority;
    let key = ApiKey::draw(authority.entropy());
    let issued = authority.issue_credential(context, &key, new).await?;
    let (id, position) = (issued.id, issued.position);
    let key = (!issued.is_repeat).then(|| Secret::new(key.expose()));
    let mut credential = view_of(&call.api, id)?;
    // The answer to a repeat is that of the first time, whatever became of the key since.
    credential.revoked_at = None;
    credential.last_used_at = None;
    let issued = IssuedCredential { credential, key };
    Ok(HttpReply::json(StatusCode::CREATED, &issued).at(Some(position)))
}

/// The API key of the caller: its role, name, owner and end.
#[utoipa::path(get, path = "/v1/credentials/self", tag = "credentials", operation_id = "getOwnCredential",
    responses((status = 200, description = "The key that asks.", body = CredentialView)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn own(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let Caller::Key(key) = &call.caller else { return Err(ProblemCode::Forbidden.into()) };
    Ok(HttpReply::ok(&view(&call.api, key)))
}

/// All API keys, oldest first, withdrawn ones included.
#[utoipa::path(get, path = "/v1/credentials", tag = "credentials", operation_id = "listCredentials",
    params(("limit" = Option<u32>, Query, description = "1 to 200, by default 50."),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the page before.")),
    responses((status = 200, description = "One page.", body = Page<CredentialView>)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn list(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let page = PageQuery::of(&mut query, ListName::Credentials);
    let after: Option<CredentialId> = page.parsed(&mut query);
    query.finish()?;
    let system = call.api.authority.live().system();
    let all = system.system.credentials.values().filter(|known| after.is_none_or(|after| known.id > after));
    let mut found: Vec<_> = all.take(page.limit + 1).collect();
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let end = found.last().filter(|_| more).map(|known| known.id);
    let views: Vec<_> = found.into_iter().map(|known| view(&call.api, known)).collect();
    Ok(HttpReply::ok(&page_of(ListName::Credentials, views, end)))
}

/// Withdraw an API key. Its next use is refused. Withdrawing it again gives the same answer.
#[utoipa::path(delete, path = "/v1/credentials/{credentialId}", tag = "credentials",
    operation_id = "revokeCredential",
    params(("credentialId" = CredentialId, Path, description = "The key's id.")),
    responses((status = 200, description = "It is withdrawn.", body = CredentialView)))]
pub(super) async fn revoke(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let context = call.context()?;
    let id = call.id("credentialId").ok_or(ProblemCode::NotFound)?;
    let position = call.api.authority.revoke_credential(context, id).await?;
    Ok(HttpReply::ok(&view_of(&call.api, id)?).at(position))
}

/// Confirm an API key held since a restore, so that it works again.
///
/// The lost history may have withdrawn it, so look first. A key in force stays as it is.
#[utoipa::path(post, path = "/v1/credentials/{credentialId}/confirm", tag = "credentials",
    operation_id = "confirmCredential",
    params(("credentialId" = CredentialId, Path, description = "The key's id.")),
    responses((status = 200, description = "It is not held.", body = CredentialView)))]
pub(super) async fn confirm(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let context = call.context()?;
    let id = call.id("credentialId").ok_or(ProblemCode::NotFound)?;
    let position = call.api.authority.confirm_credential(context, id).await?;
    Ok(HttpReply::ok(&view_of(&call.api, id)?).at(position))
}
