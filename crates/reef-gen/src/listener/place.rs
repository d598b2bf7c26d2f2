//! How services that meet at one address and port share a listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::Problem;
use reef_mesh::{Protocol, Service};

use super::chain::{Family, Incoming};
use super::plan::RouteSource;
use super::{Bind, Chain, ListenerDefaults, OutboundListener, Target};

/// The listeners as far as services were placed.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    drafts: BTreeMap<(Bind, u16), Draft>,
    pub routes: BTreeMap<Arc<str>, RouteSource>,
    pub problems: Vec<Problem>,
}

/// A listener while services are added to it.
#[derive(Debug)]
struct Draft {
    /// Takes no more services.
    locked: bool,
    family: Family,
    /// Set if the protocol shares its address with no other.
    exclusive: Option<Protocol>,
    protocol: Protocol,
    real: bool,
    extra: Box<[std::net::IpAddr]>,
    chains: Vec<Chain>,
    owner: Arc<Service>,
}

impl Drafts {
    /// Closes all listeners there are.
    pub(crate) fn lock(&mut self) {
        for draft in self.drafts.values_mut() {
            draft.locked = true;
        }
    }

    /// The listeners in order of address and port.
    pub(crate) fn listeners(
        &mut self,
        fallback: &Arc<str>,
        defaults: &Arc<ListenerDefaults>,
    ) -> impl Iterator<Item = OutboundListener> {
        self.drafts
            .iter_mut()
            .map(|((bind, port), draft)| OutboundListener {
                name: bind.listener_name(*port),
                bind: bind.clone(),
                port: *port,
                extra: std::mem::take(&mut draft.extra),
                real: draft.real,
                chains: std::mem::take(&mut draft.chains),
                fallback: fallback.clone(),
                defaults: defaults.clone(),
            })
    }

    /// What is wrong with putting the explicit HTTP proxy here, if there is a listener already.
    pub(crate) fn taken(&self, bind: &Bind, port: u16) -> Option<Problem> {
        let draft = self.drafts.get(&(bind.clone(), port))?;
        let reason = format!(
            "the HTTP proxy is left out: listener {} belongs to {}",
            bind.listener_name(port),
            draft.owner.key
        );
        Some(Problem::warning("listener-conflict", reason))
    }

    /// Adds to the listener at the address, or starts it.
    pub(crate) fn place(&mut self, incoming: Incoming<'_>) {
        let key = (incoming.bind.clone(), incoming.number);
        let Some(draft) = self.drafts.get_mut(&key) else {
            let chains = incoming.chains();
            if chains.is_empty() {
                self.problems.push(unmatchable(&incoming));
                return;
            }
            let draft = Draft {
                locked: false,
                family: incoming.family(),
                exclusive: incoming.exclusive(),
                protocol: incoming.protocol,
                real: incoming.real,
                extra: incoming.extra.clone().into(),
                chains,
                owner: incoming.service.clone(),
            };
            self.drafts.insert(key, draft);
            self.add_route(&incoming);
            return;
        };
        if draft.locked {
            return;
        }
        let told = draft.add(&incoming);
        self.problems.extend(told);
        self.add_route(&incoming);
    }

    fn add_route(&mut self, incoming: &Incoming<'_>) {
        if !(incoming.protocol.is_http() || incoming.protocol.is_auto()) {
            return;
        }
        let (name, alone) = incoming.route();
        let (egress, number) = (incoming.egress, incoming.number);
        let source = if alone {
            RouteSource::Single {
                service: incoming.service.clone(),
                number: incoming.port.number,
            }
        } else if incoming.all_ports {
            RouteSource::AllPorts { egress }
        } else {
            RouteSource::Port { egress, number }
        };
        self.routes.entry(name).or_insert(source);
    }
}

impl Draft {
    /// Adds what a service port brings and tells what can't be.
    fn add(&mut self, incoming: &Incoming<'_>) -> Vec<Problem> {
        let exclusive = incoming.exclusive();
        if (exclusive.is_some() || self.exclusive.is_some()) && self.protocol != incoming.protocol {
            return vec![conflict(
                incoming,
                &self.owner,
                "their protocols can't share it",
            )];
        }
        match (self.family, incoming.family()) {
            // Its virtual host arrives with the routes, if they are the port's.
            (Family::Auto | Family::Http, Family::Http) => self.join_routes(incoming),
            (Family::Http, Family::Auto) if self.is_plain_http() => self.replace(incoming),
            (Family::Http | Family::Auto, Family::Auto) => {
                let brought = incoming.chains();
                let (http, tcp): (Vec<Chain>, Vec<Chain>) = brought
                    .into_iter()
                    .partition(|chain| matches!(chain.target, Target::Http { .. }));
                let mut told = Vec::new();
                if !http.is_empty() {
                    told = self.join_routes(incoming);
                }
                if !tcp.is_empty() {
                    let lost = self.merge(incoming, tcp);
                    // Who loses all needs no word on the HTTP part.
                    told = if lost.is_empty() { told } else { lost };
                }
                told
            }
            (Family::Auto | Family::Http, Family::Tcp) => {
                self.family = Family::Auto;
                self.merge(incoming, incoming.chains())
            }
            (Family::Tcp, Family::Tcp) => self.merge(incoming, incoming.chains()),
            (Family::Tcp, Family::Http | Family::Auto) => {
                self.family = Family::Auto;
                let mut chains = incoming.chains();
                for chain in &mut chains {
                    if matches!(chain.target, Target::Http { .. }) {
                        chain.matches.plaintext_http = true;
                    }
                }
                self.merge(incoming, chains)
            }
        }
    }

    /// True while nothing but declared HTTP is there.
    fn is_plain_http(&self) -> bool {
        self.chains
            .iter()
            .all(|chain| matches!(chain.target, Target::Http { .. }))
    }

    /// HTTP that needs no chain: the one that is there must route by the same routes.
    fn join_routes(&mut self, incoming: &Incoming<'_>) -> Vec<Problem> {
        let (name, _) = incoming.route();
        for chain in &mut self.chains {
            if let Target::Http { route, caches, .. } = &mut chain.target
                && *route == name
            {
                for cache in incoming.caches() {
                    if !caches.contains(&cache) {
                        caches.push(cache);
                    }
                }
                return Vec::new();
            }
        }
        vec![conflict(incoming, &self.owner, "it gets the HTTP requests")]
    }

    /// An undeclared port takes over a listener of declared HTTP.
    fn replace(&mut self, incoming: &Incoming<'_>) -> Vec<Problem> {
        let reason = format!(
            "listener {} is taken over by {}, whose port {} has no declared protocol",
            incoming.bind.listener_name(incoming.number),
            incoming.service.key,
            incoming.port.number,
        );
        let loser = self.owner.object.clone();
        self.chains = incoming.chains();
        self.family = Family::Auto;
        self.protocol = incoming.protocol;
        self.owner = incoming.service.clone();
        vec![Problem::warning("listener-conflict", reason).of(&loser)]
    }

    /// Adds chains that match something no other does.
    fn merge(&mut self, incoming: &Incoming<'_>, chains: Vec<Chain>) -> Vec<Problem> {
        if chains.is_empty() {
            return vec![unmatchable(incoming)];
        }
        let mut told = Vec::new();
        for mut chain in chains {
            if self.leaves_names(&mut chain) {
                self.chains.push(chain);
            } else if matches!(chain.target, Target::Tcp { .. }) {
                let outcome = "the older one gets the traffic";
                told.push(conflict(incoming, &self.owner, outcome));
            }
        }
        told
    }

    /// Takes away server names other chains match, and says whether the chain is still of use:
    /// Envoy refuses two chains for one name.
    fn leaves_names(&self, chain: &mut Chain) -> bool {
        let rivals = || {
            self.chains.iter().filter(|known| {
                known.matches.plaintext_http == chain.matches.plaintext_http
                    && known.matches.range == chain.matches.range
            })
        };
        if chain.matches.server_names.is_empty() {
            return rivals().all(|known| !known.matches.server_names.is_empty());
        }
        let left: Box<[Arc<str>]> = chain
            .matches
            .server_names
            .iter()
            .filter(|name| !rivals().any(|known| known.matches.server_names.contains(name)))
            .cloned()
            .collect();
        chain.matches.server_names = left;
        !chain.matches.server_names.is_empty()
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
