//! `exportTo` of every kind that has it.

use super::check::{Check, Shown};
use super::text;
use crate::kind::Kind;
use crate::names::Namespace;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService, Kind::DestinationRule, Kind::ServiceEntry];
    Error EXPORT_NAME "export-name" "An entry of exportTo is `.`, `*` or a namespace; for a ServiceEntry it may be `~`";
    Error EXPORT_TWICE "export-twice" "exportTo names a namespace once; `.` is the object's own";
    Error EXPORT_PUBLIC "export-public-and-more" "An exportTo with `*` has no other entry";
}

/// Checks the entries of `exportTo`, which may be `~` where that is `nobody`'s.
pub(super) fn entries<T: AsRef<str>>(
    check: &mut Check<'_>,
    spec: &Path<'_>,
    own: &Namespace,
    entries: &[T],
    nobody: bool,
) {
    if entries.is_empty() {
        return;
    }
    let at = spec.key("exportTo");
    let meant = |entry: &str| match entry {
        "." => own.as_str().to_owned(),
        other => other.to_owned(),
    };
    let mut seen = std::collections::BTreeSet::new();
    for (index, entry) in entries.iter().map(AsRef::as_ref).enumerate() {
        let at = at.index(index);
        let fits = matches!(entry, "." | "*") || (nobody && entry == "~") || text::is_label(entry);
        if !fits {
            let reason = format_args!("{} is neither '.', '*' nor a namespace", Shown(entry));
            check.tell(&EXPORT_NAME, &at, reason);
        } else if !seen.insert(meant(entry)) {
            let reason = format_args!("{} is there already", Shown(entry));
            check.tell(&EXPORT_TWICE, &at, reason);
        }
    }
    let more = entries.len() > 1;
    if more && seen.contains("*") {
        check.tell(
            &EXPORT_PUBLIC,
            &at,
            "'*' is everybody, so nothing may stand beside it",
        );
    }
}
