//! A minimal delta client: subscribes as Envoy does, acknowledges everything, counts what it gets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use prost::Message as _;
use reef_xds::ResourceType;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::core::v3::{Node, address::Address};
use xds_api::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint::HostIdentifier};
use xds_api::envoy::config::listener::v3::{Listener, filter::ConfigType};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use xds_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use crate::channel::Channel;

/// What a client got so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Responses.
    pub(crate) responses: u64,
    /// Resources in them.
    pub(crate) resources: u64,
    /// Encoded bytes of the responses.
    pub(crate) bytes: u64,
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    /// Names subscribed to and not received yet, by type.
    missing: BTreeMap<ResourceType, BTreeSet<String>>,
    /// Load assignments and routes it asked for ever.
    asked: BTreeMap<ResourceType, BTreeSet<String>>,
    seen: BTreeSet<ResourceType>,
    /// What it got.
    pub(crate) counts: Counts,
}

impl Client {
    /// Connects on a connection of its own, as the proxy of this number, and subscribes to all clusters.
    pub(crate) async fn connect(channel: &Channel, proxy: usize, node: Node) -> Result<Self> {
        let connected = channel.connect().await?;
        let (requests, outgoing) = mpsc::channel(8);
        requests
            .send(DeltaDiscoveryRequest {
                node: Some(node),
                type_url: ResourceType::Cluster.type_url().to_owned(),
                ..DeltaDiscoveryRequest::default()
            })
            .await?;
        let request = channel.request(proxy, ReceiverStream::new(outgoing))?;
        let responses = AggregatedDiscoveryServiceClient::new(connected)
            .delta_aggregated_resources(request)
            .await
            .context("opening the stream")?
            .into_inner();
        Ok(Self {
            requests,
            responses,
            missing: BTreeMap::new(),
            asked: BTreeMap::new(),
            seen: BTreeSet::new(),
            counts: Counts::default(),
        })
    }

    /// Takes responses until it holds everything it refers to.
    pub(crate) async fn sync(&mut self) -> Result<()> {
        while !self.is_synced() {
            self.next().await?;
        }
        Ok(())
    }

    /// Takes responses until one holds a load assignment of this host.
    pub(crate) async fn endpoints_of(&mut self, host: &str) -> Result<()> {
        loop {
            let (ty, names) = self.next().await?;
            if ty == Some(ResourceType::Endpoint) && names.iter().any(|name| name.ends_with(host)) {
                return Ok(());
            }
        }
    }

    /// Whether anything comes within a short time, in which nothing should.
    pub(crate) async fn has_news(&mut self) -> Result<bool> {
        match tokio::time::timeout(Duration::from_millis(500), self.next()).await {
            Ok(news) => news.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    fn is_synced(&self) -> bool {
        [ResourceType::Cluster, ResourceType::Listener]
            .iter()
            .all(|ty| self.seen.contains(ty))
            && self.missing.values().all(BTreeSet::is_empty)
    }

    /// Takes a response; returns the addresses of the load assignments in it.
    pub(crate) async fn addresses(&mut self) -> Result<Vec<String>> {
        let (ty, response) = self.take().await?;
        let mut addresses = Vec::new();
        if ty == Some(ResourceType::Endpoint) {
            let bodies = response
                .resources
                .iter()
                .filter_map(|r| r.resource.as_ref());
            for body in bodies {
                let assignment = ClusterLoadAssignment::decode(body.value.clone())?;
                addresses.extend(addresses_of(&assignment));
            }
        }
        Ok(addresses)
    }

    /// Takes and acknowledges one response; returns its type and names.
    async fn next(&mut self) -> Result<(Option<ResourceType>, Vec<String>)> {
        let (ty, response) = self.take().await?;
        let names = response
            .resources
            .into_iter()
            .map(|resource| resource.name)
            .collect();
        Ok((ty, names))
    }

    /// Takes and acknowledges one response.
    async fn take(&mut self) -> Result<(Option<ResourceType>, DeltaDiscoveryResponse)> {
        let response = self
            .responses
            .message()
            .await?
            .context("the server ended the stream")?;
        self.counts.responses += 1;
        self.counts.resources += u64::try_from(response.resources.len())?;
        self.counts.bytes += u64::try_from(response.encoded_len())?;
        self.ask(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await?;
        let ty = ResourceType::from_url(&response.type_url);
        match ty {
            Some(ty @ ResourceType::Cluster) => self.clusters(ty, &response).await?,
            Some(ty @ ResourceType::Listener) => self.listeners(ty, &response).await?,
            Some(ty) => {
                if let Some(missing) = self.missing.get_mut(&ty) {
                    for resource in &response.resources {
                        missing.remove(&resource.name);
                    }
                }
            }
            None => {}
        }
        Ok((ty, response))
    }

    async fn clusters(
        &mut self,
        ty: ResourceType,
        response: &DeltaDiscoveryResponse,
    ) -> Result<()> {
        let mut names = Vec::new();
        for body in response
            .resources
            .iter()
            .filter_map(|resource| resource.resource.as_ref())
        {
            let cluster = Cluster::decode(body.value.clone())?;
            if let Some(eds) = cluster.eds_cluster_config {
                names.push(if eds.service_name.is_empty() {
                    cluster.name
                } else {
                    eds.service_name
                });
            }
        }
        let first = self.seen.insert(ty);
        self.subscribe(ResourceType::Endpoint, names).await?;
        if first {
            self.ask(DeltaDiscoveryRequest {
                type_url: ResourceType::Listener.type_url().to_owned(),
                ..DeltaDiscoveryRequest::default()
            })
            .await?;
        }
        Ok(())
    }

    async fn listeners(
        &mut self,
        ty: ResourceType,
        response: &DeltaDiscoveryResponse,
    ) -> Result<()> {
        let mut names = Vec::new();
        for body in response
            .resources
            .iter()
            .filter_map(|resource| resource.resource.as_ref())
        {
            let listener = Listener::decode(body.value.clone())?;
            let chains = listener
                .filter_chains
                .iter()
                .chain(&listener.default_filter_chain);
            for filter in chains.flat_map(|chain| &chain.filters) {
                if let Some(ConfigType::TypedConfig(any)) = &filter.config_type
                    && any.type_url.ends_with("HttpConnectionManager")
                    && let Some(RouteSpecifier::Rds(rds)) =
                        HttpConnectionManager::decode(any.value.clone())?.route_specifier
                {
                    names.push(rds.route_config_name);
                }
            }
        }
        self.seen.insert(ty);
        self.subscribe(ResourceType::Route, names).await
    }

    /// Subscribes to names not asked for yet.
    async fn subscribe(&mut self, ty: ResourceType, names: Vec<String>) -> Result<()> {
        let asked = self.asked.entry(ty).or_default();
        let new: Vec<String> = names
            .into_iter()
            .filter(|name| asked.insert(name.clone()))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.missing
            .entry(ty)
            .or_default()
            .extend(new.iter().cloned());
        self.ask(DeltaDiscoveryRequest {
            type_url: ty.type_url().to_owned(),
            resource_names_subscribe: new,
            ..DeltaDiscoveryRequest::default()
        })
        .await
    }

    async fn ask(&self, request: DeltaDiscoveryRequest) -> Result<()> {
        self.requests
            .send(request)
            .await
            .context("the request stream is closed")
    }
}

/// The addresses of a load assignment.
fn addresses_of(assignment: &ClusterLoadAssignment) -> Vec<String> {
    let localities = assignment.endpoints.iter();
    let endpoints = localities.flat_map(|locality| &locality.lb_endpoints);
    endpoints
        .filter_map(|endpoint| {
            let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else {
                return None;
            };
            match endpoint.address.as_ref()?.address.as_ref()? {
                Address::SocketAddress(socket) => Some(socket.address.clone()),
                _ => None,
            }
        })
        .collect()
}
