//! istiod's `/debug/syncz` document, which Kiali and scripts read.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inspect::{ProxySummary, TypeSync};

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

/// One row of the document. Field names and their order are istiod's; nonces, empty where nothing was sent.
#[derive(Debug, Serialize)]
pub(crate) struct SyncRow {
    cluster_id: String,
    proxy: String,
    proxy_type: String,
    istio_version: String,
    cluster_sent: String,
    cluster_acked: String,
    listener_sent: String,
    listener_acked: String,
    route_sent: String,
    route_acked: String,
    endpoint_sent: String,
    endpoint_acked: String,
    extensionconfig_sent: String,
    extensionconfig_acked: String,
    resources: BTreeMap<String, TypeSync>,
}

impl From<ProxySummary> for SyncRow {
    fn from(proxy: ProxySummary) -> Self {
        let of = |url: &str| {
            proxy
                .types
                .get(url)
                .map(|t| (t.sent.clone(), t.acked.clone()))
                .unwrap_or_default()
        };
        let (cluster_sent, cluster_acked) = of(CLUSTER);
        let (listener_sent, listener_acked) = of(LISTENER);
        let (route_sent, route_acked) = of(ROUTE);
        let (endpoint_sent, endpoint_acked) = of(ENDPOINT);
        let (extensionconfig_sent, extensionconfig_acked) = of(EXTENSION);
        Self {
            cluster_id: proxy.cluster_id,
            proxy: short_name(&proxy.id),
            proxy_type: proxy.kind,
            istio_version: proxy.istio_version,
            cluster_sent,
            cluster_acked,
            listener_sent,
            listener_acked,
            route_sent,
            route_acked,
            endpoint_sent,
            endpoint_acked,
            extensionconfig_sent,
            extensionconfig_acked,
            resources: proxy.types,
        }
    }
}

/// `pod.namespace` of a node id: what istiod shows as the proxy.
fn short_name(id: &str) -> String {
    id.split('~').nth(2).unwrap_or(id).to_owned()
}
