//! `discoverySelectors`: which namespaces are read.

use std::sync::Arc;

use reef_config::Labels;
use reef_config::istio::LabelSelector;
use reef_config::names::Namespace;
use reef_config::selecting::reads_namespace;

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
        reads_namespace(&self.0, namespace, labels)
    }
}
