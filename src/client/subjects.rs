//! Calls about subjects.

use reqwest::Method;
use tenure_protocol::{
    SubjectId,
    wire::{
        EraseRequest, ErasureView, NewProfile, Page, ProfilePatch, ResumeRequest, SubjectView, SuspendRequest,
    },
};

use super::{
    call::{Client, with_body},
    error::Error,
    filter::SubjectFilter,
    http::HttpRequest,
};

impl Client {
    /// Registers a subject, or replaces the whole of its registration (admin, issuer). What is left out goes back to the
    /// general setting; [`change_subject`](Self::change_subject) changes single parts.
    pub async fn put_subject(&self, id: &SubjectId, profile: &NewProfile) -> Result<SubjectView, Error> {
        self.change(with_body(Method::PUT, &subject(id), profile)).await
    }

    /// Changes parts of a subject's registration (admin, issuer).
    ///
    /// ```no_run
    /// # use tenure_client::{Client, Error, PartChange, ProfilePatch, SubjectId};
    /// # async fn change(client: Client, agent: SubjectId) -> Result<(), Error> {
    /// let patch = ProfilePatch { max_sessions: PartChange::To(Some(3)), ..ProfilePatch::default() };
    /// client.change_subject(&agent, &patch).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn change_subject(&self, id: &SubjectId, patch: &ProfilePatch) -> Result<SubjectView, Error> {
        self.change(with_body(Method::PATCH, &subject(id), patch)).await
    }

    /// Reads a subject.
    pub async fn subject(&self, id: &SubjectId) -> Result<SubjectView, Error> {
        self.call(&HttpRequest::of(Method::GET, &subject(id))).await
    }

    /// Lists subjects by name.
    pub async fn subjects(&self, filter: &SubjectFilter) -> Result<Page<SubjectView>, Error> {
        self.list_of(&["v1", "subjects"], filter.query()).await
    }

    /// Suspends a subject: it gets no new session, and none of its tokens work, until it is resumed or until the
    /// suspension ends by itself.
    pub async fn suspend_subject(
        &self,
        id: &SubjectId,
        suspension: &SuspendRequest,
    ) -> Result<SubjectView, Error> {
        self.change(with_body(Method::POST, &["v1", "subjects", id.as_str(), "suspend"], suspension)).await
    }

    /// Lifts the suspension of a subject. An unsuspended one stays as it is.
    pub async fn resume_subject(&self, id: &SubjectId, reason: Option<&str>) -> Result<SubjectView, Error> {
        let body = ResumeRequest { reason: reason.map(str::to_owned) };
        self.change(with_body(Method::POST, &["v1", "subjects", id.as_str(), "resume"], &body)).await
    }

    /// Makes all text about a subject permanently unreadable (admin). The reason stays readable: write nothing about
    /// people.
    pub async fn erase_subject(&self, id: &SubjectId, reason: &str) -> Result<ErasureView, Error> {
        let body = EraseRequest { reason: reason.to_owned() };
        self.change(with_body(Method::POST, &["v1", "subjects", id.as_str(), "erase"], &body)).await
    }

    /// Where the text of a subject is erased by now: on which nodes, and at the broker.
    pub async fn erasure(&self, id: &SubjectId) -> Result<ErasureView, Error> {
        self.call(&HttpRequest::of(Method::GET, &["v1", "subjects", id.as_str(), "erasure"])).await
    }
}

fn subject(id: &SubjectId) -> [&str; 3] {
    ["v1", "subjects", id.as_str()]
}
