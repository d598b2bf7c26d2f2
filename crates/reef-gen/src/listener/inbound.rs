//! Which ports of the workload have inbound chains or listeners of their own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use reef_config::Problem;
use reef_mesh::{Address, Interception, IpMode, MtlsMode, WorkloadCert};
use reef_scope::{CaptureMode, IngressListener};

use super::egress::FIRST_UNPRIVILEGED;
use super::{Bind, InboundListener, InboundPort, ListenerDefaults, VirtualInbound};
use crate::cluster::{declared_identity, declared_stat_name, served_stat_name};
use crate::input::ClassInput;
use crate::names::{self, INBOUND_CAPTURE_PORT, OUTBOUND_CAPTURE_PORT};
use crate::security::InboundTls;
use crate::xds;

/// The inbound listeners of a class.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// The one of captured traffic; not there without interception.
    pub captured: Option<VirtualInbound>,
    /// Those of declared ports that bind a socket, ascending by port.
    pub real: Vec<InboundListener>,
}

/// Selects the inbound listeners and the ports in them: those of declared ingress listeners, else
/// those of services; of several services on one port the oldest.
pub(crate) fn inbound(
    input: &ClassInput,
    defaults: &Arc<ListenerDefaults>,
    problems: &mut Vec<Problem>,
) -> Inbound {
    let tls = (input.proxy.workload_cert == WorkloadCert::SdsGrpc)
        .then(|| Arc::new(InboundTls::of(input.snapshot.settings())));
    let (ports, real) = if input.scope.ingress.is_empty() {
        (served(input), BTreeMap::new())
    } else {
        declared(input, problems)
    };
    let security = &input.proxy.security;
    let captured = (input.proxy.interception != Interception::None).then(|| {
        let undeclared = security
            .ports
            .iter()
            .filter(|(number, _)| !ports.contains_key(number) && !real.contains_key(number))
            .copied()
            .collect();
        VirtualInbound {
            port: input.snapshot.settings().config.proxy_inbound_listen_port,
            rest: security.rest,
            undeclared,
            tls: tls.clone().filter(|_| {
                security.rest.mode != MtlsMode::Disable
                    || security
                        .ports
                        .iter()
                        .any(|(_, own)| own.mode != MtlsMode::Disable)
            }),
            ports: ports.into_values().collect(),
            defaults: defaults.clone(),
        }
    });
    let real = real
        .into_values()
        .map(|(bind, port)| InboundListener {
            name: port.chain.clone(),
            bind,
            tls: tls
                .clone()
                .filter(|_| port.security.mode != MtlsMode::Disable),
            port,
            defaults: defaults.clone(),
        })
        .collect();
    Inbound { captured, real }
}

/// Ports of services.
fn served(input: &ClassInput) -> BTreeMap<u16, InboundPort> {
    let wildcard = xds::wildcard(input.proxy.ip_mode != IpMode::V6);
    let mut ports = BTreeMap::new();
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
            stat_name: served_stat_name(input, target),
            host: target.service.key.hostname.shared().clone(),
            service_port: service_port.number,
            security: input.proxy.security.of(number),
        });
    }
    ports
}

type Declared = (
    BTreeMap<u16, InboundPort>,
    BTreeMap<u16, (Bind, InboundPort)>,
);

/// Ports of declared ingress listeners: captured ones, and those that bind a socket.
fn declared(input: &ClassInput, problems: &mut Vec<Problem>) -> Declared {
    let host = declared_identity(input)
        .map(|(host, ..)| host)
        .unwrap_or_default();
    let mut found = Declared::default();
    for listener in &input.scope.ingress {
        let number = listener.port.number;
        let mut refuse = |reason: &str| problems.push(refused(input, number, reason));
        if found.0.contains_key(&number) || found.1.contains_key(&number) {
            refuse("is declared twice; the first one counts");
            continue;
        }
        if is_reserved(input, listener) {
            refuse("is the proxy's own");
            continue;
        }
        let Some(bind) = bind(input, listener) else {
            refuse("can only be bound to an IP address");
            continue;
        };
        let is_real = listener.capture_mode == CaptureMode::None
            || input.proxy.interception == Interception::None;
        if is_real && input.proxy.unprivileged && number < FIRST_UNPRIVILEGED {
            refuse("can't be bound without privilege");
            continue;
        }
        let port = InboundPort {
            chain: bind.listener_name(number),
            number,
            protocol: listener.port.protocol,
            cluster: names::inbound_cluster(number),
            stat_name: declared_stat_name(input, listener),
            host: host.clone(),
            service_port: number,
            security: input.proxy.security.of(number),
        };
        if is_real {
            found.1.insert(number, (bind, port));
        } else {
            found.0.insert(number, port);
        }
    }
    found
}

/// Says that a declared port is not served as declared.
pub(crate) fn refused(input: &ClassInput, number: u16, why: &str) -> Problem {
    let problem = Problem::warning("sidecar-ingress", format!("ingress port {number} {why}"));
    match &input.scope.sidecar {
        Some(sidecar) => problem.of(&sidecar.object),
        None => problem,
    }
}

/// The address that names it: its own, else the proxy's first that others can route to, else all of its family.
fn bind(input: &ClassInput, listener: &IngressListener) -> Option<Bind> {
    let Some(text) = listener.bind.as_deref() else {
        let own = &*input.proxy.ingress_ips;
        let all = own.first().map(|first| match first {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        });
        return reef_mesh::first_routable(own).or(all).map(Bind::Ip);
    };
    match Address::parse(text) {
        Address::Ip(ip) => Some(Bind::Ip(ip)),
        Address::Cidr(_) | Address::Host(_) | Address::Pipe(_) => None,
    }
}

/// True if a listener of the proxy itself has the port on all addresses. The capture ports are none
/// of those.
fn is_reserved(input: &ClassInput, listener: &IngressListener) -> bool {
    let number = listener.port.number;
    let everywhere = match bind(input, listener) {
        Some(bind) if listener.bind.is_some() => bind.is_wildcard(),
        _ => listener.port.protocol.is_http(),
    };
    everywhere
        && number != INBOUND_CAPTURE_PORT
        && number != OUTBOUND_CAPTURE_PORT
        && input.proxy.reserved_ports.binary_search(&number).is_ok()
}
