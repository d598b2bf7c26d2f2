//! `discoverySelectors` and their like: label selectors of namespaces.

use crate::istio::LabelSelector;
use crate::kind::Kind;
use crate::labels::Labels;
use crate::names::Namespace;

/// The label Kubernetes gives every namespace, with its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// True if a namespace with these labels is read by `discoverySelectors`; without selectors all are.
///
/// The namespace without name holds what is of no namespace, which is always read. A namespace nobody declared has only
/// the label every namespace has: its name.
#[must_use]
pub fn reads_namespace(
    selectors: &[LabelSelector],
    namespace: &Namespace,
    labels: &Labels,
) -> bool {
    let selected = |selector| selects_namespace(selector, namespace, labels);
    selectors.is_empty() || namespace.is_empty() || selectors.iter().any(selected)
}

/// True if the selector selects a namespace with these labels; one nobody declared has its name.
#[must_use]
pub fn selects_namespace(selector: &LabelSelector, namespace: &Namespace, labels: &Labels) -> bool {
    let value = |key: &str| match labels.get(key) {
        None if key == NAME_LABEL => Some(&**namespace),
        found => found.map(|value| &**value),
    };
    let equal = selector
        .match_labels
        .iter()
        .all(|(key, wanted)| value(key) == Some(&**wanted));
    equal
        && selector.match_expressions.iter().all(|condition| {
            let found = value(&condition.key);
            let listed =
                || found.is_some_and(|found| condition.values.iter().any(|wanted| wanted == found));
            match condition.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                // Refused when it was parsed.
                _ => false,
            }
        })
}

/// True for kinds of which `discoverySelectors` leave objects out.
#[must_use]
pub fn is_selected(kind: Kind) -> bool {
    kind.is_namespaced() && kind != Kind::ConfigMap
}
