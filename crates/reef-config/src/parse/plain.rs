//! A quick reader of the YAML that objects are usually written in.
//!
//! It knows block maps and lists, one-line scalars and one-line flow collections, in ASCII. For anything else, and for
//! anything wrong, it returns nothing, and the library reads the document: what is read here is read the same there,
//! only some ten times slower. Scalars that may be numbers or booleans are given to the library one by one.

use std::borrow::Cow;

use super::node::Node;
use super::{MAX_NODES, yaml};

/// Deepest nesting read here, well below the limit of the library.
const MAX_DEPTH: usize = 32;

/// Longest key; YAML ends at 1,024 characters.
const MAX_KEY: usize = 256;

/// Most entries of a map: each key is compared with all before it.
const MAX_ENTRIES: usize = 256;

/// Reads a document; `None` if it holds anything this reader does not know.
pub(super) fn read(text: &str) -> Option<Node<'_>> {
    let mut nodes = 0;
    for byte in text.bytes() {
        match byte {
            // One of these stands before every node but the first, so there are not more of them than this.
            b'\n' | b':' | b'-' | b',' | b'[' | b'{' => nodes += 1,
            b' '..=b'~' => {}
            _ => return None,
        }
    }
    if nodes > MAX_NODES {
        return None;
    }
    let mut lines: Vec<Line<'_>> = text.split('\n').filter_map(Line::of).collect();
    let first = lines.first()?.indent;
    let mut blocks = Blocks {
        lines: &mut lines,
        at: 0,
    };
    let root = blocks.block(first, 0)?;
    (blocks.at == blocks.lines.len()).then_some(root)
}

/// A line with content, without its indentation and what trails.
#[derive(Debug, Clone, Copy)]
struct Line<'t> {
    indent: usize,
    text: &'t str,
}

impl<'t> Line<'t> {
    fn of(row: &'t str) -> Option<Self> {
        let content = row.trim_start_matches(' ');
        let text = content.trim_end_matches(' ');
        (!text.is_empty() && !text.starts_with('#')).then_some(Self {
            indent: row.len() - content.len(),
            text,
        })
    }

    fn is_item(&self) -> bool {
        self.text == "-" || self.text.starts_with("- ")
    }
}

#[derive(Debug)]
struct Blocks<'t, 'l> {
    lines: &'l mut [Line<'t>],
    at: usize,
}

impl<'t> Blocks<'t, '_> {
    fn peek(&self) -> Option<Line<'t>> {
        self.lines.get(self.at).copied()
    }

    /// The collection that begins here, at this indentation.
    fn block(&mut self, indent: usize, depth: usize) -> Option<Node<'t>> {
        if depth > MAX_DEPTH {
            return None;
        }
        if self.peek()?.is_item() {
            self.list(indent, depth)
        } else {
            self.map(indent, depth)
        }
    }

    fn map(&mut self, indent: usize, depth: usize) -> Option<Node<'t>> {
        let mut entries: Vec<(Cow<'t, str>, Node<'t>)> = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent >= indent) {
            if line.indent > indent || line.is_item() {
                return None;
            }
            let (key, rest) = key(line.text)?;
            if is_known(&entries, key) {
                return None;
            }
            self.at += 1;
            let value = match self.peek() {
                _ if !rest.is_empty() => scalar(rest, depth + 1)?,
                Some(next) if next.indent > indent => self.block(next.indent, depth + 1)?,
                // A list may stand at the indentation of its key.
                Some(next) if next.indent == indent && next.is_item() => {
                    self.list(indent, depth + 1)?
                }
                _ => Node::Null,
            };
            entries.push((Cow::Borrowed(key), value));
        }
        Some(Node::Map(entries))
    }

    fn list(&mut self, indent: usize, depth: usize) -> Option<Node<'t>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut items = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent >= indent) {
            if line.indent > indent {
                return None;
            }
            if !line.is_item() {
                break;
            }
            let content = uncommented(line.text.strip_prefix('-')?.trim_start_matches(' '));
            let inner = Line {
                indent: indent + line.text.len() - content.len(),
                text: content,
            };
            let item = if content.is_empty() {
                self.at += 1;
                match self.peek() {
                    Some(next) if next.indent > indent => self.block(next.indent, depth + 1)?,
                    _ => Node::Null,
                }
            } else if inner.is_item() || key(content).is_some() {
                // A collection that begins on the line of its dash: as if it had a line of its own.
                *self.lines.get_mut(self.at)? = inner;
                self.block(inner.indent, depth + 1)?
            } else {
                self.at += 1;
                scalar(content, depth + 1)?
            };
            items.push(item);
        }
        Some(Node::List(items))
    }
}

/// The text, or nothing if it is a comment.
fn uncommented(text: &str) -> &str {
    if text.starts_with('#') { "" } else { text }
}

/// Splits `key: rest`; only keys that are texts beyond doubt.
fn key(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = text.split_once(':')?;
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
    let plain = key.len() <= MAX_KEY
        && key.bytes().next()?.is_ascii_alphabetic()
        && key.bytes().all(ok)
        && !is_word(key);
    plain.then(|| (key, uncommented(rest.trim_start_matches(' '))))
}

/// Whether a map has this key already, or is too large to say.
fn is_known(entries: &[(Cow<'_, str>, Node<'_>)], key: &str) -> bool {
    entries.len() >= MAX_ENTRIES || entries.iter().any(|(known, _)| known == key)
}

/// Whether a text may stand for something else than itself.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 11] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan",
    ];
    text.len() <= 5 && WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// One value on the rest of a line.
fn scalar(text: &str, depth: usize) -> Option<Node<'_>> {
    match text.bytes().next()? {
        b'"' | b'\'' => {
            let (content, rest) = quoted(text)?;
            is_end(rest).then_some(Node::Text(Cow::Borrowed(content)))
        }
        b'[' | b'{' => {
            let (node, rest) = flow(text, depth)?;
            is_end(rest).then_some(node)
        }
        _ => {
            let text = text
                .split_once(" #")
                .map_or(text, |(text, _)| text.trim_end_matches(' '));
            if text.ends_with(':') || text.contains(": ") {
                return None;
            }
            resolve(text)
        }
    }
}

/// Whether only a comment follows.
fn is_end(rest: &str) -> bool {
    rest.is_empty()
        || (rest.starts_with(' ') && uncommented(rest.trim_start_matches(' ')).is_empty())
}

/// Splits off a quoted text without escapes.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = if text.starts_with('"') { '"' } else { '\'' };
    let (content, rest) = text.strip_prefix(quote)?.split_once(quote)?;
    let escapes = if quote == '"' {
        content.contains('\\')
    } else {
        rest.starts_with('\'')
    };
    (!escapes).then_some((content, rest))
}

/// What a plain scalar stands for.
fn resolve(text: &str) -> Option<Node<'_>> {
    let bytes = text.as_bytes();
    let first = *bytes.first()?;
    let itself = || Some(Node::Text(Cow::Borrowed(text)));
    match first {
        b'a'..=b'z' | b'A'..=b'Z' => match text {
            "true" => Some(Node::Bool(true)),
            "false" => Some(Node::Bool(false)),
            "null" => Some(Node::Null),
            _ if is_word(text) => ask(text),
            _ => itself(),
        },
        b'/' => itself(),
        b'0'..=b'9' => {
            if bytes.iter().all(u8::is_ascii_digit)
                && bytes.len() < 19
                && (first != b'0' || bytes.len() == 1)
            {
                return Some(Node::Int(text.parse().ok()?));
            }
            // An address, a range of addresses, a version of three numbers.
            let dots = bytes.iter().filter(|byte| **byte == b'.').count();
            let address = bytes
                .iter()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'));
            if address && dots > 1 {
                itself()
            } else {
                ask(text)
            }
        }
        _ => None,
    }
}

/// Has the library say what a scalar stands for.
fn ask(text: &str) -> Option<Node<'_>> {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-' | b'_');
    if !text.bytes().all(ok) {
        return None;
    }
    yaml::read_any(text).ok()
}

/// Splits off a flow collection.
fn flow(text: &str, depth: usize) -> Option<(Node<'_>, &str)> {
    if depth > MAX_DEPTH {
        return None;
    }
    let skip = |text: &'_ str| -> usize { text.len() - text.trim_start_matches(' ').len() };
    let is_list = text.starts_with('[');
    let close = if is_list { ']' } else { '}' };
    let mut rest = text.get(1..)?;
    rest = rest.get(skip(rest)..)?;
    let (mut items, mut entries) = (Vec::new(), Vec::<(Cow<'_, str>, Node<'_>)>::new());
    if let Some(rest) = rest.strip_prefix(close) {
        let empty = if is_list {
            Node::List(items)
        } else {
            Node::Map(entries)
        };
        return Some((empty, rest));
    }
    loop {
        if is_list {
            let (item, after) = flow_value(rest, depth)?;
            items.push(item);
            rest = after;
        } else {
            let (key, after) = key(rest)?;
            if is_known(&entries, key) {
                return None;
            }
            let (value, after) = flow_value(after, depth)?;
            entries.push((Cow::Borrowed(key), value));
            rest = after;
        }
        rest = rest.get(skip(rest)..)?;
        if let Some(after) = rest.strip_prefix(close) {
            let node = if is_list {
                Node::List(items)
            } else {
                Node::Map(entries)
            };
            return Some((node, after));
        }
        rest = rest.strip_prefix(',')?;
        rest = rest.get(skip(rest)..)?;
    }
}

fn flow_value(text: &str, depth: usize) -> Option<(Node<'_>, &str)> {
    match text.bytes().next()? {
        b'"' | b'\'' => {
            let (content, rest) = quoted(text)?;
            Some((Node::Text(Cow::Borrowed(content)), rest))
        }
        b'[' | b'{' => flow(text, depth + 1),
        _ => {
            let ends = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '/' | '-' | '_');
            let (value, rest) = text.split_at(text.find(ends)?);
            Some((resolve(value)?, rest))
        }
    }
}

#[cfg(test)]
mod tests;
