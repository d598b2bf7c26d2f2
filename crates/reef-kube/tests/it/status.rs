//! Status writing over a fake API server: one leader, fenced, and nothing written twice.

use std::sync::Arc;
use std::time::Duration;

use reef_config::{ChangeBatch, Kind, Problem};
use reef_kube::leader::{Leader, LeaderTimes};
use reef_kube::status::{
    Checked, Reported, StatusBook, StatusMetrics, StatusOptions, StatusTimes, StatusWriter,
};
use reef_kube::{KubeOptions, KubeSource};
use reef_source::Source as _;
use reef_testkit::fake_api::{Asked, FakeApi, Instead};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::kit::{PATIENCE, client, key, quick};

fn leader_times() -> LeaderTimes {
    LeaderTimes {
        lease: Duration::from_secs(3),
        margin: Duration::from_secs(1),
        renew: Duration::from_millis(400),
        confirm: Duration::from_millis(200),
        poll: Duration::from_millis(200),
        request: Duration::from_millis(800),
    }
}

fn times(settle: Duration) -> StatusTimes {
    StatusTimes {
        leader: leader_times(),
        quiet: Duration::from_millis(100),
        settle,
        again: Duration::from_millis(300),
    }
}

/// One replica: a source with its book, and a writer.
struct Replica {
    reported: watch::Sender<Option<Reported>>,
    revision: u64,
    checks: watch::Sender<Option<Checked>>,
    terms: watch::Receiver<Option<u64>>,
    end: Option<oneshot::Sender<()>>,
    batches: mpsc::Receiver<ChangeBatch>,
    problems: Vec<Problem>,
    tasks: JoinSet<()>,
}

impl Replica {
    async fn start(api: &FakeApi, instance: &str) -> Self {
        Self::settling(api, instance, Duration::ZERO).await
    }

    async fn settling(api: &FakeApi, instance: &str, settle: Duration) -> Self {
        let cluster = client(&api.kubeconfig()).await;
        let book = StatusBook::default();
        let options = KubeOptions {
            times: quick(),
            ..KubeOptions::default()
        };
        let source = KubeSource::new(cluster.clone(), options).noting(book.clone());
        let (emit, batches) = mpsc::channel(64);
        let (reported, told) = watch::channel(None);
        let options = StatusOptions {
            namespace: "reef-system".to_owned(),
            lease: "reef-leader".to_owned(),
            instance: instance.to_owned(),
            times: times(settle),
        };
        let metrics = StatusMetrics::new("reef-leader");
        let (checks, checked) = watch::channel(None);
        let writer = StatusWriter::new(cluster, book, options, metrics, told).with_checks(checked);
        let terms = writer.terms();
        let (end, ended) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(source.run(emit));
        tasks.spawn(writer.run(async {
            // Dropped without a word is no end but a crash.
            if ended.await.is_err() {
                std::future::pending().await
            }
        }));
        Self {
            reported,
            revision: 1,
            checks,
            terms,
            end: Some(end),
            batches,
            problems: Vec::new(),
            tasks,
        }
    }

    /// As the writer thread of the binary does: after each batch all problems are reported again.
    fn report(&mut self, problems: &[Problem]) {
        self.problems = problems.to_vec();
        self.tell();
    }

    fn tell(&self) {
        self.reported.send_replace(Some(Reported {
            problems: Arc::from(self.problems.as_slice()),
            at: Instant::now(),
            revision: self.revision,
        }));
    }

    fn term(&self) -> u64 {
        self.terms.borrow().unwrap_or_default()
    }

    /// As the checker of the binary does, for a term.
    fn checked(&self, problems: &[Problem], term: u64) {
        self.checks.send_replace(Some(Checked {
            problems: Arc::from(problems),
            at: Instant::now(),
            revision: self.revision,
            term,
        }));
    }

    async fn pump(&mut self) {
        let mut any = false;
        while self.batches.try_recv().is_ok() {
            any = true;
        }
        if any {
            self.tell();
        }
    }
}

/// Lets replicas do until something is true.
async fn until(replicas: &mut [&mut Replica], what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "not seen: {what}");
        for replica in &mut *replicas {
            replica.pump().await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn pass(replicas: &mut [&mut Replica], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        for replica in &mut *replicas {
            replica.pump().await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn rule(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"hosts": [host]},
    })
}

fn wrong(name: &str, reason: &str) -> Problem {
    Problem::error("no-destination", reason).of(&key(Kind::VirtualService, name))
}

fn condition(api: &FakeApi, name: &str) -> Value {
    let object = api.get("virtualservices", "shop", name).unwrap_or_default();
    object["status"]["conditions"][0].clone()
}

fn is_write(asked: &Asked) -> bool {
    asked.path.ends_with("/status") || asked.plural() == "events" || asked.path.contains("/events/")
}

fn writes(api: &FakeApi) -> Vec<Asked> {
    api.asked().into_iter().filter(is_write).collect()
}

fn holder(api: &FakeApi) -> String {
    let lease = api.get("leases", "reef-system", "reef-leader");
    let lease = lease.unwrap_or_default();
    lease["spec"]["holderIdentity"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_is_written_once_and_cleared_when_it_goes() {
    let api = FakeApi::start().await;
    api.apply(rule("web", "web"));
    let generation = api.get("virtualservices", "shop", "web").unwrap()["metadata"]["generation"]
        .as_i64()
        .unwrap();
    let mut one = Replica::start(&api, "reef-1").await;
    one.report(&[wrong("web", "nobody has it")]);
    until(&mut [&mut one], "the condition", || {
        condition(&api, "web")["status"] == "False"
    })
    .await;
    let told = condition(&api, "web");
    assert_eq!(told["type"], "Reconciled");
    assert_eq!(told["reason"], "NoDestination");
    assert_eq!(told["message"], "nobody has it");
    assert_eq!(told["observedGeneration"], generation);
    until(&mut [&mut one], "the Event", || {
        !api.all("events").is_empty()
    })
    .await;
    let event = api.all("events").remove(0);
    assert_eq!(event["metadata"]["namespace"], "shop");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["involvedObject"]["name"], "web");
    assert_eq!(event["count"], 1);

    // Its own write is seen, reported again, and no reason to write.
    pass(&mut [&mut one], Duration::from_secs(2)).await;
    assert_eq!(writes(&api).len(), 2, "{:#?}", writes(&api));

    one.report(&[]);
    until(&mut [&mut one], "no condition", || {
        condition(&api, "web").is_null()
    })
    .await;
    until(&mut [&mut one], "a second Event", || {
        api.all("events").len() == 2
    })
    .await;

    // It comes again: the same Event counts on.
    one.report(&[wrong("web", "nobody has it")]);
    until(&mut [&mut one], "a count", || {
        api.all("events").iter().any(|event| event["count"] == 2)
    })
    .await;
    assert_eq!(api.all("events").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leader_takes_over_and_writes_nothing_that_is_right() {
    let api = FakeApi::start().await;
    api.apply(rule("web", "web"));
    api.apply(rule("cart", "cart"));
    let problems = [wrong("web", "nobody has it")];
    let mut one = Replica::start(&api, "reef-1").await;
    one.report(&problems);
    until(&mut [&mut one], "the condition", || {
        condition(&api, "web")["status"] == "False" && !api.all("events").is_empty()
    })
    .await;
    let mut two = Replica::start(&api, "reef-2").await;
    two.report(&problems);
    pass(&mut [&mut one, &mut two], Duration::from_secs(1)).await;
    assert!(holder(&api).starts_with("reef-1"), "{}", holder(&api));

    // A crash: nothing is given back.
    let before = writes(&api).len();
    one.tasks.shutdown().await;
    let crashed = Instant::now();
    until(&mut [&mut two], "another leader", || {
        holder(&api).starts_with("reef-2")
    })
    .await;
    let limit = leader_times().lease + Duration::from_secs(2);
    assert!(crashed.elapsed() <= limit, "{:?}", crashed.elapsed());
    pass(&mut [&mut two], Duration::from_secs(1)).await;
    assert_eq!(writes(&api).len(), before, "what is right is not written");
    two.report(&[wrong("web", "nobody has it"), wrong("cart", "neither")]);
    until(&mut [&mut two], "what is new", || {
        condition(&api, "cart")["message"] == "neither"
    })
    .await;
    let touched = writes(&api).split_off(before);
    assert!(
        touched.iter().all(|asked| !asked.path.contains("/web/")),
        "{touched:#?}"
    );

    // An end in order gives the lease back, and nobody waits for it.
    let mut three = Replica::start(&api, "reef-3").await;
    three.report(&problems);
    pass(&mut [&mut two, &mut three], Duration::from_millis(500)).await;
    let ended = Instant::now();
    assert!(two.end.take().unwrap().send(()).is_ok());
    until(&mut [&mut two, &mut three], "the third", || {
        holder(&api).starts_with("reef-3")
    })
    .await;
    assert!(
        ended.elapsed() < leader_times().lease,
        "{:?}",
        ended.elapsed()
    );
}

/// T39: whoever does not reach the API server stops before another begins, and a write of his that comes late fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_writes_nothing_while_another_leads() {
    let api = FakeApi::start().await;
    api.apply(rule("web", "web"));
    let mut one = Replica::start(&api, "reef-1").await;
    one.report(&[wrong("web", "first")]);
    until(&mut [&mut one], "the condition", || {
        condition(&api, "web")["message"] == "first"
    })
    .await;
    let mut two = Replica::start(&api, "reef-2").await;
    two.report(&[wrong("web", "first")]);
    pass(&mut [&mut one, &mut two], Duration::from_millis(600)).await;

    // Whatever the first asks to write comes five seconds late; it says so by what it writes.
    api.script(|asked| {
        let first = asked.written()["spec"]["holderIdentity"]
            .as_str()
            .is_some_and(|holder| holder.starts_with("reef-1"));
        (first || asked.body.contains("of the first"))
            .then_some(Instead::Late(Duration::from_secs(5)))
    });
    one.report(&[wrong("web", "of the first")]);
    two.report(&[wrong("web", "of the second")]);
    until(&mut [&mut one, &mut two], "the second's word", || {
        condition(&api, "web")["message"] == "of the second"
    })
    .await;
    let taken = Instant::now();
    assert!(holder(&api).starts_with("reef-2"));
    // Everything late has come by then.
    pass(&mut [&mut one, &mut two], Duration::from_secs(6)).await;
    assert_eq!(condition(&api, "web")["message"], "of the second");
    let late: Vec<Asked> = writes(&api)
        .into_iter()
        .filter(|asked| asked.at > taken && asked.body.contains("of the first"))
        .collect();
    assert!(late.is_empty(), "written while another leads: {late:#?}");
}

/// T39: the Lease deleted under the leader, and candidates of one name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_do_two_lead_when_the_lease_is_deleted_or_names_are_equal() {
    let api = FakeApi::start().await;
    let cluster = client(&api.kubeconfig()).await;
    let candidate = || {
        let lease = ("reef-system", "reef-leader");
        Leader::new(cluster.clone(), lease, "reef-1", leader_times())
    };
    let (mut one, mut two) = (candidate(), candidate());
    let end = Instant::now() + Duration::from_secs(12);
    let (mut deleted, mut led) = (0, [0, 0]);
    while Instant::now() < end {
        for (at, leader) in [&mut one, &mut two].into_iter().enumerate() {
            if leader.leads() {
                leader.confirm().await;
            } else {
                leader.campaign().await;
            }
            led[at] += u32::from(leader.deadline().is_some());
        }
        assert!(
            one.deadline().is_none() || two.deadline().is_none(),
            "two write"
        );
        let leads = one.deadline().is_some() || two.deadline().is_some();
        if leads && deleted < 3 && led[0] + led[1] > (deleted + 1) * 5 {
            assert!(api.delete("leases", "reef-system", "reef-leader"));
            deleted += 1;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(deleted >= 2 && led[0] + led[1] > 10, "{deleted} {led:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_without_a_status_gets_events_only() {
    let api = FakeApi::start().await;
    api.without_status("virtualservices");
    api.apply(rule("web", "web"));
    let mut one = Replica::start(&api, "reef-1").await;
    one.report(&[wrong("web", "nobody has it")]);
    until(&mut [&mut one], "the Event", || {
        !api.all("events").is_empty()
    })
    .await;
    pass(&mut [&mut one], Duration::from_secs(1)).await;
    assert_eq!(api.all("events").len(), 1);
    let patches = writes(&api);
    let patches = patches.iter().filter(|a| a.path.ends_with("/status"));
    assert_eq!(patches.count(), 1, "one look is enough");
    one.report(&[]);
    until(&mut [&mut one], "its end", || api.all("events").len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_undoes_ours_is_not_raced() {
    let api = FakeApi::start().await;
    api.apply(rule("web", "web"));
    let mut one = Replica::start(&api, "reef-1").await;
    one.report(&[wrong("web", "nobody has it")]);
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        pass(&mut [&mut one], Duration::from_millis(50)).await;
        if !condition(&api, "web").is_null() {
            api.apply(rule("web", "web"));
        }
    }
    let patches = writes(&api);
    let patches = patches.iter().filter(|a| a.path.ends_with("/status"));
    // At once, then after 0.3, 0.6, 1.2 and 2.4 s at the least.
    assert!(patches.count() <= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_checked_for_this_term_is_told_beside_what_the_leader_knows() {
    let api = FakeApi::start().await;
    api.apply(rule("web", "web"));
    api.apply(rule("cart", "cart"));
    // It waits for its first check, for longer than this test takes.
    let mut one = Replica::settling(&api, "reef-1", Duration::from_secs(60)).await;
    one.report(&[wrong("cart", "here")]);
    let terms = one.terms.clone();
    until(&mut [&mut one], "a leader", || terms.borrow().is_some()).await;
    assert_eq!(one.term(), 1);
    one.checked(&[wrong("web", "of another term")], 7);
    pass(&mut [&mut one], Duration::from_millis(1500)).await;
    assert_eq!(writes(&api).len(), 0, "{:#?}", writes(&api));

    one.checked(&[wrong("web", "elsewhere"), wrong("cart", "there")], 1);
    until(&mut [&mut one], "both conditions", || {
        condition(&api, "web")["message"] == "elsewhere"
            && condition(&api, "cart")["message"] == "here; there"
    })
    .await;
    until(&mut [&mut one], "both Events", || {
        api.all("events").len() == 2
    })
    .await;
    assert_eq!(writes(&api).len(), 4, "{:#?}", writes(&api));

    // The rule changes: what was checked says nothing of it any more, and what it says stays until the next check.
    one.revision += 1;
    api.apply(rule("cart", "other"));
    pass(&mut [&mut one], Duration::from_secs(1)).await;
    until(&mut [&mut one], "the live problem", || {
        condition(&api, "cart")["message"] == "here"
    })
    .await;
    one.report(&[]);
    pass(&mut [&mut one], Duration::from_secs(1)).await;
    assert_eq!(condition(&api, "cart")["message"], "here");
    assert_eq!(condition(&api, "web")["message"], "elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_that_was_checked_goes_with_the_check_that_lacks_it() {
    let api = FakeApi::start().await;
    api.apply(rule("web", "web"));
    let mut one = Replica::start(&api, "reef-1").await;
    one.report(&[]);
    let terms = one.terms.clone();
    until(&mut [&mut one], "a leader", || terms.borrow().is_some()).await;
    one.checked(&[wrong("web", "elsewhere")], one.term());
    until(&mut [&mut one], "the condition", || {
        condition(&api, "web")["message"] == "elsewhere"
    })
    .await;
    one.checked(&[], one.term());
    until(&mut [&mut one], "no condition", || {
        condition(&api, "web").is_null()
    })
    .await;

    // It is not told for another leader, which takes it away.
    one.checked(&[wrong("web", "elsewhere")], one.term());
    until(&mut [&mut one], "the condition again", || {
        condition(&api, "web")["message"] == "elsewhere"
    })
    .await;
    let mut two = Replica::start(&api, "reef-2").await;
    two.report(&[]);
    assert_eq!(two.term(), 0);
    assert!(one.end.take().unwrap().send(()).is_ok());
    let terms = two.terms.clone();
    until(&mut [&mut one, &mut two], "the second", || {
        terms.borrow().is_some()
    })
    .await;
    assert!(one.terms.borrow().is_none(), "two lead");
    until(&mut [&mut two], "no condition", || {
        condition(&api, "web").is_null()
    })
    .await;
}
