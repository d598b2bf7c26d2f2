//! The answer for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::fields::FieldChange;
use super::{ClassChange, Difference, Fate, ResourceChange};

/// Fields shown of one resource; `-o json` has all.
const MAX_FIELDS: usize = 20;

/// Characters shown of one value.
const MAX_VALUE: usize = 160;

/// Proxies named of one class.
const MAX_PROXIES: usize = 8;

/// The whole answer.
pub(super) fn text(difference: &Difference) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail; neither can it below.
    let _ok = summary(&mut out, difference);
    for class in &difference.classes {
        let _ok = of_class(&mut out, class);
    }
    out
}

fn summary(out: &mut String, all: &Difference) -> std::fmt::Result {
    for (word, proxies) in [
        ("added", &all.added_proxies),
        ("removed", &all.removed_proxies),
    ] {
        if !proxies.is_empty() {
            writeln!(out, "proxies {word}: {}", some(proxies))?;
        }
    }
    if all.classes.is_empty() {
        return writeln!(out, "nothing changes for {} proxies", all.proxies);
    }
    writeln!(
        out,
        "{} of {} proxies change, in {} classes; {} bytes in all",
        all.proxies_changed,
        all.proxies,
        all.classes.len(),
        all.bytes
    )
}

fn some(proxies: &[String]) -> String {
    let shown = proxies.iter().take(MAX_PROXIES).cloned();
    let more = proxies.len().saturating_sub(MAX_PROXIES);
    let more = (more > 0).then(|| format!("{more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

fn of_class(out: &mut String, class: &ClassChange) -> std::fmt::Result {
    writeln!(
        out,
        "\n{} ({} proxies, {} bytes each)",
        some(&class.proxies),
        class.proxies.len(),
        class.bytes
    )?;
    for resource in &class.resources {
        of_resource(out, resource)?;
    }
    Ok(())
}

fn of_resource(out: &mut String, one: &ResourceChange) -> std::fmt::Result {
    let sign = match one.change {
        Fate::Added => '+',
        Fate::Changed => '~',
        Fate::Removed => '-',
    };
    writeln!(
        out,
        "  {sign} {} {} ({} bytes): {}",
        one.r#type, one.name, one.bytes, one.effect.meaning
    )?;
    for field in one.fields.iter().take(MAX_FIELDS) {
        of_field(out, field)?;
    }
    let more = one.fields.len().saturating_sub(MAX_FIELDS);
    if more > 0 {
        writeln!(out, "      and {more} fields more")?;
    }
    Ok(())
}

fn of_field(out: &mut String, field: &FieldChange) -> std::fmt::Result {
    let shown = |value: &Value| {
        let text = value.to_string();
        match text.char_indices().nth(MAX_VALUE) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    };
    let path = &field.path;
    match (&field.old, &field.new) {
        (Some(old), Some(new)) => {
            writeln!(out, "      {path}: {} -> {}", shown(old), shown(new))
        }
        (Some(old), None) => writeln!(out, "      {path}: {} goes", shown(old)),
        (_, new) => writeln!(
            out,
            "      {path}: {} comes",
            new.as_ref().map(shown).unwrap_or_default()
        ),
    }
}
