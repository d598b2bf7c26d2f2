//! Small Envoy messages the generated crate has not.

use prost::{Message, Name};
use xds_api::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;

/// `envoy.filters.network.sni_dynamic_forward_proxy`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SniDynamicForwardProxy {
    /// The cache.
    #[prost(message, optional, tag = "1")]
    pub dns_cache_config: Option<DnsCacheConfig>,
    /// Port to connect to.
    #[prost(uint32, tag = "2")]
    pub port_value: u32,
}

/// `envoy.filters.network.mongo_proxy`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MongoProxy {
    /// Prefix of its statistics.
    #[prost(string, tag = "1")]
    pub stat_prefix: String,
}

/// `envoy.retry_priorities.previous_priorities`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct PreviousPriorities {
    /// After how many tries priorities are shifted again.
    #[prost(int32, tag = "1")]
    pub update_frequency: i32,
}

macro_rules! named {
    ($($message:ident = $package:literal, $name:literal;)*) => {
        $(impl Name for $message {
            const NAME: &'static str = $name;
            const PACKAGE: &'static str = $package;

            fn type_url() -> String {
                format!("type.googleapis.com/{}", Self::full_name())
            }
        })*
    };
}

named! {
    SniDynamicForwardProxy = "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3", "FilterConfig";
    MongoProxy = "envoy.extensions.filters.network.mongo_proxy.v3", "MongoProxy";
    PreviousPriorities = "envoy.extensions.retry.priority.previous_priorities.v3", "PreviousPrioritiesConfig";
}
