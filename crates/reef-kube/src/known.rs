//! What was told of one kind: the version of each object, so that a list tells only what differs and an older event
//! never overwrites a newer one. The objects themselves belong to whoever was told.

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::selecting::is_selected;
use reef_config::{Change, Kind, Namespace, Problem, Severity};

use self::entry::{Entry, FAULTY, LISTED, TOLD, UNREAD};
use crate::decode::{Content, Decoder, Id, Item};
use crate::encoding::Raw;
use crate::reading::Reading;
use crate::status::StatusBook;

/// Said where the last good version of an object stays in effect.
const KEPT: &str = " (the last good version stays in effect; a restart drops it)";

/// Everything told of a kind.
#[derive(Debug)]
pub(crate) struct Known {
    decoder: Decoder,
    kind: Kind,
    entries: BTreeMap<Id, Entry>,
    listing: bool,
    /// The newest version seen since the list; older events of objects that are not there are echoes.
    newest: u64,
    /// Where the status of objects is noted, if somebody writes it.
    book: Option<StatusBook>,
    /// What is read of the kind.
    reading: Reading,
}

impl Known {
    pub(crate) fn new(kind: Kind, decoder: Decoder) -> Self {
        Self {
            decoder,
            kind,
            entries: BTreeMap::new(),
            listing: false,
            newest: 0,
            book: None,
            reading: Reading::default(),
        }
    }

    /// Notes the status of objects, too.
    pub(crate) fn noting(mut self, book: Option<StatusBook>) -> Self {
        self.book = book;
        self
    }

    /// What is read from now on: what is not is forgotten but for its version.
    pub(crate) fn read(&mut self, reading: Reading, changes: &mut Vec<Change>) {
        self.reading = reading;
        if !is_selected(self.kind) {
            return;
        }
        let leaving = self.entries.iter().filter(|(_, entry)| !entry.is(UNREAD));
        let leaving: Vec<Id> = leaving
            .map(|(id, _)| id)
            .filter(|id| !self.reading.reads(&id.namespace))
            .cloned()
            .collect();
        for id in leaving {
            let Some(version) = self.entries.get(&id).map(Entry::version) else {
                continue;
            };
            self.leave_out(id, version, changes);
        }
    }

    /// Namespaces that are read and of which there are objects nobody has read.
    pub(crate) fn wanted(&self) -> BTreeSet<Namespace> {
        let unread = self.entries.iter().filter(|(_, entry)| entry.is(UNREAD));
        let spaces: BTreeSet<&Namespace> = unread.map(|(id, _)| &id.namespace).collect();
        let read = spaces.into_iter().filter(|space| self.reading.reads(space));
        read.cloned().collect()
    }

    /// Whether anything of the kind would be read that is not, or the other way round.
    pub(crate) fn concerns(&self, reading: &Reading) -> bool {
        let differs = |(id, entry): (&Id, &Entry)| entry.is(UNREAD) == reading.reads(&id.namespace);
        is_selected(self.kind) && self.entries.iter().any(differs)
    }

    /// Notes an object of a namespace that is not read.
    fn leave_out(&mut self, id: Id, version: u64, changes: &mut Vec<Change>) {
        let listed = self.entries.get(&id).is_none_or(|entry| entry.is(LISTED));
        self.forget(&id, changes);
        let entry = Entry::new(version).with(UNREAD, true).with(LISTED, listed);
        self.entries.insert(id, entry);
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
        self.listing = true;
        for entry in self.entries.values_mut() {
            *entry = entry.with(LISTED, false);
        }
    }

    /// How many objects the list did not have so far.
    pub(crate) fn missing(&self) -> usize {
        let entries = self.entries.values();
        entries.filter(|entry| !entry.is(LISTED)).count()
    }

    /// A list is complete, as of `version`: what it did not have.
    pub(crate) fn complete(&mut self, version: u64) -> Vec<Change> {
        self.listing = false;
        self.newest = version;
        let gone: Vec<Id> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is(LISTED))
            .map(|(id, _)| id.clone())
            .collect();
        let mut changes = Vec::new();
        for id in gone {
            self.forget(&id, &mut changes);
        }
        // A list comes in order, which leaves the nodes of the map half full; made anew they are full.
        self.entries = std::mem::take(&mut self.entries).into_iter().collect();
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
            *entry = entry.at(0);
        }
    }

    /// An object of the list, or one that came or changed.
    ///
    /// # Errors
    /// As [`Decoder::object`].
    pub(crate) fn apply(&mut self, raw: Raw<'_>, changes: &mut Vec<Change>) -> Result<(), String> {
        if !self.reading.is_everything() && is_selected(self.kind) {
            let (id, version) = self.decoder.head(raw)?;
            if !self.reading.reads(&id.namespace) {
                if self.is_news(&id, version) {
                    self.leave_out(id, version, changes);
                }
                return Ok(());
            }
        }
        let item = self.decoder.object(raw)?;
        if self.is_news(&item.id, item.version) {
            self.note(&item.id, raw);
            self.take(item, changes);
        }
        Ok(())
    }

    /// An object of a list of one namespace, which was asked for because the namespace is read now.
    ///
    /// # Errors
    /// As [`Decoder::object`].
    pub(crate) fn read_now(
        &mut self,
        raw: Raw<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let item = self.decoder.object(raw)?;
        // What else is in the list comes by the watch.
        if self
            .entries
            .get(&item.id)
            .is_some_and(|entry| entry.is(UNREAD))
        {
            self.note(&item.id, raw);
            self.take(item, changes);
        }
        Ok(())
    }

    /// Notes the status of an object, if somebody writes it.
    fn note(&self, id: &Id, raw: Raw<'_>) {
        // The kinds whose status is written are told in JSON only.
        if let (Some(book), Raw::Json(text)) = (&self.book, raw) {
            book.note(&self.decoder.key(id), text);
        }
    }

    /// What a namespace has left of objects nobody has read is gone, and the watch will say so.
    pub(crate) fn settle(&mut self, namespace: &Namespace) {
        let unread = |id: &Id, entry: &Entry| entry.is(UNREAD) && id.namespace == *namespace;
        self.entries.retain(|id, entry| !unread(id, entry));
    }

    /// Takes note of the version of an object; true if it is not known yet.
    fn is_news(&mut self, id: &Id, version: u64) -> bool {
        if let Some(entry) = self.entries.get_mut(id) {
            *entry = entry.with(LISTED, true);
            let known = entry.version();
            let old = version == known || (!self.listing && version < known);
            // Of an object that was not read not even this version is known.
            let unread = entry.is(UNREAD) && self.reading.reads(&id.namespace);
            if version != 0 && known != 0 && old && !unread {
                return false;
            }
        } else if !self.listing && version != 0 && version < self.newest {
            return false;
        }
        if !self.listing {
            self.newest = self.newest.max(version);
        }
        true
    }

    fn take(&mut self, item: Item, changes: &mut Vec<Change>) {
        let Item {
            id,
            version,
            content,
        } = item;
        let before = self.entries.get(&id).copied();
        let was_told = before.is_some_and(|entry| entry.is(TOLD));
        let was_faulty = before.is_some_and(|entry| entry.is(FAULTY));
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
        let entry = Entry::new(version).with(TOLD, told).with(FAULTY, faulty);
        self.entries.insert(id, entry);
    }

    /// An object is gone.
    ///
    /// # Errors
    /// As [`Decoder::head`].
    pub(crate) fn remove(&mut self, raw: Raw<'_>, changes: &mut Vec<Change>) -> Result<(), String> {
        let (id, version) = self.decoder.head(raw)?;
        let stale = |entry: &Entry| version != 0 && version < entry.version();
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
        if entry.is(TOLD) {
            if self.kind == Kind::ConfigMap {
                changes.extend(reef_source::mesh_config_gone(&key));
            } else {
                changes.push(Change::Delete(key));
            }
        }
        if entry.is(FAULTY) {
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
