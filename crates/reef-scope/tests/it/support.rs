//! Meshes from compact descriptions.

use std::sync::Arc;

use reef_config::{Change, ChangeBatch, Hostname, Namespace, Origin, parse};
use reef_mesh::{ChangeReport, Locality, MeshIndex, MetaValue, ProxyNode, identify};
use reef_scope::{Scope, resolve, select};

pub(crate) fn load(index: &mut MeshIndex, documents: &[String]) -> ChangeReport {
    let origin = Origin {
        path: Arc::from("test.yaml"),
        line: 1,
    };
    let mut changes = Vec::new();
    for text in documents {
        let parsed = parse::object(text, &origin);
        assert!(!parsed.has_errors(), "{text}\n{parsed:?}");
        changes.extend(parsed.objects.into_iter().map(Arc::new).map(Change::Apply));
    }
    index
        .apply(ChangeBatch {
            changes,
            synced: true,
        })
        .map(|(_, report)| report)
        .unwrap_or_default()
}

pub(crate) fn mesh(documents: &[String]) -> MeshIndex {
    let mut index = MeshIndex::default();
    load(&mut index, documents);
    index
}

/// A Kubernetes service on port 80.
pub(crate) fn svc(namespace: &str, name: &str) -> String {
    svc_with(namespace, name, "", "[{name: http, port: 80}]")
}

pub(crate) fn svc_with(namespace: &str, name: &str, export: &str, ports: &str) -> String {
    let annotations = if export.is_empty() {
        String::new()
    } else {
        format!(", annotations: {{networking.istio.io/exportTo: '{export}'}}")
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}\
         {annotations}}}\nspec: {{clusterIP: 10.0.0.1, ports: {ports}}}\n"
    )
}

/// A rule of Istio's networking group.
pub(crate) fn rule(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec: {{{spec}}}\n"
    )
}

pub(crate) fn entry(namespace: &str, name: &str, host: &str) -> String {
    let spec = format!(
        "hosts: ['{host}'], resolution: DNS, ports: [{{number: 80, name: http, protocol: HTTP}}]"
    );
    rule("ServiceEntry", namespace, name, &spec)
}

/// The scope of a sidecar in `namespace` with label `app`.
pub(crate) fn scope(index: &MeshIndex, namespace: &str, app: &str) -> Arc<Scope> {
    let labels = MetaValue::Map([("app".to_owned(), MetaValue::from(app))].into());
    let id = format!("sidecar~10.9.9.9~x.{namespace}~{namespace}.svc.cluster.local");
    let metadata = [("LABELS", labels)];
    let node = ProxyNode::parse(&id, metadata, Locality::default()).expect("a valid node id");
    let identity = identify(index.snapshot(), &node);
    resolve(index.snapshot(), &select(index.snapshot(), &identity))
}

/// `namespace/name:ports` of the services of a scope, in order.
pub(crate) fn names(scope: &Scope) -> Vec<String> {
    scope
        .services
        .iter()
        .map(|scoped| {
            let ports: Vec<String> = scoped
                .service
                .ports
                .iter()
                .map(|port| port.number.to_string())
                .collect();
            let service = &scoped.service;
            format!(
                "{}/{}:{}",
                service.key.namespace,
                service.name,
                ports.join(",")
            )
        })
        .collect()
}

pub(crate) fn host(name: &str, namespace: &str) -> Hostname {
    Hostname::from(format!("{name}.{namespace}.svc.cluster.local"))
}

pub(crate) fn ns(name: &str) -> Namespace {
    Namespace::from(name)
}
