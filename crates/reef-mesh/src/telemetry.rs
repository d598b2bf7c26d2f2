//! Which `Telemetry` objects hold for a workload, and which access logs follow from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::Labels;
use reef_config::istio::{self, AccessLogging, WorkloadMode};
use reef_config::names::Namespace;

use crate::{LogProviders, MeshSnapshot, Rule};

/// The access logs of one direction of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessLogRule {
    /// Name of the provider.
    pub provider: Arc<str>,
    /// Which requests are logged: a CEL expression.
    pub filter: Option<Arc<str>>,
}

/// What `Telemetry` objects say of access logs; `None` leaves a direction to the mesh configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessLogRules {
    /// Of what leaves the workload, by provider.
    pub outbound: Option<Arc<[AccessLogRule]>>,
    /// Of what arrives at it, by provider.
    pub inbound: Option<Arc<[AccessLogRule]>>,
}

/// True for a rule about a whole namespace.
fn is_general(spec: &istio::Telemetry) -> bool {
    spec.target_ref.is_none()
        && spec.target_refs.is_empty()
        && spec
            .selector
            .as_ref()
            .is_none_or(|selector| selector.labels.is_empty())
}

impl MeshSnapshot {
    /// The `Telemetry` objects that hold for a workload, the least specific first: the mesh's
    /// oldest, its namespace's oldest, and those that select it, oldest first.
    fn telemetries_of<'a>(
        &'a self,
        namespace: &'a Namespace,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a Arc<Rule<istio::Telemetry>>> {
        let root = &self.settings.root_namespace;
        let general = |namespace: &Namespace| {
            let mut all = self.telemetries(namespace).iter();
            all.find(|rule| is_general(&rule.spec))
        };
        let own = (namespace != root).then(|| general(namespace)).flatten();
        let selecting = self.telemetries(namespace).iter().filter(|rule| {
            // One attached to a resource is for gateways and waypoints.
            rule.spec.target_ref.is_none()
                && rule.spec.target_refs.is_empty()
                && rule.spec.selector.as_ref().is_some_and(|selector| {
                    !selector.labels.is_empty() && selector.labels.selects(labels)
                })
        });
        general(root).into_iter().chain(own).chain(selecting)
    }

    /// What the `Telemetry` objects say of the access logs of a workload.
    #[must_use]
    pub fn access_log_rules(&self, namespace: &Namespace, labels: &Labels) -> AccessLogRules {
        let levels: Vec<&Arc<Rule<istio::Telemetry>>> = self
            .telemetries_of(namespace, labels)
            .filter(|rule| !rule.spec.access_logging.is_empty())
            .collect();
        let providers = &self.settings.logs;
        AccessLogRules {
            outbound: merged(&levels, providers, WorkloadMode::Client),
            inbound: merged(&levels, providers, WorkloadMode::Server),
        }
    }
}

fn is_about(logging: &AccessLogging, direction: WorkloadMode) -> bool {
    let mode = logging
        .selector
        .as_ref()
        .map_or(WorkloadMode::ClientAndServer, |selector| selector.mode);
    mode == WorkloadMode::ClientAndServer || mode == direction
}

/// The logs of a direction. The providers are those the last level names that names any; what is
/// said of each is what the last entry says that is about it. `None` if there is no provider.
fn merged(
    levels: &[&Arc<Rule<istio::Telemetry>>],
    providers: &LogProviders,
    direction: WorkloadMode,
) -> Option<Arc<[AccessLogRule]>> {
    let named_by = |logging: &AccessLogging| -> Vec<Arc<str>> {
        let names = logging.providers.iter();
        names.map(|provider| Arc::from(&*provider.name)).collect()
    };
    let default: BTreeSet<Arc<str>> = providers.default.iter().cloned().collect();
    let in_scope = levels
        .iter()
        .rev()
        .map(|rule| {
            let entries = rule.spec.access_logging.iter();
            let about = entries.filter(|logging| is_about(logging, direction));
            about.flat_map(named_by).collect::<BTreeSet<Arc<str>>>()
        })
        .find(|names| !names.is_empty())
        .unwrap_or_else(|| default.clone());
    // `None` is a provider that is turned off.
    let mut said: BTreeMap<Arc<str>, Option<AccessLogRule>> = BTreeMap::new();
    if levels.is_empty() {
        for provider in default {
            let rule = AccessLogRule {
                provider: provider.clone(),
                filter: None,
            };
            said.insert(provider, Some(rule));
        }
    }
    // An entry that names no provider is about those of the one before.
    let mut before: Vec<Arc<str>> = providers.default.to_vec();
    for rule in levels {
        for logging in &rule.spec.access_logging {
            let named = named_by(logging);
            if !named.is_empty() {
                before = named;
            }
            if !is_about(logging, direction) {
                continue;
            }
            for provider in before.iter().filter(|name| in_scope.contains(*name)) {
                let rule = (logging.disabled != Some(true)).then(|| AccessLogRule {
                    provider: provider.clone(),
                    filter: logging
                        .filter
                        .as_ref()
                        .filter(|filter| !filter.expression.is_empty())
                        .map(|filter| Arc::from(&*filter.expression)),
                });
                said.insert(provider.clone(), rule);
            }
        }
    }
    said.retain(|name, _| providers.by_name.contains_key(name));
    (!said.is_empty()).then(|| said.into_values().flatten().collect())
}
