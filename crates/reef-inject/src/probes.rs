//! Probes of the application, which the kubelet would send through the proxy.
//!
//! A probe by HTTP goes to a listener of the proxy's bootstrap, which asks the application and hands its
//! answer on. A probe that opens a connection or speaks gRPC would meet the proxy, not the application, so
//! its port is left out of interception. A probe of another host is nobody's business here.

use std::collections::BTreeSet;

use reef_proxy::bootstrap::AppProbe;
use serde_json::{Map, Value};

use crate::Refusal;
use crate::annotations::Wishes;
use crate::patch::Builder;
use crate::pod::{Container, Pod};

/// The field of a container and the last part of the path that takes its place, as in Istio.
const PROBES: [(&str, &str); 3] = [
    ("livenessProbe", "livez"),
    ("readinessProbe", "readyz"),
    ("startupProbe", "startupz"),
];

/// What probes need of the sidecar.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// Those that are forwarded.
    pub(crate) forwarded: Vec<AppProbe>,
    /// Ports that are left out of interception.
    pub(crate) excluded: BTreeSet<u16>,
}

/// Leads the probes of all containers around the proxy.
pub(crate) fn rewrite(
    pod: &Pod<'_>,
    wishes: &Wishes,
    patch: &mut Builder,
    warnings: &mut Vec<String>,
) -> Result<Probes, Refusal> {
    let mut probes = Probes::default();
    let Some(probe_port) = wishes.probe_port.filter(|_| wishes.intercept.is_some()) else {
        return Ok(probes);
    };
    for (list, index, container) in pod.all_containers() {
        for (field, word) in PROBES {
            let Some(Value::Object(probe)) = container.json.get(field) else {
                continue;
            };
            let place = format!("container {}: {field}", container.name);
            if let Some(Value::Object(get)) = probe.get("httpGet") {
                let at = format!("/app-health/{}/{word}", container.name);
                match forwarded(container, probe, get, at) {
                    Ok(None) => {}
                    Ok(Some((forwarded, query))) => {
                        let action = aimed_at(get, &forwarded.at, query, probe_port);
                        let index = index.to_string();
                        patch.replace(&["spec", list, &index, field, "httpGet"], action);
                        probes.forwarded.push(forwarded);
                    }
                    Err(reason) => warnings.push(format!("{place} is left alone: {reason}")),
                }
            }
            for action in ["tcpSocket", "grpc"] {
                let Some(Value::Object(socket)) = probe.get(action) else {
                    continue;
                };
                if names_a_host(socket) {
                    continue;
                }
                match socket.get("port").and_then(|port| container.port(port)) {
                    Some(port) => {
                        probes.excluded.insert(port);
                        warnings.push(format!(
                            "port {port} is not led through the proxy, because {place} is by {action}"
                        ));
                    }
                    None => warnings.push(format!("{place} is left alone: {NO_PORT}")),
                }
            }
        }
    }
    warnings.dedup();
    Ok(probes)
}

const NO_PORT: &str = "its port is not one of the container";

type Object = Map<String, Value>;

/// The probe as the proxy is to send it, and the query that stays with the kubelet; `None` if it is not for this pod.
fn forwarded<'a>(
    container: Container<'_>,
    probe: &Object,
    get: &'a Object,
    at: String,
) -> Result<Option<(AppProbe, Option<&'a str>)>, &'static str> {
    if names_a_host(get) {
        return Ok(None);
    }
    let port = get.get("port").and_then(|port| container.port(port));
    let port = port.ok_or(NO_PORT)?;
    let whole = get.get("path").and_then(Value::as_str).unwrap_or_default();
    if whole.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("its path has characters that no path can have");
    }
    let (path, query) = match whole.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (whole, None),
    };
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let headers = get.get("httpHeaders").and_then(Value::as_array);
    let names_authority = headers.into_iter().flatten().any(|header| {
        let name = header.get("name").and_then(Value::as_str);
        name.is_some_and(|name| name.eq_ignore_ascii_case("host"))
    });
    let timeout = probe.get("timeoutSeconds").and_then(Value::as_u64);
    let timeout = timeout.and_then(|seconds| u32::try_from(seconds).ok());
    let probe = AppProbe {
        at,
        port,
        path,
        tls: get.get("scheme").and_then(Value::as_str) == Some("HTTPS"),
        keeps_host: names_authority,
        timeout_seconds: timeout.filter(|seconds| *seconds > 0).unwrap_or(1),
    };
    Ok(Some((probe, query)))
}

/// The kubelet's action with another aim; headers and fields unknown here stay.
fn aimed_at(get: &Object, at: &str, query: Option<&str>, port: u16) -> Object {
    let mut action = get.clone();
    let path = match query {
        Some(query) => format!("{at}?{query}"),
        None => at.to_owned(),
    };
    action.insert("path".to_owned(), path.into());
    action.insert("port".to_owned(), port.into());
    action.remove("scheme");
    action
}

fn names_a_host(action: &Object) -> bool {
    let host = action.get("host").and_then(Value::as_str);
    host.is_some_and(|host| !host.is_empty())
}
