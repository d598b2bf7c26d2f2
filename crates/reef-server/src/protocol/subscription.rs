//! What one stream is subscribed to for one type: the table of `xds-protocol.md` section 7, both variants.
//!
//! It knows nothing of versions or responses; it only says what a request changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_xds::ResourceType;

use super::table::Table;

/// How far the subscription of a type has come on this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    /// No request of the type yet.
    #[default]
    Fresh,
    /// The first request named nothing and the type has the legacy meaning of that (7.2).
    LegacyWildcard,
    /// `*` was named.
    ExplicitWildcard,
    /// Only the names; none of them means "subscribed to nothing" (7.1).
    Named,
}

/// The subscription of one type on one stream.
#[derive(Debug, Clone, Default)]
pub struct Subscription {
    mode: Mode,
    names: Table<()>,
}

/// What a request changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The request was the first of the type.
    pub first: bool,
    /// Explicit names to be answered: on delta all that were named, on `SotW` those that were not subscribed before.
    pub asked: Vec<Arc<str>>,
    /// Explicit names that are no longer subscribed.
    pub dropped: Vec<Arc<str>>,
    /// The wildcard was gained (the first legacy form included).
    pub wildcard_gained: bool,
    /// The wildcard was lost.
    pub wildcard_lost: bool,
}

impl Change {
    /// Whether the subscription is what it was.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether an empty first request means "everything" for this type (7.2).
fn has_legacy_wildcard(ty: ResourceType) -> bool {
    matches!(
        ty,
        ResourceType::Cluster
            | ResourceType::Listener
            | ResourceType::ScopedRoute
            | ResourceType::VirtualHost
            | ResourceType::NameTable
    )
}

/// Names nobody can be subscribed to: empty ones, and collections, which are ignored until needed (7.8).
fn is_ignored(name: &str) -> bool {
    name.is_empty() || name.ends_with("/*")
}

impl Subscription {
    /// Whether no request of the type has come yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.mode == Mode::Fresh
    }

    /// Whether the wildcard set is subscribed.
    #[must_use]
    pub fn wildcard(&self) -> bool {
        matches!(self.mode, Mode::LegacyWildcard | Mode::ExplicitWildcard)
    }

    /// Whether `name` is subscribed explicitly.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The explicit names, in order.
    pub fn explicit(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.names()
    }

    /// Number of explicit names.
    #[must_use]
    pub fn explicit_len(&self) -> usize {
        self.names.len()
    }

    /// Applies the increments of a delta request. `intern` gives the shared form of a name.
    pub fn delta(
        &mut self,
        ty: ResourceType,
        subscribe: &[String],
        unsubscribe: &[String],
        intern: &dyn Fn(&str) -> Arc<str>,
    ) -> Change {
        let mut change = Change {
            first: self.is_fresh(),
            ..Change::default()
        };
        let had_wildcard = self.wildcard();
        if self.mode == Mode::Fresh {
            self.mode = if subscribe.is_empty() && has_legacy_wildcard(ty) {
                Mode::LegacyWildcard
            } else {
                Mode::Named
            };
        }
        for name in subscribe {
            if name == "*" {
                self.mode = Mode::ExplicitWildcard;
            } else if !is_ignored(name) {
                if self.mode == Mode::LegacyWildcard {
                    self.mode = Mode::ExplicitWildcard;
                }
                let name = self.insert(name, intern);
                change.asked.push(name);
            }
        }
        for name in unsubscribe {
            if name == "*" {
                self.mode = Mode::Named;
            } else if let Some((name, ())) = self.names.remove(name.as_str()) {
                change.asked.retain(|asked| *asked != name);
                change.dropped.push(name);
            }
        }
        change.wildcard_gained = !had_wildcard && self.wildcard();
        change.wildcard_lost = had_wildcard && !self.wildcard();
        change
    }

    /// Replaces the subscription by the complete list of a `SotW` request (W-1).
    pub fn sotw(
        &mut self,
        ty: ResourceType,
        names: &[String],
        intern: &dyn Fn(&str) -> Arc<str>,
    ) -> Change {
        let mut change = Change {
            first: self.is_fresh(),
            ..Change::default()
        };
        let had_wildcard = self.wildcard();
        self.mode = if names.iter().any(|name| name == "*") {
            Mode::ExplicitWildcard
        } else if names.is_empty() {
            match self.mode {
                Mode::Fresh if has_legacy_wildcard(ty) => Mode::LegacyWildcard,
                Mode::LegacyWildcard => Mode::LegacyWildcard,
                Mode::Fresh | Mode::ExplicitWildcard | Mode::Named => Mode::Named,
            }
        } else {
            Mode::Named
        };
        let wanted: BTreeSet<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "*" && !is_ignored(name))
            .collect();
        self.names.retain(|name, ()| {
            let keep = wanted.contains(&**name);
            if !keep {
                change.dropped.push(Arc::clone(name));
            }
            keep
        });
        for name in wanted {
            if !self.names.contains(name) {
                let name = self.insert(name, intern);
                change.asked.push(name);
            }
        }
        change.wildcard_gained = !had_wildcard && self.wildcard();
        change.wildcard_lost = had_wildcard && !self.wildcard();
        change
    }

    fn insert(&mut self, name: &str, intern: &dyn Fn(&str) -> Arc<str>) -> Arc<str> {
        if let Some(known) = self.names.get_name(name) {
            return Arc::clone(known);
        }
        let name = intern(name);
        self.names.insert(Arc::clone(&name), ());
        name
    }

    /// Gives back the room set aside for more names.
    pub(super) fn shrink(&mut self) {
        self.names.shrink();
    }
}
