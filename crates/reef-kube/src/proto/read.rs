//! One message through serde, as if it were JSON.

use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::schema::{Field, Form, Message, Often};
use super::wire::{Cursor, Found, Value};

/// Reads a message.
///
/// # Errors
/// It is none, or something in it does not fit the type.
pub(crate) fn from_slice<T: DeserializeOwned>(
    message: &'static Message,
    bytes: &[u8],
) -> Result<T, Error> {
    let form = Form::Message(message);
    let value = Value::Bytes(bytes);
    T::deserialize(Single { form, value })
}

impl Field {
    /// Whether JSON would not have the field.
    pub(super) fn is_absent(&self, value: Value<'_>) -> bool {
        self.often == Often::NotEmpty && matches!(value, Value::Number(0) | Value::Bytes([]))
    }
}

/// A text, if it is one.
fn text(bytes: &[u8]) -> Result<&str, Error> {
    str::from_utf8(bytes).map_err(Error::custom)
}

/// The name and the value of an entry of a map.
///
/// # Errors
/// It is none.
pub(super) fn entry(value: Value<'_>) -> Result<[&[u8]; 2], Error> {
    let Value::Bytes(entry) = value else {
        return Err(other_form());
    };
    let mut parts = [&[][..]; 2];
    let mut cursor = Cursor::new(entry);
    while let Some(found) = cursor.next()? {
        match (found.number, found.value) {
            (1, Value::Bytes(name)) => parts[0] = name,
            (2, Value::Bytes(text)) => parts[1] = text,
            (1 | 2, _) => return Err(other_form()),
            _ => {}
        }
    }
    Ok(parts)
}

/// What of the three fields of `IntOrString` counts.
///
/// # Errors
/// It is none.
pub(super) fn number_or_text(message: &[u8]) -> Result<Value<'_>, Error> {
    let (mut is_text, mut number, mut text) = (0, 0, &[][..]);
    let mut cursor = Cursor::new(message);
    while let Some(found) = cursor.next()? {
        match (found.number, found.value) {
            (1, Value::Number(form)) => is_text = form,
            (2, Value::Number(value)) => number = value,
            (3, Value::Bytes(value)) => text = value,
            (1..=3, _) => return Err(other_form()),
            _ => {}
        }
    }
    Ok(if is_text == 0 {
        Value::Number(number)
    } else {
        Value::Bytes(text)
    })
}

/// The seconds of a `Time`, if it is any.
///
/// # Errors
/// It is none.
pub(super) fn seconds(message: &[u8]) -> Result<Option<i64>, Error> {
    let mut cursor = Cursor::new(message);
    let mut seconds = (!message.is_empty()).then_some(0);
    while let Some(found) = cursor.next()? {
        match (found.number, found.value) {
            (1, Value::Number(value)) => seconds = Some(value.cast_signed()),
            (1, _) => return Err(other_form()),
            _ => {}
        }
    }
    Ok(seconds)
}

/// A field stands in the bytes as another kind of value than it is.
pub(super) fn other_form() -> Error {
    Error::custom("a field of another form than it should have")
}

/// A value that is there once, or an element of a list.
struct Single<'de> {
    form: Form,
    value: Value<'de>,
}

impl<'de> Deserializer<'de> for Single<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (self.form, self.value) {
            (Form::Text, Value::Bytes(bytes)) => visitor.visit_borrowed_str(text(bytes)?),
            (Form::Truth, Value::Number(number)) => visitor.visit_bool(number != 0),
            (Form::Number, Value::Number(number)) => whole(number, visitor),
            (Form::Time, Value::Bytes(time)) => match seconds(time)? {
                Some(seconds) => visitor.visit_i64(seconds),
                None => visitor.visit_unit(),
            },
            (Form::NumberOrText, Value::Bytes(either)) => match number_or_text(either)? {
                Value::Bytes(bytes) => visitor.visit_borrowed_str(text(bytes)?),
                Value::Number(number) => whole(number, visitor),
                Value::Fixed => Err(other_form()),
            },
            (Form::Message(message), Value::Bytes(bytes)) => visitor.visit_map(Fields {
                message,
                cursor: Cursor::new(bytes),
                found: None,
            }),
            _ => Err(other_form()),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// A number as JSON's reader tells it.
fn whole<'de, V: Visitor<'de>>(number: u64, visitor: V) -> Result<V::Value, Error> {
    let signed = number.cast_signed();
    match u64::try_from(signed) {
        Ok(number) => visitor.visit_u64(number),
        Err(_) => visitor.visit_i64(signed),
    }
}

/// The fields of a message.
struct Fields<'de> {
    message: &'static Message,
    cursor: Cursor<'de>,
    found: Option<(&'static Field, Found<'de>)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        while let Some(found) = self.cursor.next()? {
            if let Some(field) = self.message.field(found.number)
                && !field.is_absent(found.value)
            {
                self.found = Some((field, found));
                let name = BorrowedStrDeserializer::new(field.name);
                return seed.deserialize(name).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let (field, found) = self.found.take().ok_or_else(no_name)?;
        let cursor = &mut self.cursor;
        seed.deserialize(Content {
            field,
            found,
            cursor,
        })
    }
}

/// The value of a field, with the further elements if it is a list.
struct Content<'c, 'de> {
    field: &'static Field,
    found: Found<'de>,
    cursor: &'c mut Cursor<'de>,
}

impl<'de> Deserializer<'de> for Content<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (form, value) = (self.field.form, self.found.value);
        match self.field.often {
            Often::Once | Often::NotEmpty => Single { form, value }.deserialize_any(visitor),
            Often::List => visitor.visit_seq(Several {
                form,
                left: self.cursor.count_of(&self.found) + 1,
                first: Some(value),
                found: self.found,
                cursor: self.cursor,
                text: &[],
            }),
            Often::Map => visitor.visit_map(Several {
                form,
                left: self.cursor.count_of(&self.found) + 1,
                first: Some(value),
                found: self.found,
                cursor: self.cursor,
                text: &[],
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // Further elements are ignored one by one.
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// The elements of a list or the entries of a map, which follow each other in the bytes.
struct Several<'c, 'de> {
    form: Form,
    first: Option<Value<'de>>,
    found: Found<'de>,
    cursor: &'c mut Cursor<'de>,
    /// How many are still to come.
    left: usize,
    /// Of a map, the text whose name was told last.
    text: &'de [u8],
}

impl<'de> Several<'_, 'de> {
    fn next(&mut self) -> Result<Option<Value<'de>>, Error> {
        self.left = self.left.saturating_sub(1);
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.cursor.next_of(&self.found),
        }
    }
}

impl<'de> SeqAccess<'de> for Several<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let form = self.form;
        let next = self.next()?;
        next.map(|value| seed.deserialize(Single { form, value }))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Several<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(value) = self.next()? else {
            return Ok(None);
        };
        let [name, value] = entry(value)?;
        self.text = value;
        let name = BorrowedStrDeserializer::new(text(name)?);
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let (form, value) = (Form::Text, Value::Bytes(self.text));
        seed.deserialize(Single { form, value })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

fn no_name() -> Error {
    Error::custom("a value without a name")
}
