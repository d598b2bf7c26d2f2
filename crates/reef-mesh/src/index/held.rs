//! Objects as members of sets: a pointer where a key would be stored a second time.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use reef_config::{Kind, Object, ObjectKey, k8s};

/// An object that is what its key is.
#[derive(Debug, Clone)]
pub(super) struct Held(pub(super) Arc<Object>);

impl Borrow<ObjectKey> for Held {
    fn borrow(&self) -> &ObjectKey {
        &self.0.key
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

/// An `EndpointSlice` with the slices of its service, by name.
#[derive(Debug)]
pub(super) struct SliceOf(pub(super) Arc<Object>);

impl SliceOf {
    /// The service the slice says it belongs to.
    pub(super) fn service(&self) -> Option<&str> {
        let label = k8s::EndpointSlice::SERVICE_LABEL;
        self.0.meta.labels.get(label).map(|name| &**name)
    }
}

impl PartialEq for SliceOf {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SliceOf {}

impl PartialOrd for SliceOf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SliceOf {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_service = self.service().cmp(&other.service());
        by_service.then_with(|| self.0.key.cmp(&other.0.key))
    }
}

/// The claim of an object on a service: Kubernetes objects first, then the oldest.
#[derive(Debug)]
pub(super) struct Claim(pub(super) Arc<Object>);

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Claim {}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, two) = (&self.0, &other.0);
        let from_elsewhere = |object: &Object| object.key.kind != Kind::Service;
        from_elsewhere(one)
            .cmp(&from_elsewhere(two))
            .then_with(|| one.age().cmp(&two.age()))
            .then_with(|| one.key.cmp(&two.key))
    }
}
