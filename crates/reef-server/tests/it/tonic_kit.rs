//! A server and clients over real sockets, with a scripted provider.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reef_server::debug::{Answering, Findings, Question};
use reef_server::metrics::ServerMetrics;
use reef_server::protocol::Options;
use reef_server::provider::{
    NodeInfo, OpenSession, Peer, ProxySession, Refusal, ResourceProvider, ResourceView,
    StreamReport,
};
use reef_server::service::{DiscoveryServer, STUCK_AFTER};
use reef_xds::ResourceType;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use xds_api::Any;
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};

use crate::kit::*;

pub(crate) const ADS: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService";

/// How much a client takes without reading, in bytes. Small, so that one that stops reading is soon full.
const WINDOW: u32 = 1 << 16;

pub(crate) struct Scripted {
    pub(crate) views: watch::Sender<Arc<dyn ResourceView>>,
    pub(crate) reports: Arc<Mutex<Vec<StreamReport>>>,
    pub(crate) opened: Mutex<Vec<(Arc<NodeInfo>, Peer)>>,
}

pub(crate) struct Session(
    watch::Receiver<Arc<dyn ResourceView>>,
    Arc<Mutex<Vec<StreamReport>>>,
);

impl ProxySession for Session {
    fn views(&mut self) -> watch::Receiver<Arc<dyn ResourceView>> {
        self.0.clone()
    }

    fn report(&self, event: StreamReport) {
        self.1.lock().push(event);
    }

    fn wants_names(&self) -> bool {
        true
    }
}

impl ResourceProvider for Scripted {
    fn open<'a>(&'a self, node: &'a Arc<NodeInfo>, peer: &'a Peer) -> OpenSession<'a> {
        Box::pin(async move {
            match node.id.as_str() {
                "early" => {
                    return Err(Refusal::NotReady {
                        reason: "caches".into(),
                    });
                }
                "foreign" => {
                    return Err(Refusal::NotPermitted {
                        reason: "other namespace".into(),
                    });
                }
                "panic" => panic!("a defect in a provider"),
                _ => {}
            }
            self.opened.lock().push((Arc::clone(node), peer.clone()));
            Ok(
                Box::new(Session(self.views.subscribe(), Arc::clone(&self.reports)))
                    as Box<dyn ProxySession>,
            )
        })
    }

    fn debug<'a>(
        &'a self,
        node: &'a NodeInfo,
        _: &'a Peer,
        question: &'a Question,
    ) -> Answering<'a> {
        Box::pin(async move {
            if node.id == "foreign" {
                return Err(Refusal::NotPermitted {
                    reason: "other namespace".into(),
                });
            }
            let resources = question.names.iter().map(|name| Any {
                type_url: "echo".to_owned(),
                value: name.clone().into(),
            });
            Ok(Findings {
                resources: resources.collect(),
                identifier: format!("asked by {}", node.id),
            })
        })
    }
}

pub(crate) struct Server {
    pub(crate) provider: Arc<Scripted>,
    pub(crate) server: DiscoveryServer,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: ServerMetrics,
    pub(crate) tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(world: &World) -> Self {
        Self::start_with(world, STUCK_AFTER).await
    }

    /// A server that ends streams nobody reads after `stuck_after`.
    pub(crate) async fn start_with(world: &World, stuck_after: Duration) -> Self {
        let provider = Arc::new(Scripted {
            views: watch::Sender::new(world.view()),
            reports: Arc::default(),
            opened: Mutex::default(),
        });
        let metrics = ServerMetrics::new();
        let server = DiscoveryServer::with_stuck_after(
            provider.clone(),
            "reef-test",
            Options::default(),
            metrics.clone(),
            stuck_after,
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let serving = server.clone();
        tasks.spawn(async move {
            serving
                .serve(listener, std::future::pending())
                .await
                .unwrap();
        });
        Self {
            provider,
            server,
            address,
            metrics,
            tasks,
        }
    }

    pub(crate) fn metrics(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    pub(crate) async fn open<Q, R>(&self, path: &str) -> Client<Q, R>
    where
        Q: prost::Message + Default + 'static,
        R: prost::Message + Default + 'static,
    {
        open_on(self.channel().await, path).await
    }

    /// A connection; it connects anew when it was told to go.
    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address))
            .unwrap()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .connect()
            .await
            .unwrap()
    }

    pub(crate) async fn delta(&self) -> Client<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
        self.open(&format!("{ADS}/DeltaAggregatedResources")).await
    }

    pub(crate) async fn sotw(&self) -> Client<DiscoveryRequest, DiscoveryResponse> {
        self.open(&format!("{ADS}/StreamAggregatedResources")).await
    }
}

/// Opens a stream on a connection.
pub(crate) async fn open_on<Q, R>(channel: Channel, path: &str) -> Client<Q, R>
where
    Q: prost::Message + Default + 'static,
    R: prost::Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
    grpc.ready().await.unwrap();
    let (send, receive) = mpsc::channel(16);
    let response = grpc
        .streaming(
            tonic::Request::new(ReceiverStream::new(receive)),
            path.parse().unwrap(),
            ProstCodec::<Q, R>::default(),
        )
        .await
        .unwrap();
    Client {
        send,
        responses: response.into_inner(),
    }
}

pub(crate) struct Client<Q, R> {
    pub(crate) send: mpsc::Sender<Q>,
    pub(crate) responses: Streaming<R>,
}

impl<Q, R> Client<Q, R> {
    pub(crate) async fn send(&self, request: Q) {
        self.send
            .send(request)
            .await
            .unwrap_or_else(|_| panic!("the stream is open"));
    }

    pub(crate) async fn next(&mut self) -> Result<R, Status> {
        tokio::time::timeout(Duration::from_secs(10), self.responses.message())
            .await
            .expect("an answer in time")
            .map(|message| message.expect("the stream goes on"))
    }
}

pub(crate) fn node(id: &str) -> Option<Node> {
    Some(Node {
        id: id.into(),
        ..Node::default()
    })
}

pub(crate) fn first(ty: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: node("n1"),
        type_url: ty.type_url().into(),
        resource_names_subscribe: strings(names),
        ..DeltaDiscoveryRequest::default()
    }
}
