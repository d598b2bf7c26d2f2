//! Scalars with a spelling of their own: durations and int-or-string.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration as the Istio API writes it: `1h30m`, `1.5s`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ApiDuration(pub Duration);

impl ApiDuration {
    /// Whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// Reads a duration: numbers with a unit (`h`, `m`, `s`, `ms`, `us`, `µs`, `ns`), added up; or `0`.
    ///
    /// `None` for anything else, a negative one included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::default());
        }
        let mut rest = text;
        let mut nanos = 0u128;
        while !rest.is_empty() || text.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, after) = rest.split_at(number_end);
            let unit_end = after
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let unit_nanos: u128 = match unit {
                "h" => 3_600_000_000_000,
                "m" => 60_000_000_000,
                "s" => 1_000_000_000,
                "ms" => 1_000_000,
                "us" | "µs" | "μs" => 1_000,
                "ns" => 1,
                _ => return None,
            };
            nanos = nanos.checked_add(scaled(number, unit_nanos)?)?;
            rest = after;
        }
        let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
        let subsecond = u32::try_from(nanos % 1_000_000_000).ok()?;
        Some(Self(Duration::new(seconds, subsecond)))
    }
}

/// `number` × `unit`, exactly, for a decimal with at most nine digits after the dot that count.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut result = whole.checked_mul(unit)?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok()?;
        let numerator: u128 = fraction.parse().ok()?;
        result = result.checked_add(numerator.checked_mul(unit)? / 10u128.pow(digits))?;
    }
    Some(result)
}

impl Deref for ApiDuration {
    type Target = Duration;
    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<ApiDuration> for Duration {
    fn from(duration: ApiDuration) -> Self {
        duration.0
    }
}

impl Serialize for ApiDuration {
    /// As protobuf's JSON has it: `10s`, `0.5s`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos == 0 {
            serializer.collect_str(&format_args!("{seconds}s"))
        } else {
            let fraction = format!("{nanos:09}");
            let fraction = fraction.trim_end_matches('0');
            serializer.collect_str(&format_args!("{seconds}.{fraction}s"))
        }
    }
}

impl<'de> Deserialize<'de> for ApiDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ApiDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 10s")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ApiDuration, E> {
                ApiDuration::parse(text).ok_or_else(|| {
                    E::custom(format_args!("{text:?} is not a duration such as 10s"))
                })
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A number or a name, such as the `targetPort` of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A name.
    String(Box<str>),
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = IntOrString;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a string")
            }
            fn visit_i64<E>(self, number: i64) -> Result<IntOrString, E> {
                Ok(IntOrString::Int(number))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<IntOrString, E> {
                i64::try_from(number)
                    .map(IntOrString::Int)
                    .map_err(E::custom)
            }
            fn visit_str<E>(self, text: &str) -> Result<IntOrString, E> {
                Ok(IntOrString::String(text.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for IntOrString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::String(text) => serializer.serialize_str(text),
        }
    }
}
