//! Mesh-wide settings as one shared value.

use std::sync::Arc;

use reef_config::MeshConfig;
use reef_config::names::{Hostname, Namespace};

/// What happens to workloads under a security rule that can't be enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unenforced {
    /// All traffic the rule is about is denied, so that nothing is open that somebody closed.
    #[default]
    Deny,
    /// It is let through, and told.
    Allow,
}

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
    /// What becomes of security rules that can't be enforced; a choice of the program, not of the
    /// mesh configuration.
    pub unenforced: Unenforced,
}

impl MeshSettings {
    /// Derives the settings from a mesh configuration and the cluster domain.
    #[must_use]
    pub fn new(config: Arc<MeshConfig>, domain: &str) -> Self {
        Self {
            root_namespace: config.root_namespace.clone(),
            domain: Arc::from(domain),
            trust_domain: Arc::from(config.trust_domain.as_str()),
            unenforced: Unenforced::default(),
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
