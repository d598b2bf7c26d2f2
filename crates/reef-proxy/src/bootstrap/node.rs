//! The `node` of a bootstrap: who the proxy says it is, in Istio's form.

use std::net::IpAddr;

use reef_config::{parse, proxy_config};
use serde_json::{Map, Value, json};

use super::{BootstrapOptions, WorkloadCert};

/// Builds the node message.
pub(super) fn node(options: &BootstrapOptions, ip: IpAddr) -> Value {
    let (pod, namespace) = (&options.pod, &options.namespace);
    let domain = &options.cluster_domain;
    let mut node = json!({
        "id": format!("sidecar~{ip}~{pod}.{namespace}~{namespace}.svc.{domain}"),
        "cluster": service_cluster(options),
        "metadata": metadata(options),
    });
    let locality: Map<String, Value> = [
        ("region", &options.locality.region),
        ("zone", &options.locality.zone),
        ("sub_zone", &options.locality.sub_zone),
    ]
    .into_iter()
    .filter(|(_, part)| !part.is_empty())
    .map(|(name, part)| (name.to_owned(), Value::from(part.as_str())))
    .collect();
    if !locality.is_empty() {
        node["locality"] = Value::Object(locality);
    }
    node
}

/// Istio's form: `<app label>.<namespace>`, else the workload, else `istio-proxy`.
fn service_cluster(options: &BootstrapOptions) -> String {
    let name = options
        .labels
        .get("app")
        .filter(|app| !app.is_empty())
        .or(options.workload_name.as_ref());
    match name {
        Some(name) => format!("{name}.{}", options.namespace),
        None => "istio-proxy".to_owned(),
    }
}

/// What the pod's own proxy settings add to the metadata, such as `ISTIO_META_DNS_CAPTURE`.
fn asked_for(options: &BootstrapOptions) -> impl Iterator<Item = (String, String)> {
    let text = options.annotations.get(proxy_config::ANNOTATION);
    let config = text.and_then(|text| parse::proxy_config(text).ok());
    let variables = config.map(|(config, _)| config.proxy_metadata);
    let variables = variables.unwrap_or_default().into_iter();
    variables
        .filter_map(|(name, value)| Some((name.strip_prefix("ISTIO_META_")?.to_owned(), value)))
}

/// Booleans and lists are strings there, as Istio writes them.
fn metadata(options: &BootstrapOptions) -> Value {
    let ips: Vec<String> = options.ips.iter().map(IpAddr::to_string).collect();
    let cert = match options.workload_cert {
        WorkloadCert::None => "none",
        WorkloadCert::SdsGrpc { .. } => "sds-grpc",
    };
    let mut metadata = json!({
        "ANNOTATIONS": options.annotations,
        "CLUSTER_ID": options.cluster_id,
        "ENVOY_PROMETHEUS_PORT": options.prometheus_port,
        "ENVOY_STATUS_PORT": options.status_port,
        "INSTANCE_IPS": ips.join(","),
        "INTERCEPTION_MODE": options.interception.as_str(),
        "LABELS": options.labels,
        "MESH_ID": options.mesh_id,
        "NAME": options.pod,
        "NAMESPACE": options.namespace,
        "SERVICE_ACCOUNT": options.service_account,
        "WORKLOAD_CERT": cert,
    });
    let optional = [
        ("NETWORK", &options.network),
        ("NODE_NAME", &options.node_name),
        ("WORKLOAD_NAME", &options.workload_name),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            metadata[key] = Value::from(value.as_str());
        }
    }
    if !options.pod_ports.is_empty() {
        metadata["POD_PORTS"] = Value::from(json!(options.pod_ports).to_string());
    }
    for (key, value) in asked_for(options) {
        if metadata.get(&key).is_none() {
            metadata[key] = Value::from(value);
        }
    }
    metadata
}
