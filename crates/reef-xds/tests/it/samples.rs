//! Messages the tests share.

use std::collections::BTreeMap;

use prost::Message;
use reef_xds::any;
use xds_api::{
    Any,
    envoy::{
        config::{
            cluster::v3::{Cluster, cluster},
            core::v3::{Metadata, TypedExtensionConfig},
            listener::v3::{Filter, FilterChain, Listener, filter},
        },
        extensions::{
            filters::{
                http::router::v3::Router,
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, http_filter,
                },
            },
            upstreams::http::v3::HttpProtocolOptions,
        },
    },
    well_known::{Duration, Struct, Value, value::Kind},
};

/// A struct with `keys` text fields, as filter metadata holds it.
pub(crate) fn text_struct(keys: &[&str]) -> Struct {
    let field = |key: &&str| {
        let value = Value {
            kind: Some(Kind::StringValue(format!("value of {key}"))),
        };
        ((*key).to_owned(), value)
    };
    Struct {
        fields: keys.iter().map(field).collect(),
    }
}

/// [`text_struct`] as an `Any`; prost-types does not name the type itself.
pub(crate) fn text_struct_any(keys: &[&str]) -> Any {
    Any {
        type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(),
        value: text_struct(keys).encode_to_vec().into(),
    }
}

/// A cluster with several maps of several keys, one of them inside an `Any`.
pub(crate) fn cluster_with_maps() -> Cluster {
    let filter_metadata: BTreeMap<String, Struct> =
        ["istio", "envoy.lb", "a", "zzz", "reef.test", "m"]
            .into_iter()
            .map(|key| {
                (
                    key.to_owned(),
                    text_struct(&["x", "service", "b", "aa", "q"]),
                )
            })
            .collect();
    let metadata = Metadata {
        filter_metadata,
        typed_filter_metadata: BTreeMap::new(),
    };
    let nested = Metadata {
        typed_filter_metadata: ["k1", "k2", "k3", "k0"]
            .into_iter()
            .map(|key| (key.to_owned(), any(&metadata)))
            .collect(),
        ..metadata
    };
    Cluster {
        name: "outbound|80||web.default.svc.cluster.local".to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Eds.into(),
        )),
        connect_timeout: Some(Duration {
            seconds: 10,
            nanos: 500_000_000,
        }),
        metadata: Some(nested),
        typed_extension_protocol_options: [
            (
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                any(&HttpProtocolOptions::default()),
            ),
            ("b", text_struct_any(&["one", "two", "three"])),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
        ..Cluster::default()
    }
}

/// A listener → connection manager → HTTP filter, whose configuration is `filter`.
pub(crate) fn listener_with_http_filter(filter: Any) -> Listener {
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(
            any(&Router::default()),
        )),
        ..HttpFilter::default()
    };
    let custom = HttpFilter {
        name: "custom".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(filter)),
        ..HttpFilter::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "inbound".to_owned(),
        http_filters: vec![custom, router],
        ..HttpConnectionManager::default()
    };
    Listener {
        name: "virtualInbound".to_owned(),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(any(&manager))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    }
}

/// An extension whose configuration is `content`.
pub(crate) fn extension(name: &str, content: Any) -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(content),
    }
}
