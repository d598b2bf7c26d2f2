//! The lines of a watch: bytes → lines → events.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decode::ResourceVersion;

/// Longest line. etcd takes objects of 1.5 MiB by default and of 8 MiB at most in practice.
const LINE_BYTES: usize = 16 << 20;

/// The annotation of the bookmark after which a stream has told the whole list.
const LIST_END: &str = "k8s.io/initial-events-end";

/// Collects bytes into lines. What comes whole within one frame is not copied.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The begin of a line whose end did not come yet.
    partial: BytesMut,
    /// What came and was not looked at.
    rest: Bytes,
}

impl Lines {
    /// More bytes came; all lines of earlier ones must have been taken.
    pub(crate) fn push(&mut self, frame: Bytes) {
        debug_assert!(self.rest.is_empty());
        self.rest = frame;
    }

    /// The next whole line.
    ///
    /// # Errors
    /// A line is longer than any object.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.rest) else {
                if self.partial.len() + self.rest.len() > LINE_BYTES {
                    return Err(format!("a line is longer than {LINE_BYTES} bytes"));
                }
                self.partial.extend_from_slice(&self.rest);
                self.rest.clear();
                return Ok(None);
            };
            let head = self.rest.split_to(end + 1);
            let line = if self.partial.is_empty() {
                head
            } else {
                self.partial.extend_from_slice(&head);
                self.partial.split().freeze()
            };
            let line = line.slice(..line.len() - 1);
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(line));
            }
        }
    }

    /// Whether a line has begun and not ended.
    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
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
}

/// Reads a line: what happened, and the text of the object.
///
/// # Errors
/// It is not an event.
pub(crate) fn event(line: &[u8]) -> Result<(Type, &[u8]), String> {
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
    let happened = Type::read(&event.happened)
        .ok_or_else(|| format!("an event of unknown type {:?}", event.happened))?;
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
pub(crate) fn bookmark(object: &[u8]) -> Result<Bookmark, String> {
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
    let object: Object = serde_json::from_slice(object).map_err(|error| error.to_string())?;
    let annotations = object.metadata.annotations.unwrap_or_default();
    Ok(Bookmark {
        version: object.metadata.resource_version.0,
        list_end: annotations.get(LIST_END).is_some_and(|is| is == "true"),
    })
}

#[cfg(test)]
mod tests;
