//! Encodes a reflected message as prost encodes the generated one: maps in key order.
//!
//! prost-reflect keeps maps in hash tables, so its own encoding differs from process to process.

use prost::encoding::{WireType, encode_key, encode_varint};
use prost::{Message as _, Name as _};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};
use xds_api::Any;

/// Encodes `message` and, by the types in `pool`, the messages inside its `Any`s.
pub(crate) fn encode(message: &DynamicMessage, pool: &DescriptorPool) -> Vec<u8> {
    let descriptor = message.descriptor();
    if descriptor.full_name() == Any::full_name() {
        return encode_any(message, pool);
    }
    let mut output = Vec::new();
    for (field, value) in message.fields() {
        match value {
            Value::Message(nested) => delimited(&field, &encode(nested, pool), &mut output),
            Value::Map(entries) => {
                let Kind::Message(entry) = field.kind() else {
                    continue;
                };
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                for (key, value) in entries {
                    delimited(&field, &encode_entry(&entry, key, value, pool), &mut output);
                }
            }
            Value::List(items) if matches!(field.kind(), Kind::Message(_)) => {
                for nested in items.iter().filter_map(Value::as_message) {
                    delimited(&field, &encode(nested, pool), &mut output);
                }
            }
            scalar => output.extend(encode_alone(&descriptor, &field, scalar.clone())),
        }
    }
    output
}

fn encode_any(message: &DynamicMessage, pool: &DescriptorPool) -> Vec<u8> {
    // The descriptor of `Any` is fixed, so this is only a change of representation.
    let mut any = Any::decode(message.encode_to_vec().as_slice()).unwrap_or_default();
    let nested = any
        .type_url
        .rsplit_once('/')
        .and_then(|(_, name)| pool.get_message_by_name(name))
        .and_then(|descriptor| DynamicMessage::decode(descriptor, any.value.as_ref()).ok());
    if let Some(nested) = nested {
        any.value = encode(&nested, pool).into();
    }
    any.encode_to_vec()
}

fn encode_entry(
    entry: &MessageDescriptor,
    key: &MapKey,
    value: &Value,
    pool: &DescriptorPool,
) -> Vec<u8> {
    let mut output = encode_alone(entry, &entry.map_entry_key_field(), key.clone().into());
    let field = entry.map_entry_value_field();
    match value {
        Value::Message(nested) => {
            let nested = encode(nested, pool);
            // prost leaves out values that equal the default.
            if !nested.is_empty() {
                delimited(&field, &nested, &mut output);
            }
        }
        scalar => output.extend(encode_alone(entry, &field, scalar.clone())),
    }
    output
}

/// Encodes one field as if no other were set.
fn encode_alone(descriptor: &MessageDescriptor, field: &FieldDescriptor, value: Value) -> Vec<u8> {
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field(field, value);
    message.encode_to_vec()
}

fn delimited(field: &FieldDescriptor, content: &[u8], output: &mut Vec<u8>) {
    encode_key(field.number(), WireType::LengthDelimited, output);
    encode_varint(u64::try_from(content.len()).unwrap_or(u64::MAX), output);
    output.extend_from_slice(content);
}
