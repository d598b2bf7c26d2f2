//! Which ports of the workload have inbound chains of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::Problem;
use reef_scope::CaptureMode;

use super::InboundPort;
use crate::cluster::declared_identity;
use crate::input::ClassInput;
use crate::{names, xds};

/// Selects the ports, ascending: those of declared ingress listeners, else those of services; of
/// several services on one port the oldest.
pub(crate) fn ports(input: &ClassInput, problems: &mut Vec<Problem>) -> Box<[InboundPort]> {
    let mut ports: BTreeMap<u16, InboundPort> = BTreeMap::new();
    if input.scope.ingress.is_empty() {
        let wildcard = xds::wildcard(input.proxy.ip_mode != reef_mesh::IpMode::V6);
        for target in &input.targets {
            let number = target.target_port;
            if input.proxy.reserved_ports.binary_search(&number).is_ok() {
                continue;
            }
            let service_port = target.service_port();
            ports.entry(number).or_insert_with(|| InboundPort {
                chain: Arc::from(format!("{wildcard}_{number}")),
                number,
                protocol: service_port.protocol,
                cluster: names::inbound_cluster(number),
                host: target.service.key.hostname.shared().clone(),
                service_port: service_port.number,
            });
        }
    } else {
        let host = declared_identity(input)
            .map(|(host, ..)| host)
            .unwrap_or_default();
        for listener in &input.scope.ingress {
            let number = listener.port.number;
            if listener.capture_mode == CaptureMode::None {
                let reason = format!(
                    "ingress port {number}: capture mode NONE is not built yet; the port is served as captured"
                );
                let problem = Problem::warning("not-applied", reason);
                problems.push(match &input.scope.sidecar {
                    Some(sidecar) => problem.of(&sidecar.object),
                    None => problem,
                });
            }
            let bind = listener.bind.as_deref().map_or_else(
                || {
                    input
                        .proxy
                        .ingress_ips
                        .first()
                        .map(ToString::to_string)
                        .unwrap_or_default()
                },
                str::to_owned,
            );
            ports.entry(number).or_insert_with(|| InboundPort {
                chain: Arc::from(format!("{bind}_{number}")),
                number,
                protocol: listener.port.protocol,
                cluster: names::inbound_cluster(number),
                host: host.clone(),
                service_port: number,
            });
        }
    }
    ports.into_values().collect()
}
