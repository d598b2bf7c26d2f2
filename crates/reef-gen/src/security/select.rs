//! Which security policies are about a workload, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::istio::{
    self, AuthorizationAction, AuthorizationPolicy, MutualTls, MutualTlsMode, PeerAuthentication,
    PolicyTargetReference, WorkloadSelector,
};
use reef_config::names::Namespace;
use reef_config::{Labels, ObjectKey, Problem};
use reef_mesh::{MeshSnapshot, ProxyIdentity, Rule, Unenforced, WorkloadCert};

use super::{Denied, InboundSecurity, MtlsMode, PortSecurity};
use crate::input::ClassInput;

/// Code of the problem of a policy that can't be enforced.
pub const UNENFORCED: &str = "unenforced-security";

/// The `PeerAuthentication`s that can be about workloads of one namespace.
#[derive(Debug)]
pub(crate) struct Policies<'a> {
    mesh: Option<&'a Rule<PeerAuthentication>>,
    namespace: Option<&'a Rule<PeerAuthentication>>,
    /// Those with a selector, oldest first.
    workloads: Vec<&'a Rule<PeerAuthentication>>,
}

/// The policy in effect for one workload.
#[derive(Debug)]
struct Effective<'a> {
    /// Mode and the policy that says so; `None` if nobody says anything.
    mode: (MtlsMode, Option<&'a ObjectKey>),
    /// Modes of ports, with the policy that says so.
    ports: BTreeMap<u16, (MtlsMode, Option<&'a ObjectKey>)>,
}

impl<'a> Policies<'a> {
    /// Finds them. In the root namespace a selector is of no use.
    pub(crate) fn of(snapshot: &'a MeshSnapshot, namespace: &Namespace) -> Self {
        let root = &snapshot.settings().root_namespace;
        let general = |list: &'a [Arc<Rule<PeerAuthentication>>]| {
            list.iter()
                .find(|rule| is_general(rule.spec.selector.as_ref()))
                .map(|rule| &**rule)
        };
        let mesh = general(snapshot.peer_authentications(root));
        if namespace == root {
            return Self {
                mesh,
                namespace: None,
                workloads: Vec::new(),
            };
        }
        let own = snapshot.peer_authentications(namespace);
        Self {
            mesh,
            namespace: general(own),
            workloads: own
                .iter()
                .filter(|rule| !is_general(rule.spec.selector.as_ref()))
                .map(|rule| &**rule)
                .collect(),
        }
    }

    /// True if nobody says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.mesh.is_none() && self.namespace.is_none() && self.workloads.is_empty()
    }

    /// The mode without regard to workloads.
    pub(crate) fn namespace_mode(&self) -> MtlsMode {
        self.general().0
    }

    /// The mode of one port of a workload.
    pub(crate) fn mode_of(&self, labels: &Labels, port: u16) -> MtlsMode {
        let effective = self.effective(labels);
        effective.ports.get(&port).unwrap_or(&effective.mode).0
    }

    fn general(&self) -> (MtlsMode, Option<&'a ObjectKey>) {
        let said = |rule: &'a Rule<PeerAuthentication>| {
            Some((mode(rule.spec.mtls.as_ref())?, Some(&rule.object)))
        };
        self.namespace
            .and_then(said)
            .or_else(|| self.mesh.and_then(said))
            .unwrap_or((MtlsMode::Permissive, None))
    }

    fn effective(&self, labels: &Labels) -> Effective<'a> {
        let selected = self.workloads.iter().find(|rule| {
            let selector = rule.spec.selector.as_ref();
            selector.is_some_and(|selector| selector.labels.selects(labels))
        });
        let Some(rule) = selected else {
            return Effective {
                mode: self.general(),
                ports: BTreeMap::new(),
            };
        };
        let own = |mtls: &MutualTls| Some((mode(Some(mtls))?, Some(&rule.object)));
        let whole = rule
            .spec
            .mtls
            .as_ref()
            .and_then(own)
            .unwrap_or_else(|| self.general());
        let ports = rule
            .spec
            .port_level_mtls
            .iter()
            .map(|(port, mtls)| (*port, own(mtls).unwrap_or(whole)))
            .collect();
        Effective { mode: whole, ports }
    }
}

/// The mode somebody asks for; `None` inherits.
fn mode(mtls: Option<&MutualTls>) -> Option<MtlsMode> {
    match mtls?.mode {
        MutualTlsMode::Unset => None,
        MutualTlsMode::Disable => Some(MtlsMode::Disable),
        MutualTlsMode::Permissive => Some(MtlsMode::Permissive),
        MutualTlsMode::Strict => Some(MtlsMode::Strict),
    }
}

fn is_general(selector: Option<&WorkloadSelector>) -> bool {
    selector.is_none_or(|selector| selector.labels.is_empty())
}

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
    let effective = Policies::of(snapshot, &proxy.namespace).effective(&proxy.labels);
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
    let strict = std::iter::once(&effective.mode).chain(effective.ports.values());
    let uncertified: BTreeSet<&ObjectKey> = strict
        .filter(|(mode, _)| *mode == MtlsMode::Strict && !certified)
        .filter_map(|(_, object)| *object)
        .collect();
    let (everywhere, closed) = refused(snapshot, proxy, deny);
    let at_least = |security: PortSecurity, denied: Denied| PortSecurity {
        denied: security.denied.max(denied),
        ..security
    };
    let base = secured(effective.mode.0);
    let rest = at_least(base, everywhere);
    let numbers: BTreeSet<u16> = effective
        .ports
        .keys()
        .copied()
        .chain(closed.iter().copied())
        .collect();
    let ports = numbers
        .into_iter()
        .map(|number| {
            let own = effective.ports.get(&number);
            let own = own.map_or(base, |(mode, _)| secured(*mode));
            let denied = if closed.contains(&number) {
                Denied::All
            } else {
                everywhere
            };
            (number, at_least(own, denied))
        })
        // A port a policy names has chains of its own even if they say the same.
        .filter(|(number, own)| (certified && effective.ports.contains_key(number)) || *own != rest)
        .collect();
    InboundSecurity {
        rest,
        ports,
        uncertified: uncertified.into_iter().cloned().collect(),
    }
}

/// What policies refuse on all ports, and the ports they close.
fn refused(snapshot: &MeshSnapshot, proxy: &ProxyIdentity, deny: bool) -> (Denied, BTreeSet<u16>) {
    let root = &snapshot.settings().root_namespace;
    let own = (proxy.namespace != *root).then_some(&proxy.namespace);
    let namespaces = || std::iter::once(root).chain(own);
    let selected = |selector: Option<&WorkloadSelector>| {
        selector.is_none_or(|selector| selector.labels.selects(&proxy.labels))
    };
    let policies: Vec<&Rule<AuthorizationPolicy>> = namespaces()
        .flat_map(|namespace| snapshot.authorization_policies(namespace))
        .map(|rule| &**rule)
        .filter(|rule| selected(rule.spec.selector.as_ref()))
        .collect();
    let tokens = namespaces()
        .flat_map(|namespace| snapshot.request_authentications(namespace))
        .filter(|rule| selected(rule.spec.selector.as_ref()))
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
        .filter(|rule| rule.spec.action == AuthorizationAction::Allow && is_in_effect(rule));
    if allowing
        .next()
        .is_some_and(|rule| rule.spec.rules.is_empty())
        && allowing.all(|rule| rule.spec.rules.is_empty())
    {
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
        Problem::error(UNENFORCED, reason).of(object)
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
        Problem::error(UNENFORCED, reason).of(object)
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
    found.sort();
    found
}
