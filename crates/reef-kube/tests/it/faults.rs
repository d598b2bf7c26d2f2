//! A server that fails in every way the table of faults knows (T2 to T10).

use std::time::Duration;

use reef_config::Kind;
use reef_kube::{KindState, Times};
use reef_testkit::fake_api::{FakeApi, Instead};
use serde_json::json;
use tokio::time::Instant;

use crate::kit::{key, listen, listen_with, names, namespace, quick, service, sidecar};

fn words(states: &reef_kube::KindStates, word: &str) -> usize {
    let kinds = states.kinds.values();
    kinds.filter(|kind| kind.state.word() == word).count()
}

/// T2: the server is not there at the start.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_before_the_server_is_there() {
    let api = FakeApi::start().await;
    api.apply(service("a", "1"));
    let kubeconfig = api.kubeconfig();
    let stopped = api.stop().await;
    let mut listener = listen_with(&kubeconfig, quick()).await;
    listener
        .throughout(Duration::from_millis(1500), |l| !l.synced && l.changes == 0)
        .await;
    listener
        .until("the reason", |l| {
            let waiting = l.states.borrow().waiting().unwrap();
            waiting.contains("Service (stale: the API server cannot be reached")
        })
        .await;
    let api = stopped.restart().await;
    let back = Instant::now();
    listener.synced().await;
    assert!(back.elapsed() < Duration::from_secs(20));
    assert_eq!(listener.names(Kind::Service), names(&["a"]));
    drop(api);
}

/// T1 in short: the server dies and comes back; meanwhile everything stays.
#[tokio::test(flavor = "multi_thread")]
async fn outage_freezes_and_what_happened_in_it_is_told_after_it() {
    let api = FakeApi::start().await;
    api.apply_all([service("a", "1"), service("b", "1")]);
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;
    let told = listener.changes;
    let stopped = api.stop().await;
    listener
        .until("staleness", |l| words(&l.states.borrow(), "stale") >= 6)
        .await;
    listener
        .throughout(Duration::from_secs(3), |l| l.changes == told)
        .await;
    let KindState::Stale { since, .. } = listener.state(Kind::Service) else {
        panic!("{:?}", listener.state(Kind::Service));
    };
    assert!(since.elapsed() >= Duration::from_secs(3));
    let api = stopped.restart().await;
    api.apply(service("a", "2"));
    api.delete("services", "shop", "b");
    let back = Instant::now();
    listener
        .until("the change", |l| l.mark("a").as_deref() == Some("2"))
        .await;
    assert!(
        back.elapsed() < Duration::from_secs(20),
        "{:?}",
        back.elapsed()
    );
    listener
        .until("recovery", |l| {
            l.all_live() && l.names(Kind::Service) == names(&["a"])
        })
        .await;
    assert_eq!(listener.deleted, [key(Kind::Service, "b")]);
}

/// A connection that is silently dead is noticed and replaced.
#[tokio::test(flavor = "multi_thread")]
async fn dead_connection_is_noticed() {
    let api = FakeApi::start().await;
    api.apply(service("a", "1"));
    let mut listener = listen(&api).await;
    listener.synced().await;
    api.forget_asked();
    api.mute_watches("services");
    api.apply(service("a", "2"));
    listener
        .until("the change", |l| l.mark("a").as_deref() == Some("2"))
        .await;
    // It came over another connection, within the watch's 2 s, 1 s of doubt and a wait; with the defaults 65 s.
    assert!(api.asked().iter().any(|asked| asked.plural() == "services"));
    let defaults = Times::default();
    assert!(defaults.watch + defaults.silence <= Duration::from_secs(65));
}

/// T3: every watch is told that its version is gone.
#[tokio::test(flavor = "multi_thread")]
async fn version_gone_within_the_stream_is_one_list_per_kind_and_no_news() {
    let api = FakeApi::start().await;
    api.apply_all([
        namespace("shop"),
        service("a", "1"),
        sidecar("s", json!(["*/*"])),
    ]);
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;
    let told = listener.changes;
    api.forget_asked();
    api.tick(10);
    api.compact();
    api.send_gone("");
    listener
        .until("lists", |l| {
            let asked = api.asked();
            let lists = asked
                .iter()
                .filter(|asked| asked.get("sendInitialEvents").is_some());
            lists.count() >= l.states.borrow().kinds.len()
        })
        .await;
    listener.until("recovery", |l| l.all_live()).await;
    listener
        .throughout(Duration::from_millis(2500), |l| l.changes == told)
        .await;
    let asked = api.asked();
    for plural in ["services", "namespaces", "sidecars", "pods"] {
        let of = asked.iter().filter(|a| a.plural() == plural);
        let lists = of.filter(|a| a.get("sendInitialEvents").is_some());
        assert_eq!(lists.count(), 1, "{plural}");
    }
    listener.until("recovery", |l| l.all_live()).await;
    assert!(listener.deleted.is_empty());
}

/// T4: the watch request itself is refused with 410, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn version_gone_at_the_start_of_a_watch_is_a_list_soon_and_no_loop() {
    let api = FakeApi::start().await;
    api.apply(service("a", "1"));
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;
    api.script(|asked| {
        let from = asked.get("resourceVersion").is_some() && asked.plural() == "services";
        from.then(|| Instead::Refuse(410, "too old".to_owned(), None))
    });
    api.forget_asked();
    api.break_watches("services");
    api.apply(service("a", "2"));
    let refused = Instant::now();
    listener
        .until("the change", |l| l.mark("a").as_deref() == Some("2"))
        .await;
    assert!(
        refused.elapsed() < Duration::from_secs(20),
        "{:?}",
        refused.elapsed()
    );
    // Streams of 2 s end well and their successors are refused, which paces lists further and further apart.
    listener.throughout(Duration::from_secs(6), |_| true).await;
    let asked = api.asked();
    let services = asked.iter().filter(|a| a.plural() == "services").count();
    assert!(services <= 14, "{services} requests in some 7 s");
    assert!(listener.deleted.is_empty());
}

/// T5: objects were deleted while nobody watched.
#[tokio::test(flavor = "multi_thread")]
async fn list_with_fewer_objects_removes_them_once_all_lists_are_complete() {
    let api = FakeApi::start().await;
    api.apply_all([
        service("a", "1"),
        service("b", "1"),
        sidecar("s", json!(["*/*"])),
    ]);
    api.apply_all([namespace("shop")]);
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;

    // Nobody hears of it, and the versions they would go on from are forgotten: every kind is listed.
    api.mute_watches("");
    api.delete("services", "shop", "b");
    api.compact();
    api.forget_asked();
    listener
        .until("the deletion", |l| l.names(Kind::Service) == names(&["a"]))
        .await;
    listener.until("recovery", |l| l.all_live()).await;
    assert_eq!(listener.deleted, [key(Kind::Service, "b")]);
    let asked = api.asked();
    let lists = asked
        .iter()
        .filter(|asked| asked.get("sendInitialEvents").is_some());
    assert!(lists.count() >= 1);
}

/// T7: half events, echoes, and news that is old.
#[tokio::test(flavor = "multi_thread")]
async fn broken_and_old_events_change_nothing_for_long() {
    broken_and_old(FakeApi::start().await).await;
}

/// The same of a server that knows no protobuf.
#[tokio::test(flavor = "multi_thread")]
async fn broken_and_old_lines_change_nothing_for_long() {
    let api = FakeApi::start().await;
    api.json_only();
    broken_and_old(api).await;
}

async fn broken_and_old(api: FakeApi) {
    let first = api.apply(service("a", "1"));
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;
    api.apply(service("a", "2"));
    listener
        .until("2", |l| l.mark("a").as_deref() == Some("2"))
        .await;
    let told = listener.changes;

    let event = |happened: &str, version: u64, mark: &str| {
        let mut object = service("a", mark);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        format!("{{\"type\":\"{happened}\",\"object\":{object}}}\n")
    };
    api.send("services", event("MODIFIED", first, "1"));
    api.send("services", event("ADDED", first, "1"));
    api.send("services", event("DELETED", first, "1"));
    listener
        .throughout(Duration::from_millis(500), |l| l.changes == told)
        .await;
    assert_eq!(listener.mark("a").as_deref(), Some("2"));

    // Truncated JSON ends the stream, and the next one goes on where the last good event was.
    api.send(
        "services",
        "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"na\n",
    );
    api.apply(service("a", "3"));
    listener
        .until("3", |l| l.mark("a").as_deref() == Some("3"))
        .await;
    listener
        .until("recovery", |l| l.is_live(Kind::Service))
        .await;

    // One whose end never comes takes what follows with it, and it comes again.
    api.send("services", "{\"type\":\"MODIFIED\"");
    api.apply(service("c", "1"));
    listener.until("c", |l| l.mark("c").is_some()).await;
    api.delete("services", "shop", "c");
    listener.until("no c", |l| l.mark("c").is_none()).await;
    listener.deleted.clear();

    // A drip is slow, not wrong: what came whole counts.
    api.script(|asked| {
        (asked.plural() == "services").then_some(Instead::Drip(1, Duration::from_millis(1)))
    });
    api.break_watches("services");
    api.apply(service("a", "4"));
    listener
        .until("4", |l| l.mark("a").as_deref() == Some("4"))
        .await;
    api.behave();
    api.apply(service("b", "1"));
    listener.until("b", |l| l.mark("b").is_some()).await;
    assert!(listener.problems.is_empty() && listener.deleted.is_empty());
}

/// T8: the store is restored from a backup, so that versions go back.
#[tokio::test(flavor = "multi_thread")]
async fn history_that_went_back_is_listed_and_converges() {
    let api = FakeApi::start().await;
    api.apply_all([service("a", "1"), service("b", "1")]);
    let backup = api.backup();
    api.apply(service("b", "2"));
    api.apply(service("c", "1"));
    api.tick(1000);
    api.apply(service("d", "1"));
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;
    api.restore(&backup);
    api.apply(service("e", "1"));
    listener
        .until("the old state", |l| {
            l.names(Kind::Service) == names(&["a", "b", "e"])
        })
        .await;
    assert_eq!(listener.mark("b").as_deref(), Some("1"));
    assert_eq!(
        listener.deleted,
        [key(Kind::Service, "c"), key(Kind::Service, "d")]
    );
    // Versions below those of the lost history are news now.
    listener.until("all live", |l| l.all_live()).await;
    api.apply(service("a", "2"));
    listener
        .until("a change", |l| l.mark("a").as_deref() == Some("2"))
        .await;
}
