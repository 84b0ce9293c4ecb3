//! Calls about what is recorded.

use tenure_protocol::wire::{Page, RecordedEvent};

use super::{call::Client, error::Error, filter::EventFilter};

impl Client {
    /// Reads a page of the recorded events, in their order.
    ///
    /// ```no_run
    /// # use tenure_client::{Client, Error, EventFilter, SubjectId};
    /// # async fn read(client: Client, agent: SubjectId) -> Result<(), Error> {
    /// let mut filter = EventFilter { subject_id: Some(agent), ..EventFilter::default() };
    /// loop {
    ///     let page = client.recorded_events(&filter).await?;
    ///     for event in &page.items {
    ///         println!("{} {}: {}", event.position, event.kind, event.data);
    ///     }
    ///     filter.page.cursor = page.next_cursor;
    ///     if filter.page.cursor.is_none() {
    ///         return Ok(());
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn recorded_events(&self, filter: &EventFilter) -> Result<Page<RecordedEvent>, Error> {
        self.list_of(&["v1", "events"], filter.query()).await
    }
}
