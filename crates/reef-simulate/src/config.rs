//! The configuration of one proxy, by type and name.

use std::collections::BTreeMap;

use reef_xds::ResourceType;
use serde_json::Value;
use thiserror::Error;
use xds_api::Any;
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::envoy::config::route::v3::RouteConfiguration;

/// What one proxy holds.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Listeners by name.
    pub listeners: BTreeMap<String, Listener>,
    /// Route configurations by name.
    pub routes: BTreeMap<String, RouteConfiguration>,
    /// Clusters by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// Load assignments by name.
    pub endpoints: BTreeMap<String, ClusterLoadAssignment>,
}

/// Why something is no resource.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The JSON is not the one of a message.
    #[error("not the JSON of a resource: {name}")]
    Json {
        /// What is known of it.
        name: String,
        /// What is wrong with it.
        #[source]
        source: reef_xds::json::JsonError,
    },
    /// The bytes are not those of the message that the type says.
    #[error("`{type_url}` has broken content")]
    Broken {
        /// The type.
        type_url: String,
    },
    /// No type that has to do with where requests go.
    #[error("`{type_url}` is no listener, route, cluster or load assignment")]
    OtherType {
        /// The type.
        type_url: String,
    },
}

impl Config {
    /// Adds a resource.
    ///
    /// # Errors
    /// [`ConfigError::OtherType`] and [`ConfigError::Broken`].
    pub fn add(&mut self, resource: &Any) -> Result<(), ConfigError> {
        let broken = || ConfigError::Broken {
            type_url: resource.type_url.clone(),
        };
        match ResourceType::from_url(&resource.type_url) {
            Some(ResourceType::Listener) => {
                let listener: Listener = unpack(resource).ok_or_else(broken)?;
                self.listeners.insert(listener.name.clone(), listener);
            }
            Some(ResourceType::Route) => {
                let route: RouteConfiguration = unpack(resource).ok_or_else(broken)?;
                self.routes.insert(route.name.clone(), route);
            }
            Some(ResourceType::Cluster) => {
                let cluster: Cluster = unpack(resource).ok_or_else(broken)?;
                self.clusters.insert(cluster.name.clone(), cluster);
            }
            Some(ResourceType::Endpoint) => {
                let endpoints: ClusterLoadAssignment = unpack(resource).ok_or_else(broken)?;
                self.endpoints
                    .insert(endpoints.cluster_name.clone(), endpoints);
            }
            _ => {
                return Err(ConfigError::OtherType {
                    type_url: resource.type_url.clone(),
                });
            }
        }
        Ok(())
    }

    /// Adds a resource given as canonical JSON with its type in `@type`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn add_json(&mut self, resource: &Value) -> Result<(), ConfigError> {
        let any = reef_xds::json::from_json(resource).map_err(|source| ConfigError::Json {
            name: resource["name"].as_str().unwrap_or_default().to_owned(),
            source,
        })?;
        self.add(&any)
    }

    /// Reads every resource of these types that is somewhere in a document, whatever is around it: a list
    /// of resources, or a config dump of Envoy or of Reef.
    ///
    /// # Errors
    /// [`ConfigError`] of the first resource that is broken.
    pub fn add_document(&mut self, document: &Value) -> Result<(), ConfigError> {
        match document {
            Value::Array(list) => list.iter().try_for_each(|one| self.add_document(one)),
            Value::Object(fields) => {
                let ours = fields
                    .get("@type")
                    .and_then(Value::as_str)
                    .and_then(ResourceType::from_url);
                match ours {
                    Some(
                        ResourceType::Listener
                        | ResourceType::Route
                        | ResourceType::Cluster
                        | ResourceType::Endpoint,
                    ) => self.add_json(document),
                    _ => fields.values().try_for_each(|one| self.add_document(one)),
                }
            }
            _ => Ok(()),
        }
    }
}

/// The message in an `Any`, if it is of this type and whole.
pub(crate) fn unpack<M>(any: &Any) -> Option<M>
where
    Any: Unpack<M>,
{
    any.unpacked()
}

/// Unpacking without naming prost's traits at every call.
pub(crate) trait Unpack<M> {
    fn unpacked(&self) -> Option<M>;
}

macro_rules! unpacks {
    ($($message:ty),+ $(,)?) => {
        $(impl Unpack<$message> for Any {
            fn unpacked(&self) -> Option<$message> {
                self.unpack::<$message>()?.ok()
            }
        })+
    };
}

unpacks! {
    Listener,
    RouteConfiguration,
    Cluster,
    ClusterLoadAssignment,
    xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager,
    xds_api::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy,
    xds_api::envoy::extensions::filters::network::rbac::v3::Rbac,
    xds_api::envoy::extensions::filters::http::rbac::v3::Rbac,
    xds_api::envoy::extensions::filters::http::rbac::v3::RbacPerRoute,
    xds_api::envoy::extensions::filters::http::fault::v3::HttpFault,
    xds_api::envoy::extensions::filters::http::cors::v3::CorsPolicy,
    xds_api::envoy::config::route::v3::FilterConfig,
}
