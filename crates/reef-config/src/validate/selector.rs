//! Selectors of workloads, target references and what else several kinds of policies share.

use super::check::{Check, Shown};
use crate::istio::{PolicyTargetReference, WorkloadSelector};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::Sidecar, Kind::ServiceEntry, Kind::DestinationRule, Kind::PeerAuthentication, Kind::RequestAuthentication, Kind::AuthorizationPolicy, Kind::Telemetry, Kind::ProxyConfig, Kind::EnvoyFilter];
    Error SELECTOR_KEY "selector-key" "A selector of workloads has no empty label";
    Error SELECTOR_WILDCARD "selector-wildcard" "A selector of workloads has no `*`: labels are compared as they are";
    Warning SELECTOR_EMPTY "selector-empty" "A selector of workloads has labels; without any it selects the whole namespace";
}

/// Checks a selector that is there.
pub(super) fn workload(check: &mut Check<'_>, at: &Path<'_>, selector: Option<&WorkloadSelector>) {
    let Some(selector) = selector else { return };
    if selector.labels.is_empty() {
        let reason = "a selector without labels selects every workload of the namespace";
        check.tell(&SELECTOR_EMPTY, at, reason);
    }
    for (key, value) in selector.labels.iter() {
        if key.is_empty() {
            check.tell(&SELECTOR_KEY, at, "a label must have a name");
        }
        if key.contains('*') || value.contains('*') {
            let reason = format_args!("{}: wildcards are not supported here", Shown(key));
            check.tell(&SELECTOR_WILDCARD, at, reason);
        }
    }
}

/// Rules of `targetRef` and `targetRefs`.
pub(super) mod targets {
    use super::{Check, Kind, Path, PolicyTargetReference, Shown, WorkloadSelector};

    crate::validation_rules! {
        [Kind::AuthorizationPolicy, Kind::RequestAuthentication, Kind::Telemetry];
        Error TARGET_AND_SELECTOR "target-and-selector" "A policy has one of selector, targetRef and targetRefs";
        Error TARGET_NAME "target-name" "A target reference has a name";
        Error TARGET_NAMESPACE "target-namespace" "A target reference has no namespace: it is the policy's own";
        Error TARGET_KIND "target-kind" "A target reference is of a Gateway (gateway.networking.k8s.io), a GatewayClass, a Service or a ServiceEntry";
    }

    /// What may be referred to: group and kind.
    const KINDS: [(&str, &str); 5] = [
        ("", "Service"),
        ("core", "Service"),
        ("networking.istio.io", "ServiceEntry"),
        ("gateway.networking.k8s.io", "Gateway"),
        ("gateway.networking.k8s.io", "GatewayClass"),
    ];

    /// Checks what a policy is attached to.
    pub(in super::super) fn check(
        check: &mut Check<'_>,
        spec: &Path<'_>,
        selector: Option<&WorkloadSelector>,
        single: Option<&PolicyTargetReference>,
        several: &[PolicyTargetReference],
    ) {
        super::workload(check, &spec.key("selector"), selector);
        let ways = usize::from(selector.is_some())
            + usize::from(single.is_some())
            + usize::from(!several.is_empty());
        let reason = "only one of selector, targetRef and targetRefs may be set";
        check.tell_if(ways > 1, &TARGET_AND_SELECTOR, spec, reason);
        if let Some(target) = single {
            one(check, &spec.key("targetRef"), target);
        }
        let list = spec.key("targetRefs");
        for (index, target) in several.iter().enumerate() {
            one(check, &list.index(index), target);
        }
    }

    fn one(check: &mut Check<'_>, at: &Path<'_>, target: &PolicyTargetReference) {
        let nameless = target.name.is_empty();
        check.tell_if(nameless, &TARGET_NAME, &at.key("name"), "a name is needed");
        let far = !target.namespace.is_empty();
        let reason = "only what is in the namespace of the policy can be referred to";
        check.tell_if(far, &TARGET_NAMESPACE, &at.key("namespace"), reason);
        if !KINDS.contains(&(target.group.as_str(), target.kind.as_str())) {
            let what = format!("{}/{}", target.group, target.kind);
            let reason = format_args!("{} cannot be referred to", Shown(&what));
            check.tell(&TARGET_KIND, &at.key("kind"), reason);
        }
    }
}
