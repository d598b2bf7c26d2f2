//! Which service ports an egress listener places where.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::Problem;
use reef_mesh::{
    Address, Interception, IpMode, Protocol, Registry, Resolution, Service, ServicePort,
};
use reef_scope::{CaptureMode, EgressListener, ListenerPort};

use super::Bind;
use super::chain::Incoming;
use super::place::Drafts;
use super::rules::{Routes, Rules};
use crate::input::{ClassInput, has_cluster};
use crate::xds;

/// Ports below this one need a privilege to be bound.
pub(super) const FIRST_UNPRIVILEGED: u16 = 1024;

/// One egress listener while its services are placed.
struct Egress<'a> {
    index: usize,
    own: &'a EgressListener,
    /// Binds real sockets.
    real: bool,
    /// Where all its services meet, if not at addresses of their own.
    bind: Option<Bind>,
    /// The first family's address was chosen for it, so the second family's is added.
    both_loopbacks: bool,
}

/// TLS routes by rule, and TCP routes.
type Routed = (Vec<(usize, Arc<Routes>)>, Vec<(usize, Arc<Routes>)>);

/// Places the services of egress listeners.
pub(crate) struct Planner<'a> {
    pub input: &'a ClassInput,
    pub drafts: Drafts,
    /// Only what listens at these addresses and ports, if not everything.
    pub only: Option<Places>,
}

/// Addresses and ports.
pub(crate) type Places = BTreeSet<(Bind, u16)>;

impl Planner<'_> {
    fn ipv4(&self) -> bool {
        self.input.proxy.ip_mode != IpMode::V6
    }

    fn dual(&self) -> bool {
        self.input.proxy.ip_mode == IpMode::Dual
    }

    /// Places all services of an egress listener.
    pub(crate) fn add_egress(&mut self, index: usize, own: &EgressListener) {
        let declared = match self.declared_bind(index, own) {
            Ok(declared) => declared,
            Err(problem) => return self.drafts.problems.push(problem),
        };
        if own.port.is_none() {
            // What earlier listeners made stays as it is.
            self.drafts.lock();
        }
        let egress = self.opened(index, own, declared);
        if let (Some(port), Some(bind)) = (&own.port, &egress.bind)
            && is_for_all_ports(port)
            && (port.protocol.is_http() || port.protocol.is_auto())
        {
            let name = bind.listener_name(port.number);
            self.drafts.problems.push(only_default_port(&name));
        }
        // Who asks for some places knows that no rule decides there.
        let mut rules = match &self.only {
            Some(_) => Rules::default(),
            None => Rules::new(&own.virtual_services),
        };
        let only = self.only.clone();
        let auto = self.input.proxy.auto_addresses;
        for service in &own.services {
            let at_some = |port: &ServicePort| {
                let only = only.as_ref();
                let here = |bind: &Bind| bind.is_wildcard() || may_listen(service, bind, auto);
                only.is_none_or(|only| {
                    let mut only = only.iter();
                    only.any(|(bind, number)| *number == port.number && here(bind))
                })
            };
            if !service.ports.iter().any(at_some) {
                continue;
            }
            let of_host = rules.of_host(&service.key.hostname);
            for port in &service.ports {
                if !has_cluster(service, port) || !at_some(port) {
                    continue;
                }
                let (number, protocol) = match &own.port {
                    None => (port.number, port.protocol),
                    Some(own) if is_for_all_ports(own) => (own.number, own.protocol),
                    Some(own) if own.number == port.number => (own.number, own.protocol),
                    Some(_) => continue,
                };
                self.drafts
                    .problems
                    .extend(self.without_cluster(service, port));
                let routed = self.routed(&mut rules, &of_host, number, protocol);
                self.add_port(&egress, service, port, (number, protocol), &routed);
            }
        }
    }

    /// An egress listener with the address it names.
    fn opened<'o>(
        &self,
        index: usize,
        own: &'o EgressListener,
        declared: Option<Bind>,
    ) -> Egress<'o> {
        let real = own.capture_mode == CaptureMode::None
            || self.input.proxy.interception == Interception::None
            || matches!(declared, Some(Bind::Pipe(_)));
        Egress {
            index,
            own,
            real,
            both_loopbacks: declared.is_none() && real,
            bind: declared.or_else(|| real.then(|| Bind::Ip(xds::loopback(self.ipv4())))),
        }
    }

    /// Where the ports of a service listen by an egress listener for all ports.
    pub(crate) fn places_of(&self, own: &EgressListener, service: &Service) -> Places {
        let egress = self.opened(0, own, None);
        let ports = service.ports.iter();
        ports
            .filter(|port| has_cluster(service, port))
            .flat_map(|port| {
                let places = self.places(&egress, service, port, port.protocol);
                places.into_iter().map(|(bind, ..)| (bind, port.number))
            })
            .collect()
    }

    /// What is wrong if another service of the same host has the cluster's name, as it was imported
    /// by an earlier listener.
    fn without_cluster(&self, service: &Service, port: &ServicePort) -> Option<Problem> {
        let known = &self.input.scope.service(&service.key.hostname)?.service;
        if known.key == service.key {
            return None;
        }
        let reason = format!(
            "port {} has no cluster of its own: the host is that of {}, which an earlier egress \
             listener imports",
            port.number, known.key
        );
        Some(Problem::warning("host-conflict", reason).of(&service.object))
    }

    /// The address an egress listener names.
    fn declared_bind(&self, index: usize, own: &EgressListener) -> Result<Option<Bind>, Problem> {
        let Some(text) = own.bind.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match Address::parse(text) {
            Address::Ip(ip) => Ok(Some(Bind::Ip(ip))),
            Address::Pipe(path) => Ok(Some(Bind::Pipe(path))),
            Address::Cidr(_) | Address::Host(_) => {
                let reason = format!(
                    "`{text}` is neither an address nor a socket, so the listener is left out"
                );
                let problem = Problem::error("sidecar-egress", reason)
                    .field(format!("spec.egress[{index}].bind"));
                Err(match &self.input.scope.sidecar {
                    Some(sidecar) => problem.of(&sidecar.object),
                    None => problem,
                })
            }
        }
    }

    /// What the rules for a host mean for a port of it.
    fn routed(
        &mut self,
        rules: &mut Rules,
        of_host: &[usize],
        number: u16,
        protocol: Protocol,
    ) -> Routed {
        let (input, problems) = (self.input, &mut self.drafts.problems);
        let mut routed = Routed::default();
        if protocol.is_http() {
            return routed;
        }
        for rule in of_host {
            if protocol.is_tls() {
                let routes = rules.tls(input, *rule, number, problems);
                routed.0.push((*rule, routes));
            } else {
                let routes = rules.tcp(input, *rule, (number, protocol), problems);
                routed.1.push((*rule, routes));
            }
        }
        routed
    }

    /// Places one service port on the listener of the egress listener's address, or of each of its
    /// own.
    fn add_port(
        &mut self,
        egress: &Egress<'_>,
        service: &Arc<Service>,
        port: &ServicePort,
        (number, protocol): (u16, Protocol),
        (tls, tcp): &Routed,
    ) {
        if let Some(why) = self.skipped(egress, number, protocol) {
            let reason = format!("port {number}: {why}, so it has no listener");
            let problem = Problem::warning("listener-skipped", reason);
            return self.drafts.problems.push(problem.of(&service.object));
        }
        for (bind, extra, address) in self.places(egress, service, port, protocol) {
            let only = self.only.as_ref();
            if only.is_some_and(|only| !only.contains(&(bind.clone(), number))) {
                continue;
            }
            let incoming = Incoming {
                service,
                port,
                protocol,
                bind,
                extra,
                number,
                address,
                real: egress.real,
                all_ports: egress.own.port.as_ref().is_some_and(is_for_all_ports),
                egress: egress.index,
                tls: tls.clone(),
                tcp: tcp.clone(),
                input: self.input,
            };
            self.drafts.place(incoming);
        }
    }

    /// Why a port has no listener: the proxy itself listens there, or may not bind it.
    fn skipped(
        &self,
        egress: &Egress<'_>,
        number: u16,
        protocol: Protocol,
    ) -> Option<&'static str> {
        let proxy = &self.input.proxy;
        if egress.real && proxy.unprivileged && (1..FIRST_UNPRIVILEGED).contains(&number) {
            return Some("the pod has no right to bind it");
        }
        let for_all = match &egress.bind {
            Some(bind) => bind.is_wildcard(),
            None => protocol.is_http(),
        };
        (for_all && proxy.reserved_ports.binary_search(&number).is_ok())
            .then_some("the proxy itself uses it")
    }

    /// Where a service port listens: addresses of a listener and the service's address behind it.
    fn places(
        &self,
        egress: &Egress<'_>,
        service: &Service,
        port: &ServicePort,
        protocol: Protocol,
    ) -> Vec<(Bind, Vec<IpAddr>, Option<Address>)> {
        let second = |wanted: bool| Vec::from_iter((wanted && self.dual()).then(second_of));
        let addresses = self.virtual_addresses(service);
        if let Some(bind) = &egress.bind {
            let extra = if egress.both_loopbacks && self.dual() {
                vec![xds::loopback(false)]
            } else {
                Vec::new()
            };
            let ip = addresses.into_iter().find(|it| it.ip().is_some());
            return vec![(bind.clone(), extra, ip)];
        }
        let wildcard = Bind::Ip(xds::wildcard(self.ipv4()));
        let everywhere = || vec![(wildcard.clone(), second(true), None)];
        if protocol.is_http() {
            return everywhere();
        }
        if addresses.is_empty() {
            // At addresses of the other family only nobody can ask for it.
            if self.addresses(service).iter().any(is_specific) {
                return Vec::new();
            }
            if service.resolution == Resolution::Passthrough && !self.stands_for_all(service, port)
            {
                let ips = self.endpoint_ips(service, port).into_iter();
                return ips
                    .map(|ip| (Bind::Ip(ip), Vec::new(), Some(Address::Ip(ip))))
                    .collect();
            }
            return everywhere();
        }
        if service.registry == Registry::Kubernetes {
            let mut ips = addresses.iter().filter_map(Address::ip);
            let first = ips.next().map(|ip| (Bind::Ip(ip), Some(Address::Ip(ip))));
            return first
                .map(|(bind, address)| (bind, ips.collect(), address))
                .into_iter()
                .collect();
        }
        let place = |address: Address| match address.ip() {
            Some(ip) => (Bind::Ip(ip), Vec::new(), Some(address)),
            None => (wildcard.clone(), second(true), Some(address)),
        };
        addresses.into_iter().map(place).collect()
    }

    /// Addresses of the proxy's families.
    fn virtual_addresses(&self, service: &Service) -> Vec<Address> {
        let fits = |ip: &IpAddr| match self.input.proxy.ip_mode {
            IpMode::V4 => ip.is_ipv4(),
            IpMode::V6 => ip.is_ipv6(),
            IpMode::Dual => true,
        };
        let usable = |address: &&Address| match address {
            Address::Ip(ip) => is_specific(address) && fits(ip),
            Address::Cidr(cidr) => fits(&cidr.ip),
            Address::Host(_) | Address::Pipe(_) => false,
        };
        self.addresses(service)
            .iter()
            .filter(usable)
            .cloned()
            .collect()
    }

    /// Its addresses as far as the proxy knows them.
    fn addresses<'a>(&self, service: &'a Service) -> &'a [Address] {
        service.virtual_addresses(self.input.proxy.auto_addresses)
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
}

/// False if no port of a service listens at an address for sure: it has others. `auto` counts
/// addresses found for services that declare none.
fn may_listen(service: &Service, bind: &Bind, auto: bool) -> bool {
    let Bind::Ip(ip) = bind else { return true };
    let addresses = service.virtual_addresses(auto);
    let is_ip = |address: &Address| matches!(address, Address::Ip(_));
    addresses.is_empty()
        || ip.is_loopback()
        || !addresses.iter().all(is_ip)
        || addresses.contains(&Address::Ip(*ip))
}

/// True if an egress listener leads to every port of its services.
fn is_for_all_ports(port: &ListenerPort) -> bool {
    port.number == 0 || port.protocol == Protocol::HttpProxy
}

/// Envoy ignores the port of a host in all route configurations, as istiod tells it to; so the
/// forms with a port never match where services of all ports meet.
pub(crate) fn only_default_port(listener: &str) -> Problem {
    let reason = format!(
        "listener {listener}: HTTP services are reached at port 80 only, as Envoy ignores the port \
         of a host (so does istiod's configuration)"
    );
    Problem::warning("http-proxy", reason)
}

/// The wildcard address of the second family of a proxy that has both.
fn second_of() -> IpAddr {
    xds::second_wildcard(true)
}

/// True unless it stands for any address.
fn is_specific(address: &Address) -> bool {
    match address {
        Address::Ip(ip) => !ip.is_unspecified(),
        Address::Cidr(_) => true,
        Address::Host(_) | Address::Pipe(_) => false,
    }
}
