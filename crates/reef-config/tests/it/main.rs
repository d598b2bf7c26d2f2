//! Properties of names, durations and document splitting.

mod prop_names;
mod prop_split;
mod validate;
