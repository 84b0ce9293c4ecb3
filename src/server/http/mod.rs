//! The command API over HTTP: a file or folder per resource, one table of routes, one table of error codes.
//!
//! Every request takes the same way (`request::call`): credential, role, size, media type, syntax, and then its
//! handler. What a route admits and what it takes is said once, in `routes`; the OpenAPI document is made
//! from the same table. `reply` is what goes back, errors included.

mod api;
mod audit;
mod console_reads;
mod credentials;
mod forward_auth;
mod hot_routes;
mod in_process;
mod keys;
mod nodes;
mod only_leader;
mod openapi;
mod operations;
mod record;
mod reply;
mod request;
mod revocations;
mod routes;
mod sessions;
mod subject_cards;
mod subjects;
mod webhooks;

pub(crate) use self::console_reads::ScrubStatus;
pub(crate) use self::hot_routes::HotRequest;
pub(crate) use self::in_process::{RefusedReply, StoryPart};
pub(crate) use self::nodes::{
    ClusterNodes, node_router::guarded, own_answers::is_own_answer, reported_uses::hand_over,
};
pub(crate) use self::only_leader::ask_the_leader;
pub(crate) use self::reply::{write_header, write_number};
pub(crate) use self::request::host::{is_host, with_host_checked};
pub(crate) use self::request::page::ListName;
pub(crate) use self::subject_cards::{CardSession, SubjectCard};
pub use self::{
    api::{ApiContext, ApiSettings},
    openapi::document as openapi_document,
    reply::problem::error_table,
    request::{access::SignedIn, peer::PeerAddress},
    routes::{PROXY_PATHS, RouteFacts, followers_markdown, route_facts},
};
