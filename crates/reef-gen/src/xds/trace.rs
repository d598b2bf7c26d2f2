//! Tracing of HTTP requests.

use std::sync::{Arc, LazyLock};

use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing;
use xds_api::envoy::r#type::metadata::v3::{
    MetadataKey, MetadataKind,
    metadata_key::{PathSegment, path_segment::Segment},
    metadata_kind::{Kind, Request},
};
use xds_api::envoy::r#type::tracing::v3::{
    CustomTag,
    custom_tag::{Literal, Metadata, Type},
};
use xds_api::envoy::r#type::v3::Percent;

/// How requests are traced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TraceSettings {
    /// Hundredths of a percent of the requests.
    pub sampling: u32,
    /// Who the workload is, only where a tracer is configured: without one nobody sees the tags,
    /// and they would keep workloads from sharing their listeners.
    pub workload: Option<Arc<TraceTags>>,
}

/// What a workload's spans say about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceTags {
    /// Canonical name of the service.
    pub service: Arc<str>,
    /// Its revision.
    pub revision: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Mesh.
    pub mesh: Arc<str>,
    /// Cluster.
    pub cluster: Arc<str>,
}

/// Builds the block of an HTTP manager.
pub(crate) fn tracing(settings: &TraceSettings) -> Tracing {
    // In order of their names.
    let workload = settings.workload.iter().flat_map(|workload| tags(workload));
    let custom_tags = DRY_RUN.iter().cloned().chain(workload).collect();
    let all = || Some(Percent { value: 100.0 });
    Tracing {
        client_sampling: all(),
        random_sampling: Some(Percent {
            value: f64::from(settings.sampling) / 100.0,
        }),
        overall_sampling: all(),
        custom_tags,
        ..Default::default()
    }
}

fn tags(workload: &TraceTags) -> [CustomTag; 5] {
    let literal = |tag: &str, value: &str| CustomTag {
        tag: format!("istio.{tag}"),
        r#type: Some(Type::Literal(Literal {
            value: value.to_owned(),
        })),
    };
    [
        literal("canonical_revision", &workload.revision),
        literal("canonical_service", &workload.service),
        literal("cluster_id", &workload.cluster),
        literal("mesh_id", &workload.mesh),
        literal("namespace", &workload.namespace),
    ]
}

static DRY_RUN: LazyLock<Vec<CustomTag>> =
    LazyLock::new(|| ["allow", "deny"].into_iter().flat_map(dry_run).collect());

/// What authorization rules of this kind, tried but not enforced, would have done.
fn dry_run(kind: &str) -> [CustomTag; 2] {
    let tag = |name: &str, key: &str| CustomTag {
        tag: format!("istio.authorization.dry_run.{kind}_policy.{name}"),
        r#type: Some(Type::Metadata(Metadata {
            kind: Some(MetadataKind {
                kind: Some(Kind::Request(Request {})),
            }),
            metadata_key: Some(MetadataKey {
                key: "envoy.filters.http.rbac".to_owned(),
                path: vec![PathSegment {
                    segment: Some(Segment::Key(format!("istio_dry_run_{kind}_{key}"))),
                }],
            }),
            ..Default::default()
        })),
    };
    [
        tag("name", "shadow_effective_policy_id"),
        tag("result", "shadow_engine_result"),
    ]
}
