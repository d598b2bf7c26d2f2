//! Security policies: namespaces and providers that are not there, and policies that hide each other.

use std::collections::BTreeMap;

use reef_config::{Kind, Namespace, Object, Spec};

use crate::Findings;
use crate::view::View;

reef_config::validation_rules! {
    [Kind::AuthorizationPolicy];
    Warning ("IST0101") NAMESPACE "ap-namespace-unknown" "A namespace a source names is there";
    Warning (own) PROVIDER "ap-provider-unknown" "The provider of the action CUSTOM is one of the mesh configuration's extensionProviders";
}

/// Rules of `PeerAuthentication`.
pub(crate) mod peers {
    use super::Kind;

    reef_config::validation_rules! {
        [Kind::PeerAuthentication];
        Warning (own) DEFAULTS "pa-default-conflict" "A namespace has one PeerAuthentication without selector; of several the oldest counts";
    }
}

/// Looks at all policies.
pub(crate) fn analyze(view: &View<'_>, findings: &mut Findings) {
    let config = &view.snapshot.settings().config;
    let mut whole: BTreeMap<&Namespace, Vec<&Object>> = BTreeMap::new();
    for object in view.objects {
        match &object.spec {
            Spec::AuthorizationPolicy(policy) => {
                for (index, rule) in policy.rules.iter().enumerate() {
                    let named = rule.from.iter().flat_map(|from| {
                        from.source
                            .namespaces
                            .iter()
                            .chain(&from.source.not_namespaces)
                    });
                    for name in named {
                        if !name.contains('*') && !view.has_namespace(name) {
                            let reason = format!("nothing is in the namespace {name}");
                            let field = format!("spec.rules[{index}].from");
                            findings.tell(&NAMESPACE, object, field, reason);
                        }
                    }
                }
                if let Some(provider) = &policy.provider {
                    let known = config.extension_providers.iter().any(|known| {
                        known.get("name").and_then(|name| name.as_str())
                            == Some(provider.name.as_str())
                    });
                    if !known {
                        let reason =
                            format!("the mesh configuration has no provider {:?}", provider.name);
                        findings.tell(&PROVIDER, object, "spec.provider.name", reason);
                    }
                }
            }
            Spec::PeerAuthentication(policy)
                if policy
                    .selector
                    .as_ref()
                    .is_none_or(|selector| selector.labels.is_empty()) =>
            {
                whole.entry(&object.key.namespace).or_default().push(object);
            }
            _ => {}
        }
    }
    for mut all in whole.into_values() {
        all.sort_by_key(|object| object.age());
        let Some((first, rest)) = all.split_first() else {
            continue;
        };
        for object in rest {
            let reason = format!(
                "{} is for the whole namespace, too, and is older",
                first.key
            );
            findings.tell(&peers::DEFAULTS, object, "spec", reason);
        }
    }
}
