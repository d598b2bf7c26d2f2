//! The server's store was restored from a backup (T8): everything is followed back in one step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reef_config::Kind;
use reef_testkit::fake_api::{Backup, FakeApi, Instead};
use serde_json::json;
use tokio::time::Instant;

use crate::kit::{Listener, key, listen, names, namespace, pod, rule, service, sidecar};

/// Kinds of which the backup lacks an object that is there, with that object.
const LOST: [(Kind, &str); 5] = [
    (Kind::Service, "lost"),
    (Kind::Pod, "lost"),
    (Kind::VirtualService, "lost"),
    (Kind::DestinationRule, "lost"),
    (Kind::Sidecar, "lost"),
];

/// A server that is far ahead of its backup, and who follows it.
async fn ahead() -> (FakeApi, Backup, Listener) {
    let api = FakeApi::start().await;
    api.apply_all([
        namespace("shop"),
        service("kept", "1"),
        pod("kept", "Running"),
        rule("VirtualService", "kept"),
        rule("DestinationRule", "back"),
    ]);
    let backup = api.backup();
    api.delete("destinationrules", "shop", "back");
    api.tick(1000);
    api.apply_all([
        service("lost", "1"),
        pod("lost", "Running"),
        rule("VirtualService", "lost"),
        rule("DestinationRule", "lost"),
        sidecar("lost", json!(["*/*"])),
        service("kept", "2"),
    ]);
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;
    (api, backup, listener)
}

/// Whether everything is as the backup has it.
fn is_back(listener: &Listener) -> bool {
    LOST.iter()
        .all(|(kind, name)| !listener.objects.contains_key(&key(*kind, name)))
        && listener.names(Kind::DestinationRule) == names(&["back"])
        && listener.mark("kept").as_deref() == Some("1")
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_kind_holds_up_what_the_others_lost_and_everything_goes_at_once() {
    let (api, backup, mut listener) = ahead().await;
    let told = listener.changes;
    let slow = Arc::new(AtomicBool::new(true));
    let refuses = Arc::clone(&slow);
    api.script(move |asked| {
        let slow = asked.plural() == "virtualservices" && refuses.load(Ordering::Acquire);
        slow.then(|| Instead::Refuse(503, "starting".to_owned(), None))
    });
    api.restore(&backup);
    let relisted = |listener: &Listener| {
        let states = listener.states.borrow();
        let lists = |kind: &Kind| states.kinds[kind].objects == 1 || *kind == Kind::Sidecar;
        [Kind::Service, Kind::Pod, Kind::DestinationRule]
            .iter()
            .all(lists)
    };
    listener.until("the other lists", relisted).await;
    listener
        .throughout(Duration::from_secs(2), |l| l.changes == told)
        .await;
    slow.store(false, Ordering::Release);
    listener.until("the backup's state", is_back).await;
    assert_eq!(listener.withdrawals, 1, "{:?}", listener.deleted);
    assert_eq!(listener.deleted.len(), LOST.len());
    listener.until("all live", |l| l.all_live()).await;
    // Versions below those of the lost history are news now.
    api.apply(service("kept", "3"));
    listener
        .until("a change", |l| l.mark("kept").as_deref() == Some("3"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kind_that_finds_out_tells_those_whose_watches_are_silent() {
    let (api, backup, mut listener) = ahead().await;
    api.mute_watches("");
    api.restore_unnoticed(&backup);
    api.forget_asked();
    let restored = Instant::now();
    // The first watch that ends finds out, long before silence alone would end the others.
    listener.until("the backup's state", is_back).await;
    assert!(restored.elapsed() < Duration::from_secs(20));
    assert_eq!(listener.withdrawals, 1, "{:?}", listener.deleted);
    listener.until("all live", |l| l.all_live()).await;
    let asked = api.asked();
    for plural in ["services", "pods", "nodes", "virtualservices"] {
        let lists = asked
            .iter()
            .filter(|a| a.plural() == plural && a.get("sendInitialEvents").is_some());
        assert_eq!(lists.count(), 1, "{plural}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_went_back_unasked_is_seen_by_a_list() {
    let (api, backup, mut listener) = ahead().await;
    api.restore_unnoticed(&backup);
    // A watch that is told to list again has no reason to ask whether versions went back.
    api.send_gone("nodes");
    listener.until("the backup's state", is_back).await;
    assert_eq!(listener.withdrawals, 1, "{:?}", listener.deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_kind_that_lists_again_waits_for_nobody() {
    let (api, _backup, mut listener) = ahead().await;
    api.mute_watches("virtualservices");
    api.delete("virtualservices", "shop", "lost");
    api.compact();
    let deleted = [key(Kind::VirtualService, "lost")];
    listener
        .until("the deletion", |l| l.deleted == deleted)
        .await;
    // Within the watch's 2 s and 1 s of doubt, back-offs of 1 s, a list and the grace of 1 s.
    let listed = api.asked();
    let listed = listed
        .iter()
        .rfind(|a| a.plural() == "virtualservices" && a.get("sendInitialEvents").is_some());
    let since = listed.unwrap().at.elapsed();
    assert!(since < Duration::from_secs(4), "{since:?}");
}
