//! Integration tests of scoping: YAML in, scopes out; each test claims one rule.
#![allow(missing_docs, reason = "test code")]

mod prop_incremental;
mod prop_widening;
mod rules;
mod support;
mod traffic;
