//! Where kube-apiserver, etcd, kubectl and helm are.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Finds one of the programs: `TEST_ASSET_…`, the folder `KUBEBUILDER_ASSETS`, or what
/// `cargo xtask kube` built before.
///
/// # Errors
/// When it is at none of these places.
pub fn tool(name: &str) -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let variable = format!("TEST_ASSET_{}", name.to_uppercase().replace('-', "_"));
    if let Some(path) = set(&variable) {
        return Ok(path.into());
    }
    let cache = match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => Some(PathBuf::from(cache)),
        (None, Some(home)) => Some(PathBuf::from(home).join(".cache")),
        (None, None) => None,
    };
    let built = cache.map(|cache| cache.join("reef/kube-1.36.3"));
    let given = set("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let mut paths = given.into_iter().chain(built).map(|dir| dir.join(name));
    paths.find(|path| path.is_file()).with_context(|| {
        format!("there is no {name}: `cargo xtask kube` builds it, {variable} may name one")
    })
}
