//! Which access logs the `Telemetry` objects of a workload ask for.

use std::sync::Arc;

use reef_config::names::Namespace;
use reef_config::{Change, ChangeBatch, Labels, Origin, parse};
use reef_mesh::{AccessLogRule, MeshIndex};

use crate::support::apply;

const PROVIDERS: &str = "
extensionProviders:
- {name: a, envoyFileAccessLog: {path: /a}}
- {name: b, envoyFileAccessLog: {path: /b}}
";

fn telemetry(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: 2026-01-0{}T00:00:00Z}}
spec: {{{spec}}}
",
        name.len()
    )
}

fn printed(rules: Option<&[AccessLogRule]>) -> String {
    let Some(rules) = rules else {
        return "mesh".to_owned();
    };
    let one = |rule: &AccessLogRule| match &rule.filter {
        None => rule.provider.to_string(),
        Some(filter) => format!("{} if {filter}", rule.provider),
    };
    rules.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Asserts what a workload `app: web` of namespace `ns` logs: outbound / inbound.
fn check(mesh: &str, objects: &[(&str, &str, &str)], expected: &str) {
    let mut index = MeshIndex::new("cluster.local");
    let origin = Origin {
        path: "mesh.yaml".into(),
        line: 1,
    };
    let text = format!("{mesh}{PROVIDERS}");
    let (config, _) = parse::mesh_config(&text, &origin).expect("a mesh configuration");
    index.apply(ChangeBatch {
        changes: vec![Change::MeshConfig(Arc::new(config))],
        synced: true,
    });
    for (namespace, name, spec) in objects {
        apply(&mut index, &telemetry(namespace, name, spec));
    }
    let labels: Labels = [("app", "web")].into_iter().collect();
    let rules = index
        .snapshot()
        .access_log_rules(&Namespace::from("ns"), &labels);
    let found = [rules.outbound, rules.inbound].map(|rules| printed(rules.as_deref()));
    assert_eq!(found.join(" / "), expected, "{objects:?}");
}

const WEB: &str = "selector: {matchLabels: {app: web}}, ";

#[test]
fn nothing_said_leaves_it_to_the_mesh() {
    check("", &[], "mesh / mesh");
    check(
        "",
        &[("ns", "x", "tracing: [{disableSpanReporting: true}]")],
        "mesh / mesh",
    );
    check(
        "",
        &[("ns", "x", "accessLogging: [{providers: [{name: none}]}]")],
        "mesh / mesh",
    );
    check(
        "",
        &[("other", "x", "accessLogging: [{providers: [{name: a}]}]")],
        "mesh / mesh",
    );
}

#[test]
fn providers_come_from_the_most_specific_level_that_names_any() {
    let root = (
        "istio-system",
        "x",
        "accessLogging: [{providers: [{name: b}, {name: a}]}]",
    );
    let own = ("ns", "x", "accessLogging: [{providers: [{name: envoy}]}]");
    let web = format!("{WEB}accessLogging: [{{providers: [{{name: a}}]}}]");
    check("", &[root], "a, b / a, b");
    check("", &[root, own], "envoy / envoy");
    check("", &[root, own, ("ns", "xx", &web)], "a / a");
    let silent = ("ns", "x", "accessLogging: [{filter: {expression: 'p'}}]");
    check("", &[root, silent], "a if p, b if p / a if p, b if p");
}

#[test]
fn the_oldest_general_object_and_all_that_select_count() {
    let a = ("ns", "xx", "accessLogging: [{providers: [{name: a}]}]");
    let b = ("ns", "x", "accessLogging: [{providers: [{name: b}]}]");
    check("", &[a, b], "b / b");
    let both = |name: &str| format!("{WEB}accessLogging: [{{providers: [{{name: {name}}}]}}]");
    let (a, b) = (both("a"), both("b"));
    check("", &[("ns", "xx", &a), ("ns", "x", &b)], "a / a");
    let other = "selector: {matchLabels: {app: db}}, accessLogging: [{providers: [{name: a}]}]";
    check("", &[("ns", "x", other)], "mesh / mesh");
}

#[test]
fn directions_are_told_apart_and_logs_turned_off() {
    let one_way = "accessLogging: [{match: {mode: CLIENT}, providers: [{name: a}]}]";
    check("", &[("ns", "x", one_way)], "a / mesh");
    let off = "accessLogging: [{providers: [{name: a}, {name: b}]}, {match: {mode: SERVER}, disabled: true}]";
    check("", &[("ns", "x", off)], "a, b / ");
    let again = "accessLogging: [{match: {mode: SERVER}, providers: [{name: a}], disabled: false}]";
    check(
        "",
        &[("istio-system", "x", off), ("ns", "x", again)],
        "a, b / a",
    );
}

#[test]
fn the_mesh_has_providers_of_its_own() {
    let mesh = "defaultProviders: {accessLogging: [b]}\n";
    check(mesh, &[], "b / b");
    check(
        mesh,
        &[("ns", "x", "accessLogging: [{disabled: true}]")],
        " / ",
    );
    check(
        mesh,
        &[("ns", "x", "accessLogging: [{providers: [{name: a}]}]")],
        "a / a",
    );
}
