//! Scopes in use, resolved once each, and which of them import a service.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use foldhash::{HashMap, HashMapExt as _};
use reef_gen::ScopeFacts;
use reef_mesh::{ChangeReport, MeshSettings, MeshSnapshot, ServiceKey};
use reef_scope::{Changes, Patch, Scope, ScopeId};

use crate::importers::Importers;
use crate::plan::ClassId;
use crate::slab::Slab;

/// Number of a scope in use.
pub(crate) type ScopeNo = u32;

/// A scope in use.
#[derive(Debug)]
pub(crate) struct Used {
    /// The scope as it is now.
    pub(crate) scope: Arc<Scope>,
    /// Classes in it.
    pub(crate) classes: BTreeSet<ClassId>,
    /// What facts of proxies read of it, once somebody asked; of this version of it and of the mesh settings.
    facts: OnceLock<ScopeFacts>,
}

/// What a change did to the scopes.
#[derive(Debug, Default)]
pub(crate) struct Refreshed {
    /// Those that differ, and nobody knows in what.
    pub(crate) dirty: BTreeSet<ScopeNo>,
    /// Those that differ in this, by number.
    pub(crate) patched: Vec<(ScopeNo, Patch)>,
    /// How many were resolved again.
    pub(crate) resolved: usize,
}

/// All scopes in use, with the inverted index from service to scopes.
#[derive(Debug)]
pub(crate) struct Scopes {
    used: Slab<Used>,
    ids: HashMap<ScopeId, ScopeNo>,
    importers: HashMap<ServiceKey, Importers>,
}

impl Default for Scopes {
    fn default() -> Self {
        Self {
            used: Slab::default(),
            ids: HashMap::new(),
            importers: HashMap::new(),
        }
    }
}

impl Scopes {
    /// The scope of this id, resolved if it is not in use. It stays while a class is in it; see [`Scopes::leave`].
    pub(crate) fn enter(&mut self, snapshot: &MeshSnapshot, id: &ScopeId) -> (ScopeNo, Arc<Scope>) {
        if let Some(no) = self.ids.get(id).copied()
            && let Some(used) = self.used.get(no)
        {
            return (no, Arc::clone(&used.scope));
        }
        let scope = reef_scope::resolve(snapshot, id);
        let no = self.used.insert(Used {
            scope: Arc::clone(&scope),
            classes: BTreeSet::new(),
            facts: OnceLock::new(),
        });
        self.ids.insert(id.clone(), no);
        self.link(no, &scope);
        (no, scope)
    }

    /// What facts of proxies read of a scope in use.
    pub(crate) fn facts(&self, no: ScopeNo, settings: &MeshSettings) -> Option<&ScopeFacts> {
        let used = self.used.get(no)?;
        let found = || ScopeFacts::of(settings, &used.scope);
        let facts = used.facts.get_or_init(found);
        debug_assert_eq!(*facts, found(), "facts of an earlier version of a scope");
        Some(facts)
    }

    /// Notes that a class is in a scope.
    pub(crate) fn join(&mut self, no: ScopeNo, class: ClassId) {
        if let Some(used) = self.used.get_mut(no) {
            used.classes.insert(class);
        }
    }

    /// Notes that a class is no longer in a scope; the last one drops it.
    pub(crate) fn leave(&mut self, no: ScopeNo, class: ClassId) {
        let Some(used) = self.used.get_mut(no) else {
            return;
        };
        used.classes.remove(&class);
        if used.classes.is_empty()
            && let Some(used) = self.used.remove(no)
        {
            self.ids.remove(&used.scope.id);
            self.unlink(no, &used.scope);
        }
    }

    /// Brings the scopes up to date that depend on a change.
    pub(crate) fn refresh(
        &mut self,
        before: &MeshSnapshot,
        snapshot: &MeshSnapshot,
        report: &ChangeReport,
    ) -> Refreshed {
        let mut refreshed = Refreshed::default();
        if report.only_endpoints() {
            return refreshed;
        }
        let changes = Changes::new(before, snapshot, report);
        let mut depending: Vec<(ScopeNo, Arc<Scope>)> = Vec::new();
        for (no, used) in self.used.iter_mut() {
            if report.settings {
                used.facts.take();
            }
            match changes.patch(&mut used.scope) {
                Some(patch) if patch.is_empty() => {}
                Some(patch) => {
                    used.facts.take();
                    refreshed.patched.push((no, patch));
                }
                None if used.scope.depends_on(report, snapshot) => {
                    depending.push((no, Arc::clone(&used.scope)));
                }
                None => {}
            }
        }
        refreshed.resolved = depending.len();
        for (no, old) in depending {
            let new = reef_scope::resolve(snapshot, &old.id);
            // Settings are read past the scope too, and of a service what its endpoints derive: the addresses of a
            // headless one, inline endpoints, and the load assignment itself.
            if *new == *old && !report.settings && !self.imports_any(no, &report.services) {
                continue;
            }
            self.unlink(no, &old);
            self.link(no, &new);
            if let Some(used) = self.used.get_mut(no) {
                used.scope = new;
                used.facts.take();
            }
            refreshed.dirty.insert(no);
        }
        refreshed
    }

    fn imports_any(&self, no: ScopeNo, services: &BTreeSet<ServiceKey>) -> bool {
        services.iter().any(|key| {
            self.importers
                .get(key)
                .is_some_and(|scopes| scopes.contains(no))
        })
    }

    /// Scopes that import any of these services.
    pub(crate) fn importers<'a>(
        &self,
        services: impl Iterator<Item = &'a ServiceKey>,
    ) -> Vec<(&'a ServiceKey, &Importers)> {
        services
            .filter_map(|key| Some((key, self.importers.get(key)?)))
            .collect()
    }

    /// A scope in use.
    pub(crate) fn get(&self, no: ScopeNo) -> Option<&Used> {
        self.used.get(no)
    }

    /// All scopes in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Used> {
        self.used.iter().map(|(_, used)| used)
    }

    /// How many scopes are in use.
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }

    fn link(&mut self, no: ScopeNo, scope: &Scope) {
        for scoped in &scope.services {
            self.importers
                .entry(scoped.service.key.clone())
                .or_insert(Importers::One(no))
                .insert(no);
        }
    }

    fn unlink(&mut self, no: ScopeNo, scope: &Scope) {
        for scoped in &scope.services {
            let key = &scoped.service.key;
            if let Some(importers) = self.importers.get_mut(key)
                && importers.remove(no)
            {
                self.importers.remove(key);
            }
        }
    }
}
