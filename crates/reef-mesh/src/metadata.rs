//! Metadata of a node, kept small: each proxy says some dozen things of itself, and most of them as others do.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::labels::intern;

/// A value of node metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum MetaValue {
    /// Null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    String(Arc<str>),
    /// A list.
    List(Box<[Self]>),
    /// A struct.
    Map(Metadata),
}

impl MetaValue {
    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let quoted = |text: &str| {
            let mut out = String::from("\"");
            for c in text.chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                    c => out.push(c),
                }
            }
            out + "\""
        };
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::String(text) => quoted(text),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_json).collect();
                format!("[{}]", items.join(","))
            }
            Self::Map(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| format!("{}:{}", quoted(key), value.to_json()));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// True for `true` and `"true"`; Istio writes booleans as text.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Bool(value) => *value,
            Self::String(text) => matches!(&**text, "true" | "1"),
            _ => false,
        }
    }
}

impl From<&str> for MetaValue {
    fn from(text: &str) -> Self {
        Self::String(intern(text))
    }
}

/// A struct of node metadata: values by key, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(Vec<(Arc<str>, MetaValue)>);

impl Metadata {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&MetaValue> {
        let (_, value) = self.0.get(self.place(key).ok()?)?;
        Some(value)
    }

    /// Sets a value.
    pub fn insert(&mut self, key: &str, value: MetaValue) {
        match self.place(key) {
            Ok(at) => {
                if let Some((_, old)) = self.0.get_mut(at) {
                    *old = value;
                }
            }
            Err(at) => self.0.insert(at, (intern(key), value)),
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &str) {
        if let Ok(at) = self.place(key) {
            self.0.remove(at);
        }
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &MetaValue)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(key))
    }
}

impl<K: AsRef<str>> FromIterator<(K, MetaValue)> for Metadata {
    /// Of equal keys the last one counts.
    fn from_iter<I: IntoIterator<Item = (K, MetaValue)>>(values: I) -> Self {
        let values = values.into_iter();
        let mut metadata = Self(Vec::with_capacity(values.size_hint().0));
        for (key, value) in values {
            metadata.insert(key.as_ref(), value);
        }
        metadata.0.shrink_to_fit();
        metadata
    }
}

impl From<BTreeMap<String, MetaValue>> for Metadata {
    fn from(values: BTreeMap<String, MetaValue>) -> Self {
        values.into_iter().collect()
    }
}

impl<K: AsRef<str>, const N: usize> From<[(K, MetaValue); N]> for Metadata {
    fn from(values: [(K, MetaValue); N]) -> Self {
        values.into_iter().collect()
    }
}
