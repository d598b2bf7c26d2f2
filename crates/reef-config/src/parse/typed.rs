//! [`Node`] → typed struct, telling the path of an error and of every field the type does not know.
//!
//! One deserializer for both syntaxes: the typed structs are compiled once. `null` in a struct is the same
//! as absent, as in Kubernetes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::node::Node;

/// Why a tree does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeError {
    /// Path of the value that does not fit, such as `spec.ports[0].number`.
    pub(super) field: String,
    /// What is wrong.
    pub(super) reason: String,
    located: bool,
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for TypeError {}

impl de::Error for TypeError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self {
            field: String::new(),
            reason: reason.to_string(),
            located: false,
        }
    }
}

impl TypeError {
    fn at(mut self, path: &Path<'_>) -> Self {
        if !self.located {
            self.field = path.to_string();
            self.located = true;
        }
        self
    }
}

/// Where a value is, as a list that lives on the stack: nothing is allocated until someone prints it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    /// The object itself.
    Root,
    /// A field of a map.
    Key(&'p Self, &'p str),
    /// An item of a list.
    Index(&'p Self, usize),
}

impl<'p> Path<'p> {
    /// The field `key` of this.
    pub(crate) fn key(&'p self, key: &'p str) -> Self {
        Self::Key(self, key)
    }

    /// The item `index` of this.
    pub(crate) fn index(&'p self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Reads a value of type `T` from a tree; paths of fields that `T` ignores are added to `unknown`.
pub(super) fn read<'t, T: Deserialize<'t>>(
    node: &'t Node<'t>,
    path: &Path<'_>,
    unknown: &RefCell<Vec<String>>,
) -> Result<T, TypeError> {
    T::deserialize(Value {
        node,
        path,
        unknown,
    })
    .map_err(|error| error.at(path))
}

#[derive(Clone, Copy)]
struct Value<'t, 'p> {
    node: &'t Node<'t>,
    path: &'p Path<'p>,
    unknown: &'p RefCell<Vec<String>>,
}

impl<'t> Value<'t, '_> {
    fn mismatch(&self, wanted: &str) -> TypeError {
        de::Error::custom(format_args!(
            "{} where {wanted} is wanted",
            self.node.description()
        ))
    }

    fn number<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node {
            Node::Int(number) => visitor.visit_i64(*number),
            Node::Unsigned(number) => visitor.visit_u64(*number),
            Node::Float(number) => match whole(*number) {
                Some(number) => visitor.visit_i64(number),
                None => Err(self.mismatch("a whole number")),
            },
            // The JSON form of protobuf writes 64-bit numbers as strings and takes every number so.
            Node::Text(text) => match text.parse() {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(self.mismatch("a number")),
            },
            _ => Err(self.mismatch("a number")),
        }
    }
}

/// The whole number a float stands for, within the range in which every one is exact.
fn whole(number: f64) -> Option<i64> {
    let exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    exact.then(|| format!("{number:.0}").parse().ok())?
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
            self.number(visitor)
        }
    )*};
}

impl<'t> Deserializer<'t> for Value<'t, '_> {
    type Error = TypeError;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Int(number) => visitor.visit_i64(*number),
            Node::Unsigned(number) => visitor.visit_u64(*number),
            Node::Float(number) => visitor.visit_f64(*number),
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::List(items) => visitor.visit_seq(Items {
                at: self,
                items: items.iter(),
                index: 0,
            }),
            Node::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node {
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Text(text) => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" => visitor.visit_bool(true),
                "no" | "off" | "n" => visitor.visit_bool(false),
                _ => Err(self.mismatch("true or false")),
            },
            _ => Err(self.mismatch("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node {
            Node::Float(number) => visitor.visit_f64(*number),
            _ => self.number(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node {
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::Null => visitor.visit_borrowed_str(""),
            _ => Err(self.mismatch("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node {
            Node::List(items) => visitor.visit_seq(Items {
                at: self,
                items: items.iter(),
                index: 0,
            }),
            _ => Err(self.mismatch("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.node {
            Node::Map(entries) => visitor.visit_map(Entries {
                at: self,
                entries: entries.iter(),
                value: None,
                nulls: true,
            }),
            _ => Err(self.mismatch("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        match self.node {
            Node::Map(entries) => visitor.visit_map(Entries {
                at: self,
                entries: entries.iter(),
                value: None,
                nulls: false,
            }),
            _ => Err(self.mismatch("a map")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        self.unknown.borrow_mut().push(self.path.to_string());
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'t>>
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}

struct Items<'t, 'p> {
    at: Value<'t, 'p>,
    items: std::slice::Iter<'t, Node<'t>>,
    index: usize,
}

impl<'t> SeqAccess<'t> for Items<'t, '_> {
    type Error = TypeError;

    fn next_element_seed<T: DeserializeSeed<'t>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TypeError> {
        let Some(node) = self.items.next() else {
            return Ok(None);
        };
        let path = Path::Index(self.at.path, self.index);
        self.index += 1;
        seed.deserialize(Value {
            node,
            path: &path,
            unknown: self.at.unknown,
        })
        .map(Some)
        .map_err(|error| error.at(&path))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'t, 'p> {
    at: Value<'t, 'p>,
    entries: std::slice::Iter<'t, (Cow<'t, str>, Node<'t>)>,
    value: Option<(&'t str, &'t Node<'t>)>,
    /// Whether entries that are `null` count.
    nulls: bool,
}

impl<'t> MapAccess<'t> for Entries<'t, '_> {
    type Error = TypeError;

    fn next_key_seed<K: DeserializeSeed<'t>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TypeError> {
        for (key, node) in self.entries.by_ref() {
            if !self.nulls && *node == Node::Null {
                continue;
            }
            self.value = Some((key, node));
            let path = Path::Key(self.at.path, key);
            return seed
                .deserialize(MapKey(key))
                .map(Some)
                .map_err(|error| error.at(&path));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, TypeError> {
        let (key, node) = self.value.take().ok_or_else(|| {
            <TypeError as de::Error>::custom("a value was asked for before its key")
        })?;
        let path = Path::Key(self.at.path, key);
        seed.deserialize(Value {
            node,
            path: &path,
            unknown: self.at.unknown,
        })
        .map_err(|error| error.at(&path))
    }
}

/// A key of a map, which may stand for a number (`portLevelMtls`).
struct MapKey<'t>(&'t str);

macro_rules! number_keys {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
            match self.0.parse::<i64>() {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(de::Error::custom("the key is not a number")),
            }
        }
    )*};
}

impl<'t> Deserializer<'t> for MapKey<'t> {
    type Error = TypeError;

    number_keys! { deserialize_u16 deserialize_u32 deserialize_i32 }

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, TypeError> {
        let text: BorrowedStrDeserializer<'t, TypeError> = BorrowedStrDeserializer::new(self.0);
        text.into_deserializer().deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'t>>
        bool i8 i16 i64 u8 u64 i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
