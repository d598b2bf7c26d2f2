//! The scopes that import one service: most services are imported by one namespace or by nearly all.

use roaring::RoaringBitmap;

use crate::scopes::ScopeNo;

/// A set of scopes; never empty while it is kept.
#[derive(Debug)]
pub(crate) enum Importers {
    /// One: a bitmap of one number is ten times as large.
    One(ScopeNo),
    /// Several.
    Many(RoaringBitmap),
}

impl Importers {
    /// Adds a scope.
    pub(crate) fn insert(&mut self, no: ScopeNo) {
        match self {
            Self::One(known) if *known == no => {}
            Self::One(known) => *self = Self::Many([*known, no].into_iter().collect()),
            Self::Many(all) => {
                all.insert(no);
            }
        }
    }

    /// Takes a scope out; whether none is left.
    pub(crate) fn remove(&mut self, no: ScopeNo) -> bool {
        match self {
            Self::One(known) => *known == no,
            Self::Many(all) => {
                all.remove(no);
                all.is_empty()
            }
        }
    }

    /// Whether a scope is among them.
    pub(crate) fn contains(&self, no: ScopeNo) -> bool {
        match self {
            Self::One(known) => *known == no,
            Self::Many(all) => all.contains(no),
        }
    }

    /// All, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ScopeNo> + '_ {
        let (one, many) = match self {
            Self::One(no) => (Some(*no), None),
            Self::Many(all) => (None, Some(all.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests;
