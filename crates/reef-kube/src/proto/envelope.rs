//! What objects come in: the envelope that says what a message is, the event of a watch, the list.

use serde::de::Error as _;
use serde::de::value::Error;

use super::read::other_form;
use super::wire::{Cursor, Value};

/// The first bytes of everything the API server says in protobuf, but for the events of a watch.
const MAGIC: &[u8] = b"k8s\0";

/// Takes a message out of its `runtime.Unknown`.
///
/// # Errors
/// It is none, or what is in it is encoded once more.
pub(crate) fn unwrapped(bytes: &[u8]) -> Result<&[u8], Error> {
    let unknown = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| Error::custom("an object without the signs of one in protobuf"))?;
    let mut raw = &[][..];
    let mut cursor = Cursor::new(unknown);
    while let Some(found) = cursor.next()? {
        match (found.number, found.value) {
            (2, Value::Bytes(bytes)) => raw = bytes,
            (3, Value::Bytes([])) => {}
            (4, Value::Bytes([] | b"application/vnd.kubernetes.protobuf")) => {}
            (2..=4, _) => return Err(Error::custom("an object in an encoding of its own")),
            _ => {}
        }
    }
    Ok(raw)
}

/// Takes a `meta.v1.WatchEvent` apart: what happened, and the message of the object.
///
/// # Errors
/// It is none.
pub(crate) fn event(bytes: &[u8]) -> Result<(&str, &[u8]), Error> {
    let (mut happened, mut object) = (&[][..], &[][..]);
    let mut cursor = Cursor::new(bytes);
    while let Some(found) = cursor.next()? {
        match (found.number, found.value) {
            (1, Value::Bytes(text)) => happened = text,
            (2, Value::Bytes(extension)) => object = first(extension)?,
            (1 | 2, _) => return Err(other_form()),
            _ => {}
        }
    }
    let happened = str::from_utf8(happened).map_err(Error::custom)?;
    Ok((happened, unwrapped(object)?))
}

/// The one field of a `runtime.RawExtension`.
fn first(extension: &[u8]) -> Result<&[u8], Error> {
    let mut raw = &[][..];
    let mut cursor = Cursor::new(extension);
    while let Some(found) = cursor.next()? {
        match (found.number, found.value) {
            (1, Value::Bytes(bytes)) => raw = bytes,
            (1, _) => return Err(other_form()),
            _ => {}
        }
    }
    Ok(raw)
}

/// The messages of the items of a list.
///
/// # Errors
/// It is none.
pub(crate) fn list(message: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let mut items = Vec::new();
    let mut cursor = Cursor::new(message);
    while let Some(found) = cursor.next()? {
        match (found.number, found.value) {
            (2, Value::Bytes(item)) => items.push(item),
            (2, _) => return Err(other_form()),
            _ => {}
        }
    }
    Ok(items)
}
