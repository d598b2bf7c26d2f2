//! The hosts of egress listeners: `namespace/host`, where a namespace may be `*`, `.`, `~`, or `~` and one of
//! these for what is left out.

use std::collections::{BTreeMap, BTreeSet};

use super::super::check::{Check, Shown};
use super::super::text;
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::Sidecar];
    Error FORM "sc-host-form" "A host of egress has the form namespace/host";
    Error NAMESPACE "sc-host-namespace" "The namespace of a host of egress is a namespace, `*`, `.` or `~`, or ~ and a namespace or `.`";
    Error SHORT "sc-host-short" "A host of egress is `*` or has a dot; there are no short names";
    Error NAME "sc-host-name" "A host of egress is a domain name that may begin with a wildcard";
    Error PARTIAL "sc-host-partial" "The wildcard of a host of egress is a whole label, `*.`";
    Warning TWICE "sc-host-twice" "A host of egress is not there twice, and not beside `*` of its namespace";
    Warning EVERYTHING "sc-host-everything" "`*/*` stands alone: it imports everything";
}

/// Checks the hosts of a listener in the namespace `own`.
pub(super) fn check(check: &mut Check<'_>, at: &Path<'_>, hosts: &[String], own: &str) {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (index, entry) in hosts.iter().enumerate() {
        let at = at.index(index);
        let Some((namespace, host)) = entry.split_once('/') else {
            let reason = format_args!("{} has no namespace", Shown(entry));
            check.tell(&FORM, &at, reason);
            continue;
        };
        if host.is_empty() || host.contains('/') {
            let reason = format_args!("{} is not a namespace and a host", Shown(entry));
            check.tell(&FORM, &at, reason);
            continue;
        }
        let place = match namespace.strip_prefix('~') {
            Some("") => "*",
            Some(rest) => rest,
            None => namespace,
        };
        if !matches!(place, "*" | ".") && !text::is_label(place) {
            let reason = format_args!("{} is not a namespace", Shown(namespace));
            check.tell(&NAMESPACE, &at, reason);
        }
        name(check, &at, host);
        let place = if namespace == "." { own } else { namespace };
        let others = seen.entry(place).or_default();
        let covered = if host == "*" {
            !others.is_empty()
        } else {
            others.contains("*") || others.contains(host)
        };
        if covered {
            let reason = format_args!(
                "{} is there already, or another host covers it",
                Shown(entry)
            );
            check.tell(&TWICE, &at, reason);
        }
        others.insert(host);
    }
    let excludes = |namespace: &str| namespace.starts_with('~');
    let all = seen.get("*").is_some_and(|hosts| hosts.contains("*"));
    if all
        && seen
            .keys()
            .any(|namespace| *namespace != "*" && !excludes(namespace))
    {
        check.tell(
            &EVERYTHING,
            at,
            "*/* imports everything, so the others say nothing",
        );
    }
}

fn name(check: &mut Check<'_>, at: &Path<'_>, host: &str) {
    if host == "*" {
        return;
    }
    if let Err(reason) = text::domain_pattern(host) {
        check.tell(&NAME, at, format_args!("{}: {reason}", Shown(host)));
    } else if !host.contains('.') {
        check.tell(&SHORT, at, format_args!("{host} has no dot"));
    } else if host.starts_with('*') && !host.starts_with("*.") {
        let reason = format_args!("{host}: a wildcard must be a whole label");
        check.tell(&PARTIAL, at, reason);
    }
}
