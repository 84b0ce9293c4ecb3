//! Where a request came from: the peer of its connection, and the client behind trusted proxies.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::http::HeaderMap;

use crate::admission::ConnectionSeat;
use crate::config::Networks;
use crate::node::PeerCertificate;

/// Where a request came from, put there by the server.
#[derive(Clone)]
pub struct PeerAddress {
    pub(crate) address: IpAddr,
    /// The place of its connection, where it has one.
    pub(crate) seat: Option<Arc<ConnectionSeat>>,
    is_encrypted: bool,
    /// What it has shown, where nodes show certificates.
    certificate: Option<Arc<PeerCertificate>>,
}

impl PeerAddress {
    /// A client at this address.
    pub const fn at(address: IpAddr) -> Self {
        Self { address, seat: None, is_encrypted: false, certificate: None }
    }

    /// Its address.
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The client of a node that hands its request on, by the node's own connection.
    pub(crate) fn for_client(&self, address: IpAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// The same, on the connection in this place.
    pub(crate) fn on(self, seat: Arc<ConnectionSeat>) -> Self {
        Self { seat: Some(seat), ..self }
    }

    /// The same, by TLS to this server or not.
    pub(crate) fn encrypted(self, is_encrypted: bool) -> Self {
        Self { is_encrypted, ..self }
    }

    /// The same, who has shown this.
    pub(crate) fn showing(self, certificate: Option<PeerCertificate>) -> Self {
        Self { certificate: certificate.map(Arc::new), ..self }
    }

    /// What it has shown.
    pub(crate) fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_deref()
    }

    /// Whether its connection is encrypted all the way to this server.
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

/// The address of the client: the peer's, or, behind trusted proxies, the last one in
/// `X-Forwarded-For` other than such a proxy.
///
/// Each proxy vouches for the hop that it wrote, the last one. What no trusted proxy wrote, or what is unreadable, is not
/// passed over: what is before it can be forged.
pub(crate) fn client_address(
    trusted: &Networks,
    headers: &HeaderMap,
    peer: Option<&PeerAddress>,
) -> Option<IpAddr> {
    let mut client = peer?.address;
    if !trusted.contains(client) {
        return Some(client);
    }
    let lines = headers.get_all("x-forwarded-for").iter();
    let hops: Vec<_> = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect();
    for hop in hops.into_iter().rev() {
        if !trusted.contains(client) {
            break;
        }
        let Some(address) = hop_address(hop) else { break };
        client = address;
    }
    Some(client)
}

/// The address of a hop, which some proxies write with its port.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}
