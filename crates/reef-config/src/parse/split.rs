//! Splits a file into documents by its text alone.

use super::{MAX_DOCUMENTS, MAX_INPUT_BYTES, code};
use crate::problem::Problem;

/// One document of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'t> {
    /// Its text, without the separator line.
    pub text: &'t str,
    /// The line of the file it begins on, counted from 1.
    pub line: u32,
}

/// Splits a YAML or JSON file into documents; those with nothing but blanks and comments are left out.
///
/// Only a `---` or `...` in the first column separates, as in YAML; block scalars are indented and quoted
/// scalars must not hold such a line. JSON values may also just follow one another. The cost is one pass.
///
/// # Errors
/// The input is larger than [`MAX_INPUT_BYTES`], is not UTF-8, holds a NUL, or has more than
/// [`MAX_DOCUMENTS`] documents.
pub fn documents(bytes: &[u8]) -> Result<Vec<Document<'_>>, Problem> {
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(Problem::error(
            code::INPUT,
            format!(
                "{} bytes are more than the limit of {MAX_INPUT_BYTES}",
                bytes.len()
            ),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = line_at(bytes, error.valid_up_to());
        Problem::error(code::INPUT, format!("line {line} is not UTF-8"))
    })?;
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        let line = line_at(bytes, at);
        return Err(Problem::error(
            code::INPUT,
            format!("line {line} holds a NUL byte"),
        ));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);

    let mut found = Vec::new();
    let mut start = 0;
    let mut start_line = 1u32;
    let mut at = 0;
    for (line, row) in (1u32..).zip(text.split_inclusive('\n')) {
        let next = at + row.len();
        if let Some(rest) = separator(row) {
            push(
                &mut found,
                text.get(start..at).unwrap_or_default(),
                start_line,
            )?;
            // Content on the separator's own line (`--- {a: b}`) belongs to the document that begins there.
            (start, start_line) = if rest.is_empty() {
                (next, line + 1)
            } else {
                (next - rest.len(), line)
            };
        }
        at = next;
    }
    push(
        &mut found,
        text.get(start..).unwrap_or_default(),
        start_line,
    )?;
    Ok(found)
}

/// The rest of a separator line, empty if there is nothing but a comment; `None` for any other line.
fn separator(row: &str) -> Option<&str> {
    let rest = row
        .strip_prefix("---")
        .or_else(|| row.strip_prefix("..."))?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t', '\r', '\n']) {
        return None;
    }
    let content = rest.trim();
    Some(if content.is_empty() || content.starts_with('#') {
        ""
    } else {
        rest
    })
}

fn push<'t>(found: &mut Vec<Document<'t>>, text: &'t str, line: u32) -> Result<(), Problem> {
    let blank = |row: &str| {
        let row = row.trim();
        row.is_empty() || row.starts_with('#') || row.starts_with('%')
    };
    // The document begins at its first line with content, so that a comment above it costs no parse.
    let mut skipped = 0;
    let mut line = line;
    for row in text.split_inclusive('\n') {
        if !blank(row) {
            break;
        }
        skipped += row.len();
        line += 1;
    }
    let text = text.get(skipped..).unwrap_or_default();
    if text.is_empty() {
        return Ok(());
    }
    if text.trim_start().starts_with('{') {
        split_json(found, text, line);
    } else {
        found.push(Document { text, line });
    }
    if found.len() > MAX_DOCUMENTS {
        return Err(Problem::error(
            code::INPUT,
            format!("more than {MAX_DOCUMENTS} documents in one file"),
        ));
    }
    Ok(())
}

/// Splits JSON values that follow one another; anything unbalanced is left whole for the parser to refuse.
fn split_json<'t>(found: &mut Vec<Document<'t>>, text: &'t str, first_line: u32) {
    let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
    let (mut start, mut start_line, mut line) = (None, first_line, first_line);
    let mut values = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'\n' {
            line += 1;
        }
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'{' | b'[' => {
                if depth == 0 {
                    (start, start_line) = (Some(at), line);
                }
                depth += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0
                    && let Some(from) = start.take()
                {
                    values.push(Document {
                        text: text.get(from..=at).unwrap_or_default(),
                        line: start_line,
                    });
                }
            }
            b'"' if depth > 0 => in_string = true,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if depth == 0 => {
                // Not JSON values only: one YAML document.
                found.push(Document {
                    text,
                    line: first_line,
                });
                return;
            }
            _ => {}
        }
    }
    if depth > 0 {
        found.push(Document {
            text,
            line: first_line,
        });
    } else {
        found.append(&mut values);
    }
}

fn line_at(bytes: &[u8], at: usize) -> usize {
    bytes.iter().take(at).filter(|b| **b == b'\n').count() + 1
}
