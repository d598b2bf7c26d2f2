//! How seldom checks are, whom they are for, and that a term ends with what was found for it.

use reef_config::{Kind, Namespace, ObjectKey};
use tokio::time::timeout;

use super::*;
use crate::mesh::tests::snapshot;

const LONG: Duration = Duration::from_secs(3600);

/// A rule of the shop that leads nowhere, and one pod of the shop.
const LOST: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {nodeName: node}
status: {phase: Running, podIP: 10.1.0.1}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lost, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: nowhere}}]}]}
";

#[test]
fn runs_are_seldom_and_take_a_small_share_of_the_time() {
    let begin = Instant::now();
    let mut pace = Pace::default();
    assert_eq!(pace.next(begin, Duration::ZERO), begin);
    assert_eq!(pace.next(begin, QUIET), begin + QUIET);
    // A short run: ten seconds from beginning to beginning.
    let after = |millis| begin + Duration::from_millis(millis);
    pace.ended(begin, after(40), Duration::from_millis(20));
    assert_eq!(pace.next(after(50), QUIET), after(10_000));
    assert_eq!(pace.next(after(9_500), QUIET), after(10_500));
    assert_eq!(pace.next(after(60_000), QUIET), after(61_000));
    // A long one: twenty times what it worked, from its end.
    pace.ended(begin, after(6_000), Duration::from_secs(3));
    assert_eq!(pace.next(after(6_001), QUIET), after(66_000));
}

#[test]
fn a_run_rests_as_long_as_it_works() {
    let begin = clock::now();
    let after = |millis| begin + Duration::from_millis(millis);
    let mut breath = Breath::new(begin);
    assert_eq!(breath.rest(after(19)), None);
    assert_eq!(breath.rest(after(25)), Some(Duration::from_millis(25)));
    breath.rested(after(50));
    assert_eq!(breath.rest(after(60)), None);
    assert_eq!(breath.worked(after(60)), Duration::from_millis(35));
    assert_eq!(breath.rest(after(2050)), Some(LONGEST_REST));
    breath.rested(after(2250));
    assert_eq!(breath.worked(after(2250)), Duration::from_millis(2025));
}

#[test]
fn that_a_certificate_lacks_is_told_only_where_that_is_known() {
    let labelled = |namespace: &str, pod: &str| {
        let snapshot = snapshot(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{{namespace}}}}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop, labels: {{{pod}}}}}\n\
             spec: {{nodeName: node}}\nstatus: {{phase: Running, podIP: 10.1.0.1}}\n---\n\
             apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: strict, namespace: shop}}\n\
             spec: {{mtls: {{mode: STRICT}}}}\n"
        ));
        let found = look_now(&snapshot, "cluster.local", || true).unwrap();
        assert_eq!(found.classes, 1);
        let strict = ObjectKey::new(Kind::PeerAuthentication, "shop", "strict");
        let mut told = found.problems.iter();
        told.any(|problem| problem.object.as_ref() == Some(&strict))
    };
    assert!(labelled("istio.io/rev: reef", "app: web"));
    assert!(labelled("", "istio.io/rev: reef"));
    assert!(labelled("", "sidecar.istio.io/inject: 'true'"));
    assert!(labelled("istio-injection: enabled", ""));
    // It has one, or no sidecar, or nobody knows.
    assert!(!labelled(
        "istio.io/rev: reef",
        "security.istio.io/tlsMode: istio"
    ));
    assert!(!labelled(
        "istio.io/rev: reef",
        "sidecar.istio.io/inject: 'false'"
    ));
    assert!(!labelled("", "app: web"));
}

#[test]
fn pods_that_have_no_sidecar_for_sure_are_left_out() {
    let found = |spec: &str, phase: &str| {
        let snapshot = snapshot(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop}}\n\
             spec: {{nodeName: node{spec}}}\nstatus: {{phase: {phase}, podIP: 10.1.0.1}}\n"
        ));
        assert!(snapshot.pod(&Namespace::from("shop"), "web").is_some());
        look_now(&snapshot, "cluster.local", || true)
            .unwrap()
            .classes
    };
    assert_eq!(found("", "Running"), 1);
    assert_eq!(found("", "Succeeded"), 0);
    assert_eq!(found(", hostNetwork: true", "Running"), 0);
}

/// A checker, and what it is told by.
struct World {
    shared: Arc<Shared>,
    term: watch::Sender<Option<u64>>,
    checks: watch::Receiver<Option<Checked>>,
    metrics: StatusMetrics,
    task: tokio::task::JoinSet<()>,
}

impl World {
    fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let term = watch::Sender::new(None);
        let metrics = StatusMetrics::new("reef-leader");
        let (found, checks) = watch::channel(None);
        let checker = Checker {
            shared: Arc::clone(&shared),
            domain: "cluster.local".to_owned(),
            metrics: metrics.clone(),
            terms: term.subscribe(),
            checks: found,
        };
        let mut task = tokio::task::JoinSet::new();
        task.spawn(checker.run());
        Self {
            shared,
            term,
            checks,
            metrics,
            task,
        }
    }

    fn publish(&self, yaml: &str, revision: u64) {
        self.shared.snapshot.store(Some(snapshot(yaml)));
        self.shared.revision.send_replace(revision);
    }

    fn runs(&self) -> u64 {
        self.metrics.checks()
    }

    async fn check(&mut self) -> Option<Checked> {
        timeout(LONG, self.checks.changed()).await.unwrap().unwrap();
        self.checks.borrow_and_update().clone()
    }

    /// Whether anything is told within a while.
    async fn is_silent(&mut self, time: Duration) -> bool {
        timeout(time, self.checks.changed()).await.is_err()
    }
}

#[tokio::test(start_paused = true)]
async fn the_leader_checks_at_first_and_after_changes_and_forgets_with_its_term() {
    let mut world = World::start();
    world.publish(LOST, 1);
    assert!(world.is_silent(Duration::from_secs(60)).await, "no leader");
    assert_eq!(world.runs(), 0);

    world.term.send_replace(Some(3));
    let found = world.check().await.unwrap();
    let lost = ObjectKey::new(Kind::VirtualService, "shop", "lost");
    let told = found
        .problems
        .iter()
        .filter(|p| p.object.as_ref() == Some(&lost));
    assert_eq!(told.count(), 1, "{:?}", found.problems);
    assert_eq!((found.term, found.revision), (3, 1));

    // Endpoints alone publish a snapshot of the same revision: nothing to do.
    world.publish(LOST, 1);
    assert!(world.is_silent(Duration::from_secs(120)).await);
    assert_eq!(world.runs(), 1);

    // A storm of changes: one run at the least ten seconds after the last one.
    let mended = LOST.replace("nowhere", "web");
    world.publish(&mended, 2);
    let found = world.check().await.unwrap();
    assert_eq!(found.revision, 2);
    assert_eq!(found.problems.len(), 0, "{:?}", found.problems);
    let began = found.at;
    for revision in 3..20 {
        world.publish(LOST, revision);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = world.check().await.unwrap();
    assert_eq!(found.revision, 19);
    assert!(found.at >= began + EVERY, "{:?}", found.at - began);
    assert_eq!(world.runs(), 3);

    // Another leads, then this one again: its next term begins with a check of its own.
    world.term.send_replace(None);
    assert!(world.check().await.is_none());
    world.publish(&mended, 20);
    assert!(world.is_silent(Duration::from_secs(60)).await);
    world.term.send_replace(Some(4));
    let found = world.check().await.unwrap();
    assert_eq!((found.term, found.revision), (4, 20));
    drop(world.term);
    while world.task.join_next().await.is_some() {}
}
