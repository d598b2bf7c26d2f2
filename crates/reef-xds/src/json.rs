//! Canonical proto JSON of any resource, for config dumps and tests.
//!
//! Field names are those of the `.proto` files (`load_assignment`), as Envoy's own dumps print them.
//! Printing never fails: an `Any` of an unknown type, or with broken content, is shown as base64, so
//! that one odd extension does not hide the rest.

use std::sync::OnceLock;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::Name;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
    SerializeOptions, Value as Field,
};
use serde_json::{Map, Value, json};
use thiserror::Error;
use xds_api::Any;

use crate::canonical;

/// How many `Any`s may be nested before the rest is shown as base64. Envoy's deepest useful nesting is
/// below ten; the limit only bounds the stack.
const MAX_NESTED_ANY: usize = 32;

/// Why JSON was not understood.
#[derive(Debug, Error)]
pub enum JsonError {
    /// The value is not an object with a type in `@type`.
    #[error("not an object with a known `@type`, or a field is wrong")]
    Invalid(#[source] serde_json::Error),
    /// No message has this name.
    #[error("no message is called `{name}`")]
    UnknownMessage {
        /// Full name of the message.
        name: String,
    },
    /// The encoded message cannot be decoded as the wanted type.
    #[error("`{name}` has other content than its descriptor says")]
    Decode {
        /// Full name of the message.
        name: String,
        /// What prost reports.
        #[source]
        source: prost::DecodeError,
    },
}

/// The descriptors of all Envoy messages; decoded at first use (some milliseconds).
///
/// # Panics
/// The committed descriptor set is broken, which a test excludes.
pub fn descriptors() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(xds_api::FILE_DESCRIPTOR_SET)
            .expect("the descriptor set is generated and tested")
    })
}

/// Shows a resource as JSON, its type in `@type`.
#[must_use]
pub fn to_json(any: &Any) -> Value {
    any_to_json(&any.type_url, &any.value, MAX_NESTED_ANY)
}

/// Shows a message as JSON, without its type.
///
/// # Errors
/// [`JsonError::UnknownMessage`] if the message is not one of Envoy's.
pub fn message_to_json<M: prost::Message + Name>(message: &M) -> Result<Value, JsonError> {
    let name = M::full_name();
    let Some(descriptor) = descriptors().get_message_by_name(&name) else {
        return Err(JsonError::UnknownMessage { name });
    };
    match DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()) {
        Ok(message) => Ok(dynamic_to_json(&message, MAX_NESTED_ANY)),
        Err(source) => Err(JsonError::Decode { name, source }),
    }
}

/// Reads what [`to_json`] printed: an object with `@type`. Both field name styles are accepted.
///
/// Equal JSON gives equal bytes, namely those that encoding the generated message gives.
///
/// # Errors
/// [`JsonError::Invalid`] if a type or field is unknown or a value has the wrong form.
pub fn from_json(value: &Value) -> Result<Any, JsonError> {
    let any = parse(message(&Any::full_name())?, value)?;
    transcode(&any)
}

/// Reads a message of a known type from JSON without `@type`.
///
/// # Errors
/// As [`from_json`]; [`JsonError::UnknownMessage`] if the message is not one of Envoy's.
pub fn message_from_json<M: prost::Message + Name + Default>(
    value: &Value,
) -> Result<M, JsonError> {
    transcode(&parse(message(&M::full_name())?, value)?)
}

fn message(name: &str) -> Result<MessageDescriptor, JsonError> {
    descriptors()
        .get_message_by_name(name)
        .ok_or_else(|| JsonError::UnknownMessage {
            name: name.to_owned(),
        })
}

fn parse(descriptor: MessageDescriptor, value: &Value) -> Result<DynamicMessage, JsonError> {
    DynamicMessage::deserialize(descriptor, value).map_err(JsonError::Invalid)
}

fn transcode<M: prost::Message + Name + Default>(message: &DynamicMessage) -> Result<M, JsonError> {
    M::decode(canonical::encode(message, descriptors()).as_slice()).map_err(|source| {
        JsonError::Decode {
            name: M::full_name(),
            source,
        }
    })
}

fn any_to_json(type_url: &str, value: &[u8], depth: usize) -> Value {
    let decoded = depth
        .checked_sub(1)
        .and_then(|depth| Some((depth, type_url.rsplit_once('/')?.1)))
        .and_then(|(depth, name)| Some((depth, descriptors().get_message_by_name(name)?)))
        .and_then(|(depth, descriptor)| {
            let message = DynamicMessage::decode(descriptor, value).ok()?;
            Some((message.descriptor(), dynamic_to_json(&message, depth)))
        });
    match decoded {
        Some((descriptor, Value::Object(mut object))) if !is_well_known(&descriptor) => {
            object.insert("@type".to_owned(), type_url.into());
            Value::Object(object)
        }
        Some((_, well_known)) => json!({ "@type": type_url, "value": well_known }),
        None => json!({ "@type": type_url, "value": BASE64_STANDARD.encode(value) }),
    }
}

/// Whether proto JSON gives the message a form of its own (`Duration` is a string, …).
fn is_well_known(descriptor: &MessageDescriptor) -> bool {
    descriptor.package_name() == "google.protobuf"
}

fn dynamic_to_json(message: &DynamicMessage, depth: usize) -> Value {
    let descriptor = message.descriptor();
    if descriptor.full_name() == "google.protobuf.Any" {
        let url = message.get_field_by_name("type_url");
        let value = message.get_field_by_name("value");
        let url = url.as_deref().and_then(Field::as_str).unwrap_or_default();
        let value = value
            .as_deref()
            .and_then(Field::as_bytes)
            .map_or(&[][..], |bytes| bytes);
        return any_to_json(url, value, depth);
    }
    if is_well_known(&descriptor) {
        return well_known_to_json(message);
    }
    let fields = message.fields().map(|(field, value)| {
        (
            field.name().to_owned(),
            field_to_json(value, &field.kind(), depth),
        )
    });
    Value::Object(fields.collect())
}

/// Leaves the special forms to prost-reflect; a value without a form (a duration out of range) is
/// shown as its debug text.
fn well_known_to_json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .unwrap_or_else(|_| Value::String(message.to_string()))
}

fn field_to_json(value: &Field, kind: &Kind, depth: usize) -> Value {
    match value {
        Field::Bool(value) => Value::Bool(*value),
        Field::I32(value) => (*value).into(),
        Field::U32(value) => (*value).into(),
        // 64-bit numbers are strings: JSON readers lose precision above 2^53.
        Field::I64(value) => value.to_string().into(),
        Field::U64(value) => value.to_string().into(),
        Field::F32(value) => float_to_json(f64::from(*value), || value.to_string().parse().ok()),
        Field::F64(value) => float_to_json(*value, || Some(*value)),
        Field::String(value) => value.as_str().into(),
        Field::Bytes(value) => BASE64_STANDARD.encode(value).into(),
        Field::EnumNumber(number) => enum_to_json(*number, kind),
        Field::Message(message) => dynamic_to_json(message, depth),
        Field::List(values) => values
            .iter()
            .map(|value| field_to_json(value, kind, depth))
            .collect(),
        Field::Map(entries) => {
            let kind = match kind {
                Kind::Message(entry) => entry.map_entry_value_field().kind(),
                other => other.clone(),
            };
            let entries = entries
                .iter()
                .map(|(key, value)| (map_key(key), field_to_json(value, &kind, depth)));
            // The reflection map is unordered; JSON objects are ordered by key.
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn enum_to_json(number: i32, kind: &Kind) -> Value {
    let named = kind
        .as_enum()
        .and_then(|descriptor| descriptor.get_value(number));
    named.map_or_else(|| number.into(), |value| value.name().into())
}

/// Infinities and NaN have names in proto JSON; `shortest` gives the number to print otherwise.
fn float_to_json(value: f64, shortest: impl FnOnce() -> Option<f64>) -> Value {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        }
    } else {
        shortest().into()
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
