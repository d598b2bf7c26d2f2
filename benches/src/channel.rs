//! The way from a client to a server: plaintext, or TLS and a bearer token, as the Envoy of a pod comes to the encrypted
//! port.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{self, Endpoint};

/// Where clients connect, and how.
#[derive(Debug, Clone)]
pub(crate) enum Channel {
    /// Without TLS; nobody proves who he is.
    Plaintext(SocketAddr),
    /// With TLS, and a token for each.
    Tls(Arc<Tls>),
}

/// What TLS takes.
pub(crate) struct Tls {
    address: SocketAddr,
    name: ServerName<'static>,
    connector: TlsConnector,
    /// By proxy.
    tokens: Vec<MetadataValue<Ascii>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("address", &self.address)
            .field("name", &self.name)
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

impl Channel {
    /// TLS 1.3 to the server of this name at an address, with a certificate of this authority (PEM); proxies have these
    /// tokens, by number.
    pub(crate) fn tls(
        address: SocketAddr,
        name: &str,
        authority: &str,
        tokens: &[String],
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Each proxy is a process of its own: none has a session of another's to go on with.
        config.resumption = Resumption::disabled();
        let tokens = tokens.iter().map(|token| format!("Bearer {token}").parse());
        Ok(Self::Tls(Arc::new(Tls {
            address,
            name: ServerName::try_from(name.to_owned())?,
            connector: TlsConnector::from(Arc::new(config)),
            tokens: tokens.collect::<Result<_, _>>()?,
        })))
    }

    /// Opens a connection that nobody else has.
    pub(crate) async fn connect(&self) -> Result<transport::Channel> {
        let connected = match self {
            Self::Plaintext(address) => {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
                endpoint.connect().await?
            }
            Self::Tls(tls) => {
                let endpoint = Endpoint::from_shared(format!("https://{}", tls.address))?;
                let tls = Arc::clone(tls);
                let connector = tower::service_fn(move |_| {
                    let tls = Arc::clone(&tls);
                    async move {
                        let stream = TcpStream::connect(tls.address).await?;
                        stream.set_nodelay(true)?;
                        let stream = tls.connector.connect(tls.name.clone(), stream).await?;
                        std::io::Result::Ok(TokioIo::new(stream))
                    }
                });
                endpoint.connect_with_connector(connector).await?
            }
        };
        Ok(connected)
    }

    /// A request as `proxy` makes it.
    pub(crate) fn request<T>(&self, proxy: usize, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        if let Self::Tls(tls) = self {
            let token = tls.tokens.get(proxy).context("a proxy has no token")?;
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}
