//! What a proxy holds, in the form of Envoy's own config dump.

use reef_server::provider::ResourceView;
use reef_xds::ResourceType;
use reef_xds::json::to_json;
use serde_json::{Value, json};

pub(crate) use super::provider::View;

/// The Envoy messages of a config dump, and the name in `types` that selects each.
const DUMPS: [(&str, ResourceType); 4] = [
    ("cds", ResourceType::Cluster),
    ("lds", ResourceType::Listener),
    ("rds", ResourceType::Route),
    ("eds", ResourceType::Endpoint),
];

/// The dump, of all types or of those with these names.
///
/// # Errors
/// If a name is none.
pub(crate) fn config_dump(view: &dyn ResourceView, types: &[String]) -> Result<Value, String> {
    let known: Vec<&str> = DUMPS.iter().map(|(name, _)| *name).collect();
    if let Some(wrong) = types.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("`{wrong}` is not one of {}", known.join(", ")));
    }
    let configs: Vec<Value> = DUMPS
        .iter()
        .filter(|(name, _)| types.is_empty() || types.iter().any(|wanted| wanted == name))
        .map(|(_, ty)| dump(view, *ty))
        .collect();
    Ok(json!({ "configs": configs }))
}

/// One member of Envoy's `ConfigDump`, all resources as dynamic ones.
fn dump(view: &dyn ResourceView, ty: ResourceType) -> Value {
    let mut entries = Vec::new();
    view.for_each(ty, &mut |resource| {
        let version = resource.version().to_string();
        let shown = to_json(&resource.any());
        entries.push(match ty {
            ResourceType::Cluster => json!({ "version_info": version, "cluster": shown }),
            ResourceType::Listener => json!({
                "name": &**resource.name(),
                "active_state": { "version_info": version, "listener": shown },
            }),
            ResourceType::Route => json!({ "version_info": version, "route_config": shown }),
            _ => json!({ "version_info": version, "endpoint_config": shown }),
        });
    });
    let (message, field) = match ty {
        ResourceType::Cluster => ("ClustersConfigDump", "dynamic_active_clusters"),
        ResourceType::Listener => ("ListenersConfigDump", "dynamic_listeners"),
        ResourceType::Route => ("RoutesConfigDump", "dynamic_route_configs"),
        _ => ("EndpointsConfigDump", "dynamic_endpoint_configs"),
    };
    json!({ "@type": format!("type.googleapis.com/envoy.admin.v3.{message}"), field: entries })
}
