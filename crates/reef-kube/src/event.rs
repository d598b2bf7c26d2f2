//! The events of a watch: bytes → lines of JSON, or frames of protobuf → events.

mod frames;
mod lines;

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::frames::Frames;
use self::lines::Lines;
use crate::decode::ResourceVersion;
use crate::encoding::{Encoding, Raw};
use crate::proto::{self, schema};

/// The annotation of the bookmark after which a stream has told the whole list.
const LIST_END: &str = "k8s.io/initial-events-end";

/// Longest line or frame. etcd takes objects of 1.5 MiB by default and of 8 MiB at most in practice.
const EVENT_BYTES: usize = 16 << 20;

/// Collects the bytes of a watch into events.
#[derive(Debug)]
pub(crate) enum Feed {
    /// Each a line of JSON.
    Lines(Lines),
    /// Each a frame with its length before it.
    Frames(Frames),
}

impl Feed {
    pub(crate) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => Self::Lines(Lines::default()),
            Encoding::Protobuf => Self::Frames(Frames::default()),
        }
    }

    /// More bytes came; everything whole of earlier ones must have been taken.
    pub(crate) fn push(&mut self, data: Bytes) {
        match self {
            Self::Lines(lines) => lines.push(data),
            Self::Frames(frames) => frames.push(data),
        }
    }

    /// The next whole line or frame.
    ///
    /// # Errors
    /// It is longer than any object.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Self::Lines(lines) => lines.next(),
            Self::Frames(frames) => frames.next(),
        }
    }

    /// Whether an event has begun and not ended.
    pub(crate) fn has_partial(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.has_partial(),
            Self::Frames(frames) => frames.has_partial(),
        }
    }

    /// Reads what [`Feed::next`] gave: what happened, and the object.
    ///
    /// # Errors
    /// It is not an event.
    pub(crate) fn event<'e>(&self, said: &'e [u8]) -> Result<(Type, Raw<'e>), String> {
        match self {
            Self::Lines(_) => event(said).map(|(happened, object)| (happened, Raw::Json(object))),
            Self::Frames(_) => {
                let event = proto::event(said).map_err(|error| error.to_string())?;
                Ok((Type::known(event.0)?, Raw::Proto(event.1)))
            }
        }
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// It is there, new or changed.
    Applied,
    /// It is gone.
    Deleted,
    /// Nothing happened up to a version.
    Bookmark,
    /// The stream cannot go on.
    Error,
}

impl Type {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "ADDED" | "MODIFIED" => Self::Applied,
            "DELETED" => Self::Deleted,
            "BOOKMARK" => Self::Bookmark,
            "ERROR" => Self::Error,
            _ => return None,
        })
    }

    fn known(text: &str) -> Result<Self, String> {
        Self::read(text).ok_or_else(|| format!("an event of unknown type {text:?}"))
    }
}

/// Reads a line: what happened, and the text of the object.
///
/// # Errors
/// It is not an event.
fn event(line: &[u8]) -> Result<(Type, &[u8]), String> {
    if let Some(event) = usual(line) {
        return Ok(event);
    }
    #[derive(Deserialize)]
    struct Event<'l> {
        #[serde(borrow, rename = "type")]
        happened: Cow<'l, str>,
        #[serde(borrow)]
        object: &'l RawValue,
    }
    let event: Event<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let happened = Type::known(&event.happened)?;
    Ok((happened, event.object.get().as_bytes()))
}

/// The form every API server writes, which needs no look at the object.
fn usual(line: &[u8]) -> Option<(Type, &[u8])> {
    const FIRST: &[u8] = br#"{"type":""#;
    const SECOND: &[u8] = br#"","object":"#;
    let rest = line.strip_prefix(FIRST)?;
    let end = rest.iter().take(16).position(|byte| *byte == b'"')?;
    let (happened, rest) = rest.split_at(end);
    let object = rest.strip_prefix(SECOND)?.strip_suffix(b"}")?;
    Some((Type::read(std::str::from_utf8(happened).ok()?)?, object))
}

/// A bookmark: how far the stream has come, and whether its list is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bookmark {
    /// Nothing older follows.
    pub(crate) version: u64,
    /// The list is complete.
    pub(crate) list_end: bool,
}

/// Reads the object of a bookmark.
///
/// # Errors
/// It is none.
pub(crate) fn bookmark(object: Raw<'_>) -> Result<Bookmark, String> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: ResourceVersion,
        #[serde(default)]
        annotations: Option<std::collections::BTreeMap<String, String>>,
    }
    let object: Object = object.read(&schema::OBJECT)?;
    let annotations = object.metadata.annotations.unwrap_or_default();
    Ok(Bookmark {
        version: object.metadata.resource_version.0,
        list_end: annotations.get(LIST_END).is_some_and(|is| is == "true"),
    })
}

#[cfg(test)]
mod tests;
