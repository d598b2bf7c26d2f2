//! Headers in order, and what a configuration does to them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xds_api::envoy::config::core::v3::HeaderValueOption;
use xds_api::envoy::config::core::v3::header_value_option::HeaderAppendAction;

use crate::format::{self, Context};

/// Headers: names in lower case, in order; a name may be there several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// All values of a name, joined with commas as Envoy's matchers see them.
    #[must_use]
    pub fn joined(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.all(name).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The first value of a name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = key(name);
        let same = self.0.iter().filter(move |(known, _)| *known == name);
        same.map(|(_, value)| value.as_str())
    }

    /// Every header.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let each = self.0.iter();
        each.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds one more.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.push((key(name), value.to_owned()));
    }

    /// Replaces all of that name by one.
    pub fn set(&mut self, name: &str, value: &str) {
        let name = key(name);
        let at = self.0.iter().position(|(known, _)| *known == name);
        match at {
            None => self.0.push((name, value.to_owned())),
            Some(at) => {
                let mut index = 0;
                self.0.retain(|(known, _)| {
                    index += 1;
                    *known != name || index - 1 == at
                });
                if let Some(entry) = self.0.get_mut(at) {
                    value.clone_into(&mut entry.1);
                }
            }
        }
    }

    /// Removes all of that name.
    pub fn remove(&mut self, name: &str) {
        let name = key(name);
        self.0.retain(|(known, _)| *known != name);
    }

    /// By name, values joined.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let mut map: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in self.iter() {
            map.entry(name.to_owned())
                .and_modify(|all| {
                    all.push(',');
                    all.push_str(value);
                })
                .or_insert_with(|| value.to_owned());
        }
        map
    }
}

/// The form a name is kept in; `host` and `:authority` are the same header.
fn key(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name == "host" {
        ":authority".to_owned()
    } else {
        name
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.add(name.as_ref(), value.as_ref());
        }
        headers
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let joined = self.to_map();
        let mut map = serializer.serialize_map(Some(joined.len()))?;
        for (name, value) in joined {
            map.serialize_entry(&name, &value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value {
            One(String),
            Several(Vec<String>),
        }
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Headers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map from header name to a value or a list of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = Headers::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    match value {
                        Value::One(value) => headers.add(&name, &value),
                        Value::Several(values) => {
                            values.iter().for_each(|value| headers.add(&name, value));
                        }
                    }
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// What one level of a configuration (weighted cluster, route, virtual host, whole) does to headers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderChanges {
    remove: Vec<String>,
    put: Vec<HeaderValueOption>,
}

impl HeaderChanges {
    pub(crate) fn new(put: &[HeaderValueOption], remove: &[String]) -> Self {
        Self {
            remove: remove.to_vec(),
            put: put.to_vec(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }

    /// The names it removes.
    #[must_use]
    pub fn removed(&self) -> &[String] {
        &self.remove
    }

    /// Carries it out: first removes, then overwrites, then adds, all values made from the headers before.
    pub(crate) fn apply(&self, headers: &mut Headers, context: &Context<'_>) {
        for name in &self.remove {
            headers.remove(name);
        }
        let (mut overwrite, mut add) = (Vec::new(), Vec::new());
        for option in &self.put {
            let Some(header) = &option.header else {
                continue;
            };
            let text = if header.value.is_empty() {
                String::from_utf8_lossy(&header.raw_value).into_owned()
            } else {
                header.value.clone()
            };
            let value = format::expand(&text, context);
            if value.is_empty() && !option.keep_empty_value {
                continue;
            }
            let there = headers.first(&header.key).is_some();
            let action = match option.append {
                Some(false) => HeaderAppendAction::OverwriteIfExistsOrAdd,
                _ => option.append_action(),
            };
            match action {
                HeaderAppendAction::AppendIfExistsOrAdd => add.push((&header.key, value)),
                HeaderAppendAction::AddIfAbsent if there => {}
                HeaderAppendAction::AddIfAbsent => add.push((&header.key, value)),
                HeaderAppendAction::OverwriteIfExists if !there => {}
                HeaderAppendAction::OverwriteIfExists
                | HeaderAppendAction::OverwriteIfExistsOrAdd => {
                    overwrite.push((&header.key, value));
                }
            }
        }
        for (name, value) in overwrite {
            headers.set(name, &value);
        }
        for (name, value) in add {
            headers.add(name, &value);
        }
    }
}
