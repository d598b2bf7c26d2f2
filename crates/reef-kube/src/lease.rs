//! Leases: at most one of several processes does a thing at a time.
//!
//! A holder acts only while [`LeaseGuard::is_held`] says so, which ends before anybody else may take the lease; every
//! write of the lease names the version it replaces, so of two that try one fails. Whose clock is right does not matter:
//! another holder's lease counts as abandoned when it did not change for its duration as *this* process saw it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::time::Instant;

use crate::Cluster;

/// What a lease is called, who wants it, and for how long a holder may be silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// This process; unlike every other, also from its own predecessor of the same pod name.
    pub holder: String,
    /// How long a silent holder keeps it.
    pub duration: Duration,
}

/// A lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server refuses or does not answer.
    #[error("Lease {namespace}/{name}: {source}")]
    Request {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// Another has it.
    #[error("Lease {namespace}/{name} was taken by another")]
    Lost {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl LeaseError {
    /// Whether there is no such lease any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Request { source, .. }
            if matches!(&**source, kube::Error::Api(status) if status.code == 404))
    }
}

/// A lease that this process holds, until it is silent for too long.
#[derive(Debug)]
pub struct LeaseGuard {
    lease: Lease,
    until: Instant,
}

impl LeaseGuard {
    /// Whether it is held still, at `now`.
    #[must_use]
    pub fn is_held(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Until when it is held without being renewed.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// How often the lease has changed hands: who acts with a lower number acts too late.
    #[must_use]
    pub fn transitions(&self) -> i32 {
        let spec = self.lease.spec.as_ref();
        spec.and_then(|spec| spec.lease_transitions)
            .unwrap_or_default()
    }

    /// Whether the lease was there before it was taken: one that was not says nothing of who held it until it was
    /// deleted.
    #[must_use]
    pub fn was_there(&self) -> bool {
        self.transitions() > 0
    }
}

/// What was seen of another holder's lease.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    seen: Option<(Option<String>, Instant)>,
    free_at: Option<Instant>,
}

impl Watched {
    /// When the lease may be taken if its holder stays silent; `None` if nothing was seen of one.
    #[must_use]
    pub fn free_at(&self) -> Option<Instant> {
        self.free_at
    }
}

impl Cluster {
    /// Tries to take a lease: `get`, then `create` or `update`. `None` while another holds it.
    ///
    /// `watched` remembers between attempts what was seen; `now` is this process's time.
    ///
    /// # Errors
    /// [`LeaseError::Request`] if the API server does not answer.
    pub async fn acquire_lease(
        &self,
        options: &LeaseOptions,
        watched: &mut Watched,
        now: Instant,
    ) -> Result<Option<LeaseGuard>, LeaseError> {
        let leases = self.leases(options);
        let found = leases
            .get_opt(&options.name)
            .await
            .map_err(|source| options.failed(source))?;
        // What is in the answer may be as young as this, however long ago it was asked for.
        let seen_at = Instant::now().max(now);
        let Some(mut lease) = found else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(options.name.clone());
            lease.spec = Some(options.claim(None));
            let made = leases.create(&PostParams::default(), &lease).await;
            return options.guard(made, now);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != options.holder {
            let version = lease.metadata.resource_version.clone();
            let silent_for = spec
                .lease_duration_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map_or(options.duration, Duration::from_secs);
            match &watched.seen {
                Some((seen, since)) if *seen == version => {
                    if now.duration_since(*since) < silent_for {
                        return Ok(None);
                    }
                }
                _ => {
                    watched.seen = Some((version, seen_at));
                    watched.free_at = Some(seen_at + silent_for);
                    return Ok(None);
                }
            }
        }
        lease.spec = Some(options.claim(Some(&spec)));
        let taken = leases
            .replace(&options.name, &PostParams::default(), &lease)
            .await;
        options.guard(taken, now)
    }

    /// Renews a lease that is held: `update`.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] if another took it, [`LeaseError::Request`] if the API server does not answer; the lease is
    /// held until [`LeaseGuard::until`] then.
    pub async fn renew_lease(
        &self,
        options: &LeaseOptions,
        guard: &mut LeaseGuard,
        now: Instant,
    ) -> Result<(), LeaseError> {
        let mut lease = guard.lease.clone();
        lease.spec = Some(options.claim(lease.spec.as_ref()));
        let renewed = self
            .leases(options)
            .replace(&options.name, &PostParams::default(), &lease)
            .await;
        match options.guard(renewed, now)? {
            Some(renewed) => {
                *guard = renewed;
                Ok(())
            }
            None => {
                guard.until = now;
                Err(LeaseError::Lost {
                    namespace: options.namespace.clone(),
                    name: options.name.clone(),
                })
            }
        }
    }

    /// Gives a lease back, so that another need not wait: `update`.
    ///
    /// # Errors
    /// [`LeaseError::Request`] if the API server does not answer; the lease runs out then.
    pub async fn release_lease(
        &self,
        options: &LeaseOptions,
        guard: LeaseGuard,
    ) -> Result<(), LeaseError> {
        let mut lease = guard.lease;
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let released = self
            .leases(options)
            .replace(&options.name, &PostParams::default(), &lease)
            .await;
        // Taken by another already: it is given back all the more.
        options.guard(released, Instant::now()).map(|_lease| ())
    }

    fn leases(&self, options: &LeaseOptions) -> Api<Lease> {
        Api::namespaced(self.client().clone(), &options.namespace)
    }
}

impl LeaseOptions {
    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let mine = before.is_some_and(|spec| spec.holder_identity.as_ref() == Some(&self.holder));
        let now = MicroTime(Timestamp::now());
        let changed = before.map_or(0, |spec| {
            spec.lease_transitions.unwrap_or_default() + i32::from(!mine)
        });
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: before
                .filter(|_| mine)
                .and_then(|spec| spec.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(changed),
            ..LeaseSpec::default()
        }
    }

    /// What came of a write; `None` if another was faster. A lease counts from before it was asked for.
    fn guard(
        &self,
        written: kube::Result<Lease>,
        asked: Instant,
    ) -> Result<Option<LeaseGuard>, LeaseError> {
        match written {
            Ok(lease) => Ok(Some(LeaseGuard {
                lease,
                until: asked + self.duration,
            })),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn failed(&self, source: kube::Error) -> LeaseError {
        LeaseError::Request {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            source: Box::new(source),
        }
    }
}
