//! `serviceEntryVisibility`: how far service entries may be seen, whatever they export.

use std::sync::Arc;

use reef_config::Labels;
use reef_config::istio::LabelSelector;
use reef_config::mesh_config::{EntryVisibility, MeshConfig};
use reef_config::names::Namespace;
use reef_config::selecting::selects_namespace;

use crate::ExportTo;

/// A limit on the visibility of service entries, by the labels of their namespace. It narrows what
/// an entry exports and never widens it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VisibilityLimit {
    otherwise: Most,
    policies: Arc<[(Most, Rules)]>,
}

/// Rules that all have to hold; one that says nothing never does.
type Rules = Box<[Option<LabelSelector>]>;

/// The farthest an entry may be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Most {
    #[default]
    Everyone,
    Namespace,
    Nobody,
}

impl VisibilityLimit {
    pub(super) fn new(config: &MeshConfig) -> Self {
        let given = config.service_entry_visibility.as_ref();
        let Some(given) = given.filter(|given| given.apply_to_sidecars) else {
            return Self::default();
        };
        let policies = given.policies.iter().map(|policy| {
            let rules = policy.matching_rules.iter();
            let rules = rules.map(|rule| rule.namespace_selector.clone());
            (Most::of(policy.visibility), rules.collect())
        });
        Self {
            otherwise: Most::of(given.default_visibility),
            policies: policies.collect(),
        }
    }

    /// What of `export` remains for an entry of a namespace with these labels.
    #[must_use]
    pub fn narrow(&self, export: ExportTo, namespace: &Namespace, labels: &Labels) -> ExportTo {
        match self.of(namespace, labels) {
            Most::Everyone => export,
            Most::Namespace if export.includes(namespace) => {
                ExportTo::Namespaces([namespace.clone()].into())
            }
            Most::Namespace | Most::Nobody => ExportTo::Nobody,
        }
    }

    /// True if entries of the namespace may be seen alike with either labels.
    #[must_use]
    pub fn is_same(&self, namespace: &Namespace, one: &Labels, other: &Labels) -> bool {
        self.of(namespace, one) == self.of(namespace, other)
    }

    fn of(&self, namespace: &Namespace, labels: &Labels) -> Most {
        let holds = |rules: &Rules| {
            rules.iter().all(|rule| {
                rule.as_ref()
                    .is_some_and(|selector| selects_namespace(selector, namespace, labels))
            })
        };
        let found = self.policies.iter().find(|(_, rules)| holds(rules));
        found.map_or(self.otherwise, |(most, _)| *most)
    }
}

impl Most {
    fn of(visibility: EntryVisibility) -> Self {
        match visibility {
            EntryVisibility::Unspecified | EntryVisibility::Public => Self::Everyone,
            EntryVisibility::Namespace => Self::Namespace,
            EntryVisibility::None => Self::Nobody,
        }
    }
}
