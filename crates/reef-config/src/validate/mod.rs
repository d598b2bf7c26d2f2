//! Validation of one object, by the rules istiod's webhook has and a few that keep Envoy from refusing a
//! configuration.
//!
//! ```text
//! Object ──object──► [Problem]   an error refuses the object, so that its last good version stays
//! ```
//!
//! A [`Rule`] says what must hold; functions beside it check it and tell a [`Problem`] that names the rule. An
//! object istiod accepts is refused only where Envoy would refuse what is made from it. Everything here is pure,
//! linear in the object, and allocates nothing for an object without findings, lists of more than a few
//! elements apart. What needs a second object to be seen is not here: see `reef-analyze`.
//!
//! `docs/validation.md` lists all rules; `tests/validate/` has two documents for each: one that breaks it and
//! nothing else, one that just passes.

mod check;
mod destination_rule;
mod envoy_filter;
mod export;
mod gateway;
mod header_value;
mod kubernetes;
mod metadata;
mod re2;
mod regex_rules;
mod rule;
mod security;
mod selector;
mod server_tls;
mod service_entry;
mod sidecar;
mod telemetry;
mod text;
mod virtual_service;
mod workload;

pub use rule::Rule;

use crate::object::{Object, Spec};
use crate::problem::Problem;
use check::Check;

/// Checks an object; adds what is wrong to `findings`.
pub fn object(object: &Object, findings: &mut Vec<Problem>) {
    let mut check = Check::new(findings);
    metadata::check(object, &mut check);
    let check = &mut check;
    match &object.spec {
        Spec::Service(spec) => kubernetes::check_service(spec, check),
        Spec::EndpointSlice(spec) => kubernetes::check_slice(spec, check),
        Spec::ServiceEntry(spec) => service_entry::check(object, spec, check),
        Spec::WorkloadEntry(spec) => workload::check(spec, check),
        Spec::WorkloadGroup(spec) => workload::check_group(spec, check),
        Spec::Sidecar(spec) => sidecar::check(&object.key.namespace, spec, check),
        Spec::VirtualService(spec) => virtual_service::check(object, spec, check),
        Spec::DestinationRule(spec) => destination_rule::check(object, spec, check),
        Spec::Gateway(spec) => gateway::check(object, spec, check),
        Spec::PeerAuthentication(spec) => security::check_peer(spec, check),
        Spec::RequestAuthentication(spec) => security::check_request(spec, check),
        Spec::AuthorizationPolicy(spec) => security::check_authorization(object, spec, check),
        Spec::EnvoyFilter(spec) => envoy_filter::check(spec, check),
        Spec::Telemetry(spec) => telemetry::check(spec, check),
        Spec::ProxyConfig(spec) => telemetry::check_proxy_config(spec, check),
        Spec::Namespace(_)
        | Spec::Node(_)
        | Spec::Pod(_)
        | Spec::Endpoints(_)
        | Spec::ConfigMap(_) => {}
    }
}

/// Every rule, by kind in the order of the files.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    virtual_service::rules()
        .into_iter()
        .chain(destination_rule::rules())
        .chain([
            service_entry::RULES,
            workload::RULES,
            workload::group::RULES,
            gateway::RULES,
            server_tls::RULES,
        ])
        .chain(sidecar::rules())
        .chain(security::rules())
        .chain([
            telemetry::RULES,
            telemetry::proxy_config::RULES,
            envoy_filter::RULES,
            selector::RULES,
            selector::targets::RULES,
            regex_rules::RULES,
            export::RULES,
            metadata::RULES,
            kubernetes::RULES,
            kubernetes::slice::RULES,
        ])
        .flatten()
        .copied()
}

/// Says why Envoy's regular expressions (RE2) would not take a pattern.
///
/// # Errors
/// The reason, for people.
pub fn regex(pattern: &str) -> Result<(), String> {
    re2::check(pattern).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
