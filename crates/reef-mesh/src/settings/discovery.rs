//! `discoverySelectors`: which namespaces are read.

use std::sync::Arc;

use reef_config::Labels;
use reef_config::istio::LabelSelector;
use reef_config::names::Namespace;

/// The label Kubernetes gives every namespace, with its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Selects namespaces by their labels; without selectors all are read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovery(Arc<[LabelSelector]>);

impl Discovery {
    pub(super) fn new(selectors: &[LabelSelector]) -> Self {
        Self(selectors.into())
    }

    /// True if every namespace is read.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// True if some selector selects the namespace; one without name holds what is of no
    /// namespace, which is always read.
    ///
    /// A namespace nobody declared has only the label every namespace has: its name.
    #[must_use]
    pub fn reads(&self, namespace: &Namespace, labels: &Labels) -> bool {
        self.is_everything()
            || namespace.is_empty()
            || self
                .0
                .iter()
                .any(|selector| selects(selector, namespace, labels))
    }
}

/// True if the selector selects a namespace with these labels; one nobody declared has its name.
pub(super) fn selects(selector: &LabelSelector, namespace: &Namespace, labels: &Labels) -> bool {
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
