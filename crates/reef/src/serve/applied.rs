//! Kinds that are read and checked but that nothing is generated from yet: said once per kind, never silently dropped.

use std::collections::BTreeMap;

use reef_config::{Kind, Problem, Severity};

/// One problem per kind that is there and not applied, with the kind.
pub(crate) fn not_applied(objects: &BTreeMap<Kind, usize>) -> Vec<(Kind, Problem)> {
    let applied = reef_gen::applied_kinds();
    objects
        .iter()
        .filter(|(kind, count)| **count > 0 && !applied.contains(kind))
        .map(|(kind, count)| {
            let objects = if *count == 1 { "object" } else { "objects" };
            let reason = format!("{kind}: {count} {objects} accepted, not yet applied");
            (
                *kind,
                Problem::new(Severity::Info, "not-yet-applied", reason),
            )
        })
        .collect()
}
