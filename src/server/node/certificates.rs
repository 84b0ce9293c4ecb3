//! The certificates by which the nodes of a cluster know each other, beside the secret that they share.
//!
//! Each node shows its own to the one that leads. What a peer has shown is judged when it asks for what only nodes may,
//! not in the handshake: callers of the API need none, and a node with an expired certificate gets the reason in words.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use reqwest::Client;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tenure_http_client::outbound;
use tenure_protocol::clock::{stopwatch, wall_time};

/// Limit for connecting to another node.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a verdict holds: a certificate may end while its connection stays.
const JUDGED_FOR: Duration = Duration::from_secs(10);
/// How long before the end of a certificate operators are warned.
const SOON: Duration = Duration::from_hours(7 * 24);

/// The files of a node's certificates.
#[derive(Clone, Debug, Default)]
pub struct CertificateFiles {
    /// `cluster.tls_ca`: vouches for the servers of other nodes too.
    pub peers: Option<PathBuf>,
    /// What nodes show each other.
    pub own: Option<OwnCertificateFiles>,
}

/// `cluster.node_*`
#[derive(Clone, Debug)]
pub struct OwnCertificateFiles {
    /// `cluster.node_ca`: the authority of the cluster.
    pub authority: PathBuf,
    /// `cluster.node_cert`: of this node.
    pub cert: PathBuf,
    /// `cluster.node_key`: its key.
    pub key: PathBuf,
}

/// What a node shows to others, and judges them by.
pub struct NodeCertificates {
    files: CertificateFiles,
    current: ArcSwap<LoadedCertificates>,
}

struct LoadedCertificates {
    /// Asks other nodes.
    client: Client,
    own: Option<OwnCertificate>,
}

struct OwnCertificate {
    chain: Vec<CertificateDer<'static>>,
    authority: Arc<dyn ClientCertVerifier>,
}

/// How long the certificate of a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnValidity {
    /// Longer than a week.
    Good,
    /// Now, and in a week no more.
    EndsSoon,
    /// Other nodes refuse it.
    NotGood,
}

impl OwnValidity {
    /// The words for other nodes and operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::EndsSoon => "ends within a week",
            Self::NotGood => "not good now",
        }
    }
}

impl NodeCertificates {
    /// As these files say.
    ///
    /// # Errors
    /// Which file does not hold what it should.
    pub fn of(files: CertificateFiles) -> Result<Arc<Self>, String> {
        let current = ArcSwap::from_pointee(LoadedCertificates::of(&files)?);
        let certificates = Self { files, current };
        if certificates.own_validity() == Some(OwnValidity::NotGood) {
            tracing::error!(
                "cluster.node_cert is no certificate of cluster.node_ca that is good now: other nodes refuse it"
            );
        }
        Ok(Arc::new(certificates))
    }

    /// Loads all files again. What is no good is said, and all stay as they were.
    pub fn reload(&self) {
        match LoadedCertificates::of(&self.files) {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                let validity = self.own_validity().map(OwnValidity::name);
                tracing::info!(validity, "SIGHUP: other nodes are shown the certificate as it is now");
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "SIGHUP: the certificates of nodes could not be loaded; those before stay"
                );
            }
        }
    }

    /// What asks other nodes. Connections of the one before a reload are not used again.
    pub(crate) fn client(&self) -> Client {
        self.current.load().client.clone()
    }

    /// Whether nodes must show a certificate here.
    pub(crate) fn are_asked_for(&self) -> bool {
        self.current.load().own.is_some()
    }

    /// Has a listener ask for certificates, as of now; `None` where nodes have none.
    pub(crate) fn request(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let authority = Arc::clone(&self.current.load().own.as_ref()?.authority);
        Some(Arc::new(CertificateRequest(authority)))
    }

    /// How long this node's own certificate holds; `None` where it has none.
    pub fn own_validity(&self) -> Option<OwnValidity> {
        let current = self.current.load();
        let own = current.own.as_ref()?;
        let (now, soon) = (own.judge(&own.chain, Duration::ZERO), own.judge(&own.chain, SOON));
        Some(match (now, soon) {
            (Err(_), _) => OwnValidity::NotGood,
            (Ok(()), Err(_)) => OwnValidity::EndsSoon,
            (Ok(()), Ok(())) => OwnValidity::Good,
        })
    }
}

impl fmt::Debug for NodeCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeCertificates({:?})", self.files)
    }
}

impl LoadedCertificates {
    fn of(files: &CertificateFiles) -> Result<Self, String> {
        let mut roots = outbound::roots().unwrap_or_else(|_| RootCertStore::empty());
        for path in files.peers.iter().chain(files.own.as_ref().map(|own| &own.authority)) {
            add(&mut roots, path)?;
        }
        let (tls, own) = match &files.own {
            None => (outbound::tls(roots), None),
            Some(files) => {
                let (chain, key) = (chain(&files.cert)?, key(&files.key)?);
                let tls = outbound::tls_showing(roots, chain.clone(), key).map_err(|why| {
                    format!("{} and {} are no pair: {why}", files.cert.display(), files.key.display())
                })?;
                (tls, Some(OwnCertificate { chain, authority: authority(&files.authority)? }))
            }
        };
        let client = outbound::client_with(tls).connect_timeout(CONNECT).no_proxy().build();
        Ok(Self { client: client.map_err(|error| error.to_string())?, own })
    }
}

impl OwnCertificate {
    /// Whether the cluster's authority vouches for a certificate at that time from now.
    fn judge(&self, chain: &[CertificateDer<'static>], ahead: Duration) -> Result<(), String> {
        let (first, others) = chain.split_first().ok_or("it showed no certificate")?;
        let millis = u64::try_from(wall_time().as_millis()).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(Duration::from_millis(millis) + ahead);
        self.authority.verify_client_cert(first, others, at).map(drop).map_err(|error| error.to_string())
    }
}

/// What a peer has shown of itself.
pub(crate) struct PeerCertificate {
    chain: Vec<CertificateDer<'static>>,
    judged: Mutex<Option<JudgedCertificate>>,
}

struct JudgedCertificate {
    by: Arc<LoadedCertificates>,
    at: Instant,
    verdict: Result<(), String>,
}

impl PeerCertificate {
    /// This chain; `None` if it is empty.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        (!chain.is_empty()).then(|| Self { chain, judged: Mutex::new(None) })
    }

    /// Whether it is the cluster's, by what is loaded now.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge(&self, certificates: &NodeCertificates) -> Result<(), String> {
        let by = certificates.current.load_full();
        let mut judged = self.judged.lock();
        let is_known =
            |known: &JudgedCertificate| Arc::ptr_eq(&known.by, &by) && known.at.elapsed() < JUDGED_FOR;
        if let Some(known) = judged.as_ref().filter(|known| is_known(known)) {
            return known.verdict.clone();
        }
        let verdict = by.own.as_ref().map_or(Ok(()), |own| own.judge(&self.chain, Duration::ZERO));
        *judged = Some(JudgedCertificate { by, at: stopwatch(), verdict: verdict.clone() });
        verdict
    }
}

/// Asks for a certificate of the cluster, and takes what is shown, or nothing. That its key is there is checked; by
/// whom it is, only where that counts.
#[derive(Debug)]
struct CertificateRequest(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for CertificateRequest {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn authority(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    add(&mut roots, path)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| in_file(path, &error))
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|error| in_file(path, &error))?;
    }
    Ok(())
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| in_file(path, &error))?;
    if chain.is_empty() { Err(in_file(path, &"there is no certificate in it (PEM)")) } else { Ok(chain) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| in_file(path, &error))
}

fn in_file(path: &Path, why: &dyn fmt::Display) -> String {
    format!("{}: {why}", path.display())
}
