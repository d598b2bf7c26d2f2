//! What the pages ask: the trait and the plain values it answers with. No state, no HTTP.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::access::{Caller, Deciding};

/// The questions the admin pages ask of a running Reef.
///
/// All methods are synchronous and may take milliseconds (a config dump of a large proxy takes more); the routes call
/// the costly ones on a blocking thread. Implementations must not hold a lock while they build an answer.
pub trait Inspect: Send + Sync + 'static {
    /// Whether Reef serves proxies, and if not, what it waits for.
    fn readiness(&self) -> Readiness;
    /// Name and version of this build.
    fn build(&self) -> BuildInfo;
    /// Decides what a caller may read of the pages below `/debug`.
    ///
    /// # Errors
    /// The reason why the caller may not.
    fn rights<'a>(&'a self, caller: Caller<'a>) -> Deciding<'a>;
    /// The metrics page in the OpenMetrics text format.
    fn metrics(&self) -> String;
    /// Connected proxies, sorted by node id.
    fn proxies(&self) -> Vec<ProxySummary>;
    /// Problems of the inputs and of what was made from them, sorted.
    fn problems(&self) -> Vec<ProblemReport>;
    /// Totals of the mesh and of the process (`/debug/status`).
    fn status(&self) -> Value;
    /// Everything one proxy holds, in the form of Envoy's own config dump. `id` is a full node id that [`match_proxy`]
    /// returned; `types` are short names (`cds`, `lds`, `rds`, `eds`), empty for all.
    ///
    /// # Errors
    /// [`InspectError::Gone`] if the proxy left meanwhile.
    fn config_dump(&self, id: &str, types: &[String]) -> Result<Value, InspectError>;
    /// The scope of one proxy, each service with its reasons.
    ///
    /// # Errors
    /// [`InspectError::Gone`] if the proxy left meanwhile.
    fn sidecar(&self, id: &str) -> Result<Value, InspectError>;
    /// A page about the whole mesh, in istiod's shape; pages about proxies are limited to those of `among`.
    fn mesh_page(&self, page: MeshPage, among: Among<'_>) -> Value;
    /// Why a proxy does or does not see a service.
    ///
    /// # Errors
    /// [`InspectError::Gone`] if the proxy left meanwhile, [`InspectError::Bad`] if the service name is not one.
    fn why(&self, id: &str, service: &str) -> Result<Value, InspectError>;
}

/// Some of the connected proxies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Among<'a> {
    /// Those whose connection id contains this; all if `None`.
    pub proxy: Option<&'a str>,
    /// Those of this namespace; all if `None`.
    pub namespace: Option<&'a str>,
}

/// Pages about the whole mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeshPage {
    /// Connected proxies: who they are and what they subscribe to (`/debug/adsz`).
    Adsz,
    /// Connected proxies, in short (`/debug/connections`).
    Connections,
    /// Services of all registries (`/debug/registryz`).
    Registryz,
    /// Endpoints by service and shard (`/debug/endpointShardz`, `/debug/endpointz`).
    EndpointShardz,
    /// Gateways between networks (`/debug/networkz`).
    Networkz,
    /// Configuration objects as the API would show them (`/debug/configz`).
    Configz,
    /// The mesh configuration in effect (`/debug/mesh`).
    Mesh,
    /// Kinds of objects that are read (`/debug/resourcesz`).
    Resourcesz,
    /// Services each connected proxy serves (`/debug/instancesz`).
    Instancesz,
    /// Authorization policies (`/debug/authorizationz`).
    Authorizationz,
    /// Telemetry objects (`/debug/telemetryz`).
    Telemetryz,
    /// What rules contradict, by metric (`/debug/push_status`).
    PushStatus,
    /// Names of the resources connected proxies hold (`/debug/cachez`).
    Cachez,
    /// Their sizes (`/debug/cachez?sizes`).
    CacheSizes,
}

/// Whether Reef serves proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// The initial list is complete and streams are accepted.
    Ready,
    /// Not yet, or not any more; the text says what is missing.
    NotReady(String),
}

/// Name and version of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The version, `0.1.0`.
    pub version: String,
    /// The commit, or `unknown`.
    #[serde(rename = "revision")]
    pub revision: String,
}

/// One connected proxy and what it was sent and acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProxySummary {
    /// The full node id, `sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local`.
    pub id: String,
    /// The namespace it belongs to.
    pub namespace: String,
    /// The cluster the proxy says it is in.
    pub cluster_id: String,
    /// `sidecar`, `router`.
    pub kind: String,
    /// `ISTIO_VERSION` of its metadata, empty if absent.
    pub istio_version: String,
    /// Whether it speaks the incremental protocol.
    pub delta: bool,
    /// When it connected, RFC 3339, in UTC.
    pub connected_at: String,
    /// Address of its end of the connection.
    pub address: String,
    /// Services in its scope.
    pub services: usize,
    /// Services in the mesh.
    pub mesh_services: usize,
    /// Identifier of the class of equal proxies it belongs to.
    pub class: String,
    /// State by type URL.
    pub types: BTreeMap<String, TypeSync>,
}

/// What one proxy was sent of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TypeSync {
    /// Nonce of the last response sent, empty if none.
    pub sent: String,
    /// Nonce of the last response acknowledged, empty if none.
    pub acked: String,
    /// When the last response was sent, RFC 3339; empty if never.
    #[serde(rename = "sentTime", skip_serializing_if = "String::is_empty")]
    pub sent_time: String,
    /// The proxy's error text, while its last answer was a rejection.
    #[serde(rename = "lastError", skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Resources the proxy holds.
    pub resources: u64,
    /// Bytes of resources sent on this stream since it opened.
    pub bytes: u64,
}

/// One problem, as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProblemReport {
    /// `error`, `warning` or `info`.
    pub severity: String,
    /// `file:line`, empty if the object has no file.
    pub origin: String,
    /// `Kind namespace/name`, empty if the problem has no object.
    pub object: String,
    /// The field, `spec.hosts[0]`; empty if the whole object is meant.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectError {
    /// The proxy is not connected (any more).
    Gone,
    /// The question is wrong; the text says how.
    Bad(String),
}

/// Finds the proxy a person means: a full node id, or `pod.namespace`.
///
/// Returns the full node id. `ids` may be in any order; with several streams of one node the first is enough, because a
/// node id names one proxy.
pub fn match_proxy<'a>(ids: impl Iterator<Item = &'a str>, query: &str) -> Option<&'a str> {
    let mut by_name = None;
    for id in ids {
        if id == query {
            return Some(id);
        }
        if by_name.is_none() && id.split('~').nth(2) == Some(query) {
            by_name = Some(id);
        }
    }
    by_name
}
