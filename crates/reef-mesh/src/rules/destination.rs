//! `DestinationRule`s of one namespace, merged by host and indexed for lookup.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use reef_config::names::{Hostname, Namespace};
use reef_config::{ObjectKey, Problem, istio};

use super::{DestinationPolicy, Rule};
use crate::snapshot::Ordered;
use crate::{ExportTo, MeshSettings};

/// The policies of one set of rules: by exact host, and wildcards from the longest on.
#[derive(Clone, Default, PartialEq)]
struct HostTable {
    exact: Ordered<Hostname, Arc<[Arc<DestinationPolicy>]>>,
    wildcard: Vec<(Hostname, Arc<[Arc<DestinationPolicy>]>)>,
}

/// A persistent map as it is read: its own form tells how it grew.
struct Entries<'a, K: Ord, V>(&'a Ordered<K, V>);

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for Entries<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter()).finish()
    }
}

impl fmt::Debug for HostTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostTable")
            .field("exact", &Entries(&self.exact))
            .field("wildcard", &self.wildcard)
            .finish()
    }
}

impl fmt::Debug for DestinationRuleIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DestinationRuleIndex")
            .field("local", &self.local)
            .field("private", &self.private)
            .field("exported", &self.exported)
            .field("problems", &Entries(&self.problems))
            .field("hosts", &Entries(&self.hosts))
            .finish()
    }
}

impl HostTable {
    fn place(&self, host: &Hostname) -> Result<usize, usize> {
        let order = |known: &Hostname| known.len().cmp(&host.len()).reverse();
        self.wildcard
            .binary_search_by(|(known, _)| order(known).then_with(|| known.cmp(host)))
    }

    fn insert(&mut self, host: &Hostname, policies: Arc<[Arc<DestinationPolicy>]>) {
        if policies.is_empty() {
            return;
        }
        if !host.is_wildcard() {
            self.exact.insert_mut(host.clone(), policies);
        } else if let Err(at) = self.place(host) {
            self.wildcard.insert(at, (host.clone(), policies));
        }
    }

    fn remove(&mut self, host: &Hostname) -> Arc<[Arc<DestinationPolicy>]> {
        if !host.is_wildcard() {
            let found = self.exact.get(host).cloned();
            self.exact.remove_mut(host);
            return found.unwrap_or_default();
        }
        self.place(host)
            .map_or_else(|_| Arc::default(), |at| self.wildcard.remove(at).1)
    }

    /// The policies of exactly this host.
    fn of(&self, host: &Hostname) -> &[Arc<DestinationPolicy>] {
        if host.is_wildcard() {
            let found = self.place(host).ok().and_then(|at| self.wildcard.get(at));
            return found.map_or(&[], |(_, list)| list);
        }
        self.exact.get(host).map_or(&[], |list| list)
    }

    fn most_specific(&self, host: &Hostname) -> &[Arc<DestinationPolicy>] {
        if let Some(list) = self.exact.get(host) {
            return list;
        }
        let covering = self
            .wildcard
            .iter()
            .find(|(pattern, _)| host.subset_of(pattern));
        covering.map_or(&[], |(_, list)| list)
    }
}

/// All `DestinationRule`s of one namespace.
#[derive(Clone, Default, PartialEq)]
pub struct DestinationRuleIndex {
    /// Visible in the namespace itself.
    local: HostTable,
    /// Visible in the namespace and nowhere else.
    private: HostTable,
    /// Not limited to the namespace.
    exported: HostTable,
    /// What is wrong with the rules of a host.
    problems: Ordered<Hostname, Arc<[Problem]>>,
    /// Which host each object is about.
    hosts: Ordered<ObjectKey, Hostname>,
}

impl DestinationRuleIndex {
    /// Builds the index from the rules of `namespace`, in any order.
    #[must_use]
    pub fn new(
        namespace: &Namespace,
        rules: &[Arc<Rule<istio::DestinationRule>>],
        settings: &MeshSettings,
    ) -> Self {
        let mut index = Self::default();
        let mut by_host: BTreeMap<Hostname, Vec<&Rule<istio::DestinationRule>>> = BTreeMap::new();
        for rule in rules {
            let host = rule.spec.host.resolve(namespace, &settings.domain);
            by_host.entry(host).or_default().push(rule);
        }
        for (host, rules) in by_host {
            index.replace(namespace, &host, &rules, settings);
        }
        index
    }

    /// The host an object is about, as it was when the index was made.
    pub(crate) fn host_of(&self, object: &ObjectKey) -> Option<&Hostname> {
        self.hosts.get(object)
    }

    /// True if there is no rule.
    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The objects that are about exactly this host.
    pub(crate) fn objects_of(&self, host: &Hostname) -> BTreeSet<&ObjectKey> {
        // Each policy is in one of these two.
        let policies = self.private.of(host).iter().chain(self.exported.of(host));
        policies.flat_map(|policy| &policy.objects).collect()
    }

    /// Replaces all rules of one host; true if its policies or their problems differ. Policies of other hosts stay
    /// the same values.
    pub(crate) fn replace(
        &mut self,
        namespace: &Namespace,
        host: &Hostname,
        rules: &[&Rule<istio::DestinationRule>],
        settings: &MeshSettings,
    ) -> bool {
        let local = self.local.remove(host);
        // Each policy is in one of these two.
        let before = [self.private.remove(host), self.exported.remove(host)];
        let lists = before.iter().flat_map(|list| list.iter());
        for object in lists.flat_map(|policy| &policy.objects) {
            // It may be about another host by now.
            if self.hosts.get(object) == Some(host) {
                self.hosts.remove_mut(object);
            }
        }
        let told = self.problems.get(host).cloned().unwrap_or_default();
        self.problems.remove_mut(host);
        let mut sorted = rules.to_vec();
        sorted.sort_by_key(|rule| (rule.spec.workload_selector.is_none(), rule.age.clone()));
        let mut merged: Vec<Merged> = Vec::new();
        let mut problems = Vec::new();
        for rule in sorted {
            self.hosts.insert_mut(rule.object.clone(), host.clone());
            add(
                &mut merged,
                &mut problems,
                policy(namespace, host, rule, settings),
            );
        }
        let mut differs = *told != *problems;
        if !problems.is_empty() {
            self.problems.insert_mut(host.clone(), problems.into());
        }
        let policies: Vec<_> = merged.into_iter().map(Merged::finish).collect();
        let pick = |wanted: &dyn Fn(&ExportTo) -> bool| -> Arc<[Arc<DestinationPolicy>]> {
            let some = policies.iter().filter(|policy| wanted(&policy.export_to));
            some.cloned().collect()
        };
        let after = [
            pick(&|export| export.is_private(namespace)),
            pick(&|export| !export.is_private(namespace)),
        ];
        let own = pick(&|export| export.includes(namespace));
        differs |= before != after || local != own;
        let [private, exported] = after;
        self.local.insert(host, own);
        self.private.insert(host, private);
        self.exported.insert(host, exported);
        differs
    }

    /// Policies for `host` that hold for clients in this namespace; in the root namespace only
    /// those nobody else sees.
    pub(crate) fn for_own_clients(
        &self,
        host: &Hostname,
        is_root: bool,
    ) -> &[Arc<DestinationPolicy>] {
        if is_root {
            self.private.most_specific(host)
        } else {
            self.local.most_specific(host)
        }
    }

    /// Policies for `host` exported to `client`. Only the most specific host is tried.
    pub(crate) fn for_others(
        &self,
        host: &Hostname,
        client: &Namespace,
    ) -> Vec<Arc<DestinationPolicy>> {
        let best = self.exported.most_specific(host);
        best.iter()
            .filter(|policy| policy.export_to.includes(client))
            .cloned()
            .collect()
    }

    /// Problems found while merging.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flat_map(|list| list.iter())
    }
}

/// A policy while rules are merged into it.
struct Merged {
    policy: DestinationPolicy,
    objects: Vec<ObjectKey>,
    /// Names of its subsets.
    names: BTreeSet<String>,
}

impl Merged {
    fn new(policy: DestinationPolicy) -> Self {
        let names = policy.spec.subsets.iter();
        Self {
            names: names.map(|subset| subset.name.clone()).collect(),
            objects: policy.objects.to_vec(),
            policy,
        }
    }

    fn finish(mut self) -> Arc<DestinationPolicy> {
        self.policy.objects = self.objects.into();
        Arc::new(self.policy)
    }

    /// Adds subsets that are new, and the policy of the whole where there is none yet.
    fn merge(&mut self, new: &DestinationPolicy, problems: &mut Vec<Problem>) {
        self.objects.extend(new.objects.iter().cloned());
        for (at, subset) in new.spec.subsets.iter().enumerate() {
            if self.names.insert(subset.name.clone()) {
                self.policy.spec.subsets.push(subset.clone());
                continue;
            }
            let reason = format!(
                "subset {} of {} is already defined by an older rule, which is kept",
                subset.name, new.host
            );
            if let Some(object) = new.objects.first() {
                problems.push(
                    Problem::warning("duplicate-subset", reason)
                        .of(object)
                        .field(format!("spec.subsets[{at}].name")),
                );
            }
        }
        let own = &mut self.policy.spec.traffic_policy;
        if own.is_none() {
            own.clone_from(&new.spec.traffic_policy);
        }
    }
}

fn policy(
    namespace: &Namespace,
    host: &Hostname,
    rule: &Rule<istio::DestinationRule>,
    settings: &MeshSettings,
) -> DestinationPolicy {
    let selector = rule
        .spec
        .workload_selector
        .as_ref()
        .map(|selector| selector.labels.clone());
    let export_to = if selector.is_some() {
        ExportTo::Namespaces([namespace.clone()].into())
    } else {
        ExportTo::resolve(
            rule.spec.export_to.iter().map(String::as_str),
            namespace,
            &settings.config.default_destination_rule_export_to,
        )
    };
    DestinationPolicy {
        objects: [rule.object.clone()].into(),
        namespace: namespace.clone(),
        host: host.clone(),
        export_to,
        selector,
        spec: rule.spec.clone(),
    }
}

/// Adds a policy: merged into those for the same clients that are exported as far or less, and kept
/// on its own unless one of them is exported exactly as far. All are of one host.
fn add(merged: &mut Vec<Merged>, problems: &mut Vec<Problem>, new: DestinationPolicy) {
    let mut stands_alone = true;
    for old in merged.iter_mut() {
        if old.policy.selector != new.selector {
            continue;
        }
        let equal = old.policy.export_to == new.export_to;
        if equal || covers(&new.export_to, &old.policy.export_to) {
            old.merge(&new, problems);
            stands_alone &= !equal;
        }
    }
    if stands_alone {
        merged.push(Merged::new(new));
    }
}

fn covers(wide: &ExportTo, narrow: &ExportTo) -> bool {
    match (wide, narrow) {
        (ExportTo::Public, _) | (_, ExportTo::Nobody) => true,
        (ExportTo::Namespaces(wide), ExportTo::Namespaces(narrow)) => narrow
            .iter()
            .all(|namespace| wide.binary_search(namespace).is_ok()),
        _ => false,
    }
}
