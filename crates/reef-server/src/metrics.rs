//! What this room counts. Names are istiod's where the meaning is equal; `prometheus-client` appends `_total` to
//! counters, so istiod's un-suffixed counters are gauges that only grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reef_xds::ResourceType;

use crate::protocol::Outcome;
use crate::status::StreamEnd;

/// The label value of a type: `cds`, `eds`, … or `unknown`; `cds_senderr` for a response that did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct TypeName {
    ty: Option<ResourceType>,
    failed: bool,
}

impl EncodeLabelValue for TypeName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut name = self
            .ty
            .map_or_else(|| "unknown".to_owned(), |ty| ty.short_name().to_lowercase());
        if self.failed {
            name.push_str("_senderr");
        }
        EncodeLabelValue::encode(&name.as_str(), encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: TypeName,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl TypeLabel {
    fn of(ty: Option<ResourceType>) -> Self {
        Self {
            r#type: TypeName { ty, failed: false },
        }
    }

    fn failed(ty: ResourceType) -> Self {
        Self {
            r#type: TypeName {
                ty: Some(ty),
                failed: true,
            },
        }
    }
}

type ByType<M> = Family<TypeLabel, M>;
/// A counter exposed without the `_total` suffix, for dashboards made for istiod.
type PlainCounter = Gauge<i64, AtomicI64>;
type TimeFamily = Family<TypeLabel, Histogram, fn() -> Histogram>;

/// The metrics of the discovery server; cheap to clone, all clones count together.
#[derive(Debug, Clone)]
pub struct ServerMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pushes: ByType<PlainCounter>,
    rejects: ByType<PlainCounter>,
    expired_nonces: ByType<PlainCounter>,
    internal_errors: PlainCounter,
    push_time: TimeFamily,
    push_bytes: TimeFamily,
    send_time: Histogram,
    write_timeouts: PlainCounter,
    largest_request: Gauge<i64, AtomicI64>,
    ack_time: TimeFamily,
    resources: ByType<Counter<u64, AtomicU64>>,
    bytes: ByType<Counter<u64, AtomicU64>>,
    ended: Family<ReasonLabel, Counter<u64, AtomicU64>>,
    panics: Counter<u64, AtomicU64>,
    unknown_types: Counter<u64, AtomicU64>,
    handshakes_failed: Family<ReasonLabel, Counter<u64, AtomicU64>>,
    accepts_failed: Counter<u64, AtomicU64>,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

fn seconds() -> Histogram {
    Histogram::new([0.01, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0])
}

fn fine_seconds() -> Histogram {
    Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
}

fn sizes() -> Histogram {
    Histogram::new([1.0, 1e4, 1e6, 4e6, 1e7, 4e7])
}

impl ServerMetrics {
    /// Metrics that count from zero, not registered yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            pushes: Family::default(),
            rejects: Family::default(),
            expired_nonces: Family::default(),
            internal_errors: Gauge::default(),
            push_time: Family::new_with_constructor(seconds),
            push_bytes: Family::new_with_constructor(sizes),
            send_time: seconds(),
            write_timeouts: Gauge::default(),
            largest_request: Gauge::default(),
            ack_time: Family::new_with_constructor(fine_seconds),
            resources: Family::default(),
            bytes: Family::default(),
            ended: Family::default(),
            panics: Counter::default(),
            unknown_types: Counter::default(),
            handshakes_failed: Family::default(),
            accepts_failed: Counter::default(),
        }))
    }

    /// Registers everything under its full name; `registry` must not add a prefix.
    pub fn register(&self, registry: &mut Registry) {
        let m = &*self.0;
        registry.register(
            "pilot_xds_pushes",
            "Responses handed over, by type",
            m.pushes.clone(),
        );
        registry.register(
            "pilot_total_xds_rejects",
            "Responses rejected by a proxy, by type",
            m.rejects.clone(),
        );
        registry.register(
            "pilot_xds_expired_nonce",
            "Requests with an expired nonce, by type",
            m.expired_nonces.clone(),
        );
        registry.register(
            "pilot_total_xds_internal_errors",
            "Defects met while serving a stream",
            m.internal_errors.clone(),
        );
        registry.register(
            "pilot_xds_push_time",
            "Seconds to make and hand over a response, by type",
            m.push_time.clone(),
        );
        registry.register(
            "pilot_xds_config_size_bytes",
            "Size of responses, by type",
            m.push_bytes.clone(),
        );
        registry.register(
            "pilot_xds_send_time",
            "Seconds until the transport had taken a response that was handed over",
            m.send_time.clone(),
        );
        registry.register(
            "pilot_xds_write_timeout",
            "Streams ended because nobody read their responses",
            m.write_timeouts.clone(),
        );
        registry.register(
            "pilot_xds_recv_max",
            "Size of the largest request so far, in bytes",
            m.largest_request.clone(),
        );
        self.register_unstable(registry);
    }

    fn register_unstable(&self, registry: &mut Registry) {
        let m = &*self.0;
        registry.register(
            "reef_xds_ack_seconds",
            "Seconds from handing over a response to its ACK, by type (unstable)",
            m.ack_time.clone(),
        );
        registry.register(
            "reef_xds_pushed_resources",
            "Resources and removals handed over, by type (unstable)",
            m.resources.clone(),
        );
        registry.register(
            "reef_xds_pushed_bytes",
            "Bytes of responses handed over, by type (unstable)",
            m.bytes.clone(),
        );
        registry.register(
            "reef_xds_streams_ended",
            "Streams the server ended, by reason (unstable)",
            m.ended.clone(),
        );
        registry.register(
            "reef_xds_handshakes_failed",
            "Connections that did not get through their TLS handshake, by reason (unstable)",
            m.handshakes_failed.clone(),
        );
        registry.register(
            "reef_xds_accepts_failed",
            "Times no connection could be accepted, for instance for lack of file descriptors (unstable)",
            m.accepts_failed.clone(),
        );
        registry.register(
            "reef_xds_stream_panics",
            "Streams that panicked (unstable)",
            m.panics.clone(),
        );
        registry.register(
            "reef_xds_unknown_type_requests",
            "Requests for a type this server does not know (unstable)",
            m.unknown_types.clone(),
        );
    }

    /// Counts a request of this size.
    pub(crate) fn received(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.0
            .largest_request
            .inner()
            .fetch_max(bytes, Ordering::Relaxed);
    }

    /// Counts a response the transport has taken to its last byte.
    pub(crate) fn sent(&self, took: Duration) {
        self.0.send_time.observe(took.as_secs_f64());
    }

    /// Counts a response of which the stream's end kept a part.
    pub(crate) fn send_failed(&self, ty: ResourceType) {
        self.0.pushes.get_or_create(&TypeLabel::failed(ty)).inc();
    }

    pub(crate) fn request(&self, type_url: &str, outcome: Outcome) {
        let label = TypeLabel::of(ResourceType::from_url(type_url));
        match outcome {
            Outcome::Subscription => {}
            Outcome::Ack(took) => self
                .0
                .ack_time
                .get_or_create(&label)
                .observe(took.as_secs_f64()),
            Outcome::Nack => {
                self.0.rejects.get_or_create(&label).inc();
            }
            Outcome::ExpiredNonce => {
                self.0.expired_nonces.get_or_create(&label).inc();
            }
            Outcome::UnknownType => {
                self.0.unknown_types.inc();
            }
        }
    }

    pub(crate) fn pushed(&self, ty: ResourceType, bytes: usize, resources: usize, took: Duration) {
        let label = TypeLabel::of(Some(ty));
        self.0.pushes.get_or_create(&label).inc();
        self.0
            .push_time
            .get_or_create(&label)
            .observe(took.as_secs_f64());
        self.0
            .push_bytes
            .get_or_create(&label)
            .observe(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)));
        self.0
            .bytes
            .get_or_create(&label)
            .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.0
            .resources
            .get_or_create(&label)
            .inc_by(u64::try_from(resources).unwrap_or(u64::MAX));
    }

    pub(crate) fn stream_ended(&self, end: &StreamEnd) {
        let reason = match end {
            StreamEnd::MissingNode => "missing_node",
            StreamEnd::MissingType => "missing_type",
            StreamEnd::WrongType { .. } => "wrong_type",
            StreamEnd::Refused(_) => "refused",
            StreamEnd::Draining => "draining",
            StreamEnd::Aged => "aged",
            StreamEnd::Expired => "expired",
            StreamEnd::ProviderGone => "provider_gone",
            StreamEnd::Stuck => {
                self.0.write_timeouts.inc();
                "stuck"
            }
            StreamEnd::Panicked => "panicked",
        };
        self.0.ended.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn handshake_failed(&self, reason: &'static str) {
        self.0
            .handshakes_failed
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    pub(crate) fn accept_failed(&self) {
        self.0.accepts_failed.inc();
    }

    pub(crate) fn panicked(&self) {
        self.0.panics.inc();
        self.0.internal_errors.inc();
    }
}
