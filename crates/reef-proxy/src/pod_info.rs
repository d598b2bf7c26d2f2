//! Labels and annotations of the pod, as the kubelet writes them into files of a `downwardAPI` volume.
//!
//! A line is `key="value"`, the value quoted as Go does it.

use std::collections::BTreeMap;
use std::str::Chars;

/// Reads such a file. A line that is none of this form is left out: the kubelet writes no such line.
pub fn strings(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<(String, String)> {
    let (key, quoted) = line.split_once('=')?;
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    Some((key.to_owned(), unquote(inner)?))
}

/// Go's escapes. Bytes that are no UTF-8 (`\xff`) cannot be in an annotation.
fn unquote(text: &str) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        value.push(match chars.next()? {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' => hex(&mut chars, 2)?,
            'u' => hex(&mut chars, 4)?,
            'U' => hex(&mut chars, 8)?,
            itself @ ('\\' | '"' | '\'') => itself,
            _ => return None,
        });
    }
    Some(value)
}

fn hex(chars: &mut Chars<'_>, digits: usize) -> Option<char> {
    let text: String = chars.by_ref().take(digits).collect();
    let number = u32::from_str_radix(&text, 16).ok()?;
    char::from_u32(number).filter(|_| text.len() == digits)
}

#[cfg(test)]
mod tests;
