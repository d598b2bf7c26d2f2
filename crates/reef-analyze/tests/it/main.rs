//! Each rule has two small meshes, one with its finding and one without; `docs/validation.md` lists the rules.
#![allow(missing_docs, reason = "test code")]

mod cases;
mod pathological;
