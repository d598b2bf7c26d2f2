//! What was told of one kind: the version of each object, so that a list tells only what differs and an older event
//! never overwrites a newer one. The objects themselves belong to whoever was told.

use std::collections::BTreeMap;

use reef_config::{Change, Kind, Problem, Severity};
use std::sync::Arc;

use crate::decode::{Content, Decoder, Id, Item};
use crate::status::StatusBook;

/// Said where the last good version of an object stays in effect.
const KEPT: &str = " (the last good version stays in effect; a restart drops it)";

#[derive(Debug, Clone, Copy)]
struct Entry {
    version: u64,
    /// The list that had it last.
    list: u32,
    /// Whether it is in effect.
    told: bool,
    /// Whether problems of it were told.
    faulty: bool,
}

/// Everything told of a kind.
#[derive(Debug)]
pub(crate) struct Known {
    decoder: Decoder,
    kind: Kind,
    entries: BTreeMap<Id, Entry>,
    list: u32,
    listing: bool,
    /// The newest version seen since the list; older events of objects that are not there are echoes.
    newest: u64,
    /// Where the status of objects is noted, if somebody writes it.
    book: Option<StatusBook>,
}

impl Known {
    pub(crate) fn new(kind: Kind, decoder: Decoder) -> Self {
        Self {
            decoder,
            kind,
            entries: BTreeMap::new(),
            list: 0,
            listing: false,
            newest: 0,
            book: None,
        }
    }

    /// Notes the status of objects, too.
    pub(crate) fn noting(mut self, book: Option<StatusBook>) -> Self {
        self.book = book;
        self
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The newest version seen since the last list.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Nothing older than `version` follows.
    pub(crate) fn passed(&mut self, version: u64) {
        self.newest = self.newest.max(version);
    }

    /// A list begins; what it does not have is gone at its end.
    pub(crate) fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
        self.listing = true;
    }

    /// How many objects the list did not have so far.
    pub(crate) fn missing(&self) -> usize {
        let entries = self.entries.values();
        entries.filter(|entry| entry.list != self.list).count()
    }

    /// A list is complete, as of `version`: what it did not have.
    pub(crate) fn complete(&mut self, version: u64) -> Vec<Change> {
        self.listing = false;
        self.newest = version;
        let list = self.list;
        let gone: Vec<Id> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.list != list)
            .map(|(id, _)| id.clone())
            .collect();
        let mut changes = Vec::new();
        for id in gone {
            self.forget(&id, &mut changes);
        }
        changes
    }

    /// The kind is not installed any more: everything is gone.
    pub(crate) fn clear(&mut self) -> Vec<Change> {
        self.begin();
        self.complete(0)
    }

    /// Versions of another history compare with nothing.
    pub(crate) fn distrust(&mut self) {
        self.newest = 0;
        for entry in self.entries.values_mut() {
            entry.version = 0;
        }
    }

    /// An object of the list, or one that came or changed.
    ///
    /// # Errors
    /// As [`Decoder::object`].
    pub(crate) fn apply(&mut self, bytes: &[u8], changes: &mut Vec<Change>) -> Result<(), String> {
        let item = self.decoder.object(bytes)?;
        let known = self.entries.get_mut(&item.id);
        if let Some(entry) = known {
            entry.list = self.list;
            if item.version != 0
                && entry.version != 0
                && (item.version == entry.version
                    || (!self.listing && item.version < entry.version))
            {
                return Ok(());
            }
        } else if !self.listing && item.version != 0 && item.version < self.newest {
            return Ok(());
        }
        if !self.listing {
            self.newest = self.newest.max(item.version);
        }
        if let Some(book) = &self.book {
            book.note(&self.decoder.key(&item.id), bytes);
        }
        self.take(item, changes);
        Ok(())
    }

    fn take(&mut self, item: Item, changes: &mut Vec<Change>) {
        let Item {
            id,
            version,
            content,
        } = item;
        let before = self.entries.get(&id).copied();
        let was_told = before.is_some_and(|entry| entry.told);
        let was_faulty = before.is_some_and(|entry| entry.faulty);
        let (told, problems) = match content {
            Content::Good(object, problems) => {
                if self.kind == Kind::ConfigMap {
                    changes.extend(reef_source::mesh_config_of(&object));
                } else {
                    changes.push(Change::Apply(object));
                }
                (true, problems)
            }
            Content::Bad(mut problems) => {
                let errors = problems
                    .iter_mut()
                    .filter(|problem| was_told && problem.severity == Severity::Error);
                errors.for_each(|problem| problem.reason.push_str(KEPT));
                (was_told, problems)
            }
            Content::Ignored => {
                if was_told {
                    changes.push(Change::Delete(self.decoder.key(&id)));
                }
                (false, Vec::new())
            }
        };
        let faulty = !problems.is_empty();
        if faulty || was_faulty {
            changes.push(self.problems(&id, problems));
        }
        let entry = Entry {
            version,
            list: self.list,
            told,
            faulty,
        };
        self.entries.insert(id, entry);
    }

    /// An object is gone.
    ///
    /// # Errors
    /// As [`Decoder::head`].
    pub(crate) fn remove(&mut self, bytes: &[u8], changes: &mut Vec<Change>) -> Result<(), String> {
        let (id, version) = self.decoder.head(bytes)?;
        let stale = |entry: &Entry| version != 0 && version < entry.version;
        if self.entries.get(&id).is_none_or(stale) {
            return Ok(());
        }
        self.newest = self.newest.max(version);
        self.forget(&id, changes);
        Ok(())
    }

    fn forget(&mut self, id: &Id, changes: &mut Vec<Change>) {
        let Some(entry) = self.entries.remove(id) else {
            return;
        };
        let key = self.decoder.key(id);
        if let Some(book) = &self.book {
            book.forget(&key);
        }
        if entry.told {
            if self.kind == Kind::ConfigMap {
                changes.extend(reef_source::mesh_config_gone(&key));
            } else {
                changes.push(Change::Delete(key));
            }
        }
        if entry.faulty {
            changes.push(self.problems(id, Vec::new()));
        }
    }

    fn problems(&self, id: &Id, problems: Vec<Problem>) -> Change {
        let source: Arc<str> = format!("cluster: {}", self.decoder.key(id)).into();
        Change::Problems { source, problems }
    }
}

#[cfg(test)]
mod tests;
