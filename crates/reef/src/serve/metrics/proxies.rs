//! Who is connected, counted when the page is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use reef_mesh::{MeshSnapshot, ProxyKind, identify};
use reef_xds::ResourceType;

use super::signed;
use crate::serve::registry::Stream;

/// Versions told apart; proxies say theirs themselves, and whoever says another one each time is not given a series each
/// time.
const MAX_VERSIONS: usize = 50;

/// Rejections shown by node; more than this is one cause, and the counters tell it.
const MAX_REJECTS: usize = 100;

/// The types of which istiod tells rejections by node.
const REJECTED: [ResourceType; 4] = [
    ResourceType::Cluster,
    ResourceType::Endpoint,
    ResourceType::Listener,
    ResourceType::Route,
];

/// Gauges about connected proxies.
#[derive(Debug, Default)]
pub(super) struct ProxyMetrics {
    versions: Family<VersionLabel, Gauge>,
    rejects: [Family<RejectLabel, Gauge>; 4],
    without_service: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectLabel {
    node: String,
    err: String,
}

impl ProxyMetrics {
    /// Registers everything.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pilot_xds",
            "Connected proxies by their version",
            self.versions.clone(),
        );
        for (ty, family) in REJECTED.iter().zip(&self.rejects) {
            let short = ty.short_name().to_lowercase();
            registry.register(
                format!("pilot_xds_{short}_reject"),
                format!("Proxies whose last answer of {short} was a rejection; at most 100"),
                family.clone(),
            );
        }
        registry.register(
            "pilot_no_ip",
            "Connected sidecars that no service selects",
            self.without_service.clone(),
        );
    }

    /// Counts; linear in streams.
    pub(super) fn measure(&self, snapshot: &MeshSnapshot, streams: &[Arc<Stream>]) {
        let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
        let mut without = 0;
        for stream in streams {
            let version = stream.node.text("ISTIO_VERSION").unwrap_or("unknown");
            let known = versions.contains_key(version) || versions.len() < MAX_VERSIONS;
            *versions
                .entry(if known { version } else { "other" })
                .or_default() += 1;
            if stream.node.kind == ProxyKind::Sidecar {
                let identity = identify(snapshot, &stream.node);
                without += usize::from(snapshot.service_targets(&identity).is_empty());
            }
        }
        self.versions.clear();
        for (version, count) in versions {
            let version = version.to_owned();
            self.versions
                .get_or_create(&VersionLabel { version })
                .set(signed(count));
        }
        self.without_service.set(signed(without));
        self.rejected(streams);
    }

    fn rejected(&self, streams: &[Arc<Stream>]) {
        for family in &self.rejects {
            family.clear();
        }
        let rejections = streams.iter().flat_map(|stream| {
            let types = stream.types();
            let place = |ty| REJECTED.iter().position(|known| *known == ty);
            types.into_iter().filter_map(move |(ty, state)| {
                let label = RejectLabel {
                    node: short_id(&stream.node.id).to_owned(),
                    err: code(state.last_error?.code),
                };
                Some((place(ty)?, label))
            })
        });
        for (at, label) in rejections.take(MAX_REJECTS) {
            if let Some(family) = self.rejects.get(at) {
                family.get_or_create(&label).set(1);
            }
        }
    }
}

/// `pod.namespace`, as istiod names a node.
fn short_id(id: &str) -> &str {
    id.split('~').nth(2).unwrap_or(id)
}

/// Name of a gRPC code, in Go's spelling.
fn code(number: i32) -> String {
    let names = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(number).ok().and_then(|at| names.get(at));
    name.map_or_else(|| format!("Code({number})"), |name| (*name).to_owned())
}
