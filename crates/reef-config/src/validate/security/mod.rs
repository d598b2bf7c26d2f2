//! Security policies: `PeerAuthentication`, `RequestAuthentication`, `AuthorizationPolicy`.

mod authorization;
mod request;

use super::check::Check;
use super::rule::Rule;
use super::selector;
use crate::istio::PeerAuthentication;
use crate::kind::Kind;
use crate::parse::Path;

pub(super) use authorization::check as check_authorization;
pub(super) use request::check as check_request;

crate::validation_rules! {
    [Kind::PeerAuthentication];
    Error PORTS_SELECTOR "pa-ports-selector" "portLevelMtls goes with a selector that has labels: the ports are those of a workload";
    Error PORT "pa-port" "A port of portLevelMtls is 1 to 65535";
}

/// The rules of this folder.
pub(super) fn rules() -> [&'static [&'static Rule]; 3] {
    [RULES, request::RULES, authorization::RULES]
}

/// Checks a `PeerAuthentication`.
pub(super) fn check_peer(policy: &PeerAuthentication, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let field = spec.key("portLevelMtls");
    let zero = policy.port_level_mtls.contains_key(&0);
    check.tell_if(zero, &PORT, &field, "0 is not a port, which is 1 to 65535");
    let selector = policy.selector.as_ref();
    let selects = selector.is_some_and(|selector| !selector.labels.is_empty());
    let ports = !policy.port_level_mtls.is_empty();
    let reason = "needs a selector with labels";
    check.tell_if(ports && !selects, &PORTS_SELECTOR, &field, reason);
    selector::workload(check, &spec.key("selector"), selector);
}
