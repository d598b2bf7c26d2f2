//! The syntax of RE2, read once from left to right, and the least size of the compiled program.
//!
//! Envoy refuses a whole route configuration for one bad expression, so an object that has one is refused. The
//! regex crate's own parser is of no use here: it refuses what RE2 takes (`/v1/{id}`, `[[]`, `\Q…\E`) and takes
//! what RE2 refuses (`a**`, `[a&&b]`, repeats of more than 1,000).

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;

/// Longest expression in bytes, as in Istio.
pub(super) const LONGEST: usize = 1_024;

/// Largest program in instructions; what `reef bootstrap` sets as `re2.max_program_size.error_level`.
const LARGEST_PROGRAM: u64 = 32_768;

/// Most repeats, nested ones multiplied.
const MOST_REPEATS: u64 = 1_000;

/// Instructions of a class that covers non-ASCII characters, at the least: UTF-8 is matched byte by byte.
const WIDE_CLASS: u64 = 8;

/// Why an expression cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// It is no expression.
    Syntax {
        /// Byte where it stops to be one.
        at: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// It compiles to too large a program.
    Large(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { at, reason } => write!(f, "{reason}, at byte {at} (RE2 syntax)"),
            Self::Large(size) => write!(
                f,
                "it compiles to at least {size} instructions, and Envoy takes {LARGEST_PROGRAM}"
            ),
        }
    }
}

/// Checks an expression.
pub(super) fn check(pattern: &str) -> Result<(), Error> {
    let mut reader = Reader {
        chars: pattern.char_indices().peekable(),
        length: pattern.len(),
        pattern,
    };
    let size = reader.expression()?;
    if size > LARGEST_PROGRAM {
        Err(Error::Large(size))
    } else {
        Ok(())
    }
}

/// A piece that a repetition may follow.
#[derive(Debug, Clone, Copy)]
struct Atom {
    /// Instructions.
    size: u64,
    /// Product of the repeats in it, one inside the other.
    repeats: u64,
}

/// What is open: the expression or a group.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    /// Instructions of what is complete.
    size: u64,
    /// Largest product of repeats of what is complete.
    repeats: u64,
    /// What a repetition would be of.
    last: Option<Atom>,
    /// Whether the last thing read was a repetition.
    repeated: bool,
}

impl Frame {
    fn push(&mut self, atom: Atom) {
        self.settle();
        self.last = Some(atom);
    }

    fn settle(&mut self) {
        if let Some(atom) = self.last.take() {
            self.size = self.size.saturating_add(atom.size);
            self.repeats = self.repeats.max(atom.repeats);
        }
        self.repeated = false;
    }
}

#[derive(Debug)]
struct Reader<'p> {
    chars: Peekable<CharIndices<'p>>,
    length: usize,
    pattern: &'p str,
}

impl Reader<'_> {
    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.length, |(at, _)| *at)
    }

    fn fail<T>(&mut self, reason: &'static str) -> Result<T, Error> {
        let at = self.at();
        Err(Error::Syntax { at, reason })
    }

    fn next(&mut self) -> Option<char> {
        self.chars.next().map(|(_, c)| c)
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn expression(&mut self) -> Result<u64, Error> {
        let mut open: Vec<Frame> = Vec::new();
        let mut frame = Frame::default();
        while let Some(c) = self.peek() {
            match c {
                '(' => {
                    self.next();
                    if self.group()? {
                        open.push(std::mem::take(&mut frame));
                    }
                }
                ')' => {
                    let Some(mut outer) = open.pop() else {
                        return self.fail("a ) without (");
                    };
                    self.next();
                    frame.settle();
                    outer.push(Atom {
                        size: frame.size.saturating_add(2),
                        repeats: frame.repeats.max(1),
                    });
                    frame = outer;
                }
                '|' => {
                    self.next();
                    frame.settle();
                    frame.size = frame.size.saturating_add(1);
                }
                '*' | '+' | '?' => {
                    self.next();
                    self.repeat(&mut frame, None)?;
                }
                '{' => match self.counts()? {
                    Some(counts) => self.repeat(&mut frame, Some(counts))?,
                    None => {
                        self.next();
                        frame.push(literal(c));
                    }
                },
                '[' => {
                    self.next();
                    let size = self.class()?;
                    frame.push(Atom { size, repeats: 1 });
                }
                '\\' => {
                    self.next();
                    self.escape(&mut frame)?;
                }
                '.' => {
                    self.next();
                    frame.push(Atom {
                        size: WIDE_CLASS,
                        repeats: 1,
                    });
                }
                _ => {
                    self.next();
                    frame.push(literal(c));
                }
            }
        }
        if !open.is_empty() {
            return self.fail("a ( without )");
        }
        frame.settle();
        Ok(frame.size)
    }

    /// After a `(`: whether a group is open. Flags such as `(?i)` open none.
    fn group(&mut self) -> Result<bool, Error> {
        if !self.eat('?') {
            return Ok(true);
        }
        let named = self.eat('P');
        if self.eat('<') {
            let mut length = 0;
            loop {
                match self.next() {
                    Some('>') if length > 0 => return Ok(true),
                    Some(c) if c.is_ascii_alphanumeric() || c == '_' => length += 1,
                    _ => return self.fail("the name of a group must be letters, digits and _"),
                }
            }
        }
        if named {
            return self.fail("after (?P a name in < and > must follow");
        }
        let (mut some, mut negated) = (false, false);
        loop {
            match self.next() {
                Some('i' | 'm' | 's' | 'U') => some = true,
                Some('-') if !negated => (negated, some) = (true, false),
                Some(':') if some || !negated => return Ok(true),
                Some(')') if some || !negated => return Ok(false),
                _ => return self.fail("unknown flags; RE2 has no lookaround"),
            }
        }
    }

    /// `{n}`, `{n,}` or `{n,m}` if that is what comes; else nothing is read, and the `{` means itself.
    fn counts(&mut self) -> Result<Option<(u64, Option<u64>)>, Error> {
        let start = self.at();
        let rest = self.pattern.get(start + 1..).unwrap_or_default();
        let Some((inside, _)) = rest.split_once('}') else {
            return Ok(None);
        };
        let number = |text: &str| {
            let plain = text == "0" || !text.starts_with('0');
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            (plain && digits).then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        let counts = match inside.split_once(',') {
            None => number(inside).map(|n| (n, Some(n))),
            Some((least, "")) => number(least).map(|n| (n, None)),
            Some((least, most)) => number(least).zip(number(most)).map(|(n, m)| (n, Some(m))),
        };
        let Some((least, most)) = counts else {
            return Ok(None);
        };
        if least > MOST_REPEATS || most.is_some_and(|most| most > MOST_REPEATS || most < least) {
            return self.fail("the counts of a repetition must be at most 1000, the smaller first");
        }
        while self.next().is_some_and(|c| c != '}') {}
        Ok(Some((least, most)))
    }

    fn repeat(
        &mut self,
        frame: &mut Frame,
        counts: Option<(u64, Option<u64>)>,
    ) -> Result<(), Error> {
        self.eat('?');
        if frame.repeated {
            return self.fail("a repetition of a repetition");
        }
        let Some(atom) = frame.last.as_mut() else {
            return self.fail("a repetition of nothing");
        };
        frame.repeated = true;
        let Some((least, most)) = counts else {
            atom.size = atom.size.saturating_add(1);
            return Ok(());
        };
        atom.repeats = atom.repeats.saturating_mul(most.unwrap_or(least).max(1));
        atom.size = match most {
            Some(most) => atom.size.saturating_mul(most).saturating_add(most - least),
            None => atom.size.saturating_mul(least.max(1)).saturating_add(1),
        };
        if atom.repeats > MOST_REPEATS {
            return self.fail("nested repetitions must multiply to at most 1000");
        }
        Ok(())
    }

    fn escape(&mut self, frame: &mut Frame) -> Result<(), Error> {
        match self.peek() {
            Some('A' | 'b' | 'B' | 'z') => {
                self.next();
                frame.push(Atom {
                    size: 1,
                    repeats: 1,
                });
            }
            Some('Q') => {
                self.next();
                self.quoted(frame);
            }
            _ => {
                let size = match self.class_escape()? {
                    Some(size) => size,
                    None => {
                        self.character()?;
                        1
                    }
                };
                frame.push(Atom { size, repeats: 1 });
            }
        }
        Ok(())
    }

    /// Literal text to `\E` or the end.
    fn quoted(&mut self, frame: &mut Frame) {
        while let Some(c) = self.next() {
            if c == '\\' && self.eat('E') {
                return;
            }
            frame.push(literal(c));
        }
    }

    /// After a backslash: a class such as `\d` or `\pL`, if one comes; its size.
    fn class_escape(&mut self) -> Result<Option<u64>, Error> {
        match self.peek() {
            Some('d' | 's' | 'w') => {
                self.next();
                Ok(Some(1))
            }
            Some('D' | 'S' | 'W') => {
                self.next();
                Ok(Some(WIDE_CLASS))
            }
            Some('p' | 'P') => {
                self.next();
                self.unicode()?;
                Ok(Some(WIDE_CLASS))
            }
            _ => Ok(None),
        }
    }

    /// The name of a Unicode class after `\p`. Which scripts there are depends on the Unicode version, so any
    /// word will do; the general categories are known.
    fn unicode(&mut self) -> Result<(), Error> {
        match self.next() {
            Some('L' | 'M' | 'N' | 'P' | 'S' | 'Z' | 'C') => Ok(()),
            Some('{') => {
                self.eat('^');
                let mut length = 0;
                loop {
                    match self.next() {
                        Some('}') if length > 0 => return Ok(()),
                        Some(c) if c.is_ascii_alphanumeric() || c == '_' => length += 1,
                        _ => return self.fail("\\p{ must have a name and }"),
                    }
                }
            }
            _ => self.fail("\\p must have the letter of a category, or a name in { and }"),
        }
    }

    /// After a backslash: one escaped character.
    fn character(&mut self) -> Result<char, Error> {
        let Some(c) = self.next() else {
            return self.fail("a backslash at the end");
        };
        let octal = |c: &(usize, char)| matches!(c.1, '0'..='7');
        match c {
            '0' => {
                let second = self.chars.next_if(octal).is_some();
                if second {
                    self.chars.next_if(octal);
                }
                Ok('\0')
            }
            '1'..='7' if self.chars.peek().is_some_and(octal) => {
                self.next();
                self.chars.next_if(octal);
                Ok(c)
            }
            'x' => self.hexadecimal(),
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            _ => self.fail("an unknown escape; RE2 has no back references"),
        }
    }

    fn hexadecimal(&mut self) -> Result<char, Error> {
        let mut value = 0u32;
        let mut digits = 0;
        let braces = self.eat('{');
        loop {
            let digit = self.peek().and_then(|c| c.to_digit(16));
            match digit {
                Some(digit) if value <= 0x10_ffff => {
                    self.next();
                    value = value * 16 + digit;
                    digits += 1;
                    if !braces && digits == 2 {
                        break;
                    }
                }
                None if braces && digits > 0 && self.eat('}') => break,
                _ => return self.fail("\\x must have two digits, or some in { and }"),
            }
        }
        match char::from_u32(value) {
            Some(c) => Ok(c),
            None => self.fail("\\x must name a character"),
        }
    }

    /// After a `[`: the class and its `]`; its size.
    fn class(&mut self) -> Result<u64, Error> {
        let mut size = if self.eat('^') { WIDE_CLASS } else { 1 };
        let mut first = true;
        loop {
            match self.peek() {
                None => return self.fail("a [ without ]"),
                Some(']') if !first => {
                    self.next();
                    return Ok(size);
                }
                Some('[') if self.posix()? => {
                    first = false;
                    continue;
                }
                _ => {}
            }
            first = false;
            let Some(low) = self.class_item(&mut size)? else {
                continue;
            };
            let range = self.peek() == Some('-') && {
                let rest = self.pattern.get(self.at() + 1..).unwrap_or_default();
                !rest.is_empty() && !rest.starts_with(']')
            };
            if range {
                self.next();
                match self.class_item(&mut size)? {
                    Some(high) if high >= low => {}
                    _ => return self.fail("a range in [ ] must begin with its smaller end"),
                }
            }
        }
    }

    /// One character in a class; `None` if it was a class of its own, such as `\d`.
    fn class_item(&mut self, size: &mut u64) -> Result<Option<char>, Error> {
        let Some(c) = self.next() else {
            return self.fail("a [ without ]");
        };
        if c != '\\' {
            if !c.is_ascii() {
                *size = (*size).max(2);
            }
            return Ok(Some(c));
        }
        match self.class_escape()? {
            Some(wide) => {
                *size = (*size).max(wide);
                Ok(None)
            }
            None => self.character().map(Some),
        }
    }

    /// `[:alpha:]` inside a class, if that is what comes.
    fn posix(&mut self) -> Result<bool, Error> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        let rest = self.pattern.get(self.at()..).unwrap_or_default();
        let Some((name, _)) = rest
            .strip_prefix("[:")
            .and_then(|rest| rest.split_once(":]"))
        else {
            return Ok(false);
        };
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return self.fail("an unknown class in [: :]");
        }
        for _ in 0..name.len() + "[::]".len() {
            self.next();
        }
        Ok(true)
    }
}

fn literal(c: char) -> Atom {
    Atom {
        // A character has one to four bytes.
        size: u64::try_from(c.len_utf8()).unwrap_or(1),
        repeats: 1,
    }
}
