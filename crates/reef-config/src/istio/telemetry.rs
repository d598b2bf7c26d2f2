//! `Telemetry`.

use std::collections::BTreeMap;

use crate::scalar::ApiDuration;

use super::{PolicyTargetReference, WorkloadSelector};

api_structs! {
    /// A `Telemetry`.
    pub struct Telemetry {
        /// Workloads it is for.
        pub selector: Option<WorkloadSelector>,
        /// Deprecated single form of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference>,
        /// Resources it is attached to.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Tracing.
        pub tracing: Vec<Tracing>,
        /// Metrics.
        pub metrics: Vec<Metrics>,
        /// Access logs.
        pub access_logging: Vec<AccessLogging>,
    }

    /// `ProviderRef`.
    pub struct ProviderRef {
        /// Name in the mesh configuration.
        pub name: String,
    }

    /// `Tracing`.
    pub struct Tracing {
        /// Direction.
        #[serde(rename = "match")]
        pub selector: Option<TracingSelector>,
        /// Providers.
        pub providers: Vec<ProviderRef>,
        /// Percent of new traces that are kept.
        pub random_sampling_percentage: Option<f64>,
        /// Turns reports off.
        pub disable_span_reporting: Option<bool>,
        /// Tags by name.
        pub custom_tags: BTreeMap<String, CustomTag>,
        /// Whether spans carry Istio's own tags.
        pub enable_istio_tags: Option<bool>,
        /// Whether the request id decides about sampling.
        pub use_request_id_for_trace_sampling: Option<bool>,
    }

    /// `Tracing.TracingSelector`.
    pub struct TracingSelector {
        /// Direction.
        pub mode: WorkloadMode,
    }

    /// `Tracing.CustomTag`: one of the three.
    pub struct CustomTag {
        /// A text.
        pub literal: Option<LiteralTag>,
        /// An environment variable of the proxy.
        pub environment: Option<NamedTag>,
        /// A header of the request.
        pub header: Option<NamedTag>,
        /// A format string of Envoy.
        pub formatter: Option<LiteralTag>,
    }

    /// A text.
    pub struct LiteralTag {
        /// The text.
        pub value: String,
    }

    /// A name with a default.
    pub struct NamedTag {
        /// Name.
        pub name: String,
        /// Text if it is absent.
        pub default_value: Option<String>,
    }

    /// `Metrics`.
    pub struct Metrics {
        /// Providers.
        pub providers: Vec<ProviderRef>,
        /// Changes, in order.
        pub overrides: Vec<MetricsOverride>,
        /// How often metrics that are pushed are sent.
        pub reporting_interval: Option<ApiDuration>,
    }

    /// `MetricsOverrides`.
    pub struct MetricsOverride {
        /// Which metrics.
        #[serde(rename = "match")]
        pub selector: Option<MetricSelector>,
        /// Turns them off.
        pub disabled: Option<bool>,
        /// Tags by name.
        pub tag_overrides: BTreeMap<String, TagOverride>,
    }

    /// `MetricSelector`.
    pub struct MetricSelector {
        /// One of Istio's metrics, such as `REQUEST_COUNT` or `ALL_METRICS`.
        pub metric: Option<String>,
        /// Any other metric.
        pub custom_metric: Option<String>,
        /// Direction.
        pub mode: WorkloadMode,
    }

    /// `MetricsOverrides.TagOverride`.
    pub struct TagOverride {
        /// Operation.
        pub operation: TagOverrideOperation,
        /// CEL expression.
        pub value: Option<String>,
    }

    /// `AccessLogging`.
    pub struct AccessLogging {
        /// Direction.
        #[serde(rename = "match")]
        pub selector: Option<WorkloadModeSelector>,
        /// Providers.
        pub providers: Vec<ProviderRef>,
        /// Turns the log off.
        pub disabled: Option<bool>,
        /// Which requests are logged.
        pub filter: Option<AccessLogFilter>,
    }

    /// `AccessLogging.LogSelector`.
    pub struct WorkloadModeSelector {
        /// Direction.
        pub mode: WorkloadMode,
    }

    /// `AccessLogging.Filter`.
    pub struct AccessLogFilter {
        /// CEL expression.
        pub expression: String,
    }
}

api_enum! {
    /// `WorkloadMode`.
    pub enum WorkloadMode {
        /// Both.
        ClientAndServer = "CLIENT_AND_SERVER",
        /// Outbound.
        Client = "CLIENT",
        /// Inbound.
        Server = "SERVER",
    } default ClientAndServer
}

api_enum! {
    /// `MetricsOverrides.TagOverride.Operation`.
    pub enum TagOverrideOperation {
        /// Inserted or updated.
        Upsert = "UPSERT",
        /// Removed.
        Remove = "REMOVE",
    } default Upsert
}
