//! Schemas of the API types, and the CustomResourceDefinitions made of them.
//!
//! `api_structs!` and `api_enum!` describe every type they declare, with its documentation, so that a field that is
//! added is in the schema, too. A schema is what the API server calls structural: plain, without references, every field
//! typed. It says the form of an object; the rules are those of [`crate::validate`].

mod crd;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::istio::{PortMap, StringMatch};
use crate::labels::Labels;
use crate::names::Hostname;
use crate::scalar::{ApiDuration, IntOrString};

pub use crd::{Definition, definitions};

/// A type that can say its schema.
pub trait Described {
    /// The schema of its JSON form.
    fn schema() -> Schema;
}

/// An OpenAPI schema as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema(Map<String, Value>);

impl Schema {
    /// A schema of a type and nothing else.
    fn of(kind: &str) -> Self {
        Self(Map::from_iter([("type".to_owned(), kind.into())]))
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// An object without fields yet.
    #[must_use]
    pub fn object(docs: &[&str]) -> Self {
        Self::of("object").described(&text(docs))
    }

    /// Adds a field: `field` as Rust spells it, `serde` the text of its serde attribute.
    #[must_use]
    pub fn field<T: Described>(mut self, field: &str, serde: &str, docs: &[&str]) -> Self {
        if serde.contains("skip") {
            return self;
        }
        let schema = T::schema().documented(&text(docs));
        let properties = self
            .0
            .entry("properties")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(properties) = properties {
            for name in quoted(serde, "alias") {
                properties.insert(name.to_owned(), schema.clone().into());
            }
            let renamed = quoted(serde, "rename").next();
            let name = renamed.map_or_else(|| camel_case(field), str::to_owned);
            properties.insert(name, schema.into());
        }
        self
    }

    /// A string with these spellings and what each means; `closed` if there is no other.
    #[must_use]
    pub fn spellings(spellings: &[(&str, &[&str])], closed: bool) -> Self {
        let meanings: Vec<String> = spellings
            .iter()
            .map(|(spelling, docs)| format!("`{spelling}`: {}", text(docs)))
            .collect();
        let schema = Self::of("string").described(&meanings.join(" "));
        if !closed {
            return schema;
        }
        let spellings: Vec<&str> = spellings.iter().map(|(spelling, _)| *spelling).collect();
        schema.with("enum", spellings)
    }

    /// Whatever is there, of any form inside an object.
    #[must_use]
    pub fn any_object() -> Self {
        Self::of("object").with("x-kubernetes-preserve-unknown-fields", true)
    }

    fn described(self, description: &str) -> Self {
        if description.is_empty() {
            return self;
        }
        self.with("description", description)
    }

    /// Puts a field's documentation in place of its type's; spellings stay.
    fn documented(self, docs: &str) -> Self {
        let own = self.0.get("description").and_then(Value::as_str);
        let spelled = own.filter(|_| self.0.get("type") == Some(&"string".into()));
        let all = spelled.map_or_else(|| docs.to_owned(), |own| format!("{docs} {own}"));
        self.described(all.trim())
    }
}

impl From<Schema> for Value {
    fn from(schema: Schema) -> Self {
        Self::Object(schema.0)
    }
}

/// The text of doc comments, a line each.
fn text(docs: &[&str]) -> String {
    let lines: Vec<&str> = docs.iter().map(|line| line.trim()).collect();
    lines.join(" ").trim().to_owned()
}

/// The values of `key = "value"` in the text of an attribute.
fn quoted<'a>(attribute: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!("{key} = \"");
    let value = attribute
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(value, _)| value);
    value.into_iter()
}

/// The spelling that serde's `camelCase` gives a field.
fn camel_case(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut upper = false;
    for c in field.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            name.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            name.push(c);
        }
    }
    name
}

impl<T: Described> Described for Option<T> {
    fn schema() -> Schema {
        T::schema()
    }
}

impl<T: Described> Described for Box<T> {
    fn schema() -> Schema {
        T::schema()
    }
}

impl<T: Described> Described for Box<[T]> {
    fn schema() -> Schema {
        Vec::<T>::schema()
    }
}

impl<T: Described> Described for Vec<T> {
    fn schema() -> Schema {
        Schema::of("array").with("items", T::schema())
    }
}

/// Keys are strings in JSON, whatever they are here.
impl<K, T: Described> Described for BTreeMap<K, T> {
    fn schema() -> Schema {
        Schema::of("object").with("additionalProperties", T::schema())
    }
}

/// Describes types by an expression each.
macro_rules! described {
    ($($type:ty => $schema:expr;)*) => {$(
        impl Described for $type {
            fn schema() -> Schema {
                $schema
            }
        }
    )*};
}

/// A whole number of a range.
fn whole(minimum: i64, maximum: i64) -> Schema {
    Schema::of("integer")
        .with("minimum", minimum)
        .with("maximum", maximum)
}

described! {
    bool => Schema::of("boolean");
    String => Schema::of("string");
    Box<str> => Schema::of("string");
    Arc<str> => Schema::of("string");
    Hostname => Schema::of("string");
    u16 => whole(0, u16::MAX.into());
    u32 => whole(0, u32::MAX.into());
    i32 => Schema::of("integer").with("format", "int32");
    i64 => Schema::of("integer").with("format", "int64");
    u64 => Schema::of("integer").with("minimum", 0);
    f64 => Schema::of("number").with("format", "double");
    Labels => BTreeMap::<String, String>::schema();
    PortMap => BTreeMap::<String, u32>::schema();
    ApiDuration => Schema::of("string").described("A duration such as `10s`, `1.5s` or `500ms`.");
    IntOrString => Schema(Map::from_iter([("x-kubernetes-int-or-string".to_owned(), true.into())]));
    Value => Schema::any_object();
    StringMatch => Schema::of("object").with("properties", json!({
        "exact": {"type": "string", "description": "Equal."},
        "prefix": {"type": "string", "description": "Starts with."},
        "regex": {"type": "string", "description": "Matches the RE2 expression as a whole."},
    }));
}

#[cfg(test)]
mod tests;
