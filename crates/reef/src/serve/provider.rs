//! The seam between `reef-server` and `reef-push`: a stream's session, seated in the push engine by the writer.

use std::sync::{Arc, OnceLock};

use reef_mesh::ProxyNode;
use reef_push::{ClassView, ProxyId};
use reef_server::debug::{Answering, Question};
use reef_server::provider::{
    Admitting, NodeInfo, OpenSession, Peer, ProxySession, Refusal, ResourceProvider, ResourceView,
    StreamReport,
};
use reef_xds::{EncodedResource, ResourceType};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::warn;

use super::access::Access;
use super::debug;
use super::identity::{Admitted, Gate, Lease};
use super::inspect::Pages;
use super::metrics::Metrics;
use super::registry::{Entry, Stream};
use super::shared::Shared;

/// A proxy that wants a seat.
#[derive(Debug)]
pub(super) struct Connect {
    /// Who it is.
    pub(super) node: Arc<ProxyNode>,
    /// About its stream.
    pub(super) peer: Peer,
    /// Where the seat goes.
    pub(super) reply: oneshot::Sender<Seat>,
}

/// A place in the push engine; given back when dropped, wherever that happens.
#[derive(Debug)]
pub(super) struct Seat {
    /// The stream, as the registry shows it.
    pub(super) stream: Arc<Stream>,
    /// Its identity in the engine.
    pub(super) proxy: ProxyId,
    /// Where it is given back.
    pub(super) departed: Arc<Departed>,
}

/// Seats given back and not yet taken note of. Holds at most as many as there are proxies.
#[derive(Debug, Default)]
pub(super) struct Departed {
    proxies: parking_lot::Mutex<Vec<ProxyId>>,
    /// Wakes the writer.
    pub(super) notify: Notify,
}

impl Departed {
    /// Takes all.
    pub(super) fn take(&self) -> Vec<ProxyId> {
        std::mem::take(&mut *self.proxies.lock())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.departed.proxies.lock().push(self.proxy);
        self.departed.notify.notify_one();
    }
}

/// Serves proxies from the push engine.
#[derive(Debug)]
pub(super) struct Provider {
    /// Asks the writer for seats.
    pub(super) connects: mpsc::Sender<Connect>,
    /// What is published.
    pub(super) shared: Arc<Shared>,
    /// Decides who is served.
    pub(super) gate: Arc<Gate>,
    /// Decides who may read debug data.
    pub(super) access: Arc<Access>,
    /// What debug data is made of; there as soon as streams are.
    pub(super) pages: Arc<OnceLock<Arc<Pages>>>,
    /// Counters.
    pub(super) metrics: Arc<Metrics>,
}

impl ResourceProvider for Provider {
    fn admit<'a>(&'a self, peer: &'a Peer) -> Admitting<'a> {
        Box::pin(self.gate.admit(peer))
    }

    fn open<'a>(&'a self, node: &'a Arc<NodeInfo>, peer: &'a Peer) -> OpenSession<'a> {
        Box::pin(async move {
            let Admitted {
                node: parsed,
                lease,
            } = self.gate.stream(node, peer).await?;
            let (reply, seat) = oneshot::channel();
            let connect = Connect {
                node: Arc::new(parsed),
                peer: peer.clone(),
                reply,
            };
            let gone = || Refusal::NotReady {
                reason: "the server is shutting down".to_owned(),
            };
            if self.connects.send(connect).await.is_err() {
                return Err(gone());
            }
            let Ok(seat) = seat.await else {
                return Err(gone());
            };
            tracing::debug!(node = %node.id, class = seat.stream.class(), "proxy seated");
            let entry = self.shared.registry.insert(Arc::clone(&seat.stream));
            let metrics = Arc::clone(&self.metrics);
            Ok(Box::new(Session {
                seat,
                metrics,
                entry,
                lease,
            }) as Box<dyn ProxySession>)
        })
    }

    fn debug<'a>(
        &'a self,
        node: &'a NodeInfo,
        peer: &'a Peer,
        question: &'a Question,
    ) -> Answering<'a> {
        Box::pin(async move {
            let rights = self.access.stream(peer).await;
            let rights = rights.inspect_err(|refusal| {
                warn!(node = %node.id, peer = ?peer.address, %refusal, "debug request refused");
            })?;
            match self.pages.get() {
                Some(pages) => debug::answer(pages, rights, question).await,
                None => Err(Refusal::NotReady {
                    reason: "the server is starting".to_owned(),
                }),
            }
        })
    }
}

/// One stream's session.
#[derive(Debug)]
struct Session {
    seat: Seat,
    metrics: Arc<Metrics>,
    entry: Entry,
    lease: Lease,
}

impl ProxySession for Session {
    fn views(&mut self) -> watch::Receiver<Arc<dyn ResourceView>> {
        self.seat.stream.view.clone()
    }

    fn report(&self, event: StreamReport) {
        if let StreamReport::Names(names) = &event {
            self.entry.tell(names);
            return;
        }
        let taken = self.seat.stream.report(&event);
        self.metrics.stream(&event, &taken);
        let node = &self.seat.stream.node.id;
        match event {
            StreamReport::Nacked {
                ty, names, detail, ..
            } => {
                warn!(%node, ty = %ty, resources = names.len(), detail, "response rejected by the proxy");
            }
            StreamReport::Rejected { ty, name, .. } => {
                warn!(%node, ty = %ty, %name, "resource rejected alone, held back until it changes");
            }
            StreamReport::WildcardLost { ty } => {
                warn!(%node, ty = %ty, "proxy dropped its wildcard subscription");
            }
            _ => {}
        }
    }

    fn wants_names(&self) -> bool {
        self.entry.is_asked()
    }

    fn valid_until(&self) -> Option<tokio::time::Instant> {
        self.lease.until().map(Into::into)
    }
}

/// The view of a class, in the form the server asks for.
#[derive(Debug)]
pub(crate) struct View(pub(crate) Arc<ClassView>);

impl ResourceView for View {
    fn lineage(&self) -> u64 {
        self.0.lineage()
    }

    fn generation(&self) -> u64 {
        self.0.generation()
    }

    fn resource(&self, ty: ResourceType, name: &str) -> Option<EncodedResource> {
        self.0.resource(ty, name)
    }

    fn for_each(&self, ty: ResourceType, f: &mut dyn FnMut(&EncodedResource)) {
        self.0.for_each(ty, f);
    }

    fn count(&self, ty: ResourceType) -> usize {
        self.0.len(ty)
    }

    /// A class has nothing that is had on demand only.
    fn in_scope(&self, _: ResourceType, _: &str) -> bool {
        true
    }

    fn changed_since(&self, generation: u64) -> Option<Vec<(ResourceType, Arc<str>)>> {
        self.0.changed_since(generation)
    }

    fn absent(&self, ty: ResourceType, name: &str) -> Option<EncodedResource> {
        self.0.absent(ty, name)
    }
}
