//! TLS in front of the streams: version 1.3, HTTP/2, a certificate that can be exchanged at any time, and limits on who
//! has not finished the handshake.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// The certificate a server shows; none at first. Handshakes that come without one fail.
#[derive(Debug, Default)]
pub struct Certificates {
    current: RwLock<Option<Arc<CertifiedKey>>>,
}

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The text is no PEM of what it should be.
    #[error("the {what} cannot be read: {reason}")]
    Read {
        /// Certificate or key.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate do not belong together, or the key is of an unknown kind.
    #[error("key and certificate are of no use together: {0}")]
    Use(#[from] rustls::Error),
}

impl Certificates {
    /// Shows this chain (leaf first) from the next handshake on.
    ///
    /// # Errors
    /// [`CertificateError`] if it cannot be used; the former one stays.
    pub fn set(&self, chain: &str, key: &str) -> Result<(), CertificateError> {
        let read = |what, reason: rustls::pki_types::pem::Error| CertificateError::Read {
            what,
            reason: reason.to_string(),
        };
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| read("certificate", reason))?;
        if chain.is_empty() {
            return Err(CertificateError::Read {
                what: "certificate",
                reason: "there is none".to_owned(),
            });
        }
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|reason| read("key", reason))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider)?;
        *self.current.write() = Some(Arc::new(key));
        Ok(())
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.current.read().is_some()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().clone()
    }
}

/// A TLS 1.3 server with these certificates, for whatever protocols.
///
/// # Errors
/// If the cryptography this was built with has no TLS 1.3.
pub fn server_config(
    certificates: Arc<Certificates>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    // Nobody goes on with an old session: of the few that would be remembered here most are forgotten when their client
    // comes back, or it comes to another replica, and each handshake pays for two tickets.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// How handshakes are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// How long one may take.
    pub deadline: Duration,
    /// How many may be under way.
    pub total: usize,
    /// How many of one address.
    pub per_address: usize,
}

impl Default for HandshakeLimits {
    /// A handshake is two flights: five seconds are many round trips. The total bounds memory to some 40 MB and the
    /// share of one address leaves room for others.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            total: 2048,
            per_address: 256,
        }
    }
}

/// What a TLS port is served with.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The certificate, exchanged whenever its owner likes.
    pub certificates: Arc<Certificates>,
    /// Limits.
    pub limits: HandshakeLimits,
}

/// Why a connection did not get through its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum HandshakeFailure {
    /// Too many are under way.
    TooMany,
    /// Too many of this address are.
    TooManyOfOne,
    /// It took too long.
    Late,
    /// It was none, or not one for us.
    Broken,
}

impl HandshakeFailure {
    /// Its name as a label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too-many",
            Self::TooManyOfOne => "too-many-of-one-address",
            Self::Late => "deadline",
            Self::Broken => "handshake",
        }
    }
}

/// The handshakes under way.
#[derive(Clone)]
pub(crate) struct Handshakes(Arc<Inner>);

struct Inner {
    acceptor: TlsAcceptor,
    limits: HandshakeLimits,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl std::fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshakes")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

/// One handshake's place among those under way.
struct Place<'a>(&'a Inner, IpAddr);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock();
        under_way.total = under_way.total.saturating_sub(1);
        if let Some(of_one) = under_way.by_address.get_mut(&self.1) {
            *of_one -= 1;
            if *of_one == 0 {
                under_way.by_address.remove(&self.1);
            }
        }
    }
}

impl Handshakes {
    /// Handshakes with these settings.
    ///
    /// # Errors
    /// As [`server_config`].
    pub(crate) fn new(settings: &TlsSettings) -> Result<Self, rustls::Error> {
        let config = server_config(Arc::clone(&settings.certificates), &[b"h2"])?;
        Ok(Self(Arc::new(Inner {
            acceptor: TlsAcceptor::from(config),
            limits: settings.limits,
            under_way: Mutex::new(UnderWay::default()),
        })))
    }

    /// Does the handshake of a connection from `peer`.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        peer: IpAddr,
    ) -> Result<TlsStream<TcpStream>, HandshakeFailure> {
        let _place = self.place(peer.to_canonical())?;
        let handshake = self.0.acceptor.accept(stream);
        let done = tokio::time::timeout(self.0.limits.deadline, handshake).await;
        let stream = done
            .map_err(|_elapsed| HandshakeFailure::Late)?
            .map_err(|_broken| HandshakeFailure::Broken)?;
        // A client that names no protocol, or only others, does not speak gRPC.
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Ok(stream)
        } else {
            Err(HandshakeFailure::Broken)
        }
    }

    fn place(&self, peer: IpAddr) -> Result<Place<'_>, HandshakeFailure> {
        let mut under_way = self.0.under_way.lock();
        if under_way.total >= self.0.limits.total {
            return Err(HandshakeFailure::TooMany);
        }
        let of_one = under_way.by_address.entry(peer).or_default();
        if *of_one >= self.0.limits.per_address {
            return Err(HandshakeFailure::TooManyOfOne);
        }
        *of_one += 1;
        under_way.total += 1;
        Ok(Place(&self.0, peer))
    }
}
