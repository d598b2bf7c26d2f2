//! Building of a JSON Patch (RFC 6902), which is both what a webhook answers and how a file is changed.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation};
use serde::Serialize;
use serde_json::Value;

/// Operations so far.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    operations: Vec<PatchOperation>,
}

impl Builder {
    /// Adds a member, or replaces it if it is there.
    pub(crate) fn add(&mut self, path: &[&str], value: impl Serialize) {
        self.operations.push(PatchOperation::Add(AddOperation {
            path: pointer(path),
            value: json(value),
        }));
    }

    /// Replaces a member that is there.
    pub(crate) fn replace(&mut self, path: &[&str], value: impl Serialize) {
        self.operations
            .push(PatchOperation::Replace(ReplaceOperation {
                path: pointer(path),
                value: json(value),
            }));
    }

    /// Puts items at the beginning of a list, which is made if it `is_there` not.
    pub(crate) fn prepend<T: Serialize>(&mut self, path: &[&str], is_there: bool, items: &[T]) {
        if !is_there {
            return self.add(path, items);
        }
        for (index, item) in items.iter().enumerate() {
            self.item(path, &index.to_string(), item);
        }
    }

    /// Puts items at the end of a list, which is made if it `is_there` not.
    pub(crate) fn append<T: Serialize>(&mut self, path: &[&str], is_there: bool, items: &[T]) {
        if !is_there {
            return self.add(path, items);
        }
        for item in items {
            self.item(path, "-", item);
        }
    }

    fn item(&mut self, path: &[&str], index: &str, item: impl Serialize) {
        let mut path = path.to_vec();
        path.push(index);
        self.add(&path, item);
    }

    pub(crate) fn finish(self) -> Patch {
        Patch(self.operations)
    }
}

/// Tokens are escaped here and nowhere else.
fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

/// What is added has string keys only and no numbers JSON lacks, so it can always be written.
fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
