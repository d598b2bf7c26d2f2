//! Properties of names, durations and document splitting; schemas; rules of validation.

mod crds;
mod pathological;
mod prop_names;
mod prop_split;
mod validate;
