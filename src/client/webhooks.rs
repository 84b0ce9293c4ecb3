//! Calls about webhooks and their deliveries.

use reqwest::Method;
use tenure_protocol::{
    EpochPosition, WebhookId,
    wire::{
        CreatedWebhook, DeletedWebhook, DeliveryView, NewWebhook, Page, RedeliverRequest, RedeliveryView,
        WebhookTestView, WebhookView,
    },
};

use super::{
    call::{Client, with_body},
    error::Error,
    filter::PageRequest,
    http::HttpRequest,
};

impl Client {
    /// Creates a webhook. URL and secret are shown in this reply and nowhere else; where the reply was lost and the call
    /// was repeated, not even there.
    ///
    /// ```no_run
    /// # use tenure_client::{Client, Error, NewWebhook, NoticeKind, Secret};
    /// # async fn create(client: Client) -> Result<(), Error> {
    /// let receiver = NewWebhook::to(Secret::new("https://example.com/tenure"));
    /// let ends = NewWebhook { kinds: Some(vec![NoticeKind::SessionRevoked]), ..receiver };
    /// let created = client.create_webhook(&ends).await?;
    /// # drop(created);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_webhook(&self, new: &NewWebhook) -> Result<CreatedWebhook, Error> {
        self.change(with_body(Method::POST, &["v1", "webhooks"], new)).await
    }

    /// Reads a webhook, and the health of its deliveries.
    pub async fn webhook(&self, id: WebhookId) -> Result<WebhookView, Error> {
        self.call(&HttpRequest::of(Method::GET, &["v1", "webhooks", &id.to_string()])).await
    }

    /// Lists webhooks, oldest first.
    pub async fn webhooks(&self, page: &PageRequest) -> Result<Page<WebhookView>, Error> {
        self.list_of(&["v1", "webhooks"], page.query()).await
    }

    /// Deletes a webhook. Its URL and its secret are destroyed.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<DeletedWebhook, Error> {
        self.change(HttpRequest::of(Method::DELETE, &["v1", "webhooks", &id.to_string()])).await
    }

    /// Lists the deliveries of a webhook, newest first.
    pub async fn deliveries(&self, id: WebhookId, page: &PageRequest) -> Result<Page<DeliveryView>, Error> {
        self.list_of(&["v1", "webhooks", &id.to_string(), "deliveries"], page.query()).await
    }

    /// Delivers a webhook's notices again from a position on, parked and delivered ones alike.
    pub async fn redeliver(&self, id: WebhookId, from: EpochPosition) -> Result<RedeliveryView, Error> {
        let path = ["v1", "webhooks", &id.to_string(), "redeliver"];
        self.change(with_body(Method::POST, &path, &RedeliverRequest { from })).await
    }

    /// Sends a test message now, and gives the outcome. A test that failed is an answer, no error; it is not repeated.
    pub async fn test_webhook(&self, id: WebhookId) -> Result<WebhookTestView, Error> {
        self.try_once(&HttpRequest::of(Method::POST, &["v1", "webhooks", &id.to_string(), "test"])).await
    }
}
