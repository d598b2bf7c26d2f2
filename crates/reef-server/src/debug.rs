//! Debug data over the aggregated state-of-the-world stream, as `istioctl` asks for it.
//!
//! Each request is answered once, whatever nonce it carries: `istioctl` sends one that nobody gave it. Nothing is
//! subscribed, no session is opened, and so whoever asks is not listed among the proxies.

#[cfg(feature = "shell")]
use std::future::Future;
#[cfg(feature = "shell")]
use std::pin::Pin;

use xds_api::Any;

#[cfg(feature = "shell")]
use crate::provider::Refusal;

/// What each connected proxy took; one `envoy.service.status.v3.ClientConfig` per proxy.
pub const SYNCZ: &str = "istio.io/debug/syncz";

/// What one proxy holds; Envoy's own messages of a config dump.
pub const CONFIG_DUMP: &str = "istio.io/debug/config_dump";

/// A debug page, named by its path and query.
pub const PAGE: &str = "istio.io/debug";

/// All of them.
pub const TYPES: [&str; 3] = [SYNCZ, CONFIG_DUMP, PAGE];

/// Whether a request of this type asks for debug data, known or not.
#[must_use]
pub fn is_debug(type_url: &str) -> bool {
    type_url
        .strip_prefix(PAGE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// One of [`TYPES`], or one like them.
    pub type_url: String,
    /// What is asked about: a proxy, or a page.
    pub names: Vec<String>,
}

/// Its answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// The resources.
    pub resources: Vec<Any>,
    /// Who answers, for `control_plane.identifier`.
    pub identifier: String,
}

/// The future a question is answered by.
#[cfg(feature = "shell")]
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Findings, Refusal>> + Send + 'a>>;
