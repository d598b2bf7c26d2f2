//! A server that runs: where it listens, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reef_server::service::DiscoveryServer;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use super::ports::Addresses;
use super::shared::{ServingCertificate, Shared};
use super::tasks::Tasks;

/// A server that runs; ends when drained or dropped.
#[derive(Debug)]
pub struct Running {
    pub(super) addresses: Addresses,
    pub(super) serving: Option<ServingCertificate>,
    pub(super) server: DiscoveryServer,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) tasks: Tasks,
    pub(super) drain_duration: Duration,
}

impl Running {
    /// Lets connections get older than their maximum age until told otherwise, for as long as newcomers cannot be
    /// authenticated.
    pub fn suspend_connection_age(&self, suspended: bool) {
        self.server.suspend_age(suspended);
    }

    /// The address xDS is served on.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// The address xDS is served on over TLS, if it is.
    #[must_use]
    pub fn secure_addr(&self) -> Option<SocketAddr> {
        self.addresses.secure
    }

    /// The certificate of the authority that Reef made and serves under, PEM; `None` if it did not, or not yet.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        self.serving.as_ref()?.borrow().as_ref()?.ca.clone()
    }

    /// The address of the HTTP port.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.addresses.http
    }

    /// The address of the monitoring port.
    #[must_use]
    pub fn monitoring_addr(&self) -> SocketAddr {
        self.addresses.monitoring
    }

    /// The address of the admission webhooks, if there are any.
    #[must_use]
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.addresses.https
    }

    /// Ends in order: not ready, streams end spread over the drain duration, then the sockets and the writer.
    pub async fn drain(mut self) {
        self.shared.drain();
        // Half for the streams to leave one by one, half for what they still have to say.
        let window = self.drain_duration / 2;
        let limit = self.drain_duration;
        if timeout(limit, self.server.drain(window)).await.is_err() {
            warn!("streams were still open at the end of the drain duration");
        }
        self.stop.send_replace(true);
        let ended = self.tasks.ended();
        if timeout(Duration::from_secs(1), ended).await.is_err() {
            warn!("requests were still running at the end");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
