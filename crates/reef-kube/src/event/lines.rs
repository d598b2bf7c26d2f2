//! The lines of a watch in JSON.

use bytes::{Bytes, BytesMut};

use super::EVENT_BYTES;

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
                if self.partial.len() + self.rest.len() > EVENT_BYTES {
                    return Err(format!("a line is longer than {EVENT_BYTES} bytes"));
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
