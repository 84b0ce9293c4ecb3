//! `GET /v1/notices`: the notices of subscribers.

use std::sync::Arc;

use crate::notify::{FeedCommit, Notice, NoticeId, NoticeKind};
use tenure_core::{KindSet, Position, StreamId};
use tenure_log::StoredCommit;
use tenure_protocol::wire::Page;

use super::{EventReader, RecordView, kinds, notice_view::NoticeView, parameters::RecordParameters, stream};
use crate::http::{
    reply::{HttpReply, problem::Problem},
    request::{call::ApiCall, fields::RequestFields, page::ListName},
};

/// The record as notices of some kinds; `None` is all.
pub(crate) struct NoticeRecord(Option<Vec<NoticeKind>>);

impl NoticeRecord {
    fn of(query: &mut RequestFields) -> Self {
        Self(kinds(query, &NoticeKind::ALL, NoticeKind::name))
    }

    fn is_sought(&self, viewer: &EventReader, commit: &FeedCommit, notice: &Notice) -> bool {
        let stored = commit.stored();
        let index = usize::try_from(notice.position.0 - stored.first.0).expect("a commit is small");
        self.0.as_ref().is_none_or(|kinds| kinds.contains(&notice.kind))
            && is_for(viewer, stored, notice)
            && viewer.is_about_sought(stored, &stored.commit.events[index], notice.position)
    }
}

impl RecordView for NoticeRecord {
    const LIST: ListName = ListName::Notices;

    type Place = NoticeId;

    fn after(position: Position) -> NoticeId {
        NoticeId::after_all_of(position)
    }

    fn position(place: NoticeId) -> Position {
        place.position
    }

    fn done(place: NoticeId) -> Position {
        Position(place.position.0.saturating_sub(1))
    }

    fn kinds(&self) -> KindSet {
        KindSet::NOTIFIABLE
    }

    fn sought(&self, viewer: &EventReader, commit: &FeedCommit) -> Vec<(NoticeId, Arc<str>)> {
        let stored = commit.stored();
        if stored.commit.stream != StreamId::System && !viewer.may_see(stored) {
            return vec![];
        }
        let notices = commit.notices(&*viewer.api.authority);
        let present = &*viewer.api.authority;
        let written =
            commit.written_notices(present, || commit.notices(present).iter().map(written).collect());
        let sought =
            notices.iter().zip(written.iter()).filter(|(notice, _)| self.is_sought(viewer, commit, notice));
        let line = |notice: &Notice, line: &Arc<str>| {
            viewer_line(viewer, notice).unwrap_or_else(|| Arc::clone(line))
        };
        sought.map(|(notice, shared)| (notice.notice_id.id, line(notice, shared))).collect()
    }
}

/// Whether a notice is for the viewer. What the authority itself did to sessions of many subjects has a notice of its
/// own for each of their owners.
fn is_for(viewer: &EventReader, stored: &StoredCommit, notice: &Notice) -> bool {
    if stored.commit.stream != StreamId::System {
        return true;
    }
    let owner = viewer.caller.owner();
    let is_own = match &notice.subject_id {
        // Whose it is may have changed since it was written.
        Some(id) => viewer.may_see_subject(id),
        None => owner.is_none() || notice.owner_id.as_ref() == owner || notice.is_for_every_owner(),
    };
    is_own && viewer.is_about_sought_subject(stored)
}

/// What only the notice's owner may read is written for it alone: the link that vetoes a renewal.
fn viewer_line(viewer: &EventReader, notice: &Notice) -> Option<Arc<str>> {
    let is_own = notice.kind == NoticeKind::SessionRenewed
        && viewer.caller.owner().is_some_and(|owner| notice.owner_id.as_ref() == Some(owner));
    is_own.then(|| written(&notice.clone().for_its_owner(&*viewer.api.authority)))
}

fn written(notice: &Notice) -> Arc<str> {
    serde_json::to_string(notice).expect("our own documents are always JSON").into()
}

/// Notices, oldest first; an owner sees its own. With `Accept: text/event-stream` new ones follow.
#[utoipa::path(get, path = "/v1/notices", tag = "notices", operation_id = "listNotices",
    params(RecordParameters),
    responses((status = 200, description = "One page, or the stream: each notice has its `noticeId` as `id` and the same JSON as `data`.",
        content((Page<NoticeView> = "application/json"), (String = "text/event-stream")))))]
pub(crate) async fn list(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let notices = NoticeRecord::of(&mut query);
    stream::answer(call, query, notices).await
}
