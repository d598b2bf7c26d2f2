//! The fields of one message, without what they mean.

use serde::de::Error as _;
use serde::de::value::Error;

/// The value of a field as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'b> {
    /// A number, or a truth.
    Number(u64),
    /// A text, a message, or an entry of a map.
    Bytes(&'b [u8]),
    /// Four or eight bytes; nothing that is read is told so.
    Fixed,
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'b> {
    /// Its number.
    pub(super) number: u64,
    /// Number and form as they stand in the bytes, which are the same for the next element of a list.
    tag: &'b [u8],
    /// Its value.
    pub(super) value: Value<'b>,
}

/// Goes through a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    pub(super) const fn new(message: &'b [u8]) -> Self {
        Self(message)
    }

    /// The next field.
    ///
    /// # Errors
    /// The bytes are no message, or end within one.
    pub(super) fn next(&mut self) -> Result<Option<Found<'b>>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let before = self.0;
        let key = self.varint()?;
        let length = before.len() - self.0.len();
        let tag = before.get(..length).unwrap_or_default();
        let value = self.value(key)?;
        let number = key >> 3;
        Ok(Some(Found { number, tag, value }))
    }

    /// The next field, if it is a further element of the list that `found` is one of.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub(super) fn next_of(&mut self, found: &Found<'b>) -> Result<Option<Value<'b>>, Error> {
        match self.0.strip_prefix(found.tag) {
            Some(rest) if !found.tag.is_empty() => {
                let mut tag = Self(found.tag);
                self.0 = rest;
                let key = tag.varint()?;
                self.value(key).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// How many further elements of the list follow.
    pub(super) fn count_of(mut self, found: &Found<'b>) -> usize {
        let mut count = 0;
        while let Ok(Some(_)) = self.next_of(found) {
            count += 1;
        }
        count
    }

    fn value(&mut self, key: u64) -> Result<Value<'b>, Error> {
        match key & 7 {
            0 => self.varint().map(Value::Number),
            1 => self.take(8).map(|_| Value::Fixed),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_huge| cut())?;
                self.take(length).map(Value::Bytes)
            }
            5 => self.take(4).map(|_| Value::Fixed),
            form => Err(Error::custom(format_args!(
                "a field of form {form}, which Protobuf does not have"
            ))),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.take(at + 1)?;
                return Ok(number);
            }
        }
        Err(cut())
    }
}

fn cut() -> Error {
    Error::custom("a message ends within a field")
}
