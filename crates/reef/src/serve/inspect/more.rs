//! The lesser pages of istiod: kinds, service targets, policies, contradictions, resources held. Pure functions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::{Kind, Object, Problem};
use reef_mesh::{MeshSnapshot, identify};
use reef_xds::{ResourceType, Version};
use serde_json::{Value, json};

use crate::serve::metrics::TOLD;
use crate::serve::registry::Stream;

/// `/debug/resourcesz`: the kinds that are read.
pub(super) fn resourcesz() -> Value {
    Kind::ALL
        .iter()
        .map(|kind| json!({ "Group": kind.group(), "Kind": kind.as_str() }))
        .collect()
}

/// `/debug/instancesz`: the service ports each proxy serves, by connection.
pub(super) fn instancesz(snapshot: &MeshSnapshot, streams: &[Arc<Stream>]) -> Value {
    let proxies: BTreeMap<String, Vec<Value>> = streams
        .iter()
        .map(|stream| {
            let identity = identify(snapshot, &stream.node);
            let targets = snapshot.service_targets(&identity);
            let shown = targets.iter().map(|target| {
                let port = target.service_port();
                json!({
                    "Service": {
                        "hostname": target.service.key.hostname.as_str(),
                        "namespace": target.service.key.namespace.as_str(),
                    },
                    "Port": {
                        "name": &*port.name,
                        "port": port.number,
                        "protocol": super::istiod::protocol(port.protocol),
                        "TargetPort": target.target_port,
                    },
                })
            });
            (super::istiod::connection_id(stream), shown.collect())
        })
        .collect();
    json!(proxies)
}

/// `/debug/authorizationz`: the policies by namespace.
pub(super) fn authorizationz(objects: &[Arc<Object>], root_namespace: &str) -> Value {
    json!({ "authorization_policies": {
        "namespace_to_policies": by_namespace(objects, Kind::AuthorizationPolicy),
        "root_namespace": root_namespace,
    } })
}

/// `/debug/telemetryz`: the objects by namespace.
pub(super) fn telemetryz(objects: &[Arc<Object>]) -> Value {
    json!({ "namespaceToTelemetries": by_namespace(objects, Kind::Telemetry) })
}

fn by_namespace(objects: &[Arc<Object>], kind: Kind) -> BTreeMap<&str, Vec<Value>> {
    let mut found: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for object in objects.iter().filter(|object| object.key.kind == kind) {
        let namespace = object.key.namespace.as_str();
        found.entry(namespace).or_default().push(object.to_json());
    }
    found
}

/// `/debug/push_status`: what is counted as a contradiction, by metric and object.
pub(super) fn push_status(problems: &[Problem]) -> Value {
    let mut metrics: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    for problem in problems {
        let Some((metric, ..)) = TOLD
            .iter()
            .find(|(_, codes, _)| codes.contains(&problem.code))
        else {
            continue;
        };
        let object = problem.object.as_ref().map(ToString::to_string);
        metrics.entry(metric).or_default().insert(
            object.unwrap_or_default(),
            json!({ "message": problem.reason }),
        );
    }
    json!(metrics)
}

/// `/debug/cachez`: names of what connected proxies hold, by type.
pub(super) fn cachez(streams: &[Arc<Stream>]) -> Value {
    let names: BTreeMap<&str, BTreeSet<Arc<str>>> = held(streams)
        .into_iter()
        .map(|(ty, held)| {
            (
                ty.type_url(),
                held.into_keys().map(|(name, _)| name).collect(),
            )
        })
        .collect();
    let shown: BTreeMap<&str, Vec<&str>> = names
        .iter()
        .map(|(ty, names)| (*ty, names.iter().map(|name| &**name).collect()))
        .collect();
    json!(shown)
}

/// `/debug/cachez?sizes`: bytes of what connected proxies hold, each resource once.
pub(super) fn cache_sizes(streams: &[Arc<Stream>]) -> Value {
    let mut sizes: BTreeMap<&str, usize> = held(streams)
        .into_iter()
        .map(|(ty, held)| (ty.type_url(), held.values().sum()))
        .collect();
    sizes.insert("total", sizes.values().sum());
    let shown: BTreeMap<&str, String> = sizes
        .into_iter()
        .map(|(ty, bytes)| (ty, human(bytes)))
        .collect();
    json!(shown)
}

/// Name and content of a resource, with its size.
type Held = BTreeMap<(Arc<str>, Version), usize>;

/// What the views of all classes hold.
fn held(streams: &[Arc<Stream>]) -> BTreeMap<ResourceType, Held> {
    let mut seen = BTreeSet::new();
    let mut types: BTreeMap<ResourceType, Held> = BTreeMap::new();
    for stream in streams {
        let view = Arc::clone(&stream.view.borrow());
        if !seen.insert((view.lineage(), view.generation())) {
            continue;
        }
        for ty in [
            ResourceType::Cluster,
            ResourceType::Endpoint,
            ResourceType::Listener,
            ResourceType::Route,
        ] {
            let held = types.entry(ty).or_default();
            view.for_each(ty, &mut |resource| {
                let key = (Arc::clone(resource.name()), resource.version());
                held.insert(key, resource.wire_any_len());
            });
        }
    }
    types
}

/// Bytes as people say them, with a unit in powers of 1,024.
fn human(bytes: usize) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let mut whole = bytes;
    let mut unit = 0;
    while whole >= 10 * 1024 && unit + 1 < units.len() {
        whole /= 1024;
        unit += 1;
    }
    format!("{whole}{}", units.get(unit).unwrap_or(&"B"))
}
