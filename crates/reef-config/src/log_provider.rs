//! Providers of access logs among the mesh's `extensionProviders`, which `Telemetry` objects name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::access_log::{LogValue, check_text};
use crate::mesh_config::MeshConfig;
use crate::problem::Problem;

/// Where a provider sends access logs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogProvider {
    /// A file.
    File {
        /// Its path.
        path: Arc<str>,
        /// How lines look; absent: Istio's text, or for the provider every mesh has, as the mesh
        /// says.
        format: Option<LogFormat>,
    },
    /// Envoy's access log service, in its form for HTTP.
    HttpService(LogService),
    /// Envoy's access log service, in its form for TCP.
    TcpService(LogService),
    /// An OpenTelemetry collector.
    OpenTelemetry {
        /// Where it is.
        service: LogService,
        /// How records look.
        format: Option<LogFormat>,
    },
}

/// A service that takes access logs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogService {
    /// Host, or `namespace/host`.
    pub service: Arc<str>,
    /// Its port.
    pub port: u16,
    /// Name of the log, if it is not the default.
    pub log_name: Option<Arc<str>>,
    /// Objects of the filter state that are logged.
    pub filter_state: Box<[Arc<str>]>,
    /// Headers of requests that are logged.
    pub request_headers: Box<[Arc<str>]>,
    /// Headers of responses that are logged.
    pub response_headers: Box<[Arc<str>]>,
    /// Trailers of responses that are logged.
    pub response_trailers: Box<[Arc<str>]>,
}

/// How a provider's log looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogFormat {
    /// A line of text.
    Text(Arc<str>),
    /// Fields; always a map.
    Fields(LogValue),
    /// A body of text and fields.
    Both(Arc<str>, LogValue),
}

/// The name of the provider every mesh has.
pub const BUILT_IN: &str = "envoy";

/// Kinds of providers that are no logs and have no effect of their own.
const NOT_LOGS: [&str; 2] = ["prometheus", "name"];

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields {
    path: String,
    log_format: Format,
    service: String,
    port: u16,
    log_name: String,
    filter_state_objects_to_log: Vec<Arc<str>>,
    additional_request_headers_to_log: Vec<Arc<str>>,
    additional_response_headers_to_log: Vec<Arc<str>>,
    additional_response_trailers_to_log: Vec<Arc<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Format {
    text: String,
    labels: Value,
}

/// The log providers of a mesh by name, and what of its providers has no effect.
#[must_use]
pub fn log_providers(config: &MeshConfig) -> (BTreeMap<Arc<str>, LogProvider>, Vec<Problem>) {
    let built_in = LogProvider::File {
        path: Arc::from("/dev/stdout"),
        format: None,
    };
    let mut found = BTreeMap::from([(Arc::from(BUILT_IN), built_in)]);
    let mut problems = Vec::new();
    for (index, value) in config.extension_providers.iter().enumerate() {
        let place = format!("extensionProviders[{index}]");
        let mut told = |field: String, reason: String| {
            problems.push(Problem::warning("not-applied", reason).field(field));
        };
        let Value::Object(fields) = value else {
            told(place, "a provider has a name and a kind".to_owned());
            continue;
        };
        let name = fields.get("name").and_then(Value::as_str).unwrap_or("");
        for (kind, value) in fields {
            if NOT_LOGS.contains(&kind.as_str()) {
                continue;
            }
            let field = format!("{place}.{kind}");
            match provider(kind, value) {
                None => told(field, "providers of this kind have no effect".to_owned()),
                Some(Err(reason)) => told(field, reason),
                Some(Ok(_)) if name.is_empty() => {
                    told(place.clone(), "a provider needs a name".to_owned());
                }
                Some(Ok(provider)) => {
                    found.insert(Arc::from(name), provider);
                }
            }
        }
    }
    (found, problems)
}

fn provider(kind: &str, value: &Value) -> Option<Result<LogProvider, String>> {
    let known = matches!(
        kind,
        "envoyFileAccessLog" | "envoyHttpAls" | "envoyTcpAls" | "envoyOtelAls"
    );
    if !known {
        return None;
    }
    let fields = match serde_json::from_value::<Fields>(value.clone()) {
        Ok(fields) => fields,
        Err(error) => return Some(Err(error.to_string())),
    };
    let format = match format(&fields.log_format) {
        Ok(format) => format,
        Err(reason) => return Some(Err(reason)),
    };
    if kind == "envoyFileAccessLog" {
        let path = match fields.path.as_str() {
            "" => "/dev/stdout",
            path => path,
        };
        return Some(Ok(LogProvider::File {
            path: Arc::from(path),
            format,
        }));
    }
    if fields.service.is_empty() || fields.port == 0 {
        return Some(Err("a service and its port are wanted".to_owned()));
    }
    let service = LogService {
        service: fields.service.into(),
        port: fields.port,
        log_name: (!fields.log_name.is_empty()).then(|| fields.log_name.into()),
        filter_state: fields.filter_state_objects_to_log.into(),
        request_headers: fields.additional_request_headers_to_log.into(),
        response_headers: fields.additional_response_headers_to_log.into(),
        response_trailers: fields.additional_response_trailers_to_log.into(),
    };
    Some(Ok(match kind {
        "envoyHttpAls" => LogProvider::HttpService(service),
        "envoyTcpAls" => LogProvider::TcpService(service),
        _ => LogProvider::OpenTelemetry { service, format },
    }))
}

fn format(format: &Format) -> Result<Option<LogFormat>, String> {
    check_text(&format.text).map_err(|reason| format!("logFormat.text: {reason}"))?;
    let text = (!format.text.is_empty()).then(|| Arc::from(format.text.as_str()));
    let fields = match &format.labels {
        Value::Null => None,
        labels if !labels.is_object() => return Err("logFormat.labels is a map".to_owned()),
        labels => Some(
            LogValue::parse(&labels.to_string())
                .map_err(|reason| format!("logFormat.labels: {reason}"))?,
        ),
    };
    Ok(match (text, fields) {
        (None, None) => None,
        (Some(text), None) => Some(LogFormat::Text(text)),
        (None, Some(fields)) => Some(LogFormat::Fields(fields)),
        (Some(text), Some(fields)) => Some(LogFormat::Both(text, fields)),
    })
}

#[cfg(test)]
mod tests;
