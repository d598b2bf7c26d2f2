//! Access logs to a file, as the mesh configuration asks for them.

use std::sync::LazyLock;

use reef_config::access_log::LogValue;
use reef_mesh::{AccessLog, AccessLogFormat};
use xds_api::Any;
use xds_api::envoy::config::accesslog::v3 as log;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::access_loggers::file::v3 as file;
use xds_api::envoy::extensions::formatter::{metadata, req_without_query};
use xds_api::well_known;
use xds_api::well_known::value::Kind;

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

/// The logger of an HTTP manager or a TCP proxy.
pub(crate) fn of_requests(log: &AccessLog) -> log::AccessLog {
    log::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(log::access_log::ConfigType::TypedConfig(Any::pack(
            &file::FileAccessLog {
                path: log.path.to_string(),
                access_log_format: Some(file::file_access_log::AccessLogFormat::LogFormat(format(
                    &log.format,
                ))),
            },
        ))),
        ..Default::default()
    }
}

/// The logger of a listener: connections that no chain matches.
pub(crate) fn of_listener(log: &AccessLog) -> Option<log::AccessLog> {
    let unmatched =
        log::access_log_filter::FilterSpecifier::ResponseFlagFilter(log::ResponseFlagFilter {
            flags: vec!["NR".to_owned()],
        });
    log.of_listeners.then(|| log::AccessLog {
        filter: Some(log::AccessLogFilter {
            filter_specifier: Some(unmatched),
        }),
        ..of_requests(log)
    })
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
