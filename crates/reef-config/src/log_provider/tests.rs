//! Which providers are read, and what is said of the others.

use std::sync::Arc;

use serde_json::json;

use super::{LogFormat, LogProvider, log_providers};
use crate::mesh_config::MeshConfig;

fn read(providers: serde_json::Value) -> (Vec<(String, LogProvider)>, Vec<String>) {
    let config = MeshConfig {
        extension_providers: serde_json::from_value(providers).expect("a list"),
        ..MeshConfig::default()
    };
    let (found, problems) = log_providers(&config);
    let found = found.into_iter().map(|(name, it)| (name.to_string(), it));
    let fields = problems.into_iter().map(|it| it.field);
    (found.collect(), fields.collect())
}

#[test]
fn every_mesh_has_one_provider() {
    let (found, told) = read(json!([]));
    let path = Arc::from("/dev/stdout");
    assert_eq!(
        found,
        [("envoy".to_owned(), LogProvider::File { path, format: None })]
    );
    assert!(told.is_empty());
}

#[test]
fn providers_are_read_by_kind_and_others_are_told() {
    let (found, told) = read(json!([
        {"name": "f", "envoyFileAccessLog": {"path": "/x", "logFormat": {"text": "%PROTOCOL%"}}},
        {"name": "j", "envoyFileAccessLog": {"logFormat": {"labels": {"a": "%PROTOCOL%"}}}},
        {"name": "h", "envoyHttpAls": {"service": "als.a.svc", "port": 9000, "logName": "n"}},
        {"name": "t", "envoyTcpAls": {"service": "als.a.svc"}},
        {"name": "o", "envoyOtelAls": {"service": "otel.a.svc", "port": 4317}},
        {"name": "p", "prometheus": {}},
        {"name": "z", "zipkin": {"service": "z"}},
        {"envoyFileAccessLog": {}},
        {"name": "b", "envoyFileAccessLog": {"logFormat": {"labels": [1]}}},
        7,
    ]));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["envoy", "f", "h", "j", "o"]);
    let format = |name: &str| match found.iter().find(|(known, _)| known == name) {
        Some((_, LogProvider::File { format, .. })) => format.clone(),
        _ => None,
    };
    assert_eq!(format("f"), Some(LogFormat::Text("%PROTOCOL%".into())));
    assert!(matches!(format("j"), Some(LogFormat::Fields(_))));
    let expected = [
        "[3].envoyTcpAls",
        "[6].zipkin",
        "[7]",
        "[8].envoyFileAccessLog",
        "[9]",
    ];
    let expected: Vec<String> = expected.map(|at| format!("extensionProviders{at}")).into();
    assert_eq!(told, expected);
}
