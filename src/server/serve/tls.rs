//! TLS for the listener: a certificate and its key from two files, which a SIGHUP loads again.
//!
//! Connections keep what they began with; those that begin later get the new certificate. A bad pair stops a start, and
//! changes nothing of a running server.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, danger::ClientCertVerifier},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::admission::ConnectionSeat;
use crate::config::Config;
use crate::node::{NodeCertificates, PeerCertificate};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the two settings stands alone.
    #[error("server.tls_cert and server.tls_key go together: one of them is missing")]
    HalfAPair,
    /// A file does not hold what it should.
    #[error("{}: {why}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key is another certificate's, or of an unsupported kind.
    #[error("{} and {} are no pair: {why}", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong with them.
        why: rustls::Error,
    },
}

/// The certificate that new connections get.
pub(super) struct TlsCertificate {
    cert: PathBuf,
    key: PathBuf,
    /// What other nodes show here, in a cluster where they do.
    nodes: Option<Arc<NodeCertificates>>,
    current: ArcSwap<ServerConfig>,
}

/// An encrypted connection.
pub(super) type EncryptedStream = TlsStream<Pin<Box<TimeoutStream<TcpStream>>>>;

/// What the peer has shown in the handshake.
pub(super) fn shown(stream: &EncryptedStream) -> Option<PeerCertificate> {
    PeerCertificate::of(stream.get_ref().1.peer_certificates()?)
}

impl TlsCertificate {
    /// As the settings say; none without a certificate.
    pub(super) fn of(
        config: &Config,
        nodes: Option<&Arc<NodeCertificates>>,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        let (cert, key) = match (&config.server.tls_cert, &config.server.tls_key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (Some(_), None) | (None, Some(_)) => return Err(TlsError::HalfAPair),
        };
        let current = ArcSwap::from_pointee(loaded(&cert, &key, asking(nodes))?);
        Ok(Some(Arc::new(Self { cert, key, nodes: nodes.cloned(), current })))
    }

    /// Loads both files again. What is no good is said, and the pair before stays.
    pub(super) fn reload(&self) {
        let cert = self.cert.display();
        match loaded(&self.cert, &self.key, asking(self.nodes.as_ref())) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(%cert, "SIGHUP: new connections get the certificate as it is now");
            }
            Err(error) => {
                tracing::error!(%error, "SIGHUP: the certificate could not be loaded; the one before stays");
            }
        }
    }

    /// The handshake of a new connection in this place, which has to be over by then; `None` when it fails, has to give
    /// way or the server stops.
    pub(super) async fn accept(
        &self,
        mut stream: Pin<Box<TimeoutStream<TcpStream>>>,
        (seat, due): (&ConnectionSeat, Instant),
        mut stopped: watch::Receiver<()>,
    ) -> Option<EncryptedStream> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        let shaking = async {
            if is_plain(stream.get_ref()).await? {
                refuse_plain(&mut stream).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks plain HTTP"));
            }
            acceptor.accept(stream).await
        };
        let shaken = tokio::select! {
            shaken = timeout_at(due, shaking) => shaken,
            () = seat.given_up() => return None,
            _ = stopped.changed() => return None,
        };
        match shaken {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection ends before it is encrypted");
                None
            }
            Err(_) => None,
        }
    }
}

/// What a client is told that speaks plain HTTP; the alert of TLS would be garbage to it.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 67\r\n\
    connection: close\r\n\r\nThis port speaks TLS. Write https:// in place of http:// and retry.";

/// Whether the client speaks plain HTTP: its first byte begins a method. A handshake begins with another one.
async fn is_plain(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// What of the request has come is read first: a connection closed with something unread loses the answer on its way.
async fn refuse_plain(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut request = [0; 8_192];
    if stream.read(&mut request).await? > 0 {
        stream.write_all(PLAIN).await?;
    }
    stream.shutdown().await
}

/// Only nodes show certificates, and only where they have them.
fn asking(nodes: Option<&Arc<NodeCertificates>>) -> Arc<dyn ClientCertVerifier> {
    nodes.and_then(|nodes| nodes.request()).unwrap_or_else(|| Arc::new(NoClientAuth))
}

fn loaded(cert: &Path, key: &Path, clients: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, TlsError> {
    let wrong = |file: &Path, why: String| TlsError::File { file: file.to_owned(), why };
    let read = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain: Vec<_> = read.map_err(|error| wrong(cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(cert, "there is no certificate in it (PEM)".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_client_cert_verifier(clients);
    let pair = builder.with_single_cert(chain, secret);
    let mut config =
        pair.map_err(|why| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), why })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
