//! Properties of names, durations and document splitting.

mod pathological;
mod prop_names;
mod prop_split;
mod validate;
