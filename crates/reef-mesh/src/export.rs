//! Who may see an object.

use reef_config::names::Namespace;

/// The namespaces an object is exported to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExportTo {
    /// Everyone.
    Public,
    /// These namespaces, sorted; `.` is resolved to the object's own.
    Namespaces(Box<[Namespace]>),
    /// Nobody, not even its own namespace.
    Nobody,
}

impl ExportTo {
    /// Resolves the values of an `exportTo` list of an object in `own`.
    ///
    /// `*` makes it public whatever else is there; `~` without `*` hides it; an empty list takes
    /// `default`, which is written in the same way (and empty there means `*`).
    #[must_use]
    pub fn resolve<'a, I>(values: I, own: &Namespace, default: &[String]) -> Self
    where
        I: IntoIterator<Item = &'a str>,
    {
        let mut all: Vec<&str> = values
            .into_iter()
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .collect();
        if all.is_empty() {
            all = default.iter().map(|value| value.trim()).collect();
        }
        if all.is_empty() || all.contains(&"*") {
            return Self::Public;
        }
        if all.contains(&"~") {
            return Self::Nobody;
        }
        let mut namespaces: Vec<Namespace> = all
            .into_iter()
            .map(|value| {
                if value == "." {
                    own.clone()
                } else {
                    Namespace::from(value)
                }
            })
            .collect();
        namespaces.sort();
        namespaces.dedup();
        Self::Namespaces(namespaces.into())
    }

    /// True if `namespace` may see the object.
    #[must_use]
    pub fn includes(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Public => true,
            Self::Namespaces(list) => list.binary_search(namespace).is_ok(),
            Self::Nobody => false,
        }
    }

    /// True if only `own` may see it.
    #[must_use]
    pub fn is_private(&self, own: &Namespace) -> bool {
        matches!(self, Self::Namespaces(list) if **list == *std::slice::from_ref(own))
    }
}
