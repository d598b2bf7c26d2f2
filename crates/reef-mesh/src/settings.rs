//! Mesh-wide settings as one shared value.

use std::sync::Arc;

use reef_config::MeshConfig;
use reef_config::names::{Hostname, Namespace};

/// Settings that hold for the whole mesh; replaced as a whole, only when they differ.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshSettings {
    /// The mesh configuration.
    pub config: Arc<MeshConfig>,
    /// Namespace whose rules apply to all others.
    pub root_namespace: Namespace,
    /// Cluster domain, `cluster.local`.
    pub domain: Arc<str>,
    /// Trust domain of SPIFFE identities.
    pub trust_domain: Arc<str>,
}

impl MeshSettings {
    /// Derives the settings from a mesh configuration and the cluster domain.
    #[must_use]
    pub fn new(config: Arc<MeshConfig>, domain: &str) -> Self {
        Self {
            root_namespace: config.root_namespace.clone(),
            domain: Arc::from(domain),
            trust_domain: Arc::from(config.trust_domain.as_str()),
            config,
        }
    }

    /// Host name of the Kubernetes service `name` in `namespace`.
    #[must_use]
    pub fn service_hostname(&self, name: &str, namespace: &str) -> Hostname {
        Hostname::new(format!("{name}.{namespace}.svc.{}", self.domain))
    }

    /// SPIFFE identity of a service account.
    #[must_use]
    pub fn spiffe_id(&self, namespace: &str, account: &str) -> String {
        format!("spiffe://{}/ns/{namespace}/sa/{account}", self.trust_domain)
    }
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self::new(Arc::default(), "cluster.local")
    }
}
