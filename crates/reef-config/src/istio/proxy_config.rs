//! `ProxyConfig` of `networking.istio.io`, a small subset of the mesh's `defaultConfig`.

use std::collections::BTreeMap;

use super::WorkloadSelector;

/// Environment of a proxy by name.
pub type EnvironmentVariables = BTreeMap<String, String>;

api_structs! {
    /// A `ProxyConfig`.
    pub struct ProxyConfig {
        /// Workloads it is for.
        pub selector: Option<WorkloadSelector>,
        /// Worker threads.
        pub concurrency: Option<i32>,
        /// Environment of the proxy.
        pub environment_variables: EnvironmentVariables,
        /// Image.
        pub image: Option<ProxyImage>,
    }

    /// `ProxyImage`.
    pub struct ProxyImage {
        /// `default`, `debug` or `distroless`.
        pub image_type: Option<String>,
    }
}
