//! The source: one follower per kind, and the hub that makes batches of what they tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use reef_config::{Change, ChangeBatch, ClusterId, Kind, MeshConfig, Object, ObjectKey, Problem};
use reef_source::Source;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::error;

use crate::decode::Decoder;
use crate::discovery::Discovery;
use crate::follow::{Common, Follower, Told};
use crate::known::Known;
use crate::metrics::KubeMetrics;
use crate::resource::{FOLLOWED, Resource};
use crate::states::States;
use crate::{Cluster, KindStates};

/// What followers may tell before the hub has taken it: one each.
const WAITING: usize = 32;

/// Deletions found by a list wait for the other lists that are under way, so that nothing is withdrawn because one
/// list was faster than another; but not for ever.
const HELD_LONGEST: Duration = Duration::from_secs(10);

/// Changes of one batch while the receiver keeps up; more wait for the next.
const BATCH_MOST: usize = 10_000;

/// How long things take; the defaults are what a cluster needs, tests take less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long one watch lasts before the next begins; 60 s.
    pub watch: Duration,
    /// How much longer a silent connection is believed in; 5 s.
    pub silence: Duration,
    /// How often kinds that are not installed are looked for; 10 s.
    pub look_again: Duration,
    /// How long a kind must be missing before its objects are gone with it; 30 s.
    pub gone: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(60),
            silence: Duration::from_secs(5),
            look_again: Duration::from_secs(10),
            gone: Duration::from_secs(30),
        }
    }
}

/// What of a cluster is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeOptions {
    /// The cluster all objects belong to.
    pub cluster: ClusterId,
    /// Namespace and name of the ConfigMap with the mesh configuration; `None` if it comes from elsewhere.
    pub mesh_config_map: Option<(String, String)>,
    /// How long things take.
    pub times: Times,
}

impl Default for KubeOptions {
    fn default() -> Self {
        Self {
            cluster: ClusterId::default(),
            mesh_config_map: Some(("istio-system".to_owned(), "istio".to_owned())),
            times: Times::default(),
        }
    }
}

/// A cluster, followed as it changes.
///
/// Nothing is emitted before everything installed is listed; then all of it in one batch. An outage changes nothing
/// but the [`KindStates`].
#[derive(Debug)]
pub struct KubeSource {
    cluster: Cluster,
    options: KubeOptions,
    states: States,
    metrics: KubeMetrics,
}

impl KubeSource {
    /// A source of a cluster; nothing is asked before it runs.
    #[must_use]
    pub fn new(cluster: Cluster, options: KubeOptions) -> Self {
        let map = options.mesh_config_map.as_ref().map(|_| Kind::ConfigMap);
        Self {
            cluster,
            states: States::new(FOLLOWED.iter().copied().chain(map)),
            options,
            metrics: KubeMetrics::default(),
        }
    }

    /// How each kind is followed, now and whenever it differs.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<Arc<KindStates>> {
        self.states.subscribe()
    }

    /// What it counts, to be registered with its states.
    #[must_use]
    pub const fn metrics(&self) -> &KubeMetrics {
        &self.metrics
    }
}

impl Source for KubeSource {
    async fn run(self, out: mpsc::Sender<ChangeBatch>) {
        let times = self.options.times;
        let discovery = Discovery::new(self.cluster.clone(), FOLLOWED.iter().copied(), times);
        let (tell, told) = mpsc::channel(WAITING);
        let common = Common {
            cluster: self.cluster,
            times,
            states: self.states,
            metrics: self.metrics,
            streams: Arc::new(AtomicBool::new(true)),
            served: discovery.subscribe(),
            doubt: discovery.doubt(),
            out: tell,
        };
        let mut resources: Vec<Resource> = Vec::new();
        if let Some(one) = self.options.mesh_config_map {
            let kind = Kind::ConfigMap;
            let one = Some(one);
            resources.push(Resource { kind, one });
        }
        resources.extend(FOLLOWED.iter().copied().map(Resource::all));
        let awaited = resources.iter().map(|resource| resource.kind).collect();
        // Everything ends with this set, which ends with the future.
        let mut tasks = JoinSet::new();
        let mut names = BTreeMap::new();
        let task = tasks.spawn(discovery.run()).id();
        names.insert(task.to_string(), None);
        for resource in resources {
            let kind = resource.kind;
            let decoder = Decoder::new(kind, self.options.cluster.clone());
            let known = Known::new(kind, decoder);
            let task = tasks.spawn(Follower::new(common.clone(), resource, known).run());
            names.insert(task.id().to_string(), Some(kind));
        }
        let states = common.states.clone();
        drop(common);
        let watchdog = async {
            // None of them ends before the hub, unless it is a bug of ours.
            while let Some(ended) = tasks.join_next_with_id().await {
                let Err(failure) = ended else { continue };
                let kind = names.get(&failure.id().to_string()).copied().flatten();
                error!(?kind, %failure, "following ended, what was read stays in force");
                if let Some(kind) = kind {
                    states.stale(kind, Instant::now(), "following ended by a bug");
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = Hub::new(awaited).run(told, out) => {}
            () = watchdog => {}
        }
    }
}

/// Makes batches.
#[derive(Debug)]
struct Hub {
    /// Kinds whose first list is not complete.
    awaited: BTreeSet<Kind>,
    /// The first batch, which nobody has yet.
    first: Vec<Change>,
    synced: bool,
    waiting: Waiting,
    /// Kinds that are being listed again.
    relisting: BTreeSet<Kind>,
    /// What these lists found to be gone.
    held: Vec<Change>,
    held_until: Option<Instant>,
}

/// What differs and was not handed over: the last word on each thing.
#[derive(Debug, Default)]
struct Waiting {
    objects: BTreeMap<ObjectKey, Option<Arc<Object>>>,
    problems: BTreeMap<Arc<str>, Vec<Problem>>,
    mesh: Option<Arc<MeshConfig>>,
}

impl Waiting {
    fn add(&mut self, change: Change) {
        match change {
            Change::Apply(object) => {
                self.objects.insert(object.key.clone(), Some(object));
            }
            Change::Delete(key) => {
                self.objects.insert(key, None);
            }
            Change::MeshConfig(config) => self.mesh = Some(config),
            Change::Problems { source, problems } => {
                self.problems.insert(source, problems);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.problems.is_empty() && self.mesh.is_none()
    }

    fn take(&mut self) -> Vec<Change> {
        let Self {
            objects,
            problems,
            mesh,
        } = std::mem::take(self);
        let mesh = mesh.map(Change::MeshConfig);
        let objects = objects.into_iter().map(|(key, object)| match object {
            Some(object) => Change::Apply(object),
            None => Change::Delete(key),
        });
        let problems = problems
            .into_iter()
            .map(|(source, problems)| Change::Problems { source, problems });
        mesh.into_iter().chain(objects).chain(problems).collect()
    }
}

impl Hub {
    fn new(awaited: BTreeSet<Kind>) -> Self {
        Self {
            awaited,
            first: Vec::new(),
            synced: false,
            waiting: Waiting::default(),
            relisting: BTreeSet::new(),
            held: Vec::new(),
            held_until: None,
        }
    }

    async fn run(mut self, mut told: mpsc::Receiver<Told>, out: mpsc::Sender<ChangeBatch>) {
        loop {
            let ready = self.awaited.is_empty() && (!self.synced || !self.waiting.is_empty());
            tokio::select! {
                // What was told first, so that a batch is as large as the receiver is slow.
                biased;
                message = told.recv(), if self.waiting.objects.len() < BATCH_MOST => {
                    let Some(message) = message else { return };
                    self.take(message);
                }
                permit = out.reserve(), if ready => {
                    let Ok(permit) = permit else { return };
                    permit.send(self.batch());
                }
                () = until(self.held_until) => self.release(),
                () = out.closed() => return,
            }
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Changes(changes) => self.add(changes),
            Told::Relisting(kind) => {
                self.relisting.insert(kind);
            }
            Told::Listed(kind, gone) => {
                self.awaited.remove(&kind);
                self.relisting.remove(&kind);
                if !gone.is_empty() {
                    self.held.extend(gone);
                    self.held_until
                        .get_or_insert_with(|| Instant::now() + HELD_LONGEST);
                }
                if self.relisting.is_empty() {
                    self.release();
                }
            }
        }
    }

    fn add(&mut self, changes: Vec<Change>) {
        if !self.synced {
            self.first.extend(changes);
            return;
        }
        for change in changes {
            if let (Change::Apply(object), false) = (&change, self.held.is_empty()) {
                // It is there again.
                self.held
                    .retain(|held| !matches!(held, Change::Delete(key) if *key == object.key));
            }
            self.waiting.add(change);
        }
    }

    /// What was found to be gone is told.
    fn release(&mut self) {
        self.held_until = None;
        let held = std::mem::take(&mut self.held);
        if self.synced {
            held.into_iter().for_each(|change| self.waiting.add(change));
        } else {
            self.first.extend(held);
        }
    }

    fn batch(&mut self) -> ChangeBatch {
        let changes = if self.synced {
            self.waiting.take()
        } else {
            self.synced = true;
            std::mem::take(&mut self.first)
        };
        ChangeBatch {
            changes,
            synced: true,
        }
    }
}

/// Waits until a moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
