//! How services that meet at one address and port share a listener.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::{ObjectKey, Problem};
use reef_mesh::{Protocol, Service};

use super::chain::{Brought, Family, Incoming, Placed};
use super::chains::Chains;
use super::plan::RouteSource;
use super::rules::Routes;
use super::{Bind, ListenerDefaults, OutboundListener, Target};

/// Most pairs of a name and a range that rules' chains of a class match. A rule with many hosts at
/// addresses of their own and many matches has all matches at every address.
const MOST_PAIRS: usize = 200_000;

/// The listeners as far as services were placed.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    drafts: BTreeMap<(Bind, u16), Draft>,
    pub routes: BTreeMap<Arc<str>, RouteSource>,
    pub problems: Vec<Problem>,
    /// Pairs of a name and a range that rules' chains match, and the rules told of.
    pairs: usize,
    over: BTreeSet<ObjectKey>,
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
    chains: Chains,
    /// Rules whose TLS routes are among the chains.
    placed: Placed,
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
                chains: std::mem::take(&mut draft.chains).into_list(),
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

    /// Takes away rules that would match more than a class may hold.
    fn afford(&mut self, incoming: &mut Incoming<'_>) {
        let key = (incoming.bind.clone(), incoming.number);
        let draft = self.drafts.get(&key);
        if draft.is_some_and(|draft| draft.locked) {
            return;
        }
        let range = incoming.range();
        let egress = incoming.egress;
        let is_there =
            |rule: usize| draft.is_some_and(|draft| draft.placed.contains(&(egress, rule, range)));
        let (pairs, over, problems) = (&mut self.pairs, &mut self.over, &mut self.problems);
        let mut affords = |routes: &Routes| {
            let sum = pairs.saturating_add(routes.pairs);
            if sum <= MOST_PAIRS {
                *pairs = sum;
                return true;
            }
            let object = routes
                .list
                .first()
                .and_then(|route| route.forward.rule.as_ref());
            if let Some(object) = object.filter(|object| over.insert((*object).clone())) {
                let reason = format!(
                    "its hosts and matches make more than {MOST_PAIRS} pairs of a server name and a \
                     range for one proxy; some hosts are not routed by it"
                );
                problems.push(Problem::error("rule-too-large", reason).of(object));
            }
            false
        };
        incoming
            .tls
            .retain(|(rule, routes)| is_there(*rule) || affords(routes));
        incoming.tcp.retain(|(_, routes)| affords(routes));
    }

    /// Adds to the listener at the address, or starts it.
    pub(crate) fn place(&mut self, mut incoming: Incoming<'_>) {
        self.afford(&mut incoming);
        let key = (incoming.bind.clone(), incoming.number);
        let Some(draft) = self.drafts.get_mut(&key) else {
            let mut placed = Placed::default();
            let brought = incoming.chains(&mut placed).chains;
            if brought.is_empty() {
                self.problems.push(unmatchable(&incoming));
                return;
            }
            let mut chains = Chains::default();
            chains.add(brought);
            let draft = Draft {
                locked: false,
                family: incoming.family(),
                exclusive: incoming.exclusive(),
                protocol: incoming.protocol,
                real: incoming.real,
                extra: incoming.extra.clone().into(),
                chains,
                placed,
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
                let mut brought = incoming.chains(&mut self.placed);
                let before = brought.chains.len();
                brought
                    .chains
                    .retain(|chain| matches!(chain.target, Target::Tcp(_)));
                let mut told = Vec::new();
                if brought.chains.len() < before {
                    told = self.join_routes(incoming);
                }
                if !brought.chains.is_empty() {
                    let lost = self.merge(incoming, brought);
                    // Who loses all needs no word on the HTTP part.
                    told = if lost.is_empty() { told } else { lost };
                }
                told
            }
            (Family::Auto | Family::Http, Family::Tcp) => {
                self.family = Family::Auto;
                let brought = incoming.chains(&mut self.placed);
                self.merge(incoming, brought)
            }
            (Family::Tcp, Family::Tcp) => {
                let brought = incoming.chains(&mut self.placed);
                self.merge(incoming, brought)
            }
            (Family::Tcp, Family::Http | Family::Auto) => {
                self.family = Family::Auto;
                let mut brought = incoming.chains(&mut self.placed);
                for chain in &mut brought.chains {
                    if matches!(chain.target, Target::Http { .. }) {
                        chain.matches.plaintext_http = true;
                    }
                }
                self.merge(incoming, brought)
            }
        }
    }

    /// True while nothing but declared HTTP is there.
    fn is_plain_http(&self) -> bool {
        self.chains.are_http()
    }

    /// HTTP that needs no chain: the one that is there must route by the same routes.
    fn join_routes(&mut self, incoming: &Incoming<'_>) -> Vec<Problem> {
        let (name, _) = incoming.route();
        if self.chains.join(&name, incoming.caches()) {
            return Vec::new();
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
        self.placed.clear();
        self.chains = Chains::default();
        self.chains.add(incoming.chains(&mut self.placed).chains);
        self.family = Family::Auto;
        self.protocol = incoming.protocol;
        self.owner = incoming.service.clone();
        vec![Problem::warning("listener-conflict", reason).of(&loser)]
    }

    /// Adds what of the chains matches something no other does.
    fn merge(&mut self, incoming: &Incoming<'_>, brought: Brought) -> Vec<Problem> {
        if brought.chains.is_empty() {
            let told = (!brought.again).then(|| unmatchable(incoming));
            return told.into_iter().collect();
        }
        let lost = self.chains.add(brought.chains);
        let outcome = "the older one gets the traffic";
        lost.then(|| conflict(incoming, &self.owner, outcome))
            .into_iter()
            .collect()
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
