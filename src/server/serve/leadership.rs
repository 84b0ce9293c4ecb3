//! A node of several serves only while it leads: it ends when it has lost the lead, and answers nothing while it has
//! been unable to tell for too long.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
};
use tenure_log::jetstream::Leadership;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::http::{Api, stale};
use crate::node::{Cluster, SharedLog};

/// What says nothing of the state, and is asked to learn whether the process lives.
const ALWAYS: [&str; 2] = ["/healthz", "/metrics"];

/// How a node with these settings takes part in a log of several machines; none for a log of its own.
pub(super) fn cluster(config: &Config) -> Option<Cluster> {
    let cluster = &config.cluster;
    let address = cluster.advertise.clone().unwrap_or_else(|| format!("http://{}", config.server.listen));
    let beside = config.data_dir.join(Cluster::SECRET_FILE);
    let secret_file = cluster.secret_file.clone().unwrap_or(beside);
    Some(Cluster { access: cluster.access()?, address, secret_file })
}

/// Ends when the lead is lost; never where there is none.
pub(super) fn lost(shared: Option<&SharedLog>) -> std::io::Result<impl Future<Output = ()>> {
    let heard = match shared {
        None => None,
        Some(shared) => {
            let (tell, heard) = oneshot::channel();
            shared.leadership().when_lost(move |why| drop(tell.send(why)))?;
            Some(heard)
        }
    };
    Ok(async move {
        match heard {
            Some(heard) => {
                let why = heard.await.unwrap_or_default();
                tracing::error!(why, "another node leads, or none: this one stops serving");
            }
            None => std::future::pending().await,
        }
    })
}

/// The same routes, closed while the lead is lost or has not been certain for this long.
pub(super) fn guarded(router: Router, api: &Arc<Api>, shared: Option<&SharedLog>, most: Duration) -> Router {
    let Some(leadership) = shared.map(|shared| Arc::clone(shared.leadership())) else { return router };
    let api = Arc::clone(api);
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let is_open = is_sure(&leadership, most) || ALWAYS.contains(&request.uri().path());
        let refusal = (!is_open).then(|| stale(&api, &request));
        async move {
            match refusal {
                Some(refusal) => refusal,
                None => next.run(request).await,
            }
        }
    }))
}

fn is_sure(leadership: &Leadership, most: Duration) -> bool {
    leadership.lost().is_none() && leadership.uncertain_for() <= most
}
