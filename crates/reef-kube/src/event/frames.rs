//! The frames of a watch in protobuf: four bytes of length, the highest first, and so many bytes.

use bytes::{Buf as _, Bytes, BytesMut};

use super::EVENT_BYTES;

/// Bytes of a length.
const LENGTH: usize = 4;

/// Collects bytes into frames. What comes whole within one piece is not copied.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The begin of a frame whose end did not come yet, with its length.
    partial: BytesMut,
    /// What came and was not looked at.
    rest: Bytes,
}

impl Frames {
    /// More bytes came; all frames of earlier ones must have been taken.
    pub(crate) fn push(&mut self, piece: Bytes) {
        debug_assert!(self.rest.is_empty());
        self.rest = piece;
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// A frame is longer than any object.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, String> {
        if self.partial.is_empty() {
            let whole = length(&self.rest)?;
            if let Some(whole) = whole
                && self.rest.len() >= whole
            {
                self.rest.advance(LENGTH);
                return Ok(Some(self.rest.split_to(whole - LENGTH)));
            }
            // Nothing is kept longer than until its end comes, so that room for it is made once.
            self.partial.reserve(whole.unwrap_or(LENGTH));
            return Ok(self.keep(self.rest.len()));
        }
        if self.partial.len() < LENGTH {
            self.keep(LENGTH - self.partial.len());
        }
        let Some(whole) = length(&self.partial)? else {
            return Ok(None);
        };
        self.keep(whole - self.partial.len());
        if self.partial.len() < whole {
            return Ok(None);
        }
        let mut frame = std::mem::take(&mut self.partial).freeze();
        frame.advance(LENGTH);
        Ok(Some(frame))
    }

    /// Puts bytes to those that wait.
    fn keep(&mut self, count: usize) -> Option<Bytes> {
        let kept = self.rest.split_to(count.min(self.rest.len()));
        self.partial.extend_from_slice(&kept);
        None
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }
}

/// How many bytes the frame at the begin of these has, its length included; `None` if that did not come yet.
fn length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(length) = bytes.first_chunk::<LENGTH>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > EVENT_BYTES {
        return Err(format!("a frame is longer than {EVENT_BYTES} bytes"));
    }
    Ok(Some(length + LENGTH))
}
