//! Notices and streams: every fact, in order, at least once, for every subscriber.
//!
//! There is one source, the [`feed`]: the log from any position on, then live. Every delivery is a cursor over it, so
//! no path can forget an event, and one that died goes on where it stopped. [`notice`] is what subscribers learn of
//! an event; [`notices`] derives it.

pub mod feed;
pub mod notice;
pub mod notices;
pub mod watchers;
pub mod webhooks;

pub use feed::{CommitBatch, EventCursor, EventFeed, FeedCommit};
pub use notice::{Notice, NoticeId, NoticeKind, NoticeName};
pub use notices::{NoticeContext, notices_of};
pub use watchers::{EndWatcher, WatchTarget};
