//! Which path is which method, as one tower service for all of them.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request as HttpRequest, Response as HttpResponse};
use prost::Message;
use reef_xds::ResourceType;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

use super::Shared;
use super::body::{Epitaph, StreamBody};
use super::connection::Carrier;
use super::requests::Requests;
use super::stream::{Opening, Outlet, RESPONSES_WAITING, run};
use super::wire::{from_delta, from_sotw};
use crate::protocol::{Request, Variant};
use crate::provider::{BearerToken, Peer};

/// One discovery service of the protocol.
pub(super) trait Service: Send + Sync + 'static {
    /// Full name of the gRPC service.
    const NAME: &'static str;
    /// Its type; `None` is ADS.
    const ONLY: Option<ResourceType>;
    /// Its `SotW` method, if it has one.
    const SOTW: Option<&'static str>;
    /// Its delta method.
    const DELTA: &'static str;
}

macro_rules! services {
    ($($(#[$doc:meta])* $marker:ident: $name:literal, $only:expr, $sotw:expr, $delta:literal;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub(super) struct $marker;

            impl Service for $marker {
                const NAME: &'static str = $name;
                const ONLY: Option<ResourceType> = $only;
                const SOTW: Option<&'static str> = $sotw;
                const DELTA: &'static str = $delta;
            }
        )+

        /// All services.
        pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
            let mut routes = Routes::builder();
            $( routes.add_service(XdsService::<$marker>::new(Arc::clone(shared))); )+
            routes.routes()
        }
    };
}

services! {
    /// Every type on one stream.
    Aggregated: "envoy.service.discovery.v3.AggregatedDiscoveryService", None,
        Some("StreamAggregatedResources"), "DeltaAggregatedResources";
    /// CDS.
    Clusters: "envoy.service.cluster.v3.ClusterDiscoveryService", Some(ResourceType::Cluster),
        Some("StreamClusters"), "DeltaClusters";
    /// EDS.
    Endpoints: "envoy.service.endpoint.v3.EndpointDiscoveryService", Some(ResourceType::Endpoint),
        Some("StreamEndpoints"), "DeltaEndpoints";
    /// LDS.
    Listeners: "envoy.service.listener.v3.ListenerDiscoveryService", Some(ResourceType::Listener),
        Some("StreamListeners"), "DeltaListeners";
    /// RDS.
    RouteTables: "envoy.service.route.v3.RouteDiscoveryService", Some(ResourceType::Route),
        Some("StreamRoutes"), "DeltaRoutes";
    /// SRDS.
    ScopedRoutes: "envoy.service.route.v3.ScopedRoutesDiscoveryService", Some(ResourceType::ScopedRoute),
        Some("StreamScopedRoutes"), "DeltaScopedRoutes";
    /// VHDS.
    VirtualHosts: "envoy.service.route.v3.VirtualHostDiscoveryService", Some(ResourceType::VirtualHost),
        None, "DeltaVirtualHosts";
    /// SDS.
    Secrets: "envoy.service.secret.v3.SecretDiscoveryService", Some(ResourceType::Secret),
        Some("StreamSecrets"), "DeltaSecrets";
    /// ECDS.
    Extensions: "envoy.service.extension.v3.ExtensionConfigDiscoveryService", Some(ResourceType::ExtensionConfig),
        Some("StreamExtensionConfigs"), "DeltaExtensionConfigs";
    /// RTDS.
    Runtimes: "envoy.service.runtime.v3.RuntimeDiscoveryService", Some(ResourceType::Runtime),
        Some("StreamRuntime"), "DeltaRuntime";
}

/// The tower service of one discovery service.
#[derive(Debug)]
pub(super) struct XdsService<S> {
    shared: Arc<Shared>,
    service: PhantomData<fn() -> S>,
}

impl<S> Clone for XdsService<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            service: PhantomData,
        }
    }
}

impl<S> XdsService<S> {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            service: PhantomData,
        }
    }
}

impl<S: Service> NamedService for XdsService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service> tower::Service<HttpRequest<Body>> for XdsService<S> {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let response = if method == S::DELTA {
            open::<DeltaDiscoveryRequest>(
                &self.shared,
                Variant::Delta,
                S::ONLY,
                request,
                from_delta,
            )
        } else if S::SOTW == Some(method) {
            open::<DiscoveryRequest>(&self.shared, Variant::Sotw, S::ONLY, request, from_sotw)
        } else {
            Status::unimplemented("no such method").into_http()
        };
        ready(Ok(response))
    }
}

/// Starts the task of a stream and answers with its body.
fn open<M: Message + Default + 'static>(
    shared: &Arc<Shared>,
    variant: Variant,
    only: Option<ResourceType>,
    request: HttpRequest<Body>,
    read: fn(M) -> Request,
) -> HttpResponse<Body> {
    let (parts, body) = request.into_parts();
    if parts
        .headers
        .get("grpc-encoding")
        .is_some_and(|encoding| encoding != "identity")
    {
        return Status::unimplemented("compressed requests are not accepted").into_http();
    }
    let carrier = parts.extensions.get::<Carrier>();
    let peer = Peer {
        address: carrier.and_then(|carrier| carrier.peer),
        tls: carrier.is_some_and(|carrier| carrier.tls),
        bearer_token: bearer_token(&parts.headers),
        aggregated: only.is_none(),
        delta: variant == Variant::Delta,
    };
    let requests = Requests::<M>::new(body);
    let (sender, receiver) = mpsc::channel(RESPONSES_WAITING);
    let epitaph = Epitaph::default();
    let opening = Opening {
        variant,
        only,
        peer,
        leave: carrier.map(|carrier| Arc::clone(&carrier.leave)),
    };
    shared.spawn(Box::pin(run(
        Arc::clone(shared),
        opening,
        requests,
        read,
        Outlet {
            responses: sender,
            epitaph: Arc::clone(&epitaph),
        },
    )));
    let body = StreamBody::new(receiver, epitaph, shared.metrics.clone());
    let mut response = HttpResponse::new(Body::new(body));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

fn bearer_token(headers: &HeaderMap) -> Option<BearerToken> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| BearerToken::new(token.trim()))
}
