//! Which namespaces are read: `discoverySelectors` and the labels of namespaces, as the source itself sees them.
//!
//! Of an object in a namespace that is not read only the version is kept, so that it costs a tenth. When its namespace
//! becomes read the objects of that namespace are listed, kind by kind, and nothing else is.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::istio::LabelSelector;
use reef_config::selecting::reads_namespace;
use reef_config::{Change, Kind, Labels, Namespace};

/// What is read; cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reading {
    selectors: Arc<[LabelSelector]>,
    /// Of namespaces that have any.
    labels: Arc<BTreeMap<Namespace, Labels>>,
}

impl Reading {
    /// True if there is nothing that is not read.
    pub(crate) fn is_everything(&self) -> bool {
        self.selectors.is_empty()
    }

    /// Whether objects of a namespace are read.
    pub(crate) fn reads(&self, namespace: &Namespace) -> bool {
        if self.is_everything() {
            return true;
        }
        let none = Labels::default();
        let labels = self.labels.get(namespace).unwrap_or(&none);
        reads_namespace(&self.selectors, namespace, labels)
    }

    /// Takes note of a change; true if something may be read otherwise now.
    pub(crate) fn note(&mut self, change: &Change) -> bool {
        match change {
            Change::MeshConfig(config) => {
                let differs = *self.selectors != *config.discovery_selectors;
                if differs {
                    self.selectors = config.discovery_selectors.as_slice().into();
                }
                differs
            }
            Change::Apply(object) if object.key.kind == Kind::Namespace => {
                let before = self.labels.get(&object.key.namespace);
                if before == Some(&object.meta.labels) {
                    return false;
                }
                let labels = object.meta.labels.clone();
                Arc::make_mut(&mut self.labels).insert(object.key.namespace.clone(), labels);
                !self.is_everything()
            }
            Change::Delete(key) if key.kind == Kind::Namespace => {
                let gone = Arc::make_mut(&mut self.labels).remove(&key.namespace);
                gone.is_some() && !self.is_everything()
            }
            _ => false,
        }
    }
}
