//! The one place that knows the YAML and JSON libraries: text → [`Node`], under the budget.

use super::node::Node;
use super::plain;
use super::{MAX_ALIASES, MAX_DEPTH, MAX_INPUT_BYTES, MAX_NODES};

/// Why a text is neither YAML nor JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Line within the text, counted from 1, if known.
    pub(super) line: Option<u32>,
    /// What is wrong, in one line.
    pub(super) reason: String,
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Node<'_>, SyntaxError> {
    if text.trim_start().starts_with('{') {
        // JSON is read as JSON: its escapes differ from YAML's. What is not JSON may still be YAML.
        if let Ok(node) = serde_json::from_str(text) {
            return Ok(node);
        }
    } else if let Some(node) = plain::read(text) {
        return Ok(node);
    }
    read_any(text)
}

/// Reads one document of any form.
pub(super) fn read_any(text: &str) -> Result<Node<'_>, SyntaxError> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let location = error
            .location()
            .and_then(|at| u32::try_from(at.line()).ok());
        SyntaxError {
            line: location.filter(|line| *line > 0),
            reason: one_line(&error.to_string()),
        }
    })
}

fn options() -> serde_saphyr::Options {
    let budget = serde_saphyr::budget! {
        max_reader_input_bytes: Some(MAX_INPUT_BYTES),
        max_documents: 1,
        max_nodes: MAX_NODES,
        max_events: MAX_NODES.saturating_mul(2),
        max_aliases: MAX_ALIASES,
        max_depth: MAX_DEPTH,
        max_total_scalar_bytes: MAX_INPUT_BYTES,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

/// The first line of a message; the others draw a snippet of the file, which may hold anything.
fn one_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
