//! Objects that controllers would write, or an Istio chart: CRDs, and statuses of Pods.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The Istio kinds: group, kind, plural, and versions, the first of which is stored.
const KINDS: [(&str, &str, &str, &[&str]); 14] = [
    (
        "networking",
        "VirtualService",
        "virtualservices",
        &["v1", "v1beta1", "v1alpha3"],
    ),
    (
        "networking",
        "DestinationRule",
        "destinationrules",
        &["v1", "v1beta1", "v1alpha3"],
    ),
    (
        "networking",
        "ServiceEntry",
        "serviceentries",
        &["v1", "v1beta1", "v1alpha3"],
    ),
    (
        "networking",
        "Sidecar",
        "sidecars",
        &["v1", "v1beta1", "v1alpha3"],
    ),
    (
        "networking",
        "Gateway",
        "gateways",
        &["v1", "v1beta1", "v1alpha3"],
    ),
    (
        "networking",
        "WorkloadEntry",
        "workloadentries",
        &["v1", "v1beta1", "v1alpha3"],
    ),
    (
        "networking",
        "WorkloadGroup",
        "workloadgroups",
        &["v1", "v1beta1", "v1alpha3"],
    ),
    ("networking", "EnvoyFilter", "envoyfilters", &["v1alpha3"]),
    ("networking", "ProxyConfig", "proxyconfigs", &["v1beta1"]),
    (
        "security",
        "AuthorizationPolicy",
        "authorizationpolicies",
        &["v1", "v1beta1"],
    ),
    (
        "security",
        "PeerAuthentication",
        "peerauthentications",
        &["v1", "v1beta1"],
    ),
    (
        "security",
        "RequestAuthentication",
        "requestauthentications",
        &["v1", "v1beta1"],
    ),
    ("telemetry", "Telemetry", "telemetries", &["v1", "v1alpha1"]),
    ("extensions", "WasmPlugin", "wasmplugins", &["v1alpha1"]),
];

/// The custom resource definitions to install: those of `deploy/crds`, else ones that know the names
/// of the kinds and nothing of their fields.
///
/// # Errors
/// When a file cannot be read.
pub fn crds() -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Ok(bare_crds());
    }
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let texts: Result<Vec<String>> = files.iter().map(read).collect();
    Ok(texts?.join("\n---\n"))
}

/// Definitions that let every field pass.
pub fn bare_crds() -> String {
    KINDS.map(bare_crd).join("\n---\n")
}

fn bare_crd((group, kind, plural, versions): (&str, &str, &str, &[&str])) -> String {
    let group = format!("{group}.istio.io");
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(place, name)| {
            json!({
                "name": name, "served": true, "storage": place == 0,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": open, "status": open},
                }},
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "versions": versions,
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural,
                "singular": kind.to_lowercase(),
            },
        },
    })
    .to_string()
}

/// Those objects of manifests that have a status only a kubelet would write: Pods. As JSON documents.
///
/// # Errors
/// When the manifests are not YAML.
pub fn statuses(manifests: &str) -> Result<String> {
    let found = read(manifests)?;
    let with = found.iter().filter_map(|object| {
        let status = object.get("status")?;
        let meta = &object["metadata"];
        (object["kind"] == "Pod").then(|| {
            json!({
                "apiVersion": "v1", "kind": "Pod", "status": status,
                "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            })
            .to_string()
        })
    });
    Ok(with.collect::<Vec<_>>().join("\n---\n"))
}

/// Reads manifests; empty documents are left out.
///
/// # Errors
/// When the text is not YAML.
pub fn read(manifests: &str) -> Result<Vec<Value>> {
    let mut found: Vec<Value> = serde_saphyr::from_multiple(manifests)
        .map_err(|error| anyhow::anyhow!("no YAML: {error}"))?;
    found.retain(Value::is_object);
    Ok(found)
}
