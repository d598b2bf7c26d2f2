//! Who must know of the authority that Reef makes: the pods it injects, and the API server that calls the webhooks.

use std::sync::Arc;
use std::time::Duration;

use reef_inject::{Authority, Settings};
use reef_kube::{Cluster, WebhookKind};
use tokio::sync::watch;
use tracing::warn;

use crate::serve::certs::Serving;

/// How soon it is tried again to tell the API server.
const RETRY: Duration = Duration::from_secs(10);

/// Tells both, and again whenever the authority changes; never ends.
///
/// Injection keeps an authority that its settings name: only the default, a ConfigMap that pods of other namespaces do
/// not have, gives way.
pub(in crate::serve) async fn follow(
    settings: watch::Sender<Arc<Settings>>,
    mut serving: watch::Receiver<Option<Arc<Serving>>>,
    namespace: String,
    cluster: Option<Cluster>,
    registered: Vec<WebhookKind>,
) {
    let is_default = settings.borrow().authority == Settings::default().authority;
    loop {
        let made = serving.borrow_and_update().clone();
        let ca = made.and_then(|serving| serving.ca.clone());
        let mut told = true;
        if let Some(ca) = ca {
            if is_default {
                settings.send_modify(|settings| {
                    Arc::make_mut(settings).authority = Authority::Inline(ca.clone());
                });
            }
            if let Some(cluster) = &cluster {
                told = tell(cluster, &registered, &namespace, &ca).await;
            }
        }
        let changed = async {
            if serving.changed().await.is_err() {
                // The last certificate stays.
                std::future::pending::<()>().await;
            }
        };
        if told {
            changed.await;
        } else {
            // Elapsed or changed: both are a reason to look again.
            let _either = tokio::time::timeout(RETRY, changed).await;
        }
    }
}

/// Lets the API server trust the certificate of the webhooks; says whether that worked.
async fn tell(cluster: &Cluster, registered: &[WebhookKind], namespace: &str, ca: &str) -> bool {
    let mut told = true;
    for kind in registered {
        let name = match kind {
            WebhookKind::Mutating => format!("reef-sidecar-injector-{namespace}"),
            WebhookKind::Validating => format!("reef-validator-{namespace}"),
        };
        // One that is absent is not installed.
        if let Err(error) = cluster.trust_webhooks(*kind, &name, ca).await {
            warn!(%error, "the API server does not know the authority of the webhooks yet");
            told = false;
        }
    }
    told
}
