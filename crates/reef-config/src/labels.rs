//! Label sets and shared strings, compact because a mesh has hundreds of thousands of them.
//!
//! Equal strings and equal sets that are parsed on one thread share memory through a small bounded cache.
//! Sharing is only about memory: equality and order are by content.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many strings or sets one thread keeps for sharing: a namespace's worth of names, below 1 MiB.
const CACHE_ENTRIES: usize = 4096;

/// Longest string worth sharing: label values end at 63 bytes, host names rarely exceed this.
const SHARED_BYTES: usize = 96;

thread_local! {
    static STRINGS: RefCell<Cache<str>> = RefCell::default();
    static SETS: RefCell<Cache<[Entry]>> = RefCell::default();
}

/// What one thread shares. Its order reaches nobody.
type Cache<T> = HashSet<Arc<T>, RandomState>;

/// A key and its value.
type Entry = (Arc<str>, Arc<str>);

/// An immutable map of labels (or of a label selector), sorted by key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Option<Arc<[Entry]>>);

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        let entries = self.0.as_deref()?;
        let at = entries.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        entries.get(at).map(|(_, value)| value)
    }

    /// Whether the label is there, whatever its value.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The labels in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0
            .as_deref()
            .unwrap_or_default()
            .iter()
            .map(|(k, v)| (k, v))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_deref().map_or(0, <[_]>::len)
    }

    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this, read as a selector, selects `labels`: every entry is there with the same value.
    ///
    /// The empty selector selects everything.
    #[must_use]
    pub fn selects(&self, labels: &Self) -> bool {
        self.iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let entries = entries.into_iter().map(|(k, v)| (k.into(), v.into()));
        let mut sorted: Vec<Entry> = entries.collect();
        if sorted.is_empty() {
            return Self(None);
        }
        if !sorted.is_sorted_by(|(a, _), (b, _)| a < b) {
            // Of a key that is there twice the last value counts.
            let unique: BTreeMap<Arc<str>, Arc<str>> = sorted.into_iter().collect();
            sorted = unique.into_iter().collect();
        }
        let entries = sorted.into();
        Self(Some(shared(&SETS, entries)))
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> From<BTreeMap<K, V>> for Labels {
    fn from(map: BTreeMap<K, V>) -> Self {
        map.into_iter().collect()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(k, v)| (&**k, &**v)))
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Labels;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }
            fn visit_unit<E>(self) -> Result<Labels, E> {
                Ok(Labels::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut entries = Vec::new();
                while let Some(Text(key)) = map.next_key()? {
                    let Text(value) = map.next_value()?;
                    entries.push((key, value));
                }
                Ok(entries.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A string shared through the thread's cache; only used while deserializing.
struct Text(Arc<str>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        interned(deserializer).map(Self)
    }
}

/// Deserializes a string that shares memory with equal ones parsed before on this thread.
///
/// # Errors
/// The value is not a string.
pub fn interned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    struct Shared;
    impl Visitor<'_> for Shared {
        type Value = Arc<str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(intern(text))
        }
    }
    deserializer.deserialize_str(Shared)
}

/// [`interned`] for an optional field.
///
/// # Errors
/// The value is there and is not a string.
pub fn interned_option<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Arc<str>>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
}

/// The shared form of `text` on this thread.
#[must_use]
pub fn intern(text: &str) -> Arc<str> {
    if text.len() > SHARED_BYTES {
        return text.into();
    }
    STRINGS.with_borrow_mut(|strings| {
        if let Some(known) = strings.get(text) {
            return Arc::clone(known);
        }
        if strings.len() >= CACHE_ENTRIES {
            strings.clear();
        }
        let new: Arc<str> = text.into();
        strings.insert(Arc::clone(&new));
        new
    })
}

fn shared<T: ?Sized + Hash + Eq>(
    cache: &'static std::thread::LocalKey<RefCell<Cache<T>>>,
    value: Arc<T>,
) -> Arc<T> {
    cache.with_borrow_mut(|known| {
        if let Some(known) = known.get(&*value) {
            return Arc::clone(known);
        }
        if known.len() >= CACHE_ENTRIES {
            known.clear();
        }
        known.insert(Arc::clone(&value));
        value
    })
}
