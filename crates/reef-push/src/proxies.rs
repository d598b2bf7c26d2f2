//! The connected proxies, found by what a change can name, so that a change costs those it may concern and not all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::names::Namespace;
use reef_config::{Kind, ObjectKey};
use reef_mesh::{ChangeReport, MeshSnapshot, ProxyIdentity};

use crate::plan::{ClassId, ProxyId};

/// A connected proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) identity: ProxyIdentity,
    pub(crate) class: ClassId,
}

/// Something a change can name and a proxy can be at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Namespace(Namespace),
    Pod(Namespace, Arc<str>),
    /// A service without selector is served by its addresses.
    Address(IpAddr),
    Node(Arc<str>),
}

/// All connected proxies and where they are.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    /// Boxed: leaves of the tree are half empty, as proxies come in order.
    all: BTreeMap<ProxyId, Box<Proxy>>,
    at: BTreeMap<Place, BTreeSet<ProxyId>>,
}

impl Proxies {
    pub(crate) fn insert(&mut self, id: ProxyId, proxy: Proxy) {
        for place in places(&proxy.identity) {
            self.at.entry(place).or_default().insert(id);
        }
        self.all.insert(id, Box::new(proxy));
    }

    pub(crate) fn remove(&mut self, id: ProxyId) -> Option<Proxy> {
        let gone = *self.all.remove(&id)?;
        for place in places(&gone.identity) {
            if let Some(here) = self.at.get_mut(&place) {
                here.remove(&id);
                if here.is_empty() {
                    self.at.remove(&place);
                }
            }
        }
        Some(gone)
    }

    pub(crate) fn get(&self, id: ProxyId) -> Option<&Proxy> {
        self.all.get(&id).map(|proxy| &**proxy)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// In order of arrival.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ProxyId> {
        self.all.keys().copied()
    }

    /// Those for whom a change can alter who they are, which scope they have or what they serve.
    pub(crate) fn touched(
        &self,
        before: &MeshSnapshot,
        after: &MeshSnapshot,
        report: &ChangeReport,
    ) -> BTreeSet<ProxyId> {
        let root = &after.settings().root_namespace;
        // What these say of a proxy, its scope says: it is asked for the proxies of its classes.
        let scoped =
            |key: &&ObjectKey| matches!(key.kind, Kind::VirtualService | Kind::DestinationRule);
        let rules = || {
            let others = report.rules.iter().filter(move |key| !scoped(key));
            report.sidecars.iter().chain(others)
        };
        let (old, new) = (before.network_gateways(), after.network_gateways());
        if report.settings
            || new.has_other_networks(old)
            || rules().any(|key| key.namespace == *root)
        {
            return self.ids().collect();
        }
        let namespaces = rules()
            .map(|key| &key.namespace)
            .chain(report.services.iter().map(|key| &key.namespace))
            .chain(&report.namespaces)
            .cloned()
            .map(Place::Namespace);
        let pods = report
            .proxies
            .iter()
            .map(|(ns, name)| Place::Pod(ns.clone(), Arc::clone(name)));
        let nodes = report.nodes.iter().cloned().map(Place::Node);
        // Ports decide too who serves an address, so every address counts, not only those that differ.
        let addresses = report
            .endpoints
            .iter()
            .flat_map(|key| [before, after].map(|snapshot| snapshot.endpoints(key)))
            .flatten()
            .flat_map(|all| all.iter())
            .filter_map(|endpoint| endpoint.address.ip())
            .chain(report.addresses.iter().copied())
            .map(Place::Address);
        let touched: BTreeSet<Place> = namespaces
            .chain(pods)
            .chain(nodes)
            .chain(addresses)
            .collect();
        touched
            .iter()
            .filter_map(|place| self.at.get(place))
            .flatten()
            .copied()
            .collect()
    }
}

/// Where a proxy is; each place once.
fn places(identity: &ProxyIdentity) -> BTreeSet<Place> {
    let pod = identity.metadata.pod.as_ref();
    let namespace = Place::Namespace(identity.namespace.clone());
    let of_pod = pod.into_iter().flat_map(|(ns, name)| {
        [
            Place::Namespace(ns.clone()),
            Place::Pod(ns.clone(), Arc::clone(name)),
        ]
    });
    let address = identity.ips.first().copied().map(Place::Address);
    let node = identity.node_name.clone().map(Place::Node);
    std::iter::once(namespace)
        .chain(of_pod)
        .chain(address)
        .chain(node)
        .collect()
}
