//! What can be typed about the encrypted port: its address, certificate, tokens and who may ask what.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::serve::{Certificate, ChannelSettings};

/// Settings of the encrypted xDS port and of identities.
#[derive(Debug, Clone, Args)]
pub struct ChannelArgs {
    /// Namespace Reef runs in; its Secrets and Leases are there.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        default_value = "reef-system",
        value_parser = crate::cli::domain,
        value_name = "NAMESPACE"
    )]
    pub namespace: String,
    /// Address of the encrypted xDS port; with a cluster `0.0.0.0:15012` unless told otherwise, else there is none.
    #[arg(long, env = "REEF_SECURE_GRPC_ADDR", value_name = "ADDR")]
    pub secure_grpc_addr: Option<SocketAddr>,
    /// Audiences of which a proxy's token must have one.
    #[arg(
        long,
        env = "REEF_TOKEN_AUDIENCES",
        default_value = "istio-ca",
        value_delimiter = ',',
        value_name = "AUDIENCE"
    )]
    pub token_audiences: Vec<String>,
    /// File with the serving certificate (and what it was signed with), instead of one that Reef makes.
    #[arg(
        long,
        env = "REEF_TLS_CERT_FILE",
        requires = "tls_key_file",
        conflicts_with = "tls_secret",
        value_name = "FILE"
    )]
    pub tls_cert_file: Option<PathBuf>,
    /// File with the key of that certificate.
    #[arg(
        long,
        env = "REEF_TLS_KEY_FILE",
        requires = "tls_cert_file",
        value_name = "FILE"
    )]
    pub tls_key_file: Option<PathBuf>,
    /// Secret of Reef's namespace with the serving certificate (`tls.crt`, `tls.key`), instead of one that Reef makes.
    #[arg(long, env = "REEF_TLS_SECRET", value_name = "NAME")]
    pub tls_secret: Option<String>,
    /// Serve streams from addresses that their pod does not have: something on the way changes addresses.
    #[arg(long, env = "REEF_ANY_PEER_ADDRESS")]
    pub any_peer_address: bool,
    /// Further namespaces whose service accounts may read the debug data of all namespaces; others see their own.
    #[arg(
        long,
        env = "REEF_DEBUG_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAMESPACE"
    )]
    pub debug_namespaces: Vec<String>,
}

impl ChannelArgs {
    /// The same as the server wants it.
    #[must_use]
    pub fn settings(self) -> ChannelSettings {
        let certificate = match (self.tls_cert_file, self.tls_key_file, self.tls_secret) {
            (Some(cert), Some(key), _) => Certificate::Files { cert, key },
            (_, _, Some(name)) => Certificate::Secret(name),
            _ => Certificate::Made,
        };
        ChannelSettings {
            namespace: self.namespace,
            secure_addr: self.secure_grpc_addr,
            token_audiences: self.token_audiences,
            certificate,
            any_peer_address: self.any_peer_address,
            debug_namespaces: self.debug_namespaces,
        }
    }
}
