//! A client of ADS in its delta form: subscribes as Envoy does, acknowledges everything, remembers what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use prost::Message as _;
use reef_xds::ResourceType;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::cluster::v3::cluster::ClusterDiscoveryType;
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use xds_api::envoy::config::listener::v3::filter::ConfigType;
use xds_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use xds_api::google::rpc;

/// `DiscoveryType::EDS` of the Cluster message.
const EDS: i32 = 3;

/// The gRPC code Envoy rejects with.
const INTERNAL: i32 = 13;

/// One response, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The type.
    pub ty: ResourceType,
    /// Names of the resources in it, in order of the wire.
    pub names: Vec<String>,
    /// Names removed.
    pub removed: Vec<String>,
    /// Encoded size of the response.
    pub bytes: usize,
}

/// The client.
#[derive(Debug)]
pub struct DeltaClient {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    held: BTreeMap<ResourceType, BTreeMap<String, String>>,
    subscribed: BTreeMap<ResourceType, BTreeSet<String>>,
    reject: Option<String>,
}

impl DeltaClient {
    /// Rejects the next response with this text instead of taking it, as Envoy does with what it does not accept.
    pub fn reject_next(&mut self, text: &str) {
        self.reject = Some(text.to_owned());
    }

    /// Connects and subscribes to all clusters and listeners, as a proxy that starts.
    ///
    /// # Errors
    /// The status with which the server refuses the stream.
    pub async fn connect(server: SocketAddr, node: &str) -> Result<Self, Status> {
        Self::reconnect(server, node, BTreeMap::new()).await
    }

    /// Connects as a proxy that still holds `held`: version by name, by type.
    ///
    /// # Errors
    /// The status with which the server refuses the stream.
    pub async fn reconnect(
        server: SocketAddr,
        node: &str,
        held: BTreeMap<ResourceType, BTreeMap<String, String>>,
    ) -> Result<Self, Status> {
        let channel: Channel = Endpoint::from_shared(format!("http://{server}"))
            .map_err(|error| Status::invalid_argument(error.to_string()))?
            .connect()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let (requests, outgoing) = mpsc::channel(256);
        let mut first = true;
        let mut subscribed: BTreeMap<ResourceType, BTreeSet<String>> = BTreeMap::new();
        for ty in [
            ResourceType::Cluster,
            ResourceType::Listener,
            ResourceType::Endpoint,
            ResourceType::Route,
        ] {
            let initial = held.get(&ty).cloned().unwrap_or_default();
            let wildcard = matches!(ty, ResourceType::Cluster | ResourceType::Listener);
            if !wildcard && initial.is_empty() {
                continue;
            }
            let names: Vec<String> = if wildcard {
                vec!["*".to_owned()]
            } else {
                initial.keys().cloned().collect()
            };
            subscribed.insert(ty, names.iter().cloned().collect());
            let request = DeltaDiscoveryRequest {
                node: first.then(|| Node {
                    id: node.to_owned(),
                    ..Node::default()
                }),
                type_url: ty.type_url().to_owned(),
                resource_names_subscribe: names,
                initial_resource_versions: initial,
                ..DeltaDiscoveryRequest::default()
            };
            first = false;
            requests
                .send(request)
                .await
                .map_err(|error| Status::internal(error.to_string()))?;
        }
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(64 << 20);
        let responses = client
            .delta_aggregated_resources(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
            held,
            subscribed,
            reject: None,
        })
    }

    /// Waits for the next response, takes it, acknowledges it and subscribes to what it refers to.
    ///
    /// `None` if nothing came within `patience`.
    ///
    /// # Errors
    /// The status with which the stream ended.
    pub async fn next(&mut self, patience: Duration) -> Result<Option<Answer>, Status> {
        let Ok(message) = tokio::time::timeout(patience, self.responses.message()).await else {
            return Ok(None);
        };
        let response = message?.ok_or_else(|| Status::unavailable("the stream ended"))?;
        let ty = ResourceType::from_url(&response.type_url)
            .ok_or_else(|| Status::internal(format!("unknown type `{}`", response.type_url)))?;
        let ack = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: self.reject.take().map(|message| rpc::Status {
                code: INTERNAL,
                message,
                ..rpc::Status::default()
            }),
            ..DeltaDiscoveryRequest::default()
        };
        let rejected = ack.error_detail.is_some();
        self.send(ack).await?;
        let answer = Answer {
            ty,
            names: response
                .resources
                .iter()
                .map(|resource| resource.name.clone())
                .collect(),
            removed: response.removed_resources.clone(),
            bytes: response.encoded_len(),
        };
        if rejected {
            return Ok(Some(answer));
        }
        let mut wanted: BTreeMap<ResourceType, BTreeSet<String>> = BTreeMap::new();
        let held = self.held.entry(ty).or_default();
        for name in &response.removed_resources {
            held.remove(name);
        }
        for resource in response.resources {
            held.insert(resource.name, resource.version);
            if let Some(any) = resource.resource {
                match ty {
                    ResourceType::Cluster => {
                        wanted
                            .entry(ResourceType::Endpoint)
                            .or_default()
                            .extend(load_assignment(&any.value));
                    }
                    ResourceType::Listener => {
                        wanted
                            .entry(ResourceType::Route)
                            .or_default()
                            .extend(routes(&any.value));
                    }
                    _ => {}
                }
            }
        }
        for (ty, names) in wanted {
            let known = self.subscribed.entry(ty).or_default();
            let new: Vec<String> = names
                .into_iter()
                .filter(|name| known.insert(name.clone()))
                .collect();
            if !new.is_empty() {
                let request = DeltaDiscoveryRequest {
                    type_url: ty.type_url().to_owned(),
                    resource_names_subscribe: new,
                    ..DeltaDiscoveryRequest::default()
                };
                self.send(request).await?;
            }
        }
        Ok(Some(answer))
    }

    /// Takes responses until none comes for `quiet`.
    ///
    /// # Errors
    /// The status with which the stream ended.
    pub async fn settle(&mut self, quiet: Duration) -> Result<Vec<Answer>, Status> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next(quiet).await? {
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Version by name of everything held, by type.
    #[must_use]
    pub fn held(&self) -> &BTreeMap<ResourceType, BTreeMap<String, String>> {
        &self.held
    }

    /// Names held of one type.
    #[must_use]
    pub fn names(&self, ty: ResourceType) -> Vec<&str> {
        self.held
            .get(&ty)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .map(String::as_str)
            .collect()
    }

    async fn send(&self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        self.requests
            .send(request)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// The load assignment a cluster reads, if it is an EDS cluster.
fn load_assignment(cluster: &[u8]) -> Option<String> {
    let cluster = Cluster::decode(cluster).ok()?;
    match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(EDS)) => {
            let named = cluster
                .eds_cluster_config
                .map(|eds| eds.service_name)
                .filter(|name| !name.is_empty());
            Some(named.unwrap_or(cluster.name))
        }
        _ => None,
    }
}

/// Names of the route configurations a listener reads over RDS.
fn routes(listener: &[u8]) -> Vec<String> {
    let Ok(listener) = Listener::decode(listener) else {
        return Vec::new();
    };
    let chains = listener
        .filter_chains
        .iter()
        .chain(&listener.default_filter_chain);
    chains
        .flat_map(|chain| &chain.filters)
        .filter_map(|filter| match &filter.config_type {
            Some(ConfigType::TypedConfig(any))
                if any.type_url.ends_with(".HttpConnectionManager") =>
            {
                match HttpConnectionManager::decode(&*any.value)
                    .ok()?
                    .route_specifier?
                {
                    RouteSpecifier::Rds(rds) => Some(rds.route_config_name),
                    _ => None,
                }
            }
            _ => None,
        })
        .collect()
}
