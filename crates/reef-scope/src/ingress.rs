//! Ingress listeners of a `Sidecar`.

use std::net::SocketAddr;
use std::sync::Arc;

use reef_config::{Problem, istio};

use crate::egress::listener_port;
use crate::{IngressEndpoint, IngressListener};

/// Reads the ingress listeners; those that can't be served are left out and told.
pub(crate) fn listeners(
    sidecar: &istio::Sidecar,
    problems: &mut Vec<Problem>,
) -> Box<[IngressListener]> {
    let mut found = Vec::new();
    let shared = sidecar.inbound_connection_pool.clone().map(Arc::new);
    for (index, listener) in sidecar.ingress.iter().enumerate() {
        let Some(port) = listener.port.as_ref().map(listener_port) else {
            problems.push(
                Problem::warning("sidecar-ingress", "an ingress listener needs a port")
                    .field(format!("spec.ingress[{index}].port")),
            );
            continue;
        };
        let Some(endpoint) = endpoint(listener.default_endpoint.as_deref()) else {
            let reason = "must be 127.0.0.1:PORT, [::1]:PORT, 0.0.0.0:PORT, [::]:PORT or \
                          unix:///path";
            problems.push(
                Problem::warning("sidecar-ingress", reason)
                    .field(format!("spec.ingress[{index}].defaultEndpoint")),
            );
            continue;
        };
        found.push(IngressListener {
            port,
            bind: listener
                .bind
                .as_deref()
                .filter(|bind| !bind.is_empty())
                .map(Arc::from),
            capture_mode: listener.capture_mode.into(),
            endpoint,
            connection_pool: listener
                .connection_pool
                .clone()
                .map(Arc::new)
                .or_else(|| shared.clone()),
        });
    }
    found.into()
}

fn endpoint(text: Option<&str>) -> Option<IngressEndpoint> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Some(IngressEndpoint::Same);
    };
    if let Some(path) = text.strip_prefix("unix://") {
        return (!path.is_empty()).then(|| IngressEndpoint::Pipe(Arc::from(path)));
    }
    let address: SocketAddr = text.parse().ok()?;
    if address.ip().is_loopback() {
        Some(IngressEndpoint::Loopback(address))
    } else if address.ip().is_unspecified() {
        Some(IngressEndpoint::Instance(address))
    } else {
        None
    }
}
