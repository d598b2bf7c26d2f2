//! What one egress listener imports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::names::{Hostname, Namespace};
use reef_config::{Problem, istio};
use reef_mesh::{MeshSnapshot, Protocol, Registry, Service, VirtualServiceRule};

use crate::{EgressListener, HostEntry, ListenerPort};

/// The parsed form of a listener, before anything is looked up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerSpec {
    pub(crate) port: Option<ListenerPort>,
    pub(crate) bind: Option<Arc<str>>,
    pub(crate) capture_mode: crate::CaptureMode,
    pub(crate) entries: Box<[HostEntry]>,
}

/// A listener with the entry that imported each of its services.
pub(crate) struct Imported {
    pub(crate) listener: EgressListener,
    pub(crate) patterns: Vec<String>,
}

impl ListenerSpec {
    /// The listener of proxies no `Sidecar` restricts.
    pub(crate) fn everything() -> Self {
        let all = HostEntry {
            text: "*/*".to_owned(),
            namespace: None,
            host: Hostname::from("*"),
            exclude: false,
        };
        Self {
            port: None,
            bind: None,
            capture_mode: crate::CaptureMode::Default,
            entries: [all].into(),
        }
    }

    /// Parses listener `index` of a `Sidecar`; entries that mean nothing are left out and told.
    pub(crate) fn parse(
        index: usize,
        listener: &istio::IstioEgressListener,
        consumer: &Namespace,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut entries = Vec::new();
        for (at, text) in listener.hosts.iter().enumerate() {
            match HostEntry::parse(text, consumer) {
                Ok(entry) => entries.push(entry),
                Err(error) => problems.push(
                    Problem::warning("sidecar-host", error.to_string())
                        .field(format!("spec.egress[{index}].hosts[{at}]")),
                ),
            }
        }
        Self {
            port: listener.port.as_ref().map(listener_port),
            bind: listener
                .bind
                .as_deref()
                .filter(|bind| !bind.is_empty())
                .map(Arc::from),
            capture_mode: listener.capture_mode.into(),
            entries: entries.into(),
        }
    }

    /// The port that imported services must have, if the listener is for one.
    pub(crate) fn only_port(&self) -> Option<u16> {
        let port = self.port.as_ref()?;
        (port.number != 0 && port.protocol != Protocol::HttpProxy).then_some(port.number)
    }

    /// The first fitting entry about `namespace`: those that name it come before those for all.
    fn find(&self, namespace: &Namespace, fits: impl Fn(&HostEntry) -> bool) -> Option<&HostEntry> {
        let named = |entry: &&HostEntry| entry.namespace.as_ref() == Some(namespace) && fits(entry);
        let for_all = |entry: &&HostEntry| entry.namespace.is_none() && fits(entry);
        self.entries
            .iter()
            .find(named)
            .or_else(|| self.entries.iter().find(for_all))
    }

    /// The entry that takes `host` of `namespace` away.
    pub(crate) fn exclusion(&self, host: &Hostname, namespace: &Namespace) -> Option<&HostEntry> {
        self.find(namespace, |entry| {
            entry.exclude && host.subset_of(&entry.host)
        })
    }

    /// The entry that imports `host` of `namespace`, exclusions aside.
    pub(crate) fn inclusion(&self, host: &Hostname, namespace: &Namespace) -> Option<&HostEntry> {
        self.find(namespace, |entry| {
            !entry.exclude && host.subset_of(&entry.host)
        })
    }

    /// The entry that imports a service, exclusions considered; not whether it is visible.
    pub(crate) fn imports(&self, service: &Service) -> Option<&HostEntry> {
        let (host, namespace) = (&service.key.hostname, &service.key.namespace);
        if self.exclusion(host, namespace).is_some() {
            return None;
        }
        if self
            .only_port()
            .is_some_and(|port| service.port(port).is_none())
        {
            return None;
        }
        self.inclusion(host, namespace)
    }

    /// True if a `VirtualService` is imported: some host of it overlaps an entry and is not excluded.
    pub(crate) fn imports_rule(&self, rule: &VirtualServiceRule) -> bool {
        let namespace = &rule.object.namespace;
        rule.hosts.iter().any(|host| {
            self.exclusion(host, namespace).is_none()
                && self
                    .find(namespace, |e| !e.exclude && e.host.matches(host))
                    .is_some()
        })
    }

    /// Services the entries can mean that `consumer` may see: those exported to it by name first,
    /// then public ones, oldest first.
    fn candidates<'a>(
        &self,
        snapshot: &'a MeshSnapshot,
        consumer: &Namespace,
    ) -> Vec<&'a Arc<Service>> {
        let includes = || self.entries.iter().filter(|entry| !entry.exclude);
        let mut found: Vec<&Arc<Service>> = Vec::new();
        let all = includes().any(|e| e.namespace.is_none() && e.host.is_wildcard());
        if all {
            found.extend(snapshot.services());
        } else {
            let whole: BTreeSet<&Namespace> = includes()
                .filter(|entry| entry.host.is_wildcard())
                .filter_map(|entry| entry.namespace.as_ref())
                .collect();
            for namespace in &whole {
                found.extend(snapshot.services_of_namespace(namespace));
            }
            let exact: BTreeSet<(&Hostname, Option<&Namespace>)> = includes()
                .filter(|entry| !entry.host.is_wildcard())
                .map(|entry| (&entry.host, entry.namespace.as_ref()))
                .collect();
            for (host, namespace) in exact {
                found.extend(snapshot.services_of_host(host).filter(|service| {
                    namespace.is_none_or(|wanted| *wanted == service.key.namespace)
                }));
            }
        }
        found.retain(|service| service.export_to.includes(consumer));
        let public = |s: &Service| s.export_to == reef_mesh::ExportTo::Public;
        if all {
            // Already in creation order, without duplicates; the sort is stable.
            found.sort_by_key(|service| public(service));
        } else {
            found.sort_by_cached_key(|service| (public(service), service.order()));
            found.dedup_by(|a, b| a.key == b.key);
        }
        found
    }

    /// Looks up everything the listener imports for clients in `consumer`.
    pub(crate) fn import(&self, snapshot: &MeshSnapshot, consumer: &Namespace) -> Imported {
        // A loser leaves no trace: the winner stands where its own age puts it.
        let mut picked: Vec<Option<(&Arc<Service>, &HostEntry)>> = Vec::new();
        let mut at_host: BTreeMap<&Hostname, usize> = BTreeMap::new();
        for service in self.candidates(snapshot, consumer) {
            let Some(entry) = self.imports(service) else {
                continue;
            };
            let earlier = at_host.get(&service.key.hostname).copied();
            if let Some(at) = earlier {
                if picked[at].is_some_and(|(old, _)| !beats(service, old, consumer)) {
                    continue;
                }
                picked[at] = None;
            }
            at_host.insert(&service.key.hostname, picked.len());
            picked.push(Some((service, entry)));
        }
        let picked: Vec<(&Arc<Service>, &HostEntry)> = picked.into_iter().flatten().collect();
        let services: Vec<Arc<Service>> = picked
            .iter()
            .map(|(service, entry)| self.trimmed(service, entry))
            .collect();
        let virtual_services: Vec<Arc<VirtualServiceRule>> = snapshot
            .mesh_virtual_services(consumer)
            .filter(|rule| self.imports_rule(rule))
            .cloned()
            .collect();
        let rules_by_host = by_host(&virtual_services);
        let most_specific = most_specific(&services, &virtual_services, &rules_by_host);
        Imported {
            patterns: picked.iter().map(|(_, entry)| entry.text.clone()).collect(),
            listener: EgressListener {
                port: self.port.clone(),
                bind: self.bind.clone(),
                capture_mode: self.capture_mode,
                services: services.into(),
                virtual_services: virtual_services.into(),
                most_specific,
                rules_by_host,
            },
        }
    }

    /// The service with the listener's port only, and with the aliases the same kind of entry
    /// imports; shared if nothing is taken away.
    fn trimmed(&self, service: &Arc<Service>, entry: &HostEntry) -> Arc<Service> {
        let service = match self.only_port() {
            Some(port) => with_ports(service, |number| number == port),
            None => service.clone(),
        };
        let imported = |alias: &Hostname| {
            self.entries.iter().any(|other| {
                !other.exclude && other.namespace == entry.namespace && alias.subset_of(&other.host)
            })
        };
        if service.aliases.iter().all(imported) {
            return service;
        }
        let mut trimmed = (*service).clone();
        trimmed.aliases = service
            .aliases
            .iter()
            .filter(|alias| imported(alias))
            .cloned()
            .collect();
        Arc::new(trimmed)
    }
}

/// True if `new`, seen later, takes the place of `old` of the same host name for clients in
/// `consumer`: their own namespace wins, else Kubernetes beats a service entry.
pub(crate) fn beats(new: &Service, old: &Service, consumer: &Namespace) -> bool {
    if old.key.namespace == *consumer {
        return false;
    }
    new.key.namespace == *consumer
        || (new.registry == Registry::Kubernetes && old.registry != Registry::Kubernetes)
}

/// The service with only the ports whose number is wanted; shared if that is all of them.
pub(crate) fn with_ports(service: &Arc<Service>, wanted: impl Fn(u16) -> bool) -> Arc<Service> {
    if service.ports.iter().all(|port| wanted(port.number)) {
        return service.clone();
    }
    let mut trimmed = (**service).clone();
    trimmed.ports = service
        .ports
        .iter()
        .filter(|port| wanted(port.number))
        .cloned()
        .collect();
    Arc::new(trimmed)
}

/// Port of a `Sidecar` listener; numbers out of range become 0, which validation reports.
pub(crate) fn listener_port(port: &istio::SidecarPort) -> ListenerPort {
    ListenerPort {
        number: u16::try_from(port.number).unwrap_or_default(),
        protocol: Protocol::from_token(&port.protocol),
        name: Arc::from(port.name.as_str()),
    }
}

/// Hosts without wildcard of rules, with the rules that have them, in order.
fn by_host(rules: &[Arc<VirtualServiceRule>]) -> BTreeMap<Hostname, Box<[usize]>> {
    let mut found: BTreeMap<&Hostname, Vec<usize>> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        for host in rule.hosts.iter().filter(|host| !host.is_wildcard()) {
            let list = found.entry(host).or_default();
            // One rule may name a host twice.
            if list.last() != Some(&index) {
                list.push(index);
            }
        }
    }
    found
        .into_iter()
        .map(|(host, list)| (host.clone(), list.into()))
        .collect()
}

/// For each service the rule with the most specific host for it; the first of equals.
fn most_specific(
    services: &[Arc<Service>],
    rules: &[Arc<VirtualServiceRule>],
    exact: &BTreeMap<Hostname, Box<[usize]>>,
) -> BTreeMap<Hostname, usize> {
    let mut wildcard: Vec<(&Hostname, usize)> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let hosts = rule.hosts.iter().filter(|host| host.is_wildcard());
        wildcard.extend(hosts.map(|host| (host, index)));
    }
    // Stable, so that of equal lengths the first rule stays first.
    wildcard.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
    let find = |host: &Hostname| {
        exact
            .get(host)
            .and_then(|list| list.first().copied())
            .or_else(|| {
                wildcard
                    .iter()
                    .find(|(pattern, _)| host.subset_of(pattern))
                    .map(|(_, index)| *index)
            })
    };
    services
        .iter()
        .filter_map(|service| Some((service.key.hostname.clone(), find(&service.key.hostname)?)))
        .collect()
}
