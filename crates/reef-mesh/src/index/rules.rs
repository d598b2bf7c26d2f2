//! Links rules: one sorted list per kind and namespace, `VirtualService`s resolved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::names::{Hostname, Namespace};
use reef_config::{Age, Kind, Object, ObjectKey, Problem, Spec, istio};

use super::{Marks, MeshIndex, replace};
use crate::rules::resolve_virtual_service;
use crate::snapshot::{Rules, named_targets};
use crate::{ChangeReport, DestinationRuleIndex, ExportTo, MeshSnapshot, Rule, VirtualServiceRule};

/// Rules in forms only the writer needs.
#[derive(Debug, Default)]
pub(super) struct RuleStore {
    /// `VirtualService`s as written, delegates included.
    virtual_services: HashMap<ObjectKey, Arc<Rule<istio::VirtualService>>, FixedState>,
    /// `VirtualService`s with names resolved, those without hosts left out.
    resolved: BTreeMap<ObjectKey, Arc<VirtualServiceRule>>,
    /// Roots by the delegate they name.
    roots: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// Resolved ones everyone sees, oldest first.
    public: BTreeMap<(Age, ObjectKey), Arc<VirtualServiceRule>>,
    /// Resolved ones by a namespace they are exported to by name.
    exported: BTreeMap<Namespace, BTreeMap<(Age, ObjectKey), Arc<VirtualServiceRule>>>,
}

/// True for kinds that are kept as rules.
pub(super) fn is_rule(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Sidecar
            | Kind::VirtualService
            | Kind::DestinationRule
            | Kind::Gateway
            | Kind::PeerAuthentication
            | Kind::RequestAuthentication
            | Kind::AuthorizationPolicy
            | Kind::EnvoyFilter
            | Kind::Telemetry
            | Kind::ProxyConfig
            | Kind::WorkloadGroup
    )
}

/// Links the kinds that are kept as written.
macro_rules! link_lists {
    ($self:ident, $next:ident, $marks:ident, $report:ident; $($kind:ident => $field:ident,)*) => {
        $(let touched = by_namespace(&$marks.rules, Kind::$kind);
        for (namespace, keys) in touched {
            let changed = relink(
                &mut $next.$field,
                &namespace,
                &$self.objects.of_kind(Kind::$kind, &namespace),
                &keys,
                |object| match &object.spec {
                    Spec::$kind(spec) => Some(Rule::new(object, (**spec).clone())),
                    _ => None,
                },
            );
            $report.rules.extend(changed);
        })*
    };
}

impl MeshIndex {
    pub(super) fn link_rules(
        &mut self,
        next: &mut MeshSnapshot,
        marks: &Marks,
        report: &mut ChangeReport,
    ) {
        if marks.rules.is_empty() {
            return;
        }
        link_lists! { self, next, marks, report;
            Gateway => gateways,
            PeerAuthentication => peer_authentications,
            RequestAuthentication => request_authentications,
            AuthorizationPolicy => authorization_policies,
            EnvoyFilter => envoy_filters,
            Telemetry => telemetries,
            ProxyConfig => proxy_configs,
            WorkloadGroup => workload_groups,
        }
        for (namespace, keys) in by_namespace(&marks.rules, Kind::Sidecar) {
            let objects = self.objects.of_kind(Kind::Sidecar, &namespace);
            let changed =
                relink(
                    &mut next.sidecars,
                    &namespace,
                    &objects,
                    &keys,
                    |object| match &object.spec {
                        Spec::Sidecar(spec) => Some(Rule::new(object, (**spec).clone())),
                        _ => None,
                    },
                );
            if !changed.is_empty()
                && let Some(list) = next.sidecars.get(&namespace)
            {
                let mut list = list.to_vec();
                // Stable: those with a selector first, each group oldest first.
                list.sort_by_key(|rule| rule.spec.workload_selector.is_none());
                next.sidecars.insert_mut(namespace.clone(), list.into());
            }
            report.sidecars.extend(changed);
        }
        self.link_virtual_services(next, marks, report);
        self.link_destination_rules(next, marks, report);
    }

    fn link_destination_rules(
        &mut self,
        next: &mut MeshSnapshot,
        marks: &Marks,
        report: &mut ChangeReport,
    ) {
        for (namespace, keys) in by_namespace(&marks.rules, Kind::DestinationRule) {
            let old = next.destination_rules.get(&namespace);
            // Settings say which host a short name is and who sees a rule.
            let mut index = match old {
                Some(old) if !marks.all => (**old).clone(),
                _ => DestinationRuleIndex::default(),
            };
            // The rules of each host that a changed rule was about or is about: those that were
            // there already, and the changed ones where they are now.
            let mut by_host: BTreeMap<Hostname, BTreeSet<ObjectKey>> = BTreeMap::new();
            for key in &keys {
                if let Some(host) = index.host_of(key) {
                    by_host.entry(host.clone()).or_default();
                }
            }
            for key in &keys {
                let object = self.objects.get(key);
                if let Some(Spec::DestinationRule(spec)) = object.map(|object| &object.spec) {
                    let host = spec.host.resolve(&namespace, &next.settings.domain);
                    by_host.entry(host).or_default().insert(key.clone());
                }
            }
            let mut differs = marks.all;
            for (host, objects) in &mut by_host {
                let known = index.objects_of(host).into_iter();
                objects.extend(known.filter(|key| !keys.contains(*key)).cloned());
            }
            for (host, objects) in by_host {
                let rules = objects.iter().filter_map(|key| {
                    let object = self.objects.get(key)?;
                    match &object.spec {
                        Spec::DestinationRule(spec) => Some(Rule::new(object, (**spec).clone())),
                        _ => None,
                    }
                });
                let rules: Vec<_> = rules.collect();
                let rules: Vec<_> = rules.iter().collect();
                differs |= index.replace(&namespace, &host, &rules, &next.settings);
            }
            let problems: Vec<Problem> = index.problems().cloned().collect();
            report.problems |= replace(&mut self.rule_problems, namespace.clone(), problems);
            let same = if marks.all {
                old.is_some_and(|old| **old == index)
            } else {
                !differs
            };
            if same || (old.is_none() && index.is_empty()) {
                continue;
            }
            report.rules.extend(keys);
            if index.is_empty() {
                next.destination_rules.remove_mut(&namespace);
            } else {
                next.destination_rules
                    .insert_mut(namespace, Arc::new(index));
            }
        }
    }

    fn link_virtual_services(
        &mut self,
        next: &mut MeshSnapshot,
        marks: &Marks,
        report: &mut ChangeReport,
    ) {
        let store = &mut self.rules;
        let mut todo: BTreeSet<ObjectKey> = BTreeSet::new();
        for key in marks
            .rules
            .iter()
            .filter(|key| key.kind == Kind::VirtualService)
        {
            let new = self.objects.get(key).and_then(|object| match &object.spec {
                Spec::VirtualService(spec) => Some(Arc::new(Rule::new(object, (**spec).clone()))),
                _ => None,
            });
            let differs = new.as_ref() != store.virtual_services.get(key);
            if differs {
                match new {
                    Some(rule) => store.virtual_services.insert(key.clone(), rule),
                    None => store.virtual_services.remove(key),
                };
            }
            if differs || marks.all {
                todo.insert(key.clone());
                todo.extend(store.roots.get(key).into_iter().flatten().cloned());
            }
        }
        // Each with the rule it replaces, if there was one, and the new one.
        let mut replaced: BTreeMap<Namespace, Vec<Replaced>> = BTreeMap::new();
        let mut exported = BTreeSet::new();
        let mut public = false;
        for key in todo {
            let new = store
                .virtual_services
                .get(&key)
                .filter(|rule| !rule.spec.hosts.is_empty());
            let new = new.map(|rule| {
                let find = |key: &ObjectKey| store.virtual_services.get(key);
                Arc::new(resolve_virtual_service(rule, &next.settings, &find))
            });
            let old = store.resolved.get(&key).cloned();
            if old == new {
                continue;
            }
            report.rules.insert(key.clone());
            let problems = new.as_ref().map(|rule| rule.problems.to_vec());
            report.problems |= replace(
                &mut self.route_problems,
                key.clone(),
                problems.unwrap_or_default(),
            );
            replaced
                .entry(key.namespace.clone())
                .or_default()
                .push((old.clone(), new.clone()));
            if let Some(old) = &old {
                let place = (old.age.clone(), key.clone());
                public |= store.public.remove(&place).is_some();
                for target in named_targets(&old.export_to) {
                    exported.insert(target.clone());
                    if let Some(map) = store.exported.get_mut(target) {
                        map.remove(&place);
                        if map.is_empty() {
                            store.exported.remove(target);
                        }
                    }
                }
                for delegate in &old.delegates {
                    if let Some(roots) = store.roots.get_mut(delegate) {
                        roots.remove(&key);
                        if roots.is_empty() {
                            store.roots.remove(delegate);
                        }
                    }
                }
                store.resolved.remove(&key);
            }
            let Some(new) = new else { continue };
            let place = (new.age.clone(), key.clone());
            if new.export_to == ExportTo::Public {
                store.public.insert(place.clone(), new.clone());
                public = true;
            }
            for target in named_targets(&new.export_to) {
                exported.insert(target.clone());
                let map = store.exported.entry(target.clone()).or_default();
                map.insert(place.clone(), new.clone());
            }
            for delegate in &new.delegates {
                store
                    .roots
                    .entry(delegate.clone())
                    .or_default()
                    .insert(key.clone());
            }
            store.resolved.insert(key, new);
        }
        for (namespace, changes) in replaced {
            let list = next.virtual_services.get(&namespace);
            let list = with_replaced(list.map_or(&[][..], |list| list), changes);
            put(&mut next.virtual_services, namespace, list);
        }
        for namespace in exported {
            let list = store
                .exported
                .get(&namespace)
                .into_iter()
                .flat_map(BTreeMap::values);
            let list = list.cloned().collect();
            put(&mut next.exported_virtual_services, namespace, list);
        }
        if public {
            next.public_virtual_services = store.public.values().cloned().collect();
        }
    }
}

fn by_namespace(
    keys: &BTreeSet<ObjectKey>,
    kind: Kind,
) -> BTreeMap<Namespace, BTreeSet<ObjectKey>> {
    let mut found: BTreeMap<Namespace, BTreeSet<ObjectKey>> = BTreeMap::new();
    for key in keys.iter().filter(|key| key.kind == kind) {
        found
            .entry(key.namespace.clone())
            .or_default()
            .insert(key.clone());
    }
    found
}

/// A rule as it was and as it is.
type Replaced = (
    Option<Arc<VirtualServiceRule>>,
    Option<Arc<VirtualServiceRule>>,
);

/// A list in order of age with some of its rules replaced.
fn with_replaced(
    list: &[Arc<VirtualServiceRule>],
    changes: Vec<Replaced>,
) -> Vec<Arc<VirtualServiceRule>> {
    let order = |rule: &VirtualServiceRule, of: &VirtualServiceRule| {
        rule.age
            .cmp(&of.age)
            .then_with(|| rule.object.cmp(&of.object))
    };
    let mut list = list.to_vec();
    if changes.len() > list.len() / 8 {
        // Sorting once costs less than making room for each.
        let gone: BTreeSet<&ObjectKey> = changes
            .iter()
            .filter_map(|(old, _)| Some(&old.as_ref()?.object))
            .collect();
        list.retain(|rule| !gone.contains(&rule.object));
        list.extend(changes.iter().filter_map(|(_, new)| new.clone()));
        list.sort_by(|a, b| order(a, b));
        return list;
    }
    for (old, new) in changes {
        let at = |list: &[Arc<VirtualServiceRule>], of: &VirtualServiceRule| {
            list.binary_search_by(|rule| order(rule, of))
        };
        let place = old.and_then(|old| at(&list, &old).ok());
        match (place, new) {
            (Some(place), Some(new))
                if list.get(place).is_some_and(|old| order(old, &new).is_eq()) =>
            {
                if let Some(rule) = list.get_mut(place) {
                    *rule = new;
                }
            }
            (place, new) => {
                if let Some(place) = place {
                    list.remove(place);
                }
                if let Some(new) = new {
                    let place = at(&list, &new).unwrap_or_else(|place| place);
                    list.insert(place, new);
                }
            }
        }
    }
    list
}

fn put<T>(rules: &mut Rules<T>, namespace: Namespace, list: Vec<Arc<T>>) {
    if list.is_empty() {
        rules.remove_mut(&namespace);
    } else {
        rules.insert_mut(namespace, list.into());
    }
}

/// Makes the list of one namespace anew, keeping the rules that did not change, oldest first.
/// Returns the keys whose rule differs.
fn relink<T: PartialEq>(
    rules: &mut Rules<Rule<T>>,
    namespace: &Namespace,
    objects: &[&Arc<Object>],
    touched: &BTreeSet<ObjectKey>,
    make: impl Fn(&Object) -> Option<Rule<T>>,
) -> BTreeSet<ObjectKey> {
    let old: BTreeMap<ObjectKey, Arc<Rule<T>>> = rules
        .get(namespace)
        .into_iter()
        .flat_map(|list| list.iter())
        .map(|rule| (rule.object.clone(), rule.clone()))
        .collect();
    let mut changed = BTreeSet::new();
    let mut list: Vec<Arc<Rule<T>>> = Vec::with_capacity(objects.len());
    for object in objects {
        let known = old.get(&object.key);
        if let Some(known) = known.filter(|_| !touched.contains(&object.key)) {
            list.push(known.clone());
            continue;
        }
        let Some(new) = make(object) else { continue };
        match known.filter(|known| ***known == new) {
            Some(known) => list.push(known.clone()),
            None => {
                changed.insert(object.key.clone());
                list.push(Arc::new(new));
            }
        }
    }
    let kept: BTreeSet<&ObjectKey> = list.iter().map(|rule| &rule.object).collect();
    changed.extend(old.keys().filter(|key| !kept.contains(key)).cloned());
    if !changed.is_empty() {
        list.sort_by(|a, b| a.age.cmp(&b.age).then_with(|| a.object.cmp(&b.object)));
        put(rules, namespace.clone(), list);
    }
    changed
}
