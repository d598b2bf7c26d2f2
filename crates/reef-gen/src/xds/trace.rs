//! Tracing of HTTP requests.

use std::sync::{Arc, LazyLock};

use reef_mesh::TagSource;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing;
use xds_api::envoy::r#type::metadata::v3::{
    MetadataKey, MetadataKind,
    metadata_key::{PathSegment, path_segment::Segment},
    metadata_kind::{Kind, Request},
};
use xds_api::envoy::r#type::tracing::v3::{
    CustomTag,
    custom_tag::{Environment, Header, Literal, Metadata, Type},
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
    /// Further tags of the proxy's own settings.
    pub custom: Arc<[(Arc<str>, TagSource)]>,
    /// Bytes of a path that a span shows.
    pub max_path: Option<u32>,
}

/// Builds the block of an HTTP manager.
pub(crate) fn tracing(settings: &TraceSettings) -> Tracing {
    let workload = settings.workload.as_deref();
    let own = workload.iter().flat_map(|workload| tags(workload));
    let more = workload.iter().flat_map(|workload| workload.custom.iter());
    let more = more.map(|(name, source)| custom_tag(name, source));
    let mut custom_tags: Vec<CustomTag> = DRY_RUN.iter().cloned().chain(own).chain(more).collect();
    custom_tags.sort_by(|a, b| a.tag.cmp(&b.tag));
    let all = || Some(Percent { value: 100.0 });
    Tracing {
        client_sampling: all(),
        random_sampling: Some(Percent {
            value: f64::from(settings.sampling) / 100.0,
        }),
        overall_sampling: all(),
        custom_tags,
        max_path_tag_length: workload.and_then(|workload| workload.max_path),
        ..Default::default()
    }
}

fn custom_tag(name: &str, source: &TagSource) -> CustomTag {
    let source = match source {
        TagSource::Literal(value) => Type::Literal(Literal {
            value: value.to_string(),
        }),
        TagSource::Environment(name, default) => Type::Environment(Environment {
            name: name.to_string(),
            default_value: default.to_string(),
        }),
        TagSource::Header(name, default) => Type::RequestHeader(Header {
            name: name.to_string(),
            default_value: default.to_string(),
        }),
    };
    CustomTag {
        tag: name.to_owned(),
        r#type: Some(source),
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
