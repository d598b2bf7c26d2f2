//! What the writer publishes and everyone else reads: one pointer each, swapped whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use reef_config::{Kind, Problem};
use reef_kube::KindStates;
use reef_kube::status::Reported;
use reef_mesh::MeshSnapshot;
use reef_push::Sizes;
use tokio::sync::watch;

use super::certs::Serving;
use super::registry::Registry;

/// What is served with over TLS, once there is something.
pub(super) type ServingCertificate = watch::Receiver<Option<Arc<Serving>>>;

/// Read by streams and pages, written by the writer.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The latest snapshot; `None` until the initial list is complete.
    pub(super) snapshot: ArcSwapOption<MeshSnapshot>,
    /// The latest facts for pages.
    pub(super) facts: ArcSwap<Facts>,
    /// Its problems, for whoever writes them into the cluster; `None` until the initial list is complete.
    pub(super) reported: watch::Sender<Option<Reported>>,
    /// The version of everything but endpoints that is in the snapshot, at the least; 0 until there is one.
    pub(super) revision: watch::Sender<u64>,
    /// Connected streams.
    pub(super) registry: Arc<Registry>,
    /// How each kind of a cluster is followed; `None` where files are.
    pub(super) kinds: Option<watch::Receiver<Arc<KindStates>>>,
    /// The certificate of the encrypted ports; `None` where there are none.
    certificate: Option<ServingCertificate>,
    draining: AtomicBool,
}

/// What the writer knows besides the snapshot.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Problems of sources, objects, scopes and resources, sorted.
    pub(super) problems: Arc<[Problem]>,
    /// Objects by kind.
    pub(super) objects: BTreeMap<Kind, usize>,
    /// What the push engine holds.
    pub(super) sizes: Sizes,
    /// Pods that endpoints refer to and that are not there.
    pub(super) awaited_pods: usize,
}

impl Shared {
    /// Nothing yet, of a source whose kinds fare like this, to be served with that certificate.
    pub(super) fn following(
        kinds: Option<watch::Receiver<Arc<KindStates>>>,
        certificate: Option<ServingCertificate>,
    ) -> Self {
        Self {
            kinds,
            certificate,
            ..Self::default()
        }
    }

    /// What the initial list waits for, if somebody knows.
    pub(super) fn waiting(&self) -> Option<String> {
        self.kinds.as_ref()?.borrow().waiting()
    }

    /// Whether the initial list is complete and the process does not end.
    pub(super) fn serving(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Acquire) {
            Err("the server is shutting down")
        } else if self.snapshot.load().is_none() {
            Err("the initial list of objects is not complete")
        } else {
            Ok(())
        }
    }

    /// Whether all who may come can be served: as [`Self::serving`], and the encrypted ports have their certificate.
    pub(super) fn ready(&self) -> Result<(), &'static str> {
        self.serving()?;
        let certificate = self.certificate.as_ref();
        if certificate.is_some_and(|serving| serving.borrow().is_none()) {
            return Err("there is no serving certificate yet; the log says why");
        }
        Ok(())
    }

    /// No stream is accepted from now on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
