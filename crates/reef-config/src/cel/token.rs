//! The words of an expression in CEL.

use std::fmt;

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, or a word of the language.
    Name(String),
    /// A number, bytes, `true`, `false` or `null`.
    Literal,
    /// A text, without its quotes and escapes.
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Literal => f.write_str("a literal"),
            Self::Text(_) => f.write_str("a text"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
        }
    }
}

/// Longer ones first.
const SIGNS: [&str; 24] = [
    "||", "&&", "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

/// Splits an expression into words.
pub(super) fn read(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text;
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let Some(first) = rest.chars().next() else {
            return Ok(found);
        };
        let (token, after) = if first.is_ascii_digit() {
            number(rest)?
        } else if let Some((is_text, raw, quoted)) = quoted(rest) {
            let (inside, after) = end_of_text(quoted, raw)?;
            let token = if is_text {
                Token::Text(inside)
            } else {
                Token::Literal
            };
            (token, after)
        } else if first.is_ascii_alphabetic() || first == '_' {
            word(rest)
        } else {
            let sign = SIGNS.iter().find_map(|sign| {
                let after = rest.strip_prefix(sign)?;
                Some((Token::Sign(sign), after))
            });
            sign.ok_or_else(|| format!("`{first}` is no part of the language"))?
        };
        found.push(token);
        rest = after;
    }
}

fn split(text: &str, inside: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn word(text: &str) -> (Token, &str) {
    let (name, rest) = split(text, |c| c.is_ascii_alphanumeric() || c == '_');
    let token = match name {
        "true" | "false" | "null" => Token::Literal,
        _ => Token::Name(name.to_owned()),
    };
    (token, rest)
}

fn number(text: &str) -> Result<(Token, &str), String> {
    let (written, value, rest) = if let Some(hex) = text.strip_prefix("0x") {
        let (digits, rest) = split(hex, |c| c.is_ascii_hexdigit());
        (digits, u64::from_str_radix(digits, 16).ok(), rest)
    } else {
        let (digits, rest) = split(text, |c| c.is_ascii_digit());
        if let Some(rest) = fraction(rest) {
            return Ok((Token::Literal, rest));
        }
        (digits, digits.parse().ok(), rest)
    };
    let unsigned = rest.strip_prefix(['u', 'U']);
    let fits = value.is_some_and(|value| unsigned.is_some() || i64::try_from(value).is_ok());
    let rest = unsigned.unwrap_or(rest);
    if !fits || rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`{written}` is no number"));
    }
    Ok((Token::Literal, rest))
}

/// What follows the fraction and exponent of a number, if it has any.
fn fraction(text: &str) -> Option<&str> {
    let mut rest = text;
    let mut is_float = false;
    if let Some(after) = rest.strip_prefix('.') {
        let (digits, after) = split(after, |c| c.is_ascii_digit());
        if digits.is_empty() {
            return None;
        }
        (rest, is_float) = (after, true);
    }
    if let Some(after) = rest.strip_prefix(['e', 'E']) {
        let after = after.strip_prefix(['+', '-']).unwrap_or(after);
        let (digits, after) = split(after, |c| c.is_ascii_digit());
        if !digits.is_empty() {
            (rest, is_float) = (after, true);
        }
    }
    is_float.then_some(rest)
}

/// A text or bytes from the quotes on: whether it is text, and whether it is raw.
fn quoted(text: &str) -> Option<(bool, bool, &str)> {
    for (prefix, raw) in [
        ("", false),
        ("b", false),
        ("B", false),
        ("r", true),
        ("R", true),
        ("br", true),
        ("bR", true),
        ("Br", true),
        ("BR", true),
        ("rb", true),
        ("rB", true),
        ("Rb", true),
        ("RB", true),
    ] {
        if let Some(rest) = text.strip_prefix(prefix)
            && rest.starts_with(['\'', '"'])
        {
            return Some((!prefix.contains(['b', 'B']), raw, rest));
        }
    }
    None
}

/// A text from its quotes on: what is inside, and what follows.
fn end_of_text(text: &str, raw: bool) -> Result<(String, &str), String> {
    for quotes in ["'''", "\"\"\"", "'", "\""] {
        let Some(mut rest) = text.strip_prefix(quotes) else {
            continue;
        };
        let mut inside = String::new();
        loop {
            if let Some(after) = rest.strip_prefix(quotes) {
                return Ok((inside, after));
            }
            let mut letters = rest.chars();
            match letters.next() {
                None => return Err("a text does not end".to_owned()),
                Some('\n' | '\r') if quotes.len() == 1 => {
                    return Err("a text goes over the end of the line".to_owned());
                }
                // Which quotes end a raw text behind one, Envoy reads otherwise than the grammar.
                Some('\\') if raw && letters.as_str().starts_with(['\'', '"']) => {
                    return Err("a raw text has a backslash before a quote".to_owned());
                }
                Some('\\') if !raw => {
                    // Codes of letters need more care than a filter is worth.
                    let escape = letters.next().and_then(unescaped);
                    inside.push(escape.ok_or("a text has an escape that is not known")?);
                }
                Some(letter) => inside.push(letter),
            }
            rest = letters.as_str();
        }
    }
    Err("a text does not begin".to_owned())
}

/// The letter an escape stands for.
fn unescaped(letter: char) -> Option<char> {
    Some(match letter {
        '\\' | '\'' | '"' | '`' | '?' => letter,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => return None,
    })
}
