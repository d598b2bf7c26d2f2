//! A source of a fake API server, and what it has told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reef_config::{Change, ChangeBatch, Kind, MeshConfig, Object, ObjectKey, Problem};
use reef_kube::{
    Cluster, ClusterOptions, KindState, KindStates, KubeMetrics, KubeOptions, KubeSource, Times,
};
use reef_source::Source as _;
use reef_testkit::fake_api::FakeApi;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Nothing here takes longer, however slow the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Times that do not keep a test waiting.
pub(crate) fn quick() -> Times {
    Times {
        watch: Duration::from_secs(2),
        silence: Duration::from_secs(1),
        look_again: Duration::from_millis(200),
        gone: Duration::from_millis(600),
    }
}

/// Everything a source has told, as whoever listens holds it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) objects: BTreeMap<ObjectKey, Arc<Object>>,
    pub(crate) problems: BTreeMap<Arc<str>, Vec<Problem>>,
    pub(crate) mesh: Option<Arc<MeshConfig>>,
    pub(crate) synced: bool,
    /// Changes told.
    pub(crate) changes: usize,
    /// Deletions told.
    pub(crate) deleted: Vec<ObjectKey>,
    /// Batches that had deletions.
    pub(crate) withdrawals: usize,
    pub(crate) states: watch::Receiver<Arc<KindStates>>,
    pub(crate) metrics: KubeMetrics,
    batches: mpsc::Receiver<ChangeBatch>,
    _source: JoinSet<()>,
}

/// A client of a fake server.
pub(crate) async fn client(kubeconfig: &str) -> Cluster {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), kubeconfig).unwrap();
    Cluster::connect(&ClusterOptions {
        kubeconfig: Some(file.path().to_path_buf()),
        context: None,
    })
    .await
    .unwrap()
}

/// Follows a fake server.
pub(crate) async fn listen(api: &FakeApi) -> Listener {
    listen_with(&api.kubeconfig(), quick()).await
}

/// Follows the server of a kubeconfig.
pub(crate) async fn listen_with(kubeconfig: &str, times: Times) -> Listener {
    let options = KubeOptions {
        times,
        ..KubeOptions::default()
    };
    let source = KubeSource::new(client(kubeconfig).await, options);
    let states = source.states();
    let metrics = source.metrics().clone();
    let (emit, batches) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run(emit));
    Listener {
        objects: BTreeMap::new(),
        problems: BTreeMap::new(),
        mesh: None,
        synced: false,
        changes: 0,
        deleted: Vec::new(),
        withdrawals: 0,
        states,
        metrics,
        batches,
        _source: tasks,
    }
}

impl Listener {
    fn take(&mut self, batch: ChangeBatch) {
        self.synced |= batch.synced;
        self.changes += batch.changes.len();
        let withdraws = |change: &Change| matches!(change, Change::Delete(_));
        self.withdrawals += usize::from(batch.changes.iter().any(withdraws));
        for change in batch.changes {
            match change {
                Change::Apply(object) => {
                    self.objects.insert(object.key.clone(), object);
                }
                Change::Delete(key) => {
                    self.objects.remove(&key);
                    self.deleted.push(key);
                }
                Change::MeshConfig(config) => self.mesh = Some(config),
                Change::MeshNetworks(_) => {}
                Change::Problems { source, problems } => {
                    self.problems.remove(&source);
                    if !problems.is_empty() {
                        self.problems.insert(source, problems);
                    }
                }
            }
        }
    }

    /// Listens until something is true.
    pub(crate) async fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is(self) {
            tokio::select! {
                batch = self.batches.recv() => self.take(batch.expect("the source goes on")),
                // States and what a test looks at elsewhere differ without a batch.
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            assert!(
                Instant::now() < end,
                "not seen: {what}\n{:#?}",
                self.states.borrow()
            );
        }
    }

    pub(crate) async fn synced(&mut self) {
        self.until("the first list", |listener| listener.synced)
            .await;
    }

    /// Listens for a while in which something must stay true.
    pub(crate) async fn throughout(&mut self, time: Duration, is: impl Fn(&Self) -> bool) {
        let end = Instant::now() + time;
        while let Ok(batch) = timeout(end - Instant::now().min(end), self.batches.recv()).await {
            self.take(batch.expect("the source goes on"));
            assert!(is(self), "{self:?}");
        }
        assert!(is(self), "{self:?}");
    }

    pub(crate) fn state(&self, kind: Kind) -> KindState {
        self.states.borrow().kinds[&kind].state.clone()
    }

    pub(crate) fn is_live(&self, kind: Kind) -> bool {
        self.state(kind) == KindState::Live
    }

    /// Whether every kind is followed.
    pub(crate) fn all_live(&self) -> bool {
        let states = self.states.borrow();
        states
            .kinds
            .values()
            .all(|kind| kind.state == KindState::Live)
    }

    /// Names of the objects of a kind.
    pub(crate) fn names(&self, kind: Kind) -> BTreeSet<String> {
        let of_kind = self.objects.keys().filter(|key| key.kind == kind);
        of_kind.map(|key| key.name.to_string()).collect()
    }

    /// A label of a service, to tell its versions apart.
    pub(crate) fn mark(&self, name: &str) -> Option<String> {
        let object = self.objects.get(&key(Kind::Service, name))?;
        object.meta.labels.get("mark").map(ToString::to_string)
    }
}

pub(crate) fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, "shop", name)
}

pub(crate) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) fn service(name: &str, mark: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "labels": {"mark": mark}},
        "spec": {"clusterIP": "10.1.0.1", "ports": [{"name": "http", "port": 80}]},
    })
}

/// The same in another namespace.
pub(crate) fn service_in(namespace: &str, name: &str, mark: &str) -> Value {
    let mut object = service(name, mark);
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// A namespace that is in the mesh or not, if selectors ask for that.
pub(crate) fn namespace_in(name: &str, mesh: &str) -> Value {
    let mut object = namespace(name);
    object["metadata"]["labels"] = json!({"mesh": mesh});
    object
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn pod(name: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": phase, "podIP": "10.2.0.1"},
    })
}

pub(crate) fn sidecar(name: &str, hosts: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"workloadSelector": {"labels": {"app": name}}, "egress": [{"hosts": hosts}]},
    })
}

/// A rule that names a service of the shop.
pub(crate) fn rule(kind: &str, name: &str) -> Value {
    let spec = match kind {
        "VirtualService" => json!({
            "hosts": [name],
            "http": [{"route": [{"destination": {"host": name, "subset": "one"}}]}],
        }),
        _ => json!({"host": name, "subsets": [{"name": "one", "labels": {"version": "one"}}]}),
    };
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
    })
}

pub(crate) fn mesh(text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": text},
    })
}
