//! Status writing put together: what the writer thread reports, what the source notes, what is checked for the leader,
//! and who writes.

use std::future::Future;
use std::sync::Arc;

use anyhow::bail;
use prometheus_client::registry::Registry;
use reef_kube::Cluster;
use reef_kube::status::{StatusBook, StatusMetrics, StatusOptions, StatusTimes, StatusWriter};
use tokio::sync::watch;

use super::Settings;
use super::checker::Checker;
use super::shared::Shared;

/// Lease of whoever writes status.
const LEASE: &str = "reef-leader";

/// The parts of status writing, where it is asked for.
#[derive(Debug)]
pub(super) struct Status {
    book: StatusBook,
    metrics: StatusMetrics,
    namespace: String,
    domain: String,
}

impl Status {
    /// Nothing, unless the settings ask for it.
    ///
    /// # Errors
    /// If there is no cluster to write to.
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Option<Self>> {
        if !settings.status {
            return Ok(None);
        }
        if settings.cluster.is_none() {
            bail!("--status writes to a cluster, and --config-dir reads files");
        }
        Ok(Some(Self {
            book: StatusBook::default(),
            metrics: StatusMetrics::new(LEASE),
            namespace: settings.channel.namespace.clone(),
            domain: settings.mesh.domain.clone(),
        }))
    }

    /// Where the source notes what it sees.
    pub(super) fn book(&self) -> StatusBook {
        self.book.clone()
    }

    /// Registers what it counts, without a prefix.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Writes what is reported, and checks what else there is, until `end`, while this replica leads.
    pub(super) async fn run(
        self,
        cluster: Cluster,
        shared: Arc<Shared>,
        end: impl Future<Output = ()>,
    ) {
        let options = StatusOptions {
            namespace: self.namespace,
            lease: LEASE.to_owned(),
            instance: instance(),
            times: StatusTimes::default(),
        };
        let reported = shared.reported.subscribe();
        let (checks, checked) = watch::channel(None);
        let metrics = self.metrics.clone();
        let writer = StatusWriter::new(cluster, self.book, options, self.metrics, reported);
        let writer = writer.with_checks(checked);
        let checker = Checker {
            shared,
            domain: self.domain,
            metrics,
            terms: writer.terms(),
            checks,
        };
        tokio::select! {
            () = writer.run(end) => {}
            () = checker.run() => {}
        }
    }
}

/// This process as people know it.
fn instance() -> String {
    let host = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
    host.ok()
        .filter(|host| !host.is_empty() && host.len() <= 128)
        .unwrap_or_else(|| "reef".to_owned())
}
