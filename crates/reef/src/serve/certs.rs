//! Reef's serving certificate: from files, from a Secret of the user's, or made, kept in Secrets and rotated.
//!
//! Several replicas share what is made: whoever holds the Lease `reef-certs` writes, the others read. A certificate that
//! cannot be renewed for now stays in use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use reef_identity::certs::{self, KeyedCert, LEAF_LIFE};
use reef_kube::Cluster;
use reef_kube::lease::{LeaseOptions, Watched};
use reef_kube::secret::SecretError;
use reef_server::service::tls::Certificates;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::clock;

/// Secret with the authority that Reef makes.
const CA_SECRET: &str = "reef-ca";

/// Secret with the serving certificate that Reef makes.
const SERVING_SECRET: &str = "reef-serving";

/// ConfigMap with the authority's certificate, for people and injectors, and its key there.
const ROOT_MAP: (&str, &str) = ("reef-ca-root-cert", "root-cert.pem");

/// Lease of whoever makes certificates.
const LEASE: &str = "reef-certs";

/// How long a silent holder keeps that lease: a few requests.
const LEASE_LIFE: Duration = Duration::from_secs(15);

/// How often files are looked at: two small ones, from the page cache.
const FILES_EVERY: Duration = Duration::from_secs(2);

/// How often Secrets are looked at, and besides when a leaf has to be renewed. It has a month left then.
const SECRETS_EVERY: Duration = Duration::from_secs(600);

/// How soon they are looked at again at the earliest, even where the authority's own end leaves every leaf due.
const SECRETS_SOONEST: Duration = Duration::from_secs(10);

/// Between attempts while something is in the way, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// Files.
    Files {
        /// The chain, PEM.
        cert: PathBuf,
        /// The key, PEM.
        key: PathBuf,
    },
    /// A Secret that somebody else keeps.
    Secret {
        /// Whose API server.
        cluster: Cluster,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Secrets that Reef makes.
    Made {
        /// Whose API server.
        cluster: Cluster,
        /// Their namespace.
        namespace: String,
        /// Names the certificate must have.
        names: Vec<String>,
        /// This process, unlike every other.
        holder: String,
    },
}

/// What is served with; the authority is known only where Reef made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Serving {
    /// The certificate and its key.
    pub(super) leaf: KeyedCert,
    /// The authority's certificate, PEM.
    pub(super) ca: Option<String>,
}

/// Keeps the serving certificate current.
#[derive(Debug)]
pub(super) struct Keeper {
    origin: Origin,
    certificates: Arc<Certificates>,
    serving: watch::Sender<Option<Arc<Serving>>>,
    watched: Watched,
}

impl Keeper {
    /// A keeper of certificates from `origin`.
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            certificates: Arc::new(Certificates::default()),
            serving: watch::Sender::new(None),
            watched: Watched::default(),
        }
    }

    /// What TLS listeners take their certificate from; there is none at first.
    pub(super) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    /// What is served with, and when that changes.
    pub(super) fn serving(&self) -> watch::Receiver<Option<Arc<Serving>>> {
        self.serving.subscribe()
    }

    /// Takes a certificate from files now, so that wrong files end the start; others come when they come.
    ///
    /// # Errors
    /// If the files cannot be read or hold no certificate with its key.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        if matches!(self.origin, Origin::Files { .. }) {
            let _again = self.round().await?;
        }
        Ok(())
    }

    /// Keeps it current; never ends.
    pub(super) async fn run(mut self) {
        let mut retry = RETRY.0;
        loop {
            let wait = match self.round().await {
                Ok(Some(wait)) => {
                    retry = RETRY.0;
                    wait
                }
                // Another is making it.
                Ok(None) => RETRY.0,
                Err(error) => {
                    warn!(
                        error = format!("{error:#}"),
                        "the serving certificate cannot be kept current"
                    );
                    let wait = retry;
                    retry = (retry * 2).min(RETRY.1);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Looks once; says when to look again, or `None` if another process is about to change what there is.
    async fn round(&mut self) -> anyhow::Result<Option<Duration>> {
        match self.origin.clone() {
            Origin::Files { cert, key } => {
                let read = |path: &PathBuf| {
                    std::fs::read_to_string(path)
                        .with_context(|| format!("{} cannot be read", path.display()))
                };
                let leaf = KeyedCert {
                    cert: read(&cert)?,
                    key: read(&key)?,
                };
                self.take(leaf, None)?;
                Ok(Some(FILES_EVERY))
            }
            Origin::Secret {
                cluster,
                namespace,
                name,
            } => {
                let secret = cluster.tls_secret(&namespace, &name).await?;
                let leaf = KeyedCert {
                    cert: secret.cert,
                    key: secret.key,
                };
                self.take(leaf, None)
                    .with_context(|| format!("Secret {namespace}/{name}"))?;
                Ok(Some(SECRETS_EVERY / 10))
            }
            Origin::Made {
                cluster,
                namespace,
                names,
                holder,
            } => {
                let lease = LeaseOptions {
                    namespace: namespace.clone(),
                    name: LEASE.to_owned(),
                    holder,
                    duration: LEASE_LIFE,
                };
                self.made(&cluster, &namespace, &names, &lease).await
            }
        }
    }

    async fn made(
        &mut self,
        cluster: &Cluster,
        namespace: &str,
        names: &[String],
        lease: &LeaseOptions,
    ) -> anyhow::Result<Option<Duration>> {
        let current = read(cluster, namespace).await?;
        if !current.is_due(names) {
            return self.use_made(cluster, namespace, current).await.map(Some);
        }
        let Some(guard) = cluster
            .acquire_lease(lease, &mut self.watched, tokio::time::Instant::now())
            .await?
        else {
            return Ok(None);
        };
        let made = make(cluster, namespace, names).await;
        if let Err(error) = cluster.release_lease(lease, guard).await {
            warn!(%error, "a lease is not given back, it runs out");
        }
        match made {
            Ok(current) => self.use_made(cluster, namespace, current).await.map(Some),
            // Somebody without the lease, such as a person, was faster.
            Err(error) if error.downcast_ref::<SecretError>().is_some_and(is_conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Serves with it; returns when to look again.
    async fn use_made(
        &self,
        cluster: &Cluster,
        namespace: &str,
        current: Made,
    ) -> anyhow::Result<Duration> {
        let again = current.look_again(seconds());
        let ca = current.ca.cert;
        self.take(current.leaf, Some(ca.clone()))?;
        let (map, key) = ROOT_MAP;
        cluster.publish_text(namespace, map, key, &ca).await?;
        Ok(again)
    }

    fn take(&self, leaf: KeyedCert, ca: Option<String>) -> anyhow::Result<()> {
        let serving = Arc::new(Serving { leaf, ca });
        if self.serving.borrow().as_ref() == Some(&serving) {
            return Ok(());
        }
        self.certificates
            .set(&serving.leaf.cert, &serving.leaf.key)
            .context("the serving certificate is of no use")?;
        let until = certs::validity(&serving.leaf.cert).map(|(_, until)| until);
        let until = until.map(|until| clock::rfc3339(UNIX_EPOCH + Duration::from_secs(until)));
        info!(
            until = until.unwrap_or_default(),
            "serving certificate in use"
        );
        self.serving.send_replace(Some(serving));
        Ok(())
    }
}

fn is_conflict(error: &SecretError) -> bool {
    matches!(error, SecretError::Conflict { .. })
}

/// What the two Secrets hold.
struct Made {
    ca: KeyedCert,
    leaf: KeyedCert,
}

impl Made {
    fn is_due(&self, names: &[String]) -> bool {
        self.leaf.key.is_empty()
            || certs::needs_rotation(&self.leaf.cert, &self.ca.cert, names, seconds())
    }

    /// How long to leave it alone at `now`: until it has to be renewed, if that is soon.
    fn look_again(&self, now: u64) -> Duration {
        let due = certs::rotation_due(&self.leaf.cert).unwrap_or_default();
        Duration::from_secs(due.saturating_sub(now)).clamp(SECRETS_SOONEST, SECRETS_EVERY)
    }
}

async fn read(cluster: &Cluster, namespace: &str) -> Result<Made, SecretError> {
    let ca = cluster.tls_secret(namespace, CA_SECRET).await?;
    let leaf = cluster.tls_secret(namespace, SERVING_SECRET).await?;
    Ok(Made {
        ca: KeyedCert {
            cert: ca.cert,
            key: ca.key,
        },
        leaf: KeyedCert {
            cert: leaf.cert,
            key: leaf.key,
        },
    })
}

/// Makes what is missing; called by the holder of the lease.
async fn make(cluster: &Cluster, namespace: &str, names: &[String]) -> anyhow::Result<Made> {
    let now = seconds();
    let mut ca_secret = cluster.tls_secret(namespace, CA_SECRET).await?;
    if ca_secret.cert.is_empty() && ca_secret.key.is_empty() {
        let made = certs::make_ca("reef-ca", now)?;
        ca_secret = ca_secret.with(made.cert, made.key);
        cluster
            .put_tls_secret(namespace, CA_SECRET, &ca_secret)
            .await?;
        info!(secret = CA_SECRET, "certificate authority made");
    }
    let ca = KeyedCert {
        cert: ca_secret.cert,
        key: ca_secret.key,
    };
    let secret = cluster.tls_secret(namespace, SERVING_SECRET).await?;
    // Another may have made it just before.
    let mut leaf = KeyedCert {
        cert: secret.cert.clone(),
        key: secret.key.clone(),
    };
    if leaf.key.is_empty() || certs::needs_rotation(&leaf.cert, &ca.cert, names, now) {
        leaf = certs::issue_leaf(&ca, names, now, LEAF_LIFE)
            .with_context(|| format!("Secret {namespace}/{CA_SECRET} signs nothing"))?;
        let secret = secret.with(leaf.cert.clone(), leaf.key.clone());
        cluster
            .put_tls_secret(namespace, SERVING_SECRET, &secret)
            .await?;
        info!(secret = SERVING_SECRET, "serving certificate made");
    }
    Ok(Made { ca, leaf })
}

fn seconds() -> u64 {
    clock::wall()
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs())
        .unwrap_or_default()
}
