//! Objects as members of sets: a pointer where a key would be stored a second time.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use reef_config::{Kind, Object, ObjectKey};

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

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
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
