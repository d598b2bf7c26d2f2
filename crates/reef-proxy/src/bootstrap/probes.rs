//! Probes of the application: a static listener the kubelet asks, and a cluster per port behind it.
//!
//! The answer of a probe must be the application's, whatever the mesh says about who may talk to it, so these
//! requests pass none of the listeners that come over xDS.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fixed::{assignment, http_listener, socket_address};
use super::{BootstrapOptions, InterceptionMode};

/// A probe by HTTP that the proxy hands on to the application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppProbe {
    /// Path the kubelet asks for, without query: `/app-health/web/readyz`.
    pub at: String,
    /// Port of the application.
    pub port: u16,
    /// Path the application is asked for.
    pub path: String,
    /// Whether the application speaks TLS there; its certificate is not checked, as the kubelet does not.
    #[serde(default)]
    pub tls: bool,
    /// Whether the probe names a host of its own; else the application sees the pod's address.
    #[serde(default)]
    pub keeps_host: bool,
    /// Time the application has for its answer.
    pub timeout_seconds: u32,
}

/// Adds the listener and its clusters, if there are probes.
pub(super) fn add(options: &BootstrapOptions, ip: IpAddr, resources: &mut Value) {
    if options.app_probes.is_empty() {
        return;
    }
    let any = if ip.is_ipv4() { "0.0.0.0" } else { "::" };
    let mut clusters = BTreeMap::new();
    let mut routes = Vec::new();
    for probe in &options.app_probes {
        let name = cluster_name(probe);
        let mut action = json!({
            "cluster": name,
            "prefix_rewrite": probe.path,
            "timeout": format!("{}s", probe.timeout_seconds),
        });
        if !probe.keeps_host {
            let host = std::net::SocketAddr::new(ip, probe.port).to_string();
            action["host_rewrite_literal"] = Value::from(host);
        }
        routes.push(json!({
            "match": { "path": probe.at },
            "route": action,
            // The kubelet would look for the new place in this listener; without one it takes
            // a redirection as the success it is.
            "response_headers_to_remove": ["location"],
        }));
        clusters.insert(name, probe);
    }
    let clusters = clusters
        .into_iter()
        .map(|(name, probe)| cluster(&name, probe, ip, options.interception));
    if let Some(list) = resources["clusters"].as_array_mut() {
        list.extend(clusters);
    }
    let listener = http_listener(any, options.probe_port, "probes", &Value::Array(routes));
    if let Some(list) = resources["listeners"].as_array_mut() {
        list.push(listener);
    }
}

fn cluster_name(probe: &AppProbe) -> String {
    let kind = if probe.tls { "https" } else { "http" };
    format!("app-probe-{kind}-{}", probe.port)
}

/// The application at the pod's own address, as the kubelet would call it.
fn cluster(name: &str, probe: &AppProbe, ip: IpAddr, mode: InterceptionMode) -> Value {
    // What the rules let through within the pod, so that the call does not come back as inbound traffic:
    // with REDIRECT this source, with TPROXY only this destination.
    let (source, loopback) = match ip {
        IpAddr::V4(_) => ("127.0.0.6", "127.0.0.1"),
        IpAddr::V6(_) => ("::6", "::1"),
    };
    let host = match mode {
        InterceptionMode::Tproxy => loopback.to_owned(),
        InterceptionMode::Redirect | InterceptionMode::None => ip.to_string(),
    };
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": format!("{}s", probe.timeout_seconds.max(1)),
        "load_assignment": assignment(name, &socket_address(&host, probe.port)),
    });
    if mode == InterceptionMode::Redirect {
        cluster["upstream_bind_config"] = json!({
            "source_address": { "address": source, "port_value": 0 },
        });
    }
    if probe.tls {
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3\
                          .UpstreamTlsContext",
                "common_tls_context": {
                    "tls_params": { "tls_maximum_protocol_version": "TLSv1_3" },
                },
            },
        });
    }
    cluster
}
