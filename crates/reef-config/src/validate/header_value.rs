//! The format strings of header values: literal text, `%%`, `%COMMAND%` and `%COMMAND(ARGUMENTS)%`.

/// Where a reader of a format string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Literal,
    Command,
    Arguments,
    Text,
    Item,
    AfterItem,
    AfterList,
    AfterArguments,
}

/// Longest value Envoy takes.
pub(super) const LONGEST: usize = 16_384;

/// Whether a byte may not be in a header's value.
pub(super) fn has_control(value: &str) -> bool {
    value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f)
}

/// Checks the form of a value.
pub(super) fn format(value: &str) -> Result<(), &'static str> {
    let mut state = State::Literal;
    let mut bytes = value.bytes().peekable();
    while let Some(byte) = bytes.next() {
        state = match (state, byte) {
            (State::Literal, b'%') => match bytes.peek() {
                None => return Err("a % at the end; write %% for the character"),
                Some(b'%') => {
                    bytes.next();
                    State::Literal
                }
                Some(_) => State::Command,
            },
            (State::Command | State::AfterArguments, b'%') => State::Literal,
            (State::Command, b'(') => State::Arguments,
            (State::Arguments, b'[') => State::Item,
            (State::Arguments | State::Item | State::AfterItem | State::AfterList, b' ')
            | (State::AfterArguments, b' ') => state,
            (State::Arguments, _) => State::Text,
            (State::Item, b'"') => State::Text,
            (State::Text, b'\\') => {
                if bytes.next().is_none() {
                    return Err("a backslash at the end");
                }
                State::Text
            }
            (State::Text | State::AfterList, b')') => State::AfterArguments,
            (State::Text, b'"') => State::AfterItem,
            (State::AfterItem, b',') => State::Item,
            (State::AfterItem, b']') => State::AfterList,
            (State::Literal | State::Command | State::Text, _) => state,
            (State::Item, _) => return Err("an item of a list of arguments must be in quotes"),
            (State::AfterItem, _) => return Err("after an item of arguments must follow , or ]"),
            (State::AfterList, _) => return Err("after a list of arguments must follow )"),
            (State::AfterArguments, _) => return Err("after arguments must follow %"),
        };
    }
    if state == State::Literal {
        Ok(())
    } else {
        Err("a command that does not end with %; write %% for the character")
    }
}
