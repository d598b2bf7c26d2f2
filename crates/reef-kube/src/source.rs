//! The source: one follower per kind, each in a task of its own, and the hub that takes what they tell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use reef_config::{ChangeBatch, ClusterId, Kind};
use reef_source::Source;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::error;

use crate::decode::Decoder;
use crate::discovery::Discovery;
use crate::encoding::Encoding;
use crate::follow::{Common, Follower};
use crate::hub::Hub;
use crate::known::Known;
use crate::metrics::KubeMetrics;
use crate::reading::Reading;
use crate::resource::{FOLLOWED, Resource};
use crate::states::States;
use crate::status::StatusBook;
use crate::{Cluster, KindStates};

/// What followers may tell before the hub has taken it: one each.
const WAITING: usize = 32;

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
    /// What Kubernetes' own kinds are asked for in.
    pub encoding: Encoding,
}

impl Default for KubeOptions {
    fn default() -> Self {
        Self {
            cluster: ClusterId::default(),
            mesh_config_map: Some(("istio-system".to_owned(), "istio".to_owned())),
            times: Times::default(),
            encoding: Encoding::default(),
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
    book: Option<StatusBook>,
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
            book: None,
        }
    }

    /// Notes the status of Istio objects, too, for whoever writes it.
    #[must_use]
    pub fn noting(mut self, book: StatusBook) -> Self {
        self.book = Some(book);
        self
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
        let discovery = Discovery::new(
            self.cluster.clone(),
            FOLLOWED.iter().copied(),
            times,
            self.metrics.clone(),
        );
        let (tell, told) = mpsc::channel(WAITING);
        // Whose mesh configuration comes from elsewhere does not know what is read.
        let map = self.options.mesh_config_map.as_ref();
        let unknown = map.is_none().then(Reading::default);
        let readings = watch::Sender::new(unknown);
        let common = Common {
            cluster: self.cluster,
            times,
            encoding: self.options.encoding,
            states: self.states,
            metrics: self.metrics,
            streams: Arc::new(AtomicBool::new(true)),
            served: discovery.subscribe(),
            doubt: discovery.doubt(),
            histories: watch::Sender::new(0),
            reading: readings.subscribe(),
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
            let known = Known::new(kind, decoder).noting(self.book.clone());
            let task = tasks.spawn(Follower::new(common.clone(), resource, known).run());
            names.insert(task.id().to_string(), Some(kind));
        }
        let states = common.states.clone();
        drop(common);
        let watchdog = async {
            // None of them ends before the hub: each lives on after a panic. If one does, it is said.
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
            () = Hub::new(awaited, times, readings).run(told, out) => {}
            () = watchdog => {}
        }
    }
}
