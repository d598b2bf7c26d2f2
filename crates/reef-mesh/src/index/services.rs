//! Links services: who declares them, facts derived from endpoints, aliases.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::names::{Hostname, Namespace};
use reef_config::{Labels, Object, Problem, Spec};

use super::allocate::{self, Wish};
use super::{Marks, MeshIndex, convert, link, lost_claim, replace};
use crate::addressed::{self, Changes};
use crate::service::{ByAge, Hosted, selector_place};
use crate::snapshot::{Map, Services};
use crate::{
    Address, ChangeReport, MeshSettings, MeshSnapshot, Registry, Resolution, Service,
    ServiceEndpoints, ServiceKey, TlsMode, sharded,
};

impl MeshIndex {
    pub(super) fn link_services(
        &mut self,
        next: &mut MeshSnapshot,
        marks: &mut Marks,
        report: &mut ChangeReport,
    ) {
        for key in marks.services.clone() {
            self.link_claim(&key, next, marks, report);
        }
        marks.services.extend(self.allocator.take_moved());
        if marks.aliases {
            marks.services.extend(self.aliased.iter().cloned());
            for target in self.aliases.keys() {
                // Services that are linked for the first time in this batch are marked already.
                let known = next
                    .services_of_host(target)
                    .map(|service| service.key.clone());
                marks.services.extend(known);
            }
        }
        let all: BTreeSet<&ServiceKey> = marks.services.union(&marks.endpoints).collect();
        let mut places = Changes::new();
        for key in all {
            let before = addressed_endpoints(next, key);
            self.link_service(key, next, marks.services.contains(key), report);
            let after = addressed_endpoints(next, key);
            addressed::note(&mut places, key, before.as_deref(), after.as_deref());
        }
        next.addressed.update(places);
    }

    /// Finds who declares a service; keeps the indexes by selector and alias.
    fn link_claim(
        &mut self,
        key: &ServiceKey,
        next: &MeshSnapshot,
        marks: &mut Marks,
        report: &mut ChangeReport,
    ) {
        let mut claimants = self.objects.claimants(key);
        let winner = claimants.next();
        let lost = claimants.filter_map(|loser| Some(lost_claim(loser, &winner?.key, key)));
        let problems = lost.collect();
        let new = winner.and_then(|object| declared_as(object, key, next.settings()));
        let selector = winner.and_then(|object| match &object.spec {
            Spec::ServiceEntry(entry) => entry.workload_selector.as_ref().map(|it| &it.labels),
            // The snapshot knows those of Kubernetes.
            _ => None,
        });
        self.selecting.set(key, selector);
        let wish = match (winner.map(|object| (object, &object.spec)), &new) {
            (Some((object, Spec::ServiceEntry(entry))), Some(new)) => {
                allocate::wish(object, entry, new)
            }
            _ => Wish::Nothing,
        };
        let given = match &wish {
            Wish::Given(given) => given,
            _ => new.as_ref().map_or(&[][..], |new| &new.addresses),
        };
        self.allocator.reserve(key, given);
        let age = new.as_ref().filter(|_| wish == Wish::Any);
        self.allocator.seat(key, age.map(Service::age));
        report.problems |= replace(&mut self.claim_problems, key.clone(), problems);
        let old_target = next
            .service(key)
            .and_then(|service| service.external_name.clone());
        let new_target = new.and_then(|service| service.external_name);
        if old_target != new_target || marks.all {
            marks.aliases |= old_target.is_some() || new_target.is_some();
            if let Some(target) = old_target
                && let Some(keys) = self.aliases.get_mut(&target)
            {
                keys.remove(key);
                if keys.is_empty() {
                    self.aliases.remove(&target);
                }
            }
            if let Some(target) = new_target {
                self.aliases.entry(target).or_default().insert(key.clone());
            }
        }
    }

    /// Makes one service and its endpoints and publishes what differs.
    fn link_service(
        &mut self,
        key: &ServiceKey,
        next: &mut MeshSnapshot,
        declaration: bool,
        report: &mut ChangeReport,
    ) {
        let old = next.service(key).cloned();
        let old_endpoints = next.endpoints(key).cloned();
        let object = match (&old, declaration) {
            (Some(old), false) => self.objects.get(&old.object).cloned(),
            (None, false) => return,
            (_, true) => self.objects.claimants(key).next().cloned(),
        };
        let base = match (&old, declaration) {
            (Some(old), false) => Some((**old).clone()),
            _ => object.as_ref().and_then(|object| {
                let mut service = declared_as(object, key, &next.settings)?;
                service.auto_addresses = self.found_addresses(object, &service);
                Some(with_namespace(service, next))
            }),
        };
        if declaration {
            let told = base
                .as_ref()
                .and_then(|_| self.without_address(key, object.as_ref()?));
            let problems = Vec::from_iter(told);
            report.problems |= replace(&mut self.address_problems, key.clone(), problems);
        }
        let (Some(object), Some(mut service)) = (object, base) else {
            self.objects.refer(key, &BTreeSet::new());
            self.aliased.remove(key);
            if let Some(old) = old {
                if let Some(endpoints) = old_endpoints {
                    let none = ServiceEndpoints::default();
                    mark_targets(next, &old, &endpoints, &none, report);
                    move_guests(next, key, &endpoints, &none);
                }
                remove(next, &old);
                report.services.insert(key.clone());
            }
            return;
        };
        if matches!(&object.spec, Spec::ServiceEntry(entry) if entry.workload_selector.is_some()) {
            self.objects.expect_selectors(&key.namespace);
        }
        let linked = link::endpoints(
            &service,
            &object,
            &self.objects,
            &next.settings,
            &mut self.shared,
        );
        self.objects.refer(key, &linked.pods);
        derive(&mut service, &linked.endpoints);
        if declaration {
            service.aliases = self.aliases_of(&service);
            if service.aliases.is_empty() {
                self.aliased.remove(key);
            } else {
                self.aliased.insert(key.clone());
            }
        }
        let endpoints = (service.resolution != Resolution::Alias).then_some(linked.endpoints);
        let endpoints_differ = endpoints.as_ref() != old_endpoints.as_deref();
        let mut service_differs = old.as_deref() != Some(&service);
        if endpoints_differ {
            let none = ServiceEndpoints::default();
            let before = old_endpoints.as_deref().unwrap_or(&none);
            let after = endpoints.as_ref().unwrap_or(&none);
            service_differs |= service.has_inline_endpoints();
            if service.headless || is_without_selector(&service) {
                service_differs |= ips(before) != ips(after);
            }
            mark_targets(next, &service, before, after, report);
            move_guests(next, key, before, after);
        }
        let endpoints = if endpoints_differ {
            endpoints.map(Arc::new)
        } else {
            old_endpoints
        };
        let service = match old {
            Some(old) if *old == service => old,
            old => {
                let service = Arc::new(service);
                if let Some(old) = &old {
                    remove_service(next, old);
                }
                insert(next, &service);
                service
            }
        };
        if service_differs || endpoints_differ {
            let hash = sharded::hash(&key.hostname);
            next.by_host.insert(hash, Hosted { service, endpoints });
        }
        if service_differs {
            report.services.insert(key.clone());
        } else if endpoints_differ {
            report.endpoints.insert(key.clone());
        }
    }

    /// Addresses of a service that declares none: those given to it, else those found for it.
    fn found_addresses(&self, object: &Object, service: &Service) -> Box<[Address]> {
        let Spec::ServiceEntry(entry) = &object.spec else {
            return [].into();
        };
        match allocate::wish(object, entry, service) {
            Wish::Given(given) => given,
            Wish::Any => self.allocator.addresses(&service.key),
            Wish::Nothing => [].into(),
        }
    }

    fn without_address(&self, key: &ServiceKey, object: &Object) -> Option<Problem> {
        if !self.allocator.in_vain(key) {
            return None;
        }
        let reason = format!("no address is left for host {}", key.hostname);
        let mut problem = Problem::warning("no-address-left", reason).of(&object.key);
        problem.origin.clone_from(&object.origin);
        Some(problem)
    }

    /// Host names of the alias services that lead to `service`, through other aliases too.
    fn aliases_of(&self, service: &Service) -> Box<[Hostname]> {
        if service.resolution == Resolution::Alias || self.aliases.is_empty() {
            return [].into();
        }
        let mut found: BTreeSet<Hostname> = BTreeSet::new();
        let mut todo = vec![&service.key.hostname];
        while let Some(host) = todo.pop() {
            for alias in self.aliases.get(host).into_iter().flatten() {
                if found.insert(alias.hostname.clone()) {
                    todo.push(&alias.hostname);
                }
            }
        }
        found.into_iter().collect()
    }
}

/// The service `key` as `object` declares it, without derived facts.
fn declared_as(object: &Object, key: &ServiceKey, settings: &MeshSettings) -> Option<Service> {
    match &object.spec {
        Spec::Service(service) => Some(convert::kubernetes_service(object, service, key, settings)),
        Spec::ServiceEntry(entry) => Some(convert::service_entry(
            object,
            entry,
            &key.hostname,
            settings,
        )),
        _ => None,
    }
}

/// Adds what the namespace says where the service says nothing, and limits it as the mesh says.
fn with_namespace(mut service: Service, next: &MeshSnapshot) -> Service {
    if service.registry == Registry::ServiceEntry {
        let namespace = &service.key.namespace;
        let labels = next.namespaces.get(namespace).map(|info| &info.labels);
        let none = Labels::default();
        let limit = &next.settings.entry_visibility;
        service.export_to = limit.narrow(service.export_to, namespace, labels.unwrap_or(&none));
    }
    service.traffic_distribution = service.traffic_distribution.or_else(|| {
        let namespace = next.namespaces.get(&service.key.namespace)?;
        convert::traffic_distribution(&namespace.annotations)
    });
    service
}

/// Sets the facts that follow from endpoints.
fn derive(service: &mut Service, endpoints: &ServiceEndpoints) {
    let accounts: BTreeSet<&Arc<str>> = endpoints
        .iter()
        .map(|endpoint| &endpoint.workload.service_account)
        .filter(|account| !account.is_empty())
        .collect();
    if !accounts.iter().copied().eq(service.service_accounts.iter()) {
        service.service_accounts = accounts.into_iter().cloned().collect();
    }
    service.all_endpoints_tls =
        !endpoints.is_empty() && endpoints.iter().all(|e| e.tls_mode == TlsMode::Istio);
}

fn is_without_selector(service: &Service) -> bool {
    service.registry == Registry::Kubernetes && service.selector.is_empty()
}

fn ips(endpoints: &ServiceEndpoints) -> BTreeSet<IpAddr> {
    endpoints
        .iter()
        .filter_map(|endpoint| endpoint.address.ip())
        .collect()
}

/// Notes which other namespaces the workloads behind a service are of.
fn move_guests(
    next: &mut MeshSnapshot,
    key: &ServiceKey,
    before: &ServiceEndpoints,
    after: &ServiceEndpoints,
) {
    let of = |endpoints: &ServiceEndpoints| -> BTreeSet<Namespace> {
        let namespaces = endpoints.iter().map(|at| &at.workload.namespace);
        let others = namespaces.filter(|namespace| **namespace != key.namespace);
        others.cloned().collect()
    };
    let (before, after) = (of(before), of(after));
    for namespace in before.symmetric_difference(&after) {
        let known = next.services_with_guests_of(namespace).iter();
        let mut list: BTreeSet<ServiceKey> = known.cloned().collect();
        if after.contains(namespace) {
            list.insert(key.clone());
        } else {
            list.remove(key);
        }
        if list.is_empty() {
            next.guests.remove_mut(namespace);
        } else {
            next.guests
                .insert_mut(namespace.clone(), list.into_iter().collect());
        }
    }
}

/// Reports the pods for which the service became or ceased to be a target by address.
fn mark_targets(
    next: &MeshSnapshot,
    service: &Service,
    before: &ServiceEndpoints,
    after: &ServiceEndpoints,
    report: &mut ChangeReport,
) {
    if service.registry == Registry::Kubernetes && !is_without_selector(service) {
        return;
    }
    let places = |endpoints: &ServiceEndpoints| -> BTreeSet<(IpAddr, Arc<str>, u16)> {
        let ports = endpoints.ports.iter().flat_map(|(name, list)| {
            list.iter()
                .filter_map(|at| Some((at.address.ip()?, name.clone(), at.port)))
        });
        ports.collect()
    };
    if next.pods_by_ip.is_empty() {
        return;
    }
    for (ip, _, _) in places(before).symmetric_difference(&places(after)) {
        if let Some(pod) = next
            .pod_by_ip(*ip)
            .filter(|pod| pod.namespace == service.key.namespace)
        {
            report
                .proxies
                .insert((pod.namespace.clone(), pod.name.clone()));
        }
    }
}

/// Endpoints of a service that workloads serve by address.
fn addressed_endpoints(mesh: &MeshSnapshot, key: &ServiceKey) -> Option<Arc<ServiceEndpoints>> {
    mesh.service(key).filter(|service| is_addressed(service))?;
    mesh.endpoints(key).cloned()
}

fn is_addressed(service: &Service) -> bool {
    service.registry == Registry::ServiceEntry
        || (service.selector.is_empty() && service.resolution != Resolution::Alias)
}

fn insert_in(map: &mut Map<Namespace, Services>, service: ByAge) {
    let namespace = service.0.key.namespace.clone();
    match map.get_mut(&namespace) {
        Some(services) => {
            services.insert(service);
        }
        None => {
            let mut services = Services::new();
            services.insert(service);
            map.insert_mut(namespace, services);
        }
    }
}

fn remove_from(map: &mut Map<Namespace, Services>, service: &ByAge) {
    let namespace = &service.0.key.namespace;
    let emptied = map.get_mut(namespace).is_some_and(|services| {
        services.remove(service);
        services.is_empty()
    });
    if emptied {
        map.remove_mut(namespace);
    }
}

/// Lists a service where services are looked for otherwise than by host name.
fn insert(next: &mut MeshSnapshot, service: &Arc<Service>) {
    let listed = ByAge(Arc::clone(service));
    next.by_order.insert(listed.clone());
    if let Some(place) = selector_place(service) {
        let hash = sharded::hash(place);
        next.selecting.insert(hash, Arc::clone(service));
    }
    insert_in(&mut next.by_namespace, listed);
}

fn remove_service(next: &mut MeshSnapshot, old: &Arc<Service>) {
    let listed = ByAge(Arc::clone(old));
    next.by_order.remove(&listed);
    if let Some(place) = selector_place(old) {
        next.selecting.remove(sharded::hash(place), old);
    }
    remove_from(&mut next.by_namespace, &listed);
}

fn remove(next: &mut MeshSnapshot, old: &Arc<Service>) {
    remove_service(next, old);
    let hosted = Hosted {
        service: Arc::clone(old),
        endpoints: None,
    };
    next.by_host
        .remove(sharded::hash(&old.key.hostname), &hosted);
}
