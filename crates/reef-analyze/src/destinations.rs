//! `DestinationRule`s: whom they are about, and whether they mean something there.

use std::collections::BTreeMap;

use reef_config::istio::{ClientTlsMode, DestinationRule};
use reef_config::{Hostname, Kind, Labels, Namespace, Object, Spec};
use reef_mesh::{MtlsMode, Service};

use crate::Findings;
use crate::view::View;

reef_config::validation_rules! {
    [Kind::DestinationRule];
    Warning ("IST0101") HOST_UNKNOWN "dr-host-unknown" "The host of a DestinationRule is one some service has";
    Warning ("IST0173") SUBSET_EMPTY "dr-subset-empty" "A subset selects an endpoint of the service, if it has any";
    Warning (own) PORT_UNKNOWN "dr-port-unknown" "A port of portLevelSettings is one of the service's";
    Warning (own) POLICY_LOST "dr-policy-lost" "Of several DestinationRules of a namespace for one host and the same clients one has a trafficPolicy; the oldest one's counts";
    Warning ("IST0113") MTLS_CONFLICT "dr-mtls-conflict" "The tls of a DestinationRule goes with the mTLS mode of the service's namespace";
}

/// Looks at all `DestinationRule`s.
pub(crate) fn analyze(view: &View<'_>, findings: &mut Findings) {
    type Clients<'m> = (&'m Namespace, Hostname, Option<&'m Labels>);
    let mut alike: BTreeMap<Clients<'_>, Vec<&Object>> = BTreeMap::new();
    for object in view.objects {
        let Spec::DestinationRule(rule) = &object.spec else {
            continue;
        };
        let host = view.full(&rule.host, &object.key.namespace);
        if !view.is_host(&host) {
            let reason = format!("no service has the host {host}");
            findings.tell(&HOST_UNKNOWN, object, "spec.host", reason);
        }
        for service in view.snapshot.services_of_host(&host) {
            one(view, findings, object, rule, service);
        }
        if rule.traffic_policy.is_some() {
            let selector = rule
                .workload_selector
                .as_ref()
                .map(|selector| &selector.labels);
            let clients = (&object.key.namespace, host, selector);
            alike.entry(clients).or_default().push(object);
        }
    }
    for ((_, host, _), mut all) in alike {
        all.sort_by_key(|object| object.age());
        let Some((first, rest)) = all.split_first() else {
            continue;
        };
        for object in rest {
            let reason = format!("{} has one for {host}, too, and is older", first.key);
            findings.tell(&POLICY_LOST, object, "spec.trafficPolicy", reason);
        }
    }
}

fn one(
    view: &View<'_>,
    findings: &mut Findings,
    object: &Object,
    rule: &DestinationRule,
    service: &Service,
) {
    let endpoints = view.snapshot.endpoints(&service.key);
    if let Some(endpoints) = endpoints.filter(|endpoints| !endpoints.is_empty()) {
        for (index, subset) in rule.subsets.iter().enumerate() {
            let selects = |labels: &Labels| subset.labels.selects(labels);
            if !endpoints
                .iter()
                .any(|endpoint| selects(&endpoint.workload.labels))
            {
                let reason = format!(
                    "the subset {} selects no endpoint of {}",
                    subset.name, service.key.hostname
                );
                findings.tell(
                    &SUBSET_EMPTY,
                    object,
                    format!("spec.subsets[{index}].labels"),
                    reason,
                );
            }
        }
    }
    let Some(policy) = &rule.traffic_policy else {
        return;
    };
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let number = settings.port.as_ref().map_or(0, |port| port.number);
        let known = u16::try_from(number).is_ok_and(|port| service.port(port).is_some());
        // What is no port at all is told of the object alone.
        if !known && (1..=65_535).contains(&number) {
            let reason = format!("{} has no port {number}", service.key.hostname);
            let field = format!("spec.trafficPolicy.portLevelSettings[{index}].port");
            findings.tell(&PORT_UNKNOWN, object, field, reason);
        }
    }
    if service.mesh_external {
        return;
    }
    let wanted = view.snapshot.namespace_mtls(&service.key.namespace);
    let said = policy.tls.as_ref().map(|tls| tls.mode);
    let reason = match (wanted, said) {
        (MtlsMode::Strict, Some(ClientTlsMode::Disable)) => "asks for mTLS, which this turns off",
        (MtlsMode::Disable, Some(ClientTlsMode::IstioMutual)) => "takes no mTLS, which this sends",
        _ => return,
    };
    let reason = format!("namespace {} {reason}", service.key.namespace);
    findings.tell(
        &MTLS_CONFLICT,
        object,
        "spec.trafficPolicy.tls.mode",
        reason,
    );
}
