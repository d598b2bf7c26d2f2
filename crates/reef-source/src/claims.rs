//! Which file an object comes from when several have it: the first path in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::ObjectKey;

/// Who has an object.
#[derive(Debug, Default)]
struct Claim {
    /// Every file that has it, in order.
    files: BTreeSet<Arc<str>>,
    /// The file whose version is in effect.
    in_effect: Option<Arc<str>>,
}

/// Every object and the files that have it.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_key: BTreeMap<ObjectKey, Claim>,
}

impl Claims {
    /// Records that `file` has the object.
    pub(crate) fn add(&mut self, key: &ObjectKey, file: &Arc<str>) {
        self.by_key
            .entry(key.clone())
            .or_default()
            .files
            .insert(Arc::clone(file));
    }

    /// Records that `file` has the object no more.
    pub(crate) fn remove(&mut self, key: &ObjectKey, file: &str) {
        if let Some(claim) = self.by_key.get_mut(key) {
            claim.files.remove(file);
        }
    }

    /// The files that have the object, the one that wins first.
    pub(crate) fn files(&self, key: &ObjectKey) -> Vec<Arc<str>> {
        self.by_key
            .get(key)
            .map(|claim| claim.files.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The file that wins.
    pub(crate) fn winner(&self, key: &ObjectKey) -> Option<&Arc<str>> {
        self.by_key.get(key)?.files.first()
    }

    /// The file whose version is in effect.
    pub(crate) fn in_effect(&self, key: &ObjectKey) -> Option<&Arc<str>> {
        self.by_key.get(key)?.in_effect.as_ref()
    }

    /// Records whose version is in effect now.
    pub(crate) fn set_in_effect(&mut self, key: &ObjectKey, file: &Arc<str>) {
        if let Some(claim) = self.by_key.get_mut(key) {
            claim.in_effect = Some(Arc::clone(file));
        }
    }

    /// Forgets an object that no file has; tells whether a version of it was in effect.
    pub(crate) fn forget(&mut self, key: &ObjectKey) -> bool {
        self.by_key
            .remove(key)
            .is_some_and(|claim| claim.in_effect.is_some())
    }
}
