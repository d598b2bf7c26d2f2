//! Whether Envoy takes an expression in CEL.
//!
//! A filter or a log format Envoy refuses takes the whole listener with it, so what is not certain to be taken is
//! not sent. This knows the grammar, and the functions Envoy has when nothing else is configured:
//! no conversion to text, no loops (`all`, `exists`, `map`, `filter`).

mod token;

use crate::validate;
use token::Token;

/// Envoy's parser gives up at 32 levels, not all of which are visible here.
const DEEPEST: usize = 16;

/// Longest expression in bytes.
const LONGEST: usize = 16 * 1024;

/// Functions and how many arguments they take.
const FUNCTIONS: [(&str, usize); 9] = [
    ("size", 1),
    ("int", 1),
    ("uint", 1),
    ("double", 1),
    ("dyn", 1),
    ("type", 1),
    ("bytes", 1),
    ("duration", 1),
    ("timestamp", 1),
];

/// Functions of a value and how many arguments they take.
const METHODS: [(&str, usize); 15] = [
    ("size", 0),
    ("contains", 1),
    ("startsWith", 1),
    ("endsWith", 1),
    ("matches", 1),
    ("getFullYear", 0),
    ("getMonth", 0),
    ("getDate", 0),
    ("getDayOfMonth", 0),
    ("getDayOfWeek", 0),
    ("getDayOfYear", 0),
    ("getHours", 0),
    ("getMinutes", 0),
    ("getSeconds", 0),
    ("getMilliseconds", 0),
];

/// Words that are no names.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Checks an expression, in time linear in its length.
///
/// # Errors
/// Why Envoy would refuse it, or may.
pub fn check(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!("the expression has more than {LONGEST} bytes"));
    }
    let tokens = token::read(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        depth: 0,
    };
    parser.expression()?;
    match parser.tokens.first() {
        None => Ok(()),
        Some(token) => Err(format!("{token} is not expected")),
    }
}

/// What an operand is, as far as the grammar cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `a.b`: what `has` takes.
    Field,
    /// Anything else.
    Other,
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

type Outcome<T = ()> = Result<T, String>;

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// Takes a sign if it is next.
    fn takes(&mut self, sign: &str) -> bool {
        let is_next = self.peeks(sign);
        if is_next {
            self.next();
        }
        is_next
    }

    fn peeks(&self, sign: &str) -> bool {
        matches!(self.tokens.first(), Some(Token::Sign(next)) if *next == sign)
    }

    fn wants(&mut self, sign: &str) -> Outcome {
        if self.takes(sign) {
            return Ok(());
        }
        Err(match self.tokens.first() {
            None => format!("`{sign}` is missing at the end"),
            Some(token) => format!("{token} is there where `{sign}` is expected"),
        })
    }

    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("the expression is nested more than {DEEPEST} deep"));
        }
        let outcome = inside(self);
        self.depth -= 1;
        outcome
    }

    fn expression(&mut self) -> Outcome<Kind> {
        self.deeper(|this| {
            let kind = this.binary()?;
            if !this.takes("?") {
                return Ok(kind);
            }
            this.binary()?;
            this.wants(":")?;
            this.expression()?;
            Ok(Kind::Other)
        })
    }

    /// Operands with operators between them; which binds how does not matter here.
    fn binary(&mut self) -> Outcome<Kind> {
        const OPERATORS: [&str; 13] = [
            "||", "&&", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "%",
        ];
        let mut kind = self.unary()?;
        loop {
            let is_operator = match self.tokens.first() {
                Some(Token::Sign(sign)) => OPERATORS.contains(sign),
                Some(Token::Name(name)) => name == "in",
                _ => false,
            };
            if !is_operator {
                return Ok(kind);
            }
            self.next();
            self.unary()?;
            kind = Kind::Other;
        }
    }

    fn unary(&mut self) -> Outcome<Kind> {
        let mut signs = 0;
        let sign = if self.peeks("!") { "!" } else { "-" };
        while self.takes(sign) {
            signs += 1;
        }
        if signs > DEEPEST {
            return Err("too many signs in a row".to_owned());
        }
        let kind = self.member()?;
        Ok(if signs > 0 { Kind::Other } else { kind })
    }

    fn member(&mut self) -> Outcome<Kind> {
        let mut kind = self.primary()?;
        let mut steps = 0;
        loop {
            if self.takes(".") {
                let name = self.name()?;
                if self.takes("(") {
                    let pattern = self.text_before(")");
                    let arguments = self.list(")")?;
                    known(&METHODS, &name, arguments)?;
                    is_pattern(&name, pattern)?;
                    kind = Kind::Other;
                } else {
                    kind = Kind::Field;
                }
            } else if self.takes("[") {
                self.expression()?;
                self.wants("]")?;
                kind = Kind::Other;
            } else {
                return Ok(kind);
            }
            steps += 1;
            if steps > DEEPEST {
                return Err(format!("more than {DEEPEST} steps into a value"));
            }
        }
    }

    fn name(&mut self) -> Outcome<String> {
        match self.next() {
            Some(Token::Name(name)) if !RESERVED.contains(&name.as_str()) => Ok(name.clone()),
            Some(token) => Err(format!("{token} is no name")),
            None => Err("a name is missing at the end".to_owned()),
        }
    }

    fn primary(&mut self) -> Outcome<Kind> {
        if self.takes("(") {
            let kind = self.expression()?;
            self.wants(")")?;
            return Ok(kind);
        }
        if self.takes("[") {
            self.list("]")?;
            return Ok(Kind::Other);
        }
        if self.takes("{") {
            return self.map();
        }
        self.takes(".");
        match self.tokens.first() {
            Some(Token::Literal | Token::Text(_)) => {
                self.next();
                Ok(Kind::Other)
            }
            Some(Token::Name(_)) => {
                let name = self.name()?;
                if !self.takes("(") {
                    return Ok(Kind::Other);
                }
                if name == "has" {
                    let kind = self.expression()?;
                    self.wants(")")?;
                    return if kind == Kind::Field {
                        Ok(Kind::Other)
                    } else {
                        Err("`has` takes a field, such as `has(request.headers.x)`".to_owned())
                    };
                }
                // In `matches(text, pattern)` the pattern may be anything but this must be sure.
                if name == "matches" {
                    return Err("write `text.matches(pattern)`".to_owned());
                }
                let arguments = self.list(")")?;
                known(&FUNCTIONS, &name, arguments)?;
                Ok(Kind::Other)
            }
            Some(token) => Err(format!("{token} is not expected")),
            None => Err("it ends where a value is expected".to_owned()),
        }
    }

    /// The text that is all there is before a bracket.
    fn text_before(&self, end: &str) -> Option<String> {
        match self.tokens {
            [Token::Text(text), Token::Sign(sign), ..] if *sign == end => Some(text.clone()),
            _ => None,
        }
    }

    /// Expressions up to a bracket; returns how many.
    fn list(&mut self, end: &str) -> Outcome<usize> {
        let mut count = 0;
        loop {
            if self.takes(end) {
                return Ok(count);
            }
            self.expression()?;
            count += 1;
            // A comma at the end is fine in a list, not in a call.
            if !self.takes(",") {
                self.wants(end)?;
                return Ok(count);
            }
            if end == ")" && self.peeks(end) {
                return Err("`)` is there where a value is expected".to_owned());
            }
        }
    }

    fn map(&mut self) -> Outcome<Kind> {
        loop {
            if self.takes("}") {
                return Ok(Kind::Other);
            }
            self.expression()?;
            self.wants(":")?;
            self.expression()?;
            if !self.takes(",") {
                self.wants("}")?;
                return Ok(Kind::Other);
            }
        }
    }
}

fn known(functions: &[(&str, usize)], name: &str, arguments: usize) -> Outcome {
    match functions.iter().find(|(known, _)| *known == name) {
        None => Err(format!("Envoy has no function `{name}` here")),
        Some((_, wanted)) if *wanted != arguments => Err(format!(
            "`{name}` takes {wanted} arguments, not {arguments}"
        )),
        Some(_) => Ok(()),
    }
}

/// Envoy reads a pattern when it reads the expression.
fn is_pattern(name: &str, text: Option<String>) -> Outcome {
    match text {
        _ if name != "matches" => Ok(()),
        Some(pattern) => validate::regex(&pattern),
        None => Err("`matches` takes a text".to_owned()),
    }
}

#[cfg(test)]
mod tests;
