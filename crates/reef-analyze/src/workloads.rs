//! Whom selectors select: nobody, or somebody another object selects, too.

use std::collections::BTreeMap;

use reef_config::{Kind, Labels, Namespace, Object, ObjectKey, Spec};

use crate::Findings;
use crate::view::View;

reef_config::validation_rules! {
    [Kind::Sidecar];
    Warning ("IST0110") SELECTORS "sc-selector-conflict" "A workload is selected by one Sidecar; of several the oldest counts";
    Warning ("IST0111") DEFAULTS "sc-default-conflict" "A namespace has one Sidecar without selector; of several the oldest counts";
    Warning (own) EGRESS_NAMESPACE "sc-egress-namespace-unknown" "A namespace that egress names is there";
    Warning (own) EGRESS_HOST "sc-egress-host-unknown" "A host that egress names is one some service has";
}

/// Rules of selectors of any kind.
pub(crate) mod selectors {
    use super::Kind;

    reef_config::validation_rules! {
        [Kind::Sidecar, Kind::ServiceEntry, Kind::DestinationRule, Kind::PeerAuthentication, Kind::RequestAuthentication, Kind::AuthorizationPolicy, Kind::Telemetry, Kind::ProxyConfig, Kind::EnvoyFilter];
        Warning ("IST0127") NOBODY "selector-nobody" "A selector selects a workload, if any workload is known";
    }
}

/// Rules of `Telemetry`.
pub(crate) mod telemetry {
    use super::Kind;

    reef_config::validation_rules! {
        [Kind::Telemetry];
        Warning ("IST0159") SELECTORS "tel-selector-conflict" "A workload is selected by one Telemetry of its namespace; of several the oldest counts";
        Warning ("IST0160") DEFAULTS "tel-default-conflict" "A namespace has one Telemetry without selector; of several the oldest counts";
        Warning (own) PROVIDER "tel-provider-unknown" "A provider is one of the mesh configuration's extensionProviders, or prometheus, envoy or stackdriver";
    }
}

/// Providers a mesh has without being told.
const BUILT_IN: [&str; 3] = ["prometheus", "stackdriver", "envoy"];

/// Looks at all selectors.
pub(crate) fn analyze(view: &View<'_>, findings: &mut Findings) {
    nobody(view, findings);
    let sidecars: Vec<(&Object, Option<&Labels>)> = view
        .objects
        .iter()
        .filter_map(|object| match &object.spec {
            Spec::Sidecar(spec) => Some((
                &**object,
                spec.workload_selector.as_ref().map(|s| &s.labels),
            )),
            _ => None,
        })
        .collect();
    conflicts(view, findings, &sidecars, &SELECTORS, &DEFAULTS);
    let telemetries: Vec<(&Object, Option<&Labels>)> = view
        .objects
        .iter()
        .filter_map(|object| match &object.spec {
            Spec::Telemetry(spec) if spec.target_ref.is_none() && spec.target_refs.is_empty() => {
                Some((&**object, spec.selector.as_ref().map(|s| &s.labels)))
            }
            _ => None,
        })
        .collect();
    let (selectors, defaults) = (&telemetry::SELECTORS, &telemetry::DEFAULTS);
    conflicts(view, findings, &telemetries, selectors, defaults);
    providers(view, findings);
    egress(view, findings);
}

/// The selector of an object and whether it reaches beyond the namespace from the root's.
fn selector_of(object: &Object) -> Option<(&Labels, bool)> {
    let (selector, far) = match &object.spec {
        Spec::Sidecar(spec) => (spec.workload_selector.as_ref(), false),
        Spec::ServiceEntry(spec) => (spec.workload_selector.as_ref(), false),
        Spec::DestinationRule(spec) => (spec.workload_selector.as_ref(), false),
        Spec::PeerAuthentication(spec) => (spec.selector.as_ref(), false),
        Spec::RequestAuthentication(spec) => (spec.selector.as_ref(), true),
        Spec::AuthorizationPolicy(spec) => (spec.selector.as_ref(), true),
        Spec::Telemetry(spec) => (spec.selector.as_ref(), true),
        Spec::ProxyConfig(spec) => (spec.selector.as_ref(), true),
        Spec::EnvoyFilter(spec) => (spec.workload_selector.as_ref(), true),
        _ => return None,
    };
    selector.map(|selector| (&selector.labels, far))
}

fn nobody(view: &View<'_>, findings: &mut Findings) {
    if !view.has_workloads() {
        return;
    }
    for object in view.objects {
        let Some((labels, far)) = selector_of(object) else {
            continue;
        };
        let namespace = &object.key.namespace;
        let somebody = if far {
            view.selected(namespace, labels).next().is_some()
        } else {
            view.selected_here(namespace, labels).next().is_some()
        };
        if !somebody && !labels.is_empty() {
            let reason = format!("no workload has the labels {}", shown(labels));
            findings.tell(&selectors::NOBODY, object, "spec", reason);
        }
    }
}

fn shown(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

fn conflicts(
    view: &View<'_>,
    findings: &mut Findings,
    all: &[(&Object, Option<&Labels>)],
    selectors: &'static reef_config::validate::Rule,
    defaults: &'static reef_config::validate::Rule,
) {
    let mut sorted: Vec<_> = all.to_vec();
    sorted.sort_by_key(|(object, _)| object.age());
    let mut whole: BTreeMap<&Namespace, &Object> = BTreeMap::new();
    let mut taken: BTreeMap<&ObjectKey, &Object> = BTreeMap::new();
    for (object, selector) in sorted {
        let namespace = &object.key.namespace;
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            if let Some(older) = whole.get(namespace) {
                let reason = format!(
                    "{} is for the whole namespace, too, and is older",
                    older.key
                );
                findings.tell(defaults, object, "spec", reason);
            } else {
                whole.insert(namespace, object);
            }
            continue;
        };
        let mut told = false;
        for workload in view.selected_here(namespace, selector) {
            match taken.get(workload) {
                Some(older) if !told => {
                    told = true;
                    let reason = format!(
                        "{workload} is selected by {}, too, which is older",
                        older.key
                    );
                    findings.tell(selectors, object, "spec", reason);
                }
                Some(_) => {}
                None => {
                    taken.insert(workload, object);
                }
            }
        }
    }
}

fn providers(view: &View<'_>, findings: &mut Findings) {
    let config = &view.snapshot.settings().config;
    let known = |name: &str| {
        BUILT_IN.contains(&name)
            || config
                .extension_providers
                .iter()
                .any(|provider| provider.get("name").and_then(|known| known.as_str()) == Some(name))
    };
    for object in view.objects {
        let Spec::Telemetry(spec) = &object.spec else {
            continue;
        };
        let tracing = spec
            .tracing
            .iter()
            .map(|entry| ("tracing", &entry.providers));
        let metrics = spec
            .metrics
            .iter()
            .map(|entry| ("metrics", &entry.providers));
        let logging = spec
            .access_logging
            .iter()
            .map(|e| ("accessLogging", &e.providers));
        for (field, providers) in tracing.chain(metrics).chain(logging) {
            for provider in providers.iter().filter(|provider| !known(&provider.name)) {
                let reason = format!("the mesh configuration has no provider {:?}", provider.name);
                findings.tell(
                    &telemetry::PROVIDER,
                    object,
                    format!("spec.{field}"),
                    reason,
                );
            }
        }
    }
}

fn egress(view: &View<'_>, findings: &mut Findings) {
    for object in view.objects {
        let Spec::Sidecar(sidecar) = &object.spec else {
            continue;
        };
        for (index, listener) in sidecar.egress.iter().enumerate() {
            for (number, entry) in listener.hosts.iter().enumerate() {
                let Some((namespace, host)) = entry.split_once('/') else {
                    continue;
                };
                let field = format!("spec.egress[{index}].hosts[{number}]");
                // What is left out need not be there.
                if namespace.starts_with('~') {
                    continue;
                }
                if !matches!(namespace, "*" | ".") && !view.has_namespace(namespace) {
                    let reason = format!("nothing is in the namespace {namespace}");
                    findings.tell(&EGRESS_NAMESPACE, object, field, reason);
                } else if host != "*" && !view.is_host(&host.into()) {
                    let reason = format!("no service has the host {host}");
                    findings.tell(&EGRESS_HOST, object, field, reason);
                }
            }
        }
    }
}
