//! A message as the JSON the API server would have told, for the rare object that does not fit: what is said about it
//! is then the same in both. What it costs does not matter.

use serde::de::value::Error;
use serde_json::{Map, Value as Json};

use super::read::{entry, number_or_text, other_form, seconds};
use super::schema::{Form, Message, Often};
use super::wire::{Cursor, Value};

/// Renders what is read of a message.
///
/// # Errors
/// It is none.
pub(crate) fn json(message: &'static Message, bytes: &[u8]) -> Result<Json, Error> {
    let mut fields = Map::new();
    let mut cursor = Cursor::new(bytes);
    while let Some(found) = cursor.next()? {
        let Some(field) = message.field(found.number) else {
            continue;
        };
        if field.is_absent(found.value) {
            fields.remove(field.name);
            continue;
        }
        let slot = fields.entry(field.name).or_insert(Json::Null);
        match field.often {
            Often::Once | Often::NotEmpty => merge(slot, single(field.form, found.value)?),
            Often::List => {
                let element = single(field.form, found.value)?;
                match slot {
                    Json::Array(elements) => elements.push(element),
                    _ => *slot = Json::Array(vec![element]),
                }
            }
            Often::Map => {
                let [name, value] = entry(found.value)?;
                let entry = Map::from_iter([(lossy(name), Json::String(lossy(value)))]);
                merge(slot, Json::Object(entry));
            }
        }
    }
    Ok(Json::Object(fields))
}

/// A message that comes in parts is all of them together; of anything else the last counts.
fn merge(slot: &mut Json, value: Json) {
    match (slot, value) {
        (Json::Object(fields), Json::Object(more)) => {
            for (name, value) in more {
                match fields.get_mut(&name) {
                    Some(field) => merge(field, value),
                    None => {
                        fields.insert(name, value);
                    }
                }
            }
        }
        (Json::Array(elements), Json::Array(more)) => elements.extend(more),
        (slot, value) => *slot = value,
    }
}

fn single(form: Form, value: Value<'_>) -> Result<Json, Error> {
    Ok(match (form, value) {
        (Form::Text, Value::Bytes(bytes)) => Json::String(lossy(bytes)),
        (Form::Truth, Value::Number(number)) => Json::Bool(number != 0),
        (Form::Number, Value::Number(number)) => number.cast_signed().into(),
        (Form::Time, Value::Bytes(bytes)) => {
            seconds(bytes)?.map_or(Json::Null, |seconds| Json::String(time(seconds)))
        }
        (Form::NumberOrText, Value::Bytes(bytes)) => match number_or_text(bytes)? {
            Value::Bytes(text) => single(Form::Text, Value::Bytes(text))?,
            number => single(Form::Number, number)?,
        },
        (Form::Message(message), Value::Bytes(bytes)) => json(message, bytes)?,
        _ => return Err(other_form()),
    })
}

/// Go's JSON has a sign of its own in place of what is no text, too.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// RFC 3339 in UTC, for seconds since the epoch.
fn time(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years are counted from March, in eras of 400 years, so that the leap day is the last of its year.
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let day = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
