//! The seam between this room and whoever makes resources: `reef` implements these traits over `reef-push`.
//!
//! Nothing here knows how a resource is made, and nothing here touches a socket. A proxy's stream asks the
//! [`ResourceProvider`] for a [`ProxySession`]; the session hands out a watch of [`ResourceView`]s (latest wins)
//! and is told what happened on the stream through [`StreamReport`]s.

use std::fmt::Debug;
#[cfg(feature = "shell")]
use std::future::Future;
use std::net::SocketAddr;
#[cfg(feature = "shell")]
use std::pin::Pin;
use std::sync::Arc;

use reef_xds::{EncodedResource, ResourceType, Version};

#[cfg(feature = "shell")]
use crate::debug::{Answering, Question};

/// Everything one proxy should hold at one moment; immutable, shared by all proxies of a class.
pub trait ResourceView: Send + Sync + Debug {
    /// Identity of the sequence of views this one belongs to.
    ///
    /// A different lineage means that generations cannot be compared (the proxy moved to another class): everything
    /// is compared again.
    fn lineage(&self) -> u64;

    /// Position within the lineage; grows with every published view.
    fn generation(&self) -> u64;

    /// The resource of this name, in or out of the wildcard set, or `None` if it does not exist for this proxy.
    fn resource(&self, ty: ResourceType, name: &str) -> Option<EncodedResource>;

    /// Calls `f` for every resource of the wildcard set of `ty`, in name order.
    fn for_each(&self, ty: ResourceType, f: &mut dyn FnMut(&EncodedResource));

    /// Number of resources in the wildcard set of `ty`. The default walks over them.
    fn count(&self, ty: ResourceType) -> usize {
        let mut count = 0;
        self.for_each(ty, &mut |_| count += 1);
        count
    }

    /// Names that may differ between `generation` of this lineage and this view; `None` when the log is too short
    /// and everything has to be compared.
    fn changed_since(&self, generation: u64) -> Option<Vec<(ResourceType, Arc<str>)>>;

    /// The negative form of a resource that does not exist (an empty `RouteConfiguration`, an empty
    /// `ClusterLoadAssignment`); `None` means that `removed_resources` is the right answer.
    fn absent(&self, ty: ResourceType, name: &str) -> Option<EncodedResource>;

    /// Whether `name` is in the wildcard set of `ty`.
    ///
    /// The default holds for providers whose every resource is in the wildcard set; a provider with on-demand
    /// resources outside of it overrides this.
    fn in_scope(&self, ty: ResourceType, name: &str) -> bool {
        self.resource(ty, name).is_some()
    }

    /// Name of the load assignment the cluster `cluster` reads, if it is an EDS cluster.
    ///
    /// The default holds where `service_name` equals the cluster's name.
    fn load_assignment_of(&self, cluster: &str) -> Option<Arc<str>> {
        self.resource(ResourceType::Endpoint, cluster)
            .map(|found| Arc::clone(found.name()))
    }
}

/// Where a proxy says it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locality {
    /// Region, empty if unknown.
    pub region: String,
    /// Zone, empty if unknown.
    pub zone: String,
    /// Sub-zone, empty if unknown.
    pub sub_zone: String,
}

/// What the client said about itself in the first request of its stream. Nothing in it is authenticated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeInfo {
    /// Node id, never empty.
    pub id: String,
    /// `node.cluster`.
    pub cluster: String,
    /// `node.user_agent_name`: `envoy`, or `gRPC …` for proxyless clients.
    pub user_agent_name: String,
    /// Version of the user agent, in whichever form the client gave it (`1.40.0`), empty if it gave none.
    pub user_agent_version: String,
    /// `node.metadata` as JSON; `Value::Null` if there was none.
    pub metadata: serde_json::Value,
    /// `node.locality`.
    pub locality: Locality,
    /// `node.client_features`, in the order given.
    pub client_features: Vec<String>,
}

/// What the transport knows about the other end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Address of the connection; `None` for in-memory transports.
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted, so that a token on it is nobody else's to read.
    pub tls: bool,
    /// Bearer token from the `authorization` header, without its scheme. Never logged.
    pub bearer_token: Option<BearerToken>,
    /// Whether the stream is aggregated (ADS) or of a single-type service.
    pub aggregated: bool,
    /// Whether the stream speaks the incremental (delta) form.
    pub delta: bool,
}

/// A credential that does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

impl BearerToken {
    /// Wraps a token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself, for whoever verifies it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

/// Why a provider does not serve a proxy. The gRPC status is chosen from it in one place ([`crate::status`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node message cannot be used; the client must not expect a retry to help.
    #[error("node is not acceptable: {reason}")]
    BadNode {
        /// What is wrong.
        reason: String,
    },
    /// A question for debug data makes no sense.
    #[error("the question cannot be answered: {reason}")]
    BadQuestion {
        /// What is wrong.
        reason: String,
    },
    /// The server's own caches are not complete yet; the client retries with its back-off.
    #[error("not ready: {reason}")]
    NotReady {
        /// What is missing.
        reason: String,
    },
    /// The credential is missing or not valid.
    #[error("not authenticated: {reason}")]
    Unauthenticated {
        /// What is wrong.
        reason: String,
    },
    /// The peer may not receive what this node asks for.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// What is not permitted.
        reason: String,
    },
}

/// The future [`ResourceProvider::open`] returns; boxed so that the trait can be made into an object.
#[cfg(feature = "shell")]
pub type OpenSession<'a> =
    Pin<Box<dyn Future<Output = Result<Box<dyn ProxySession>, Refusal>> + Send + 'a>>;

/// The future [`ResourceProvider::admit`] returns; boxed so that the trait can be made into an object.
#[cfg(feature = "shell")]
pub type Admitting<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// Decides who is served, and with what.
#[cfg(feature = "shell")]
pub trait ResourceProvider: Send + Sync + 'static {
    /// Looks at a peer before its first request is read; who is refused here is not listened to.
    ///
    /// The default refuses nobody.
    ///
    /// # Errors
    /// A [`Refusal`] ends the stream with the status that [`crate::status`] gives it.
    fn admit<'a>(&'a self, _peer: &'a Peer) -> Admitting<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Opens the session of one stream; called once per stream, after its first request.
    ///
    /// # Errors
    /// A [`Refusal`] ends the stream with the status that [`crate::status`] gives it.
    fn open<'a>(&'a self, node: &'a Arc<NodeInfo>, peer: &'a Peer) -> OpenSession<'a>;

    /// Answers a question for debug data; called for each question, so that each is decided anew.
    ///
    /// The default has no such data.
    ///
    /// # Errors
    /// A [`Refusal`] ends the stream with the status that [`crate::status`] gives it.
    fn debug<'a>(
        &'a self,
        _node: &'a NodeInfo,
        _peer: &'a Peer,
        question: &'a Question,
    ) -> Answering<'a> {
        let reason = format!("there is no `{}` here", question.type_url);
        Box::pin(async { Err(Refusal::NotPermitted { reason }) })
    }
}

/// One connected stream; dropped when it ends.
#[cfg(feature = "shell")]
pub trait ProxySession: Send {
    /// A watch of the views of this proxy; a change wakes the stream, and only the latest counts.
    fn views(&mut self) -> tokio::sync::watch::Receiver<Arc<dyn ResourceView>>;

    /// Takes note of something that happened on the stream. Must be quick: it is called from the stream's task.
    fn report(&self, event: StreamReport);

    /// Whether somebody wants to know the names this stream is subscribed to; called when the server was asked for names.
    fn wants_names(&self) -> bool {
        false
    }

    /// Until when the stream may go on, such as until its credential expires; asked again then, so that it may be later.
    /// `None` is for ever.
    fn valid_until(&self) -> Option<tokio::time::Instant> {
        None
    }
}

/// The subscription of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The type.
    pub ty: ResourceType,
    /// Whether it is subscribed by wildcard.
    pub wildcard: bool,
    /// Explicitly named resources, in order.
    pub names: Vec<Arc<str>>,
}

/// What a stream tells its session, for status pages and the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamReport {
    /// The subscription of a type changed.
    Subscribed {
        /// The type.
        ty: ResourceType,
        /// Whether the type is subscribed by wildcard.
        wildcard: bool,
        /// Number of explicitly named resources.
        names: usize,
    },
    /// A response was handed to the transport.
    Sent {
        /// The type.
        ty: ResourceType,
        /// The response's nonce.
        nonce: Arc<str>,
        /// The type's version on `SotW`; on delta the version of the view (debugging only).
        version: Arc<str>,
        /// Encoded size of the response.
        bytes: usize,
        /// Resources and removals in it.
        resources: usize,
        /// Generation of the view it was made from.
        generation: u64,
    },
    /// The client took a response.
    Acked {
        /// The type.
        ty: ResourceType,
        /// Nonce of the response.
        nonce: Arc<str>,
        /// Generation of the view the response was made from.
        generation: u64,
    },
    /// The client rejected a response, wholly or in part.
    Nacked {
        /// The type.
        ty: ResourceType,
        /// Nonce of the response.
        nonce: Arc<str>,
        /// Names that were in it, resources and removals.
        names: Vec<Arc<str>>,
        /// gRPC code the client gave.
        code: i32,
        /// The client's text, truncated; may contain whole resources, never parse it.
        detail: String,
    },
    /// A resource was rejected when sent alone; it is not sent to this node id again until its content changes.
    Rejected {
        /// The type.
        ty: ResourceType,
        /// Its name.
        name: Arc<str>,
        /// The rejected content.
        version: Version,
    },
    /// A `SotW` client dropped its wildcard subscription of clusters for explicit names: a misconfigured proxy
    /// (on-demand clusters over `SotW`), which loses all its other clusters.
    WildcardLost {
        /// The type.
        ty: ResourceType,
    },
    /// What the stream is subscribed to, as its session wanted to know.
    Names(Vec<Watched>),
    /// The client has taken everything that is to be sent at this generation.
    Settled {
        /// Generation of the view.
        generation: u64,
    },
}
