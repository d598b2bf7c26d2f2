//! Providers of access logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::MeshConfig;
use reef_config::log_provider::{LogProvider, log_providers};

/// The providers of access logs of a mesh.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogProviders {
    /// By name.
    pub by_name: BTreeMap<Arc<str>, LogProvider>,
    /// The names of those used where no rule names one, in the order given.
    pub default: Box<[Arc<str>]>,
}

impl LogProviders {
    pub(super) fn new(config: &MeshConfig) -> Self {
        let default = config.default_providers.access_logging.iter();
        Self {
            by_name: log_providers(config).0,
            default: default.map(|name| Arc::from(name.as_str())).collect(),
        }
    }
}
