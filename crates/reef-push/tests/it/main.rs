//! Whole meshes through index and engine: bytes in the end depend on the objects, not on the way there.
#![allow(missing_docs, reason = "test code")]

mod prop_mesh;
mod universe;
