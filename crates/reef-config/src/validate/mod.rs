//! Validation of one object, by the rules istiod's webhook has and a few that keep Envoy from refusing a
//! configuration.
//!
//! ```text
//! Object ──object──► [Problem]   an error refuses the object, so that its last good version stays
//! ```
//!
//! A [`Rule`] says what must hold; functions beside it check it and tell a [`Problem`] that names the rule. An
//! object istiod accepts is refused only where Envoy would refuse what is made from it. Everything here is pure,
//! linear in the object, and allocates nothing for an object without findings, lists of more than a few
//! elements apart. What needs a second object to be seen is not here: see `reef-analyze`.
//!
//! `docs/validation.md` lists all rules; `tests/validate/` has two documents for each: one that breaks it and
//! nothing else, one that just passes.

mod check;
mod export;
mod header_value;
mod re2;
mod regex_rules;
mod rule;
mod text;
mod virtual_service;

pub use rule::Rule;

use crate::object::{Object, Spec};
use crate::problem::Problem;
use check::Check;

/// Checks an object; adds what is wrong to `findings`.
pub fn object(object: &Object, findings: &mut Vec<Problem>) {
    let mut check = Check::new(findings);
    if let Spec::VirtualService(spec) = &object.spec {
        virtual_service::check(object, spec, &mut check);
    }
}

/// Every rule, by kind in the order of the files.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    virtual_service::rules()
        .into_iter()
        .chain([regex_rules::RULES, export::RULES])
        .flatten()
        .copied()
}

/// Says why Envoy's regular expressions (RE2) would not take a pattern.
///
/// # Errors
/// The reason, for people.
pub fn regex(pattern: &str) -> Result<(), String> {
    re2::check(pattern).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
