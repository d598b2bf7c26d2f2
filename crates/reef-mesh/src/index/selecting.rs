//! Service entries that may select a workload by its labels, found by one label of their selector. The snapshot has
//! the same of Kubernetes' services.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::Labels;
use reef_config::names::Namespace;

use super::few::Few;
use super::labelled::{SelectorPlace, place_of};
use crate::ServiceKey;

/// Services of service entries by a label of their selector.
#[derive(Debug, Default)]
pub(super) struct Selecting {
    services: HashMap<SelectorPlace, Few<ServiceKey>, FixedState>,
    places: HashMap<ServiceKey, SelectorPlace, FixedState>,
}

impl Selecting {
    /// Sets the selector of a service; `None` if it selects nobody.
    pub(super) fn set(&mut self, key: &ServiceKey, selector: Option<&Labels>) {
        // A selector without labels selects everybody; its place is one no label has.
        let place = selector.map(|selector| {
            place_of(&key.namespace, selector).unwrap_or_else(|| everybody(&key.namespace))
        });
        if self.places.get(key) == place.as_ref() {
            return;
        }
        if let Some(old) = self.places.remove(key)
            && let Some(services) = self.services.get_mut(&old)
        {
            services.remove(key);
            if services.is_empty() {
                self.services.remove(&old);
            }
        }
        if let Some(place) = place {
            self.services
                .entry(place.clone())
                .or_default()
                .insert(key.clone());
            self.places.insert(key.clone(), place);
        }
    }

    /// Services of a namespace that may select a workload with these labels.
    pub(super) fn of(
        &self,
        namespace: &Namespace,
        labels: &Labels,
    ) -> impl Iterator<Item = &ServiceKey> {
        let named = labels
            .iter()
            .map(|(key, value)| (namespace.clone(), key.clone(), value.clone()));
        std::iter::once(everybody(namespace))
            .chain(named)
            .filter_map(|place| self.services.get(&place))
            .flatten()
    }
}

fn everybody(namespace: &Namespace) -> SelectorPlace {
    (namespace.clone(), Arc::default(), Arc::default())
}
