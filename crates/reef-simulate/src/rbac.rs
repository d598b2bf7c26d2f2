//! Access rules, as far as they can be told without asking who calls: those that hold for everybody.

use xds_api::envoy::config::rbac::v3::rbac::Action;
use xds_api::envoy::config::rbac::v3::{Policy, Rbac, permission, principal};

/// What rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Refused, by this policy.
    Denied(String),
    /// Nothing stands against it.
    Passed,
    /// It depends on what is not evaluated.
    Unknown,
}

/// Whether rules refuse everybody.
pub(crate) fn denies(rules: Option<&Rbac>) -> Verdict {
    let Some(rules) = rules else {
        return Verdict::Passed;
    };
    let everybody = rules
        .policies
        .iter()
        .find(|(_, policy)| holds_always(policy));
    match (rules.action(), everybody) {
        (Action::Deny, Some((name, _))) => Verdict::Denied(name.clone()),
        (Action::Allow, None) if rules.policies.is_empty() => Verdict::Denied("none".to_owned()),
        (Action::Log, _) | (Action::Allow, Some(_)) => Verdict::Passed,
        (Action::Deny, None) if rules.policies.is_empty() => Verdict::Passed,
        _ => Verdict::Unknown,
    }
}

fn holds_always(policy: &Policy) -> bool {
    let any_permission = |one: &permission::Rule| matches!(one, permission::Rule::Any(true));
    let any_principal =
        |one: &principal::Identifier| matches!(one, principal::Identifier::Any(true));
    let mut permissions = policy
        .permissions
        .iter()
        .filter_map(|one| one.rule.as_ref());
    let mut principals = policy
        .principals
        .iter()
        .filter_map(|one| one.identifier.as_ref());
    permissions.any(any_permission) && principals.any(any_principal)
}
