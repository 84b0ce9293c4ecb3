//! Calls about API keys (admin).

use reqwest::Method;
use tenure_protocol::{
    CredentialId,
    wire::{CredentialView, IssuedCredential, NewCredential, Page},
};

use super::{
    call::{Client, with_body},
    error::Error,
    filter::PageRequest,
    http::HttpRequest,
};

impl Client {
    /// Issues an API key. It is shown in this reply and nowhere else.
    ///
    /// Where a reply was lost on the way, the call is repeated, and the repeat does not show the key again:
    /// [`IssuedCredential::key`] is `None` then. Revoke such a credential and issue another one.
    ///
    /// ```no_run
    /// # use tenure_client::{Client, Error, NewCredential, Role};
    /// # async fn issue(client: Client) -> Result<(), Error> {
    /// let issued = client.issue_credential(&NewCredential::of(Role::Verifier)).await?;
    /// let verifier = issued.key.map(|key| client.clone().with_credential(key));
    /// # drop(verifier);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn issue_credential(&self, new: &NewCredential) -> Result<IssuedCredential, Error> {
        self.change(with_body(Method::POST, &["v1", "credentials"], new)).await
    }

    /// Reads the API key that asks: its role, name, owner and end.
    pub async fn own_credential(&self) -> Result<CredentialView, Error> {
        self.call(&HttpRequest::of(Method::GET, &["v1", "credentials", "self"])).await
    }

    /// Lists API keys, oldest first, withdrawn ones included.
    pub async fn credentials(&self, page: &PageRequest) -> Result<Page<CredentialView>, Error> {
        self.list_of(&["v1", "credentials"], page.query()).await
    }

    /// Withdraws an API key. Its next use is refused. Withdrawing it again gives the same answer.
    pub async fn revoke_credential(&self, id: CredentialId) -> Result<CredentialView, Error> {
        self.change(HttpRequest::of(Method::DELETE, &["v1", "credentials", &id.to_string()])).await
    }

    /// Confirms an API key held since a restore, so that it works again.
    pub async fn confirm_credential(&self, id: CredentialId) -> Result<CredentialView, Error> {
        self.change(HttpRequest::of(Method::POST, &["v1", "credentials", &id.to_string(), "confirm"])).await
    }
}
