//! `DestinationRule`s of one namespace, merged by host and indexed for lookup.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::names::{Hostname, Namespace};
use reef_config::{Problem, istio};

use super::{DestinationPolicy, Rule};
use crate::{ExportTo, MeshSettings};

/// The policies of one set of rules: by exact host, and wildcards from the longest on.
#[derive(Debug, Clone, Default, PartialEq)]
struct HostTable {
    exact: BTreeMap<Hostname, Box<[Arc<DestinationPolicy>]>>,
    wildcard: Vec<(Hostname, Box<[Arc<DestinationPolicy>]>)>,
}

impl HostTable {
    fn new(policies: Vec<Arc<DestinationPolicy>>) -> Self {
        let mut by_host: BTreeMap<Hostname, Vec<Arc<DestinationPolicy>>> = BTreeMap::new();
        for policy in policies {
            by_host.entry(policy.host.clone()).or_default().push(policy);
        }
        let mut table = Self::default();
        for (host, list) in by_host {
            if host.is_wildcard() {
                table.wildcard.push((host, list.into()));
            } else {
                table.exact.insert(host, list.into());
            }
        }
        table
            .wildcard
            .sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        table
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DestinationRuleIndex {
    /// Visible in the namespace itself.
    local: HostTable,
    /// Visible in the namespace and nowhere else.
    private: HostTable,
    /// Not limited to the namespace.
    exported: HostTable,
    problems: Vec<Problem>,
}

impl DestinationRuleIndex {
    /// Builds the index from the rules of `namespace`, in any order.
    #[must_use]
    pub fn new(
        namespace: &Namespace,
        rules: &[Arc<Rule<istio::DestinationRule>>],
        settings: &MeshSettings,
    ) -> Self {
        let mut sorted: Vec<_> = rules.iter().collect();
        sorted.sort_by_key(|rule| (rule.spec.workload_selector.is_none(), rule.age.clone()));
        let mut policies = Vec::new();
        let mut problems = Vec::new();
        for rule in sorted {
            add(
                &mut policies,
                &mut problems,
                policy(namespace, rule, settings),
            );
        }
        let policies: Vec<_> = policies.into_iter().map(Arc::new).collect();
        let pick = |wanted: &dyn Fn(&ExportTo) -> bool| {
            HostTable::new(
                policies
                    .iter()
                    .filter(|p| wanted(&p.export_to))
                    .cloned()
                    .collect(),
            )
        };
        Self {
            local: pick(&|export| export.includes(namespace)),
            private: pick(&|export| export.is_private(namespace)),
            exported: pick(&|export| !export.is_private(namespace)),
            problems,
        }
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
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn policy(
    namespace: &Namespace,
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
    let host = rule.spec.host.resolve(namespace, &settings.domain);
    DestinationPolicy {
        objects: [rule.object.clone()].into(),
        namespace: namespace.clone(),
        host,
        export_to,
        selector,
        spec: rule.spec.clone(),
    }
}

/// Adds a policy: merged into those for the same host and clients that are exported as far or
/// less, and kept on its own unless one of them is exported exactly as far.
fn add(policies: &mut Vec<DestinationPolicy>, problems: &mut Vec<Problem>, new: DestinationPolicy) {
    let mut stands_alone = true;
    for old in policies.iter_mut() {
        if old.host != new.host || old.selector != new.selector {
            continue;
        }
        let equal = old.export_to == new.export_to;
        if equal || covers(&new.export_to, &old.export_to) {
            merge(old, &new, problems);
            stands_alone &= !equal;
        }
    }
    if stands_alone {
        policies.push(new);
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

fn merge(old: &mut DestinationPolicy, new: &DestinationPolicy, problems: &mut Vec<Problem>) {
    let mut objects = old.objects.to_vec();
    objects.extend(new.objects.iter().cloned());
    old.objects = objects.into();
    for (at, subset) in new.spec.subsets.iter().enumerate() {
        if old
            .spec
            .subsets
            .iter()
            .any(|known| known.name == subset.name)
        {
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
        } else {
            old.spec.subsets.push(subset.clone());
        }
    }
    if old.spec.traffic_policy.is_none() {
        old.spec.traffic_policy.clone_from(&new.spec.traffic_policy);
    }
}
