//! Which listeners a class has, and how services that meet at one address share it.
//!
//! Services are visited oldest first, so the oldest wins every conflict. An address and port taken
//! by one egress listener of a `Sidecar` is closed to the later ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::Problem;
use reef_mesh::{
    Address, Interception, IpMode, Protocol, Registry, Resolution, Service, ServicePort,
};
use reef_scope::{CaptureMode, EgressListener};

use super::chain::{Family, Incoming};
use super::{
    Bind, Chain, ChainMatch, ListenerDefaults, ListenerKey, OutboundListener, Target,
    VirtualOutbound, inbound,
};
use crate::input::{ClassInput, fallback, is_routable};
use crate::{names, xds};

/// The listeners of a class, and the route configurations they ask for.
#[derive(Debug)]
pub(crate) struct Plan {
    pub listeners: Vec<ListenerKey>,
    pub routes: BTreeMap<Arc<str>, RouteSource>,
    pub problems: Vec<Problem>,
}

/// What a route configuration holds.
#[derive(Debug, Clone)]
pub(crate) enum RouteSource {
    /// Services of an egress listener on this port.
    Port {
        /// Index of the egress listener.
        egress: usize,
        /// The port.
        number: u16,
    },
    /// All services of an egress listener on all ports.
    AllPorts {
        /// Index of the egress listener.
        egress: usize,
    },
    /// One service alone.
    Single {
        service: Arc<Service>,
        /// Number of its port.
        number: u16,
    },
}

/// A listener while services are added to it.
struct Draft {
    egress: usize,
    family: Family,
    /// Set if the protocol shares its address with no other.
    exclusive: Option<Protocol>,
    protocol: Protocol,
    real: bool,
    chains: Vec<Chain>,
    owner: Arc<Service>,
}

struct Planner<'a> {
    input: &'a ClassInput,
    drafts: BTreeMap<(Bind, u16), Draft>,
    routes: BTreeMap<Arc<str>, RouteSource>,
    problems: Vec<Problem>,
}

/// Plans the listeners of a class.
pub(crate) fn plan(input: &ClassInput) -> Plan {
    let config = &input.snapshot.settings().config;
    let mut planner = Planner {
        input,
        drafts: BTreeMap::new(),
        routes: BTreeMap::new(),
        problems: Vec::new(),
    };
    // Istio's switch for "no listeners at all".
    if config.proxy_listen_port == 0 {
        return Plan {
            listeners: Vec::new(),
            routes: planner.routes,
            problems: planner.problems,
        };
    }
    for (index, egress) in input.scope.egress.iter().enumerate() {
        planner.add_egress(index, egress);
    }
    let defaults = Arc::new(defaults(input));
    let (fallback, _) = fallback(input);
    let proxy_port = input
        .proxy
        .http_proxy_port
        .unwrap_or(config.proxy_http_port);
    let http_proxy =
        (proxy_port != 0).then(|| planner.http_proxy(proxy_port, &fallback, &defaults));
    let inbound = inbound::inbound(input, &defaults, &mut planner.problems);
    let Planner {
        drafts,
        routes,
        problems,
        ..
    } = planner;
    let mut listeners: Vec<ListenerKey> = drafts
        .into_iter()
        .map(|((bind, port), draft)| {
            ListenerKey::Outbound(OutboundListener {
                name: bind.listener_name(port),
                bind,
                port,
                real: draft.real,
                chains: draft.chains,
                fallback: fallback.clone(),
                defaults: defaults.clone(),
            })
        })
        .collect();
    listeners.extend(http_proxy.map(ListenerKey::Outbound));
    if input.proxy.interception != Interception::None {
        listeners.push(ListenerKey::VirtualOutbound(VirtualOutbound {
            port: config.proxy_listen_port,
            fallback,
            defaults,
        }));
    }
    listeners.extend(inbound.captured.map(ListenerKey::VirtualInbound));
    listeners.extend(inbound.real.into_iter().map(ListenerKey::Inbound));
    Plan {
        listeners,
        routes,
        problems,
    }
}

fn defaults(input: &ClassInput) -> ListenerDefaults {
    let config = &input.snapshot.settings().config;
    ListenerDefaults {
        detection_timeout: config.protocol_detection_timeout.0,
        tracing: config.enable_tracing,
        idle_timeout: input.proxy.idle_timeout,
        http10: input.proxy.http10,
        balance_outbound: input.proxy.balance_outbound,
        balance_inbound: input.proxy.balance_inbound,
        transparent: input.proxy.interception == Interception::Tproxy,
        ipv4: input.proxy.ip_mode != IpMode::V6,
    }
}

impl Planner<'_> {
    fn ipv4(&self) -> bool {
        self.input.proxy.ip_mode != IpMode::V6
    }

    fn add_egress(&mut self, index: usize, egress: &EgressListener) {
        let bind = self.explicit_bind(egress);
        let real = self.is_real(egress, bind.as_ref());
        let bind = bind.or_else(|| real.then(|| Bind::Ip(xds::loopback(self.ipv4()))));
        for service in &egress.services {
            for port in &service.ports {
                if !is_routable(service, port) {
                    continue;
                }
                let (number, protocol) = match &egress.port {
                    None => (port.number, port.protocol),
                    Some(own) if own.protocol == Protocol::HttpProxy || own.number == 0 => {
                        (own.number, own.protocol)
                    }
                    Some(own) if own.number == port.number => (own.number, own.protocol),
                    Some(_) => continue,
                };
                self.add_port(
                    index,
                    real,
                    bind.as_ref(),
                    service,
                    port,
                    (number, protocol),
                );
            }
        }
    }

    fn explicit_bind(&self, egress: &EgressListener) -> Option<Bind> {
        let text = egress.bind.as_deref().filter(|text| !text.is_empty())?;
        match Address::parse(text) {
            Address::Ip(ip) => Some(Bind::Ip(ip)),
            Address::Pipe(path) => Some(Bind::Pipe(path)),
            Address::Cidr(_) | Address::Host(_) => None,
        }
    }

    fn is_real(&self, egress: &EgressListener, bind: Option<&Bind>) -> bool {
        egress.capture_mode == CaptureMode::None
            || self.input.proxy.interception == Interception::None
            || matches!(bind, Some(Bind::Pipe(_)))
    }

    /// Places one service port on the listener of its bind address, or of each of its own.
    fn add_port(
        &mut self,
        egress: usize,
        real: bool,
        bind: Option<&Bind>,
        service: &Arc<Service>,
        port: &ServicePort,
        (number, protocol): (u16, Protocol),
    ) {
        let place = |bind, address| Incoming {
            service,
            port,
            protocol,
            bind,
            number,
            address,
        };
        let wildcard = Bind::Ip(xds::wildcard(self.ipv4()));
        let addresses = self.virtual_addresses(service);
        if let Some(bind) = bind {
            return self.place(
                egress,
                real,
                place(bind.clone(), addresses.first().cloned()),
            );
        }
        if protocol.is_http() {
            return self.place(egress, real, place(wildcard, None));
        }
        if addresses.is_empty() {
            if service.resolution == Resolution::Passthrough && !self.stands_for_all(service, port)
            {
                for ip in self.endpoint_ips(service, port) {
                    let address = Some(Address::Ip(ip));
                    self.place(egress, real, place(Bind::Ip(ip), address));
                }
                return;
            }
            return self.place(egress, real, place(wildcard, None));
        }
        for address in addresses {
            let bind = match &address {
                Address::Ip(ip) => Bind::Ip(*ip),
                _ => wildcard.clone(),
            };
            self.place(egress, real, place(bind, Some(address)));
        }
    }

    /// Addresses of the proxy's families. A Kubernetes service has its first one only: others are
    /// of the second family, which needs dual-stack listeners.
    fn virtual_addresses(&self, service: &Service) -> Vec<Address> {
        let families = self.input.proxy.ip_mode;
        let fits = |ip: &IpAddr| match families {
            IpMode::V4 => ip.is_ipv4(),
            IpMode::V6 => ip.is_ipv6(),
            IpMode::Dual => true,
        };
        let most = if service.registry == Registry::Kubernetes {
            1
        } else {
            usize::MAX
        };
        service
            .addresses
            .iter()
            .filter(|address| match address {
                Address::Ip(ip) => !ip.is_unspecified() && fits(ip),
                Address::Cidr(cidr) => fits(&cidr.ip),
                Address::Host(_) | Address::Pipe(_) => false,
            })
            .take(most)
            .cloned()
            .collect()
    }

    /// True for a `NONE` service entry that names no workloads: any address may be meant.
    fn stands_for_all(&self, service: &Service, port: &ServicePort) -> bool {
        service.registry == Registry::ServiceEntry
            && service.selector.is_empty()
            && self
                .input
                .snapshot
                .endpoints(&service.key)
                .is_none_or(|endpoints| endpoints.of_port(&port.name).is_empty())
    }

    /// Addresses behind a headless service, ready or not, without the proxy's own.
    fn endpoint_ips(&self, service: &Service, port: &ServicePort) -> BTreeSet<IpAddr> {
        let families = self.input.proxy.ip_mode;
        let endpoints = self.input.snapshot.endpoints(&service.key);
        endpoints
            .into_iter()
            .flat_map(|endpoints| endpoints.of_port(&port.name))
            .filter_map(|endpoint| endpoint.address.ip())
            .filter(|ip| families == IpMode::Dual || ip.is_ipv4() == (families == IpMode::V4))
            .filter(|ip| !self.input.proxy.own_headless.contains(ip))
            .collect()
    }

    /// Adds to the listener at the address, or starts it.
    fn place(&mut self, egress: usize, real: bool, incoming: Incoming<'_>) {
        let reserved = self
            .input
            .proxy
            .reserved_ports
            .binary_search(&incoming.number)
            .is_ok();
        if reserved && incoming.bind.is_wildcard() {
            return;
        }
        let key = (incoming.bind.clone(), incoming.number);
        let family = incoming.family();
        let exclusive = matches!(incoming.protocol, Protocol::Mongo | Protocol::MySql)
            .then_some(incoming.protocol);
        let Some(draft) = self.drafts.get_mut(&key) else {
            let chains = incoming.chains();
            if chains.is_empty() {
                self.problems.push(unmatchable(&incoming));
                return;
            }
            self.add_route(egress, &incoming);
            let draft = Draft {
                egress,
                family,
                exclusive,
                protocol: incoming.protocol,
                real,
                chains,
                owner: incoming.service.clone(),
            };
            self.drafts.insert(key, draft);
            return;
        };
        if draft.egress != egress {
            return;
        }
        if (exclusive.is_some() || draft.exclusive.is_some()) && draft.protocol != incoming.protocol
        {
            self.problems.push(conflict(
                &incoming,
                &draft.owner,
                "their protocols can't share it",
            ));
            return;
        }
        let mut added = match (draft.family, family) {
            // Its virtual host arrives with the routes.
            (Family::Auto | Family::Http, Family::Http) => {
                return self.add_route(egress, &incoming);
            }
            (Family::Http, Family::Auto) => {
                draft.chains.clear();
                draft.family = Family::Auto;
                incoming.chains()
            }
            (Family::Auto, Family::Auto) => {
                let mut chains = incoming.chains();
                chains.retain(|chain| matches!(chain.target, Target::Tcp(_)));
                if chains.is_empty() {
                    return self.add_route(egress, &incoming);
                }
                chains
            }
            (Family::Auto | Family::Http, Family::Tcp) => incoming.chains(),
            (Family::Tcp, Family::Tcp) => incoming.chains(),
            (Family::Tcp, Family::Http | Family::Auto) => {
                draft.family = Family::Auto;
                let mut chains = incoming.chains();
                for chain in &mut chains {
                    if matches!(chain.target, Target::Http { .. }) {
                        chain.matches.plaintext_http = true;
                    }
                }
                chains
            }
        };
        if added.is_empty() {
            self.problems.push(unmatchable(&incoming));
            return;
        }
        added.retain(|chain| {
            let taken = draft
                .chains
                .iter()
                .any(|known| known.matches == chain.matches);
            if taken && matches!(chain.target, Target::Tcp(_)) {
                self.problems.push(conflict(
                    &incoming,
                    &draft.owner,
                    "the older one gets the traffic",
                ));
            }
            !taken
        });
        draft.chains.extend(added);
        self.add_route(egress, &incoming);
    }

    fn add_route(&mut self, egress: usize, incoming: &Incoming<'_>) {
        if !(incoming.protocol.is_http() || incoming.protocol.is_auto()) {
            return;
        }
        let (name, alone) = incoming.route();
        let number = incoming.number;
        let source = if alone {
            RouteSource::Single {
                service: incoming.service.clone(),
                number: incoming.port.number,
            }
        } else if number == 0 || incoming.protocol == Protocol::HttpProxy {
            RouteSource::AllPorts { egress }
        } else {
            RouteSource::Port { egress, number }
        };
        self.routes.entry(name).or_insert(source);
    }

    fn http_proxy(
        &mut self,
        port: u16,
        fallback: &Arc<str>,
        defaults: &Arc<ListenerDefaults>,
    ) -> OutboundListener {
        let egress = self
            .input
            .scope
            .egress
            .iter()
            .position(|egress| egress.port.is_none())
            .unwrap_or(usize::MAX);
        let route: Arc<str> = Arc::from(names::HTTP_PROXY);
        self.routes
            .insert(route.clone(), RouteSource::AllPorts { egress });
        let bind = Bind::Ip(xds::loopback(self.ipv4()));
        OutboundListener {
            name: bind.listener_name(port),
            bind,
            port,
            real: true,
            chains: vec![Chain {
                matches: ChainMatch::default(),
                target: Target::Http {
                    route,
                    grpc_web: false,
                    absolute_url: true,
                },
            }],
            fallback: fallback.clone(),
            defaults: defaults.clone(),
        }
    }
}

fn conflict(incoming: &Incoming<'_>, owner: &Service, outcome: &str) -> Problem {
    let place = incoming.bind.listener_name(incoming.number);
    let reason = format!(
        "port {}: listener {place} belongs to {}; {outcome}",
        incoming.port.number, owner.key
    );
    Problem::warning("listener-conflict", reason).of(&incoming.service.object)
}

fn unmatchable(incoming: &Incoming<'_>) -> Problem {
    let reason = format!(
        "port {}: the host can't be matched as a TLS server name, so it has no listener",
        incoming.port.number
    );
    Problem::warning("listener-conflict", reason).of(&incoming.service.object)
}
