//! Patching a scope where a change leaves its members and their order as they are.
//!
//! Resolving costs what the scope holds. Most changes only put one rule, one policy or one service
//! in the place of its former version; those cost what they put. Whatever this can't tell for sure
//! is resolved again.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_config::names::{Hostname, Namespace};
use reef_config::{Kind, Labels, ObjectKey};
use reef_mesh::{
    ChangeReport, DestinationPolicy, MeshSnapshot, Service, ServiceKey, VirtualServiceRule,
};

use crate::{Scope, ScopeSource, ScopedService};

/// What differs between two versions of a scope that have the same members.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patch {
    /// `VirtualService`s that say something else, for the same hosts and clients.
    pub rules: Vec<RuleChange>,
    /// Services with other policies.
    pub policies: Vec<PolicyChange>,
    /// Services that are something else themselves, or of which endpoints do not tell all.
    pub services: Vec<ServiceChange>,
}

/// A `VirtualService` that says something else.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleChange {
    /// As it was.
    pub before: Arc<VirtualServiceRule>,
    /// As it is.
    pub after: Arc<VirtualServiceRule>,
}

/// Other policies for a service.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyChange {
    /// The service.
    pub service: Arc<Service>,
    /// As they were.
    pub before: Box<[Arc<DestinationPolicy>]>,
    /// As they are.
    pub after: Box<[Arc<DestinationPolicy>]>,
}

/// A service that is something else.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceChange {
    /// As it was.
    pub before: Arc<Service>,
    /// As it is; the same if only what its endpoints derive differs.
    pub after: Arc<Service>,
    /// Its policies, which are the same.
    pub policies: Box<[Arc<DestinationPolicy>]>,
}

impl Patch {
    /// True if nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.policies.is_empty() && self.services.is_empty()
    }
}

/// What a change may alter in scopes, looked up once for all of them.
#[derive(Debug)]
pub struct Changes<'a> {
    before: &'a MeshSnapshot,
    after: &'a MeshSnapshot,
    report: &'a ChangeReport,
    rules: Vec<(&'a ObjectKey, Versions<'a>)>,
    /// `DestinationRule`s, each with a host it was or is about.
    hosts: BTreeSet<(&'a Namespace, &'a Hostname)>,
}

/// A rule as it was and as it is.
type Versions<'a> = [Option<&'a Arc<VirtualServiceRule>>; 2];

impl<'a> Changes<'a> {
    /// What `report` tells of the way from `before` to `after`.
    #[must_use]
    pub fn new(
        before: &'a MeshSnapshot,
        after: &'a MeshSnapshot,
        report: &'a ChangeReport,
    ) -> Self {
        let of_kind = |kind| report.rules.iter().filter(move |key| key.kind == kind);
        let rules = of_kind(Kind::VirtualService)
            .map(|object| (object, [before, after].map(|mesh| find_rule(mesh, object))))
            .collect();
        let hosts = of_kind(Kind::DestinationRule).flat_map(|key| {
            let hosts = [before, after].map(|mesh| mesh.destination_rule_host(key));
            let hosts = hosts.into_iter().flatten();
            hosts.map(|host| (&key.namespace, host))
        });
        Self {
            before,
            after,
            report,
            rules,
            hosts: hosts.collect(),
        }
    }

    /// Brings a scope to what it is after the change, and says what differs. `None` if it is as it
    /// was, for it must be resolved again; else it equals what resolving gives.
    pub fn patch(&self, scope: &mut Arc<Scope>) -> Option<Patch> {
        if self.report.settings {
            return None;
        }
        if let ScopeSource::Sidecar(key) | ScopeSource::RootSidecar(key) = &scope.id.source
            && self.report.sidecars.contains(key)
        {
            return None;
        }
        let patch = Patch {
            services: self.services(scope)?,
            rules: self.rules(scope)?,
            policies: self.policies(scope),
        };
        if !patch.is_empty() {
            // Copies the scope only if somebody else holds it.
            Arc::make_mut(scope).put(&patch);
        }
        Some(patch)
    }

    /// The rules of a scope that say something else; `None` if one comes, goes or has other hosts,
    /// clients or destinations.
    fn rules(&self, scope: &Scope) -> Option<Vec<RuleChange>> {
        let mut found = Vec::new();
        for (object, versions) in &self.rules {
            let mut there = versions.iter().flatten();
            if !scope.interest.rules.contains(*object) {
                if there.any(|rule| is_wanted(scope, rule)) {
                    return None;
                }
                continue;
            }
            match versions {
                [Some(old), Some(new)] if has_same_reach(old, new) => found.push(RuleChange {
                    before: Arc::clone(old),
                    after: Arc::clone(new),
                }),
                // A delegate is not a rule of its own; roots that use it are told of themselves.
                [None, None] => {}
                _ => return None,
            }
        }
        Some(found)
    }

    /// Services with other policies.
    fn policies(&self, scope: &Scope) -> Vec<PolicyChange> {
        let consumer = &scope.id.namespace;
        let root = &self.after.settings().root_namespace;
        let mut places: BTreeSet<usize> = BTreeSet::new();
        for (namespace, host) in &self.hosts {
            let known = *namespace == consumer
                || *namespace == root
                || scope.interest.namespaces.contains(*namespace);
            if !known {
                continue;
            }
            if host.is_wildcard() {
                let all = scope.by_host.iter();
                let covered = all.filter(|(known, _)| known.subset_of(host));
                places.extend(covered.map(|(_, at)| at));
            } else {
                places.extend(scope.by_host.get(*host));
            }
        }
        let policy = |at: usize| {
            let scoped = scope.services.get(at)?;
            let now = self.after.destination_rules(consumer, &scoped.service.key);
            (*scoped.destination_rules != *now).then(|| PolicyChange {
                service: scoped.service.clone(),
                before: scoped.destination_rules.clone(),
                after: now.into(),
            })
        };
        places.into_iter().filter_map(policy).collect()
    }

    /// The services of a scope that are something else; `None` if one comes, goes, is trimmed, or
    /// may win or lose its place.
    fn services(&self, scope: &Scope) -> Option<Vec<ServiceChange>> {
        let mut found = Vec::new();
        for key in &self.report.services {
            if !scope.interest.services.contains(key) {
                if scope.touched_by(key, self.after) {
                    return None;
                }
                continue;
            }
            let (old, new) = (self.before.service(key)?, self.after.service(key)?);
            let scoped = scope.service(&key.hostname)?;
            if !Arc::ptr_eq(&scoped.service, old) || !stands_alike(scope, old, new) {
                return None;
            }
            found.push(ServiceChange {
                before: old.clone(),
                after: new.clone(),
                policies: scoped.destination_rules.clone(),
            });
        }
        Some(found)
    }
}

impl Scope {
    /// True if a route of some `VirtualService` in it leads to this host.
    #[must_use]
    pub fn is_destination(&self, host: &Hostname) -> bool {
        self.interest.destinations.contains(host)
    }

    fn put(&mut self, patch: &Patch) {
        for change in &patch.services {
            if let Some(scoped) = self.scoped_mut(&change.after.key) {
                scoped.service = change.after.clone();
            }
            for listener in &mut self.egress {
                let mut own = listener.services.iter_mut();
                if let Some(service) = own.find(|one| Arc::ptr_eq(one, &change.before)) {
                    *service = change.after.clone();
                }
            }
        }
        for change in &patch.policies {
            if let Some(scoped) = self.scoped_mut(&change.service.key) {
                scoped.destination_rules.clone_from(&change.after);
            }
        }
        for change in &patch.rules {
            for listener in &mut self.egress {
                let mut own = listener.virtual_services.iter_mut();
                if let Some(rule) = own.find(|one| Arc::ptr_eq(one, &change.before)) {
                    *rule = change.after.clone();
                }
            }
        }
    }

    fn scoped_mut(&mut self, key: &ServiceKey) -> Option<&mut ScopedService> {
        let at = self.by_host.get(&key.hostname)?;
        let scoped = self.services.get_mut(*at)?;
        (scoped.service.key == *key).then_some(scoped)
    }
}

fn find_rule<'a>(
    mesh: &'a MeshSnapshot,
    object: &ObjectKey,
) -> Option<&'a Arc<VirtualServiceRule>> {
    let rules = mesh.virtual_services(&object.namespace);
    // Names tell most apart.
    rules
        .iter()
        .find(|rule| rule.object.name == object.name && rule.object == *object)
}

/// True if the scope imports a rule.
fn is_wanted(scope: &Scope, rule: &VirtualServiceRule) -> bool {
    let consumer = &scope.id.namespace;
    let specs = || scope.interest.specs.iter();
    rule.for_mesh()
        && rule.export_to.includes(consumer)
        && specs().any(|spec| spec.imports_rule(rule))
}

/// True if one rule can stand where the other stood, whatever it says of its requests.
fn has_same_reach(old: &VirtualServiceRule, new: &VirtualServiceRule) -> bool {
    old.age == new.age
        && old.hosts == new.hosts
        && old.gateways == new.gateways
        && old.export_to == new.export_to
        && old.destinations == new.destinations
        && old.delegates == new.delegates
        && http_sources(old) == http_sources(new)
        && client_labels(old) == client_labels(new)
}

/// What HTTP routes of a rule ask of the labels of clients.
pub(crate) fn http_sources(rule: &VirtualServiceRule) -> BTreeSet<&Labels> {
    rule.http
        .iter()
        .filter_map(|rule| rule.condition.as_ref())
        .filter(|condition| condition.gateways.is_empty())
        .map(|condition| &condition.source_labels)
        .filter(|labels| !labels.is_empty())
        .collect()
}

/// What TLS and TCP routes of a rule ask of the labels of clients.
pub(crate) fn client_labels(rule: &VirtualServiceRule) -> BTreeSet<&Labels> {
    let tls = rule.spec.tls.iter().flat_map(|route| &route.matches);
    let tcp = rule.spec.tcp.iter().flat_map(|route| &route.matches);
    tls.map(|condition| &condition.source_labels)
        .chain(tcp.map(|condition| &condition.source_labels))
        .filter(|labels| !labels.is_empty())
        .collect()
}

/// True if a service is in the scope as it is, for what it is, and `new` would be so in its place.
fn stands_alike(scope: &Scope, old: &Arc<Service>, new: &Service) -> bool {
    if old.order() != new.order()
        || old.export_to != new.export_to
        || old.registry != new.registry
        || !old.aliases.is_empty()
        || !new.aliases.is_empty()
    {
        return false;
    }
    let mut held = false;
    for listener in &scope.egress {
        let mut own = listener.services.iter();
        if let Some(known) = own.find(|one| one.key.hostname == old.key.hostname) {
            if !Arc::ptr_eq(known, old) {
                return false;
            }
            held = true;
        }
    }
    let numbers = |service: &Service| -> BTreeSet<u16> {
        service.ports.iter().map(|port| port.number).collect()
    };
    held && (numbers(old) == numbers(new) || !ports_matter(scope, &old.key))
}

/// True if the ports of a service may decide where it is: a listener is for one port, or a route
/// leads to one.
fn ports_matter(scope: &Scope, key: &ServiceKey) -> bool {
    let one_port = |spec: &crate::egress::ListenerSpec| spec.only_port().is_some();
    if scope.interest.specs.iter().any(one_port) {
        return true;
    }
    if !scope.interest.destinations.contains(&key.hostname) {
        return false;
    }
    let rules = scope.egress.iter().flat_map(|it| &it.virtual_services);
    rules
        .flat_map(|rule| &rule.destinations)
        .any(|to| to.port.is_some() && to.host == key.hostname)
}
