//! A tower layer: requests reach the service only with a bearer token that counts.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderMap, Request, Response,
    header::{AUTHORIZATION, HeaderValue},
};
use tower::{Layer, Service};

use super::{AccessClaims, Introspection, Principal, Rejection, Verifier, challenge::AuthChallenge};

/// Lets requests through whose bearer token counts (RFC 6750, section 2.1).
///
/// The service finds a [`Principal`] in the request's extensions, and, where access tokens are verified, the
/// `Arc<`[`AccessClaims`]`>` too. All others are answered with
///
/// | status | when |
/// |---|---|
/// | 401 | no token (`WWW-Authenticate: Bearer realm="tenure"`), or a refused one (`error="invalid_token"`) |
/// | 400 | more than one `Authorization` header (`error="invalid_request"`) |
/// | 403 | the token lacks a scope (`error="insufficient_scope"`) |
/// | 503 | the verifier is not ready or stale, or the authority cannot be asked; with `Retry-After` |
///
/// It fails closed: what cannot be judged does not pass.
#[derive(Clone, Debug)]
pub struct ProtectLayer {
    judge: TokenJudge,
    scopes: Arc<[String]>,
}

/// A service that a [`ProtectLayer`] protects.
#[derive(Clone, Debug)]
pub struct ProtectedService<S> {
    inner: S,
    layer: ProtectLayer,
}

#[derive(Clone, Debug)]
enum TokenJudge {
    Verifier(Verifier),
    Introspection(Introspection),
}

impl ProtectLayer {
    /// With access tokens, which this verifier checks without asking anyone.
    pub fn with_verifier(verifier: Verifier) -> Self {
        Self { judge: TokenJudge::Verifier(verifier), scopes: Arc::from([]) }
    }

    /// With session tokens, about which the authority is asked each time.
    pub fn with_introspection(introspection: Introspection) -> Self {
        Self { judge: TokenJudge::Introspection(introspection), scopes: Arc::from([]) }
    }

    /// The same, for tokens that have this scope too.
    ///
    /// # Errors
    /// It is not a scope token of RFC 6749, section 3.3: visible ASCII without `"` and `\`.
    pub fn require_scope(self, scope: &str) -> Result<Self, UnfitScope> {
        let is_fit = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if scope.is_empty() || !scope.bytes().all(is_fit) {
            return Err(UnfitScope);
        }
        let scopes = self.scopes.iter().cloned().chain([scope.to_owned()]).collect();
        Ok(Self { scopes, ..self })
    }

    async fn admit(&self, headers: &HeaderMap) -> Result<AdmittedRequest, AuthChallenge> {
        let token = bearer(headers)?;
        let admitted = self.judge.judge(token).await.map_err(AuthChallenge::Rejected)?;
        if admitted.holder.has_scopes(&self.scopes) {
            Ok(admitted)
        } else {
            Err(AuthChallenge::MissingScope(Arc::clone(&self.scopes)))
        }
    }
}

/// The required scope is not one that a token can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one or more visible ASCII characters without quotation marks and backslashes")]
pub struct UnfitScope;

/// Whose request it is, as the service will see it.
struct AdmittedRequest {
    holder: Principal,
    claims: Option<Arc<AccessClaims>>,
}

impl TokenJudge {
    async fn judge(&self, token: &str) -> Result<AdmittedRequest, Rejection> {
        match self {
            Self::Verifier(verifier) => {
                let claims = verifier.check_with_update(token).await?;
                Ok(AdmittedRequest { holder: Principal::of(&claims), claims: Some(claims) })
            }
            Self::Introspection(introspection) => {
                let holder = introspection.introspect(token).await?;
                Ok(AdmittedRequest { holder, claims: None })
            }
        }
    }
}

/// The one bearer token. The scheme's name may be in any case (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Result<&str, AuthChallenge> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let header: &HeaderValue = shown.next().ok_or(AuthChallenge::NoToken)?;
    if shown.next().is_some() {
        return Err(AuthChallenge::ManyTokens);
    }
    let text = header.to_str().map_err(|_| AuthChallenge::NoToken)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_matches(' ')),
        Some(_) | None => Err(AuthChallenge::NoToken),
    }
}

impl<S> Layer<S> for ProtectLayer {
    type Service = ProtectedService<S>;

    fn layer(&self, inner: S) -> ProtectedService<S> {
        ProtectedService { inner, layer: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for ProtectedService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that was ready is taken, and a clone that may not be is left in its place.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            match layer.admit(request.headers()).await {
                Ok(admitted) => {
                    admitted.introduce(&mut request);
                    inner.call(request).await
                }
                Err(denial) => Ok(denial.response()),
            }
        })
    }
}

impl AdmittedRequest {
    fn introduce<B>(self, request: &mut Request<B>) {
        request.extensions_mut().insert(self.holder);
        if let Some(claims) = self.claims {
            request.extensions_mut().insert(claims);
        }
    }
}
