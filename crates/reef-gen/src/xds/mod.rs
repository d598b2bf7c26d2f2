//! Small constructors of Envoy messages shared by all generators.
//!
//! Parts that never vary are encoded once per process.

pub(crate) mod dynamic_dns;
pub(crate) mod hcm;
pub(crate) mod listener;
pub(crate) mod log;
pub(crate) mod more;
pub(crate) mod trace;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use reef_config::{Kind, ObjectKey};
use xds_api::Any;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use xds_api::well_known;
use xds_api::well_known::value::Kind as ValueKind;

/// A protobuf duration; durations beyond its range are capped.
pub(crate) fn duration(value: Duration) -> well_known::Duration {
    well_known::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

/// Zero, which is not the same as absent: it switches a limit off.
pub(crate) const ZERO: well_known::Duration = well_known::Duration {
    seconds: 0,
    nanos: 0,
};

/// A TCP socket address.
pub(crate) fn socket_address(address: impl Into<String>, port: u16) -> core::SocketAddress {
    core::SocketAddress {
        address: address.into(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    }
}

/// A TCP socket address, wrapped.
pub(crate) fn socket(address: impl Into<String>, port: u16) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(socket_address(
            address, port,
        ))),
    }
}

/// A Unix socket.
pub(crate) fn pipe(path: impl Into<String>) -> core::Address {
    core::Address {
        address: Some(core::address::Address::Pipe(core::Pipe {
            path: path.into(),
            mode: 0,
        })),
    }
}

/// "Ask over the stream this came from", with no limit on the wait.
pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        initial_fetch_timeout: Some(ZERO),
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

/// HTTP/1 headers keep the case they were received in.
pub(crate) fn case_as_received() -> core::http1_protocol_options::HeaderKeyFormat {
    use core::http1_protocol_options::{HeaderKeyFormat, header_key_format::HeaderFormat};
    HeaderKeyFormat {
        header_format: Some(HeaderFormat::StatefulFormatter(
            core::TypedExtensionConfig {
                name: "preserve_case".to_owned(),
                typed_config: Some(Any::pack(&PreserveCaseFormatterConfig::default())),
            },
        )),
    }
}

/// A string value of dynamic metadata.
pub(crate) fn text(value: impl Into<String>) -> well_known::Value {
    well_known::Value {
        kind: Some(ValueKind::StringValue(value.into())),
    }
}

/// A boolean value of dynamic metadata.
pub(crate) fn flag(value: bool) -> well_known::Value {
    well_known::Value {
        kind: Some(ValueKind::BoolValue(value)),
    }
}

/// A list value of dynamic metadata.
pub(crate) fn list(values: Vec<well_known::Value>) -> well_known::Value {
    well_known::Value {
        kind: Some(ValueKind::ListValue(well_known::ListValue { values })),
    }
}

/// A struct value of dynamic metadata.
pub(crate) fn map<const N: usize>(fields: [(&str, well_known::Value); N]) -> well_known::Struct {
    well_known::Struct {
        fields: fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    }
}

/// The metadata of services: `filter_metadata.istio`.
pub(crate) fn istio_metadata(fields: BTreeMap<String, well_known::Value>) -> core::Metadata {
    core::Metadata {
        filter_metadata: BTreeMap::from([("istio".to_owned(), well_known::Struct { fields })]),
        ..Default::default()
    }
}

/// Metadata that say which rule a part of the configuration comes from.
pub(crate) fn config_metadata(rule: &ObjectKey) -> core::Metadata {
    let kind = match rule.kind {
        Kind::VirtualService => "virtual-service",
        Kind::DestinationRule => "destination-rule",
        _ => "",
    };
    let path = format!(
        "/apis/networking.istio.io/v1/namespaces/{}/{kind}/{}",
        rule.namespace, rule.name
    );
    istio_metadata(BTreeMap::from([("config".to_owned(), text(path))]))
}

/// The wildcard address of an address family.
pub(crate) fn wildcard(ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

/// The wildcard address of the other family.
pub(crate) fn second_wildcard(ipv4_is_first: bool) -> IpAddr {
    wildcard(!ipv4_is_first)
}

/// The loopback address of an address family.
pub(crate) fn loopback(ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    }
}
