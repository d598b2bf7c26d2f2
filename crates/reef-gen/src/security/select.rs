//! Which security policies are about a workload, and what follows from them.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_config::istio::{
    self, AuthorizationAction, AuthorizationPolicy, MutualTlsMode, PolicyTargetReference,
};
use reef_config::{ObjectKey, Problem};
use reef_mesh::{MeshSnapshot, MtlsMode, ProxyIdentity, Rule, Unenforced, WorkloadCert};

use super::{Denied, InboundSecurity, PortSecurity};
use crate::input::ClassInput;
use crate::listener::telemetry_problems;

/// What a policy refuses of the workloads it selects as long as it can't be enforced.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Requests on all ports.
    Requests,
    /// Everything on all ports.
    All,
    /// Everything on these ports.
    Ports(BTreeSet<u16>),
}

/// How the ports of a proxy's workload are secured.
pub(crate) fn inbound(snapshot: &MeshSnapshot, proxy: &ProxyIdentity) -> InboundSecurity {
    let deny = snapshot.settings().unenforced == Unenforced::Deny;
    let policy = snapshot.peer_policy(&proxy.namespace, &proxy.labels);
    let certified = proxy.workload_cert == WorkloadCert::SdsGrpc;
    let secured = |mode: MtlsMode| {
        if certified {
            return PortSecurity {
                mode,
                denied: Denied::Nothing,
            };
        }
        PortSecurity {
            mode: MtlsMode::Disable,
            denied: if mode == MtlsMode::Strict && deny {
                Denied::All
            } else {
                Denied::Nothing
            },
        }
    };
    let uncertified = if certified || !policy.has_strict() {
        Arc::default()
    } else {
        policy
            .objects
            .iter()
            .filter(|object| asks_for_strict(snapshot, object))
            .cloned()
            .collect()
    };
    let (everywhere, closed) = refused(snapshot, proxy, deny);
    let at_least = |security: PortSecurity, denied: Denied| PortSecurity {
        denied: security.denied.max(denied),
        ..security
    };
    let rest = at_least(secured(policy.mode), everywhere);
    let named: BTreeSet<u16> = policy.ports.iter().map(|(port, _)| *port).collect();
    let ports = named
        .union(&closed)
        .map(|port| {
            let denied = if closed.contains(port) {
                Denied::All
            } else {
                everywhere
            };
            (*port, at_least(secured(policy.of_port(*port)), denied))
        })
        // A port a policy names has chains of its own even if they say the same.
        .filter(|(port, own)| (certified && named.contains(port)) || *own != rest)
        .collect();
    InboundSecurity {
        rest,
        ports,
        uncertified,
    }
}

/// True if the policy itself says STRICT, for all ports or one.
fn asks_for_strict(snapshot: &MeshSnapshot, object: &ObjectKey) -> bool {
    let mut rules = snapshot.peer_authentications(&object.namespace).iter();
    let rule = rules.find(|rule| rule.object == *object);
    rule.is_some_and(|rule| {
        let all = rule
            .spec
            .mtls
            .iter()
            .chain(rule.spec.port_level_mtls.values());
        all.into_iter()
            .any(|mtls| mtls.mode == MutualTlsMode::Strict)
    })
}

/// What policies refuse on all ports, and the ports they close.
fn refused(snapshot: &MeshSnapshot, proxy: &ProxyIdentity, deny: bool) -> (Denied, BTreeSet<u16>) {
    let policies: Vec<&Rule<AuthorizationPolicy>> = snapshot
        .authorization_policies_of(&proxy.namespace, &proxy.labels)
        .map(|rule| &**rule)
        .collect();
    let tokens = snapshot
        .request_authentications_of(&proxy.namespace, &proxy.labels)
        .filter_map(|rule| refusal_of_tokens(rule));
    let mut everywhere = Denied::Nothing;
    let mut closed = BTreeSet::new();
    if deny {
        for refusal in policies
            .iter()
            .filter_map(|rule| refusal(rule))
            .chain(tokens)
        {
            match refusal {
                Refusal::Requests => everywhere = everywhere.max(Denied::Requests),
                Refusal::All => everywhere = Denied::All,
                Refusal::Ports(ports) => closed.extend(ports),
            }
        }
    }
    // Only policies that allow nothing: refusing everything is what they say.
    let mut allowing = policies
        .iter()
        .filter(|rule| rule.spec.action == AuthorizationAction::Allow && is_in_effect(rule))
        .peekable();
    if allowing.peek().is_some() && allowing.all(|rule| rule.spec.rules.is_empty()) {
        everywhere = Denied::All;
    }
    (everywhere, closed)
}

fn refusal(rule: &Rule<AuthorizationPolicy>) -> Option<Refusal> {
    let policy = &rule.spec;
    if !is_in_effect(rule) {
        return None;
    }
    match policy.action {
        AuthorizationAction::Audit => None,
        AuthorizationAction::Allow => Some(Refusal::All),
        // A policy without rules matches nothing.
        AuthorizationAction::Deny | AuthorizationAction::Custom if policy.rules.is_empty() => None,
        AuthorizationAction::Deny | AuthorizationAction::Custom => {
            Some(only_ports(policy).map_or(Refusal::All, Refusal::Ports))
        }
    }
}

/// The ports a policy is about, if each of its rules names some.
fn only_ports(policy: &AuthorizationPolicy) -> Option<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for rule in &policy.rules {
        if rule.to.is_empty() {
            return None;
        }
        for to in &rule.to {
            if to.operation.ports.is_empty() {
                return None;
            }
            for port in &to.operation.ports {
                ports.insert(port.parse().ok()?);
            }
        }
    }
    Some(ports)
}

fn refusal_of_tokens(rule: &Rule<istio::RequestAuthentication>) -> Option<Refusal> {
    let policy = &rule.spec;
    let attached = is_attached(policy.target_ref.as_ref(), &policy.target_refs);
    (!attached && !policy.jwt_rules.is_empty()).then_some(Refusal::Requests)
}

/// True if sidecars enforce the policy: it is neither attached to something else nor a dry run.
fn is_in_effect(rule: &Rule<AuthorizationPolicy>) -> bool {
    let trial = rule.annotations.get("istio.io/dry-run");
    let trial =
        trial.is_some_and(|text| matches!(&**text, "1" | "t" | "T" | "true" | "TRUE" | "True"));
    !trial && !is_attached(rule.spec.target_ref.as_ref(), &rule.spec.target_refs)
}

fn is_attached(one: Option<&PolicyTargetReference>, several: &[PolicyTargetReference]) -> bool {
    one.is_some() || !several.is_empty()
}

/// Policies that demand a certificate of a workload that has none.
pub(crate) fn problems(input: &ClassInput) -> impl Iterator<Item = Problem> {
    let outcome = match input.snapshot.settings().unenforced {
        Unenforced::Deny => "traffic to its ports is refused",
        Unenforced::Allow => "plaintext to its ports is let through",
    };
    input.proxy.security.uncertified.iter().map(move |object| {
        let reason =
            format!("demands mTLS of a workload whose proxy has no certificate: {outcome}");
        Problem::error(Unenforced::PROBLEM, reason).of(object)
    })
}

/// Policies of the mesh that can't be enforced yet, sorted by object.
#[must_use]
pub fn policy_problems(snapshot: &MeshSnapshot) -> Vec<Problem> {
    let outcome = |what: &str| match snapshot.settings().unenforced {
        Unenforced::Deny => format!("{what} to the workloads it selects is refused"),
        Unenforced::Allow => format!("{what} to the workloads it selects is let through"),
    };
    let problem = |object: &ObjectKey, what: &str| {
        let reason = format!("can't be enforced yet: {}", outcome(what));
        Problem::error(Unenforced::PROBLEM, reason).of(object)
    };
    let mut found = Vec::new();
    for rule in snapshot.every_authorization_policy() {
        let what = match refusal(rule) {
            // Refusing everything is exact.
            None => continue,
            Some(_) if rule.spec.rules.is_empty() => continue,
            Some(Refusal::Ports(ports)) => {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                format!("all traffic on ports {}", ports.join(", "))
            }
            Some(Refusal::All | Refusal::Requests) => "all traffic".to_owned(),
        };
        found.push(problem(&rule.object, &what));
    }
    for rule in snapshot.every_request_authentication() {
        if refusal_of_tokens(rule).is_some() {
            found.push(problem(&rule.object, "every request"));
        }
    }
    found.extend(telemetry_problems(snapshot));
    found.sort();
    found
}
