//! Newtypes for names, and how hostnames with wildcards relate.
//!
//! All of them share their text (`Arc<str>`), so a clone is a counter increment. They do no lookups.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Gives a newtype over `Arc<str>` its conversions; `$make` normalises the text.
macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident, $make:expr) => {
        $(#[$meta])*
        #[derive(Clone, Eq)]
        pub struct $name(Arc<str>);

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        // Most comparisons are of one name with itself: an object's namespace is its service's.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) {
                    Ordering::Equal
                } else {
                    self.0.cmp(&other.0)
                }
            }
        }

        impl $name {
            /// Makes the name from its text.
            #[must_use]
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                let make: fn(Arc<str>) -> Arc<str> = $make;
                Self(make(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The shared text; cloning it copies nothing.
            #[must_use]
            pub fn shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self::new(text)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::labels::interned(deserializer).map(Self::new)
            }
        }
    };
}

name_type!(
    /// The cluster an object belongs to; `Kubernetes` where there is only one, as in Istio.
    ClusterId, |text| text
);
name_type!(
    /// A Kubernetes namespace.
    Namespace, |text| text
);
name_type!(
    /// A host: a DNS name, a short name, an address, or a pattern that starts with `*`; always lower case.
    Hostname, lower_case
);

impl Default for ClusterId {
    fn default() -> Self {
        Self::new("Kubernetes")
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new("default")
    }
}

impl Default for Hostname {
    fn default() -> Self {
        Self::new("")
    }
}

fn lower_case(text: Arc<str>) -> Arc<str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text
    }
}

impl Hostname {
    /// Whether the name is a pattern, which is to say starts with `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Whether the two overlap: some name is covered by both. Symmetric.
    ///
    /// The text after `*` is compared as a byte suffix, so `*.com` overlaps `a.b.com` and `*foo.com`
    /// overlaps `barfoo.com`, as in Istio.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        match (self.0.strip_prefix('*'), other.0.strip_prefix('*')) {
            (Some(mine), Some(theirs)) => mine.ends_with(theirs) || theirs.ends_with(mine),
            (Some(mine), None) => other.0.ends_with(mine),
            (None, Some(theirs)) => self.0.ends_with(theirs),
            (None, None) => self.0 == other.0,
        }
    }

    /// Whether every name covered by this one is covered by `pattern`. Directional.
    #[must_use]
    pub fn subset_of(&self, pattern: &Self) -> bool {
        match (self.0.strip_prefix('*'), pattern.0.strip_prefix('*')) {
            (Some(mine), Some(theirs)) => mine.ends_with(theirs),
            (Some(_), None) => false,
            (None, Some(theirs)) => self.0.ends_with(theirs),
            (None, None) => self.0 == pattern.0,
        }
    }

    /// The full name of a short name as a rule of `namespace` means it: `a` becomes `a.ns.svc.DOMAIN`.
    ///
    /// A name with a dot, a wildcard or a colon (an IPv6 address) is already full.
    #[must_use]
    pub fn resolve(&self, namespace: &Namespace, domain: &str) -> Self {
        if self.0.is_empty() || self.0.contains(['.', ':', '*']) {
            self.clone()
        } else {
            Self::new(format!("{}.{namespace}.svc.{domain}", self.0))
        }
    }
}
