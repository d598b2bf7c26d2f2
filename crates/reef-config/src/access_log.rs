//! `accessLogFormat`: whether Envoy takes it, and its JSON form as a tree that can be part of a key.

mod operators;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;

/// A value of a JSON access log format; texts hold Envoy's command operators.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogValue {
    /// Null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number as written.
    Number(Arc<str>),
    /// Text.
    Text(Arc<str>),
    /// A list.
    List(Box<[Self]>),
    /// A map, sorted by key.
    Map(Box<[(Arc<str>, Self)]>),
}

/// Checks a format of text: whether Envoy knows its command operators and takes their parameters.
///
/// # Errors
/// What it would not take, for people.
pub fn check_text(format: &str) -> Result<(), String> {
    operators::check(format)
}

impl LogValue {
    /// Reads a format, which must be a JSON object whose texts hold operators that Envoy takes.
    ///
    /// # Errors
    /// Why it is none, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => {
                let value = Self::of(value);
                value.check()?;
                Ok(value)
            }
            Ok(_) => Err("a JSON object is wanted for accessLogEncoding JSON".to_owned()),
            Err(error) => Err(format!("not JSON, as accessLogEncoding says: {error}")),
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => Ok(()),
            Self::Text(text) => check_text(text),
            Self::List(items) => items.iter().try_for_each(Self::check),
            Self::Map(fields) => fields.iter().try_for_each(|(_, value)| value.check()),
        }
    }

    fn of(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number.to_string().into()),
            Value::String(text) => Self::Text(text.into()),
            Value::Array(items) => Self::List(items.into_iter().map(Self::of).collect()),
            Value::Object(fields) => {
                let mut fields: Vec<(Arc<str>, Self)> = fields
                    .into_iter()
                    .map(|(key, value)| (key.into(), Self::of(value)))
                    .collect();
                fields.sort();
                Self::Map(fields.into())
            }
        }
    }
}
