//! The encrypted port and the identities on it, put together: rules, tokens, certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reef_identity::{Authorizer, ClusterRules, Tokens};
use reef_kube::{Cluster, KindStates};
use reef_server::service::DiscoveryServer;
use tokio::sync::watch;

use super::certs::{Keeper, Origin};
use super::identity;
use crate::clock;

/// Where the encrypted port is with a cluster, unless told otherwise; istiod's.
const SECURE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 15012);

/// Name of Reef's Service.
const SERVICE: &str = "reef";

/// How often it is looked whether the API server can be asked.
const LOOK: Duration = Duration::from_secs(1);

/// The encrypted port, and who may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSettings {
    /// Namespace Reef runs in.
    pub namespace: String,
    /// Address of the encrypted port; port 0 takes a free one.
    pub secure_addr: Option<SocketAddr>,
    /// Audiences of which a token must have one.
    pub token_audiences: Vec<String>,
    /// Where the serving certificate comes from.
    pub certificate: Certificate,
    /// Whether a stream may come from an address its pod does not have.
    pub any_peer_address: bool,
    /// Further namespaces that may read all debug data.
    pub debug_namespaces: Vec<String>,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Reef makes it and keeps it in Secrets.
    Made,
    /// A Secret of Reef's namespace, of this name, that somebody else keeps.
    Secret(String),
    /// Files.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            namespace: "reef-system".to_owned(),
            secure_addr: None,
            token_audiences: vec!["istio-ca".to_owned()],
            certificate: Certificate::Made,
            any_peer_address: false,
            debug_namespaces: Vec::new(),
        }
    }
}

impl ChannelSettings {
    /// Where the encrypted port is, if there is one.
    pub(super) fn address(&self, cluster: Option<&Cluster>) -> Option<SocketAddr> {
        self.secure_addr.or_else(|| cluster.map(|_| SECURE))
    }

    /// The rules for everybody who comes.
    pub(super) fn authorizer(&self, insecure_xds: bool, cluster: Option<&Cluster>) -> Authorizer {
        let authorizer = Authorizer::new(insecure_xds);
        if cluster.is_none() {
            return authorizer;
        }
        let mut debug_namespaces = self.debug_namespaces.clone();
        debug_namespaces.push(self.namespace.clone());
        authorizer.with_cluster(ClusterRules {
            debug_namespaces,
            check_peer_address: !self.any_peer_address,
        })
    }

    /// A verifier of the tokens of the cluster.
    pub(super) fn tokens(&self, cluster: Option<&Cluster>) -> Option<Arc<Tokens>> {
        cluster.map(|cluster| identity::tokens(cluster, self.token_audiences.clone()))
    }

    /// The keeper of the serving certificate.
    ///
    /// # Errors
    /// If it is to come from a cluster and there is none.
    pub(super) fn keeper(&self, cluster: Option<&Cluster>, domain: &str) -> anyhow::Result<Keeper> {
        let namespace = self.namespace.clone();
        let cluster = cluster
            .cloned()
            .context("TLS without a cluster needs --tls-cert-file and --tls-key-file");
        let origin = match &self.certificate {
            Certificate::Files { cert, key } => Origin::Files {
                cert: cert.clone(),
                key: key.clone(),
            },
            Certificate::Secret(name) => Origin::Secret {
                cluster: cluster?,
                namespace,
                name: name.clone(),
            },
            Certificate::Made => Origin::Made {
                cluster: cluster?,
                names: self.names(domain),
                namespace,
                holder: holder()?,
            },
        };
        Ok(Keeper::new(origin))
    }

    /// Names by which proxies and API servers reach Reef.
    fn names(&self, domain: &str) -> Vec<String> {
        let short = format!("{SERVICE}.{}", self.namespace);
        vec![
            format!("{short}.svc"),
            format!("{short}.svc.{domain}"),
            short,
        ]
    }
}

/// This process among the replicas, and after a restart among its predecessors.
fn holder() -> anyhow::Result<String> {
    let host = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
    let since = clock::wall()
        .duration_since(std::time::UNIX_EPOCH)
        .context("the clock shows a time before 1970")?;
    let pid = std::process::id();
    let host = host.unwrap_or_else(|_| "reef".to_owned());
    if host.len() > 253 {
        bail!("POD_NAME is no name of a pod");
    }
    Ok(format!("{host}_{pid}-{}", since.as_millis()))
}

/// Lets connections get older than they should while the API server cannot be asked; never ends.
pub(super) async fn suspend_age(
    server: DiscoveryServer,
    tokens: Arc<Tokens>,
    kinds: Option<watch::Receiver<Arc<KindStates>>>,
) {
    loop {
        let stale = kinds.as_ref().is_some_and(|kinds| {
            let kinds = kinds.borrow();
            kinds
                .kinds
                .values()
                .any(|kind| matches!(kind.state, reef_kube::KindState::Stale { .. }))
        });
        server.suspend_age(stale || tokens.is_silent());
        tokio::time::sleep(LOOK).await;
    }
}
