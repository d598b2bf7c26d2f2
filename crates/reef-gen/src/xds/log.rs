//! Access logs: to a file, to Envoy's access log service, to an OpenTelemetry collector.

use std::sync::{Arc, LazyLock};

use reef_config::access_log::LogValue;
use reef_config::log_provider::LogService;
use reef_mesh::AccessLogFormat;
use xds_api::Any;
use xds_api::envoy::config::accesslog::v3 as log;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::access_loggers::file::v3 as file;
use xds_api::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use xds_api::envoy::extensions::access_loggers::grpc::v3 as grpc;
use xds_api::envoy::extensions::access_loggers::open_telemetry::v3 as otel;
use xds_api::envoy::extensions::formatter::{metadata, req_without_query};
use xds_api::well_known;
use xds_api::well_known::value::Kind;

use log::access_log_filter::FilterSpecifier;
use xds_api::opentelemetry::proto::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value,
};

use super::text;

/// Fields of Istio's format: name in JSON, command operator.
///
/// Sorted by name, as JSON prints them; [`TEXT`] has them in the order of the text.
const FIELDS: [(&str, &str); 24] = [
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// Names of [`FIELDS`] in the order of a line of text; `"` surrounds what may hold spaces, `[` the
/// time.
const TEXT: &str = "[start_time] \"method path protocol\" response_code response_flags \
                    response_code_details connection_termination_details \
                    \"upstream_transport_failure_reason\" bytes_received bytes_sent duration \
                    upstream_service_time \"x_forwarded_for\" \"user_agent\" \"request_id\" \
                    \"authority\" \"upstream_host\" upstream_cluster upstream_local_address \
                    downstream_local_address downstream_remote_address requested_server_name \
                    route_name";

/// The access logs of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Logs {
    pub loggers: Arc<[Logger]>,
    /// Listeners log connections no chain matches.
    pub of_listeners: bool,
}

/// One access log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Logger {
    pub sink: Sink,
    /// Which requests are logged, in CEL.
    pub filter: Option<Arc<str>>,
}

/// Where logs go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sink {
    /// A file.
    File {
        path: Arc<str>,
        format: AccessLogFormat,
    },
    /// Envoy's service for logs of HTTP.
    Http(LogTarget),
    /// Envoy's service for logs of TCP.
    Tcp(LogTarget),
    /// An OpenTelemetry collector.
    OpenTelemetry {
        target: LogTarget,
        body: Option<Arc<str>>,
        /// Always a map.
        fields: Option<LogValue>,
    },
}

/// A service that takes logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LogTarget {
    pub cluster: Arc<str>,
    pub authority: Arc<str>,
    pub service: LogService,
}

/// The message of an access log.
pub(crate) type Built = log::AccessLog;

impl Logs {
    /// The loggers of an HTTP manager or a TCP proxy.
    pub(crate) fn of_requests(&self) -> Vec<Built> {
        let built = |logger: &Logger| Built {
            filter: logger.filter.as_ref().map(|filter| wrapped(only(filter))),
            ..logger.sink.built()
        };
        self.loggers.iter().map(built).collect()
    }

    /// The loggers of a listener: connections that no chain matches.
    pub(crate) fn of_listener(&self) -> Vec<Built> {
        if !self.of_listeners {
            return Vec::new();
        }
        let unmatched = || {
            FilterSpecifier::ResponseFlagFilter(log::ResponseFlagFilter {
                flags: vec!["NR".to_owned()],
            })
        };
        let built = |logger: &Logger| {
            let filter = match &logger.filter {
                None => unmatched(),
                Some(filter) => FilterSpecifier::AndFilter(log::AndFilter {
                    filters: vec![wrapped(unmatched()), wrapped(only(filter))],
                }),
            };
            Built {
                filter: Some(wrapped(filter)),
                ..logger.sink.built()
            }
        };
        self.loggers.iter().map(built).collect()
    }
}

fn wrapped(specifier: FilterSpecifier) -> log::AccessLogFilter {
    log::AccessLogFilter {
        filter_specifier: Some(specifier),
    }
}

/// Only what an expression is true for.
fn only(expression: &Arc<str>) -> FilterSpecifier {
    let config = ExpressionFilter {
        expression: expression.to_string(),
        ..Default::default()
    };
    FilterSpecifier::ExtensionFilter(log::ExtensionFilter {
        name: "envoy.access_loggers.extension_filters.cel".to_owned(),
        config_type: Some(log::extension_filter::ConfigType::TypedConfig(Any::pack(
            &config,
        ))),
    })
}

impl Sink {
    fn built(&self) -> Built {
        let (name, config) = match self {
            Self::File { path, format } => (
                "envoy.access_loggers.file",
                Any::pack(&file::FileAccessLog {
                    path: path.to_string(),
                    access_log_format: Some(file::file_access_log::AccessLogFormat::LogFormat(
                        self::format(format),
                    )),
                }),
            ),
            Self::Http(target) => {
                let texts = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
                let config = grpc::HttpGrpcAccessLogConfig {
                    common_config: Some(target.common("http_envoy_accesslog")),
                    additional_request_headers_to_log: texts(&target.service.request_headers),
                    additional_response_headers_to_log: texts(&target.service.response_headers),
                    additional_response_trailers_to_log: texts(&target.service.response_trailers),
                };
                ("envoy.access_loggers.http_grpc", Any::pack(&config))
            }
            Self::Tcp(target) => {
                let config = grpc::TcpGrpcAccessLogConfig {
                    common_config: Some(target.common("tcp_envoy_accesslog")),
                };
                ("envoy.access_loggers.tcp_grpc", Any::pack(&config))
            }
            Self::OpenTelemetry {
                target,
                body,
                fields,
            } => (
                "envoy.access_loggers.open_telemetry",
                Any::pack(&otel_log(target, body.as_deref(), fields.as_ref())),
            ),
        };
        Built {
            name: name.to_owned(),
            config_type: Some(log::access_log::ConfigType::TypedConfig(config)),
            ..Default::default()
        }
    }
}

fn otel_log(
    target: &LogTarget,
    body: Option<&str>,
    fields: Option<&LogValue>,
) -> otel::OpenTelemetryAccessLogConfig {
    let line = body.unwrap_or(&DEFAULT_TEXT);
    let used = |operator: &str| {
        line.contains(operator) || fields.is_some_and(|fields| mentions(fields, operator))
    };
    otel::OpenTelemetryAccessLogConfig {
        grpc_service: Some(target.grpc()),
        log_name: target.log_name("otel_envoy_accesslog"),
        filter_state_objects_to_log: target.filter_state(),
        body: Some(otel_value(&LogValue::Text(Arc::from(line)))),
        attributes: fields.map(otel_fields),
        formatters: formatters(used),
        ..Default::default()
    }
}

fn otel_fields(fields: &LogValue) -> KeyValueList {
    let LogValue::Map(fields) = fields else {
        return KeyValueList::default();
    };
    let field = |(key, value): &(Arc<str>, LogValue)| KeyValue {
        key: key.to_string(),
        value: Some(otel_value(value)),
        ..Default::default()
    };
    KeyValueList {
        values: fields.iter().map(field).collect(),
    }
}

fn otel_value(value: &LogValue) -> AnyValue {
    use any_value::Value;
    let value = match value {
        LogValue::Null => None,
        LogValue::Bool(value) => Some(Value::BoolValue(*value)),
        LogValue::Number(number) => Some(number.parse().map_or_else(
            |_not_a_number| Value::StringValue(number.to_string()),
            Value::DoubleValue,
        )),
        LogValue::Text(text) => Some(Value::StringValue(text.to_string())),
        LogValue::List(items) => Some(Value::ArrayValue(ArrayValue {
            values: items.iter().map(otel_value).collect(),
        })),
        LogValue::Map(_) => Some(Value::KvlistValue(otel_fields(value))),
    };
    AnyValue { value }
}

impl LogTarget {
    fn common(&self, default_name: &str) -> grpc::CommonGrpcAccessLogConfig {
        grpc::CommonGrpcAccessLogConfig {
            log_name: self.log_name(default_name),
            grpc_service: Some(self.grpc()),
            transport_api_version: core::ApiVersion::V3.into(),
            filter_state_objects_to_log: self.filter_state(),
            ..Default::default()
        }
    }

    fn log_name(&self, default_name: &str) -> String {
        let own = self.service.log_name.as_deref();
        own.unwrap_or(default_name).to_owned()
    }

    fn filter_state(&self) -> Vec<String> {
        let objects = self.service.filter_state.iter();
        objects.map(ToString::to_string).collect()
    }

    fn grpc(&self) -> core::GrpcService {
        let to = core::grpc_service::EnvoyGrpc {
            cluster_name: self.cluster.to_string(),
            authority: self.authority.to_string(),
            ..Default::default()
        };
        core::GrpcService {
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(to)),
            ..Default::default()
        }
    }
}

fn format(format: &AccessLogFormat) -> core::SubstitutionFormatString {
    use core::substitution_format_string::Format;
    let line = |text: &str| {
        Format::TextFormatSource(core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineString(text.to_owned())),
            ..Default::default()
        })
    };
    core::SubstitutionFormatString {
        formatters: formatters(|operator| match format {
            AccessLogFormat::DefaultText | AccessLogFormat::DefaultJson => false,
            AccessLogFormat::Text(text) => text.contains(operator),
            AccessLogFormat::Json(fields) => mentions(fields, operator),
        }),
        format: Some(match format {
            AccessLogFormat::DefaultText => line(&DEFAULT_TEXT),
            AccessLogFormat::Text(text) => line(text),
            AccessLogFormat::DefaultJson => Format::JsonFormat(DEFAULT_JSON.clone()),
            AccessLogFormat::Json(fields) => Format::JsonFormat(json_map(fields)),
        }),
        ..Default::default()
    }
}

/// The extensions for operators Envoy does not know by itself.
fn formatters(used: impl Fn(&str) -> bool) -> Vec<core::TypedExtensionConfig> {
    let extension = |name: &str, config: Any| core::TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(config),
    };
    let query = used("%REQ_WITHOUT_QUERY(").then(|| {
        let config = Any::pack(&req_without_query::v3::ReqWithoutQuery {});
        extension("envoy.formatter.req_without_query", config)
    });
    let metadata = used("%METADATA(").then(|| {
        let config = Any::pack(&metadata::v3::Metadata {});
        extension("envoy.formatter.metadata", config)
    });
    query.into_iter().chain(metadata).collect()
}

fn mentions(value: &LogValue, operator: &str) -> bool {
    match value {
        LogValue::Text(text) => text.contains(operator),
        LogValue::List(items) => items.iter().any(|item| mentions(item, operator)),
        LogValue::Map(fields) => fields.iter().any(|(_, value)| mentions(value, operator)),
        LogValue::Null | LogValue::Bool(_) | LogValue::Number(_) => false,
    }
}

static DEFAULT_TEXT: LazyLock<String> = LazyLock::new(|| {
    let operator = |name: &str| FIELDS.iter().find(|(known, _)| *known == name);
    let mut line = String::new();
    let mut name = String::new();
    for letter in TEXT.chars().chain(['\n']) {
        if letter.is_ascii_lowercase() || letter == '_' {
            name.push(letter);
            continue;
        }
        if let Some((_, operator)) = operator(&name) {
            line.push_str(operator);
        }
        name.clear();
        line.push(letter);
    }
    line
});

static DEFAULT_JSON: LazyLock<well_known::Struct> = LazyLock::new(|| well_known::Struct {
    fields: FIELDS
        .iter()
        .map(|(name, operator)| ((*name).to_owned(), text(*operator)))
        .collect(),
});

fn json_map(value: &LogValue) -> well_known::Struct {
    let LogValue::Map(fields) = value else {
        return well_known::Struct::default();
    };
    well_known::Struct {
        fields: fields
            .iter()
            .map(|(key, value)| (key.to_string(), json(value)))
            .collect(),
    }
}

fn json(value: &LogValue) -> well_known::Value {
    let kind = match value {
        LogValue::Null => Kind::NullValue(0),
        LogValue::Bool(value) => Kind::BoolValue(*value),
        LogValue::Number(number) => number
            .parse()
            .map_or_else(|_| Kind::StringValue(number.to_string()), Kind::NumberValue),
        LogValue::Text(text) => Kind::StringValue(text.to_string()),
        LogValue::List(items) => Kind::ListValue(well_known::ListValue {
            values: items.iter().map(json).collect(),
        }),
        LogValue::Map(_) => Kind::StructValue(json_map(value)),
    };
    well_known::Value { kind: Some(kind) }
}
