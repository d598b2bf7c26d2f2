//! What of a `DestinationRule` is not applied as written.

use reef_config::Problem;
use reef_config::istio::LoadBalancerSettings;
use reef_mesh::{Resolution, Service, Unenforced};

use super::{Effective, policy, traffic_policy};
use crate::cluster::{is_ring_size, is_table_size, secured};
use crate::input::{ClassInput, has_cluster, is_unresolvable, is_unresolvable_by};

/// Tells what of the rule for a service is not applied as written. Rules of several ports may say
/// the same twice.
pub(crate) fn problems(input: &ClassInput, service: &Service, found: &mut Vec<Problem>) {
    let Some(rule) = policy(input, &service.key) else {
        return;
    };
    let Some(object) = rule.objects.first() else {
        return;
    };
    let mut tell = |problem: Problem| found.push(problem.of(object));
    if service.resolution == Resolution::DynamicDns && !rule.spec.subsets.is_empty() {
        let reason = format!(
            "{} has no subsets: its names are resolved on demand",
            service.key.hostname
        );
        tell(Problem::warning("subset", reason).field("spec.subsets"));
    }
    for port in &service.ports {
        if !has_cluster(service, port) {
            continue;
        }
        let whole = traffic_policy(&rule, port.number, None);
        of_part(input, service, &whole, None, &rule, &mut tell);
        let resolvable = !is_unresolvable(input, service, port);
        for subset in &rule.spec.subsets {
            let own = whole.of_subset(subset, port.number);
            if own != whole {
                of_part(input, service, &own, Some(&subset.name), &rule, &mut tell);
            }
            let only = || input.selection_by(service, &own, Some(&subset.labels));
            if resolvable && is_unresolvable_by(input, service, port, only) {
                let reason = format!(
                    "subset {} of {} has no endpoint to resolve on port {}, so it has no cluster",
                    subset.name, service.key.hostname, port.number
                );
                tell(Problem::warning("no-endpoints", reason).field("spec.subsets"));
            }
        }
    }
}

fn of_part(
    input: &ClassInput,
    service: &Service,
    effective: &Effective<'_>,
    subset: Option<&str>,
    rule: &reef_mesh::DestinationPolicy,
    tell: &mut impl FnMut(Problem),
) {
    let part = match subset {
        Some(subset) => format!("subset {subset} of {}", service.key.hostname),
        None => service.key.hostname.to_string(),
    };
    if let Some(tls) = effective.tls {
        let secured = secured(input, service, Some(rule));
        if let Some(why) = secured.unmet(tls) {
            let outcome = match input.snapshot.settings().unenforced {
                Unenforced::Deny => "is not connected to",
                Unenforced::Allow => "is connected to in plaintext",
            };
            let reason = format!("{why}: {part} {outcome}");
            tell(Problem::error(Unenforced::PROBLEM, reason).field("spec.trafficPolicy.tls"));
        } else if secured.ignores_credential(tls) {
            let reason = format!(
                "credentialName is for gateways and for rules with a workloadSelector: sidecars \
                 connect to {part} in plaintext"
            );
            tell(
                Problem::warning("credential-ignored", reason)
                    .field("spec.trafficPolicy.tls.credentialName"),
            );
        }
    }
    if let Some(reason) = effective.load_balancer.and_then(bad_size) {
        tell(
            Problem::warning("hash-size", format!("{reason}, for {part}"))
                .field("spec.trafficPolicy.loadBalancer.consistentHash"),
        );
    }
}

/// A size of a hash table that Envoy would refuse.
fn bad_size(balancer: &LoadBalancerSettings) -> Option<String> {
    let hash = balancer.consistent_hash.as_ref()?;
    if let Some(maglev) = &hash.maglev {
        let size = maglev.table_size.filter(|size| *size != 0)?;
        return (!is_table_size(size)).then(|| {
            format!("maglev table size {size} is no prime up to 5000011; Envoy's default is used")
        });
    }
    let size = match &hash.ring_hash {
        Some(ring) => ring.minimum_ring_size,
        None => hash.minimum_ring_size,
    }?;
    (!is_ring_size(size)).then(|| format!("ring size {size} is more than 8388608, which is used"))
}
