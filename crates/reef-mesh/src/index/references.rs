//! Which pods the endpoints of services refer to, there or not.
//!
//! A pod is known by a hash of its name here: if two have the same, services are looked at once too often.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::names::{Hostname, Namespace};

use super::objects::PodId;
use crate::ServiceKey;

/// References from services to pods, found from both ends.
#[derive(Debug)]
pub(super) struct References {
    /// Pods by service, sorted.
    pods: HashMap<Arc<ServiceKey>, Box<[u64]>, FixedState>,
    /// Pods with the services that refer to them.
    services: BTreeSet<(u64, Arc<ServiceKey>)>,
    /// Pods that are not there.
    awaited: BTreeSet<u64>,
    /// No key is before this one.
    least: Arc<ServiceKey>,
}

impl Default for References {
    fn default() -> Self {
        let least = ServiceKey {
            hostname: Hostname::default(),
            namespace: Namespace::new(""),
        };
        Self {
            pods: HashMap::default(),
            services: BTreeSet::new(),
            awaited: BTreeSet::new(),
            least: Arc::new(least),
        }
    }
}

impl References {
    /// Sets the pods a service refers to; `there` says which of them are.
    pub(super) fn set(
        &mut self,
        service: &ServiceKey,
        pods: &BTreeSet<PodId>,
        there: impl Fn(&PodId) -> bool,
    ) {
        let mut new: Box<[u64]> = pods.iter().map(hash).collect();
        new.sort_unstable();
        let (service, old) = match self.pods.remove_entry(service) {
            Some(known) => known,
            None => (Arc::new(service.clone()), Box::default()),
        };
        for pod in old.iter().filter(|pod| new.binary_search(pod).is_err()) {
            self.services.remove(&(*pod, Arc::clone(&service)));
            if self.of_hash(*pod).next().is_none() {
                self.awaited.remove(pod);
            }
        }
        for id in pods {
            let pod = hash(id);
            if old.binary_search(&pod).is_ok() {
                continue;
            }
            if !there(id) {
                self.awaited.insert(pod);
            }
            self.services.insert((pod, Arc::clone(&service)));
        }
        if !new.is_empty() {
            self.pods.insert(service, new);
        }
    }

    /// Services that refer to a pod, by key.
    pub(super) fn of(&self, pod: &PodId) -> impl Iterator<Item = &ServiceKey> {
        self.of_hash(hash(pod))
    }

    /// Notes that a pod came.
    pub(super) fn came(&mut self, pod: &PodId) {
        self.awaited.remove(&hash(pod));
    }

    /// Notes that a pod is gone.
    pub(super) fn left(&mut self, pod: &PodId) {
        if self.of(pod).next().is_some() {
            self.awaited.insert(hash(pod));
        }
    }

    /// Number of pods that services refer to and that are not there.
    pub(super) fn awaited(&self) -> usize {
        self.awaited.len()
    }

    fn of_hash(&self, pod: u64) -> impl Iterator<Item = &ServiceKey> {
        let found = self.services.range((pod, Arc::clone(&self.least))..);
        found
            .take_while(move |(of, _)| *of == pod)
            .map(|(_, service)| &**service)
    }
}

fn hash((namespace, name): &PodId) -> u64 {
    FixedState::default().hash_one((namespace, name))
}
