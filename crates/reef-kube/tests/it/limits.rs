//! A server that refuses: too much at once, or not allowed (T9, T10).

use std::time::Duration;

use reef_config::Kind;
use reef_kube::KindState;
use reef_testkit::fake_api::{Asked, FakeApi, Instead};

use crate::kit::{listen, names, service};

/// The most requests of one kind within any second.
fn busiest(asked: &[Asked], plural: &str) -> usize {
    let times: Vec<_> = asked
        .iter()
        .filter(|a| a.plural() == plural)
        .map(|a| a.at)
        .collect();
    let within = |from| {
        let in_second = times
            .iter()
            .filter(|at| **at >= from && **at - from < Duration::from_millis(990));
        in_second.count()
    };
    times
        .iter()
        .map(|from| within(*from))
        .max()
        .unwrap_or_default()
}

/// T9: 429 and 503 for everything.
#[tokio::test(flavor = "multi_thread")]
async fn storm_of_refusals_is_met_with_two_requests_a_second_at_most() {
    let api = FakeApi::start().await;
    api.apply(service("a", "1"));
    api.script(|asked| {
        let code = if asked.plural() == "pods" { 429 } else { 503 };
        Some(Instead::Refuse(code, "not now".to_owned(), None))
    });
    let mut listener = listen(&api).await;
    listener
        .throughout(Duration::from_secs(5), |l| !l.synced)
        .await;
    let asked = api.asked();
    for plural in ["pods", "services", "nodes", "configmaps"] {
        let count = asked.iter().filter(|a| a.plural() == plural).count();
        assert!(count <= 8, "{plural}: {count} in 5 s");
        assert!(busiest(&asked, plural) <= 2, "{plural}");
    }
    listener
        .until("the reason", |l| {
            let waiting = l.states.borrow().waiting().unwrap();
            waiting.contains("Pod (stale: 429 not now)")
        })
        .await;
    api.behave();
    listener.synced().await;
    assert_eq!(listener.names(Kind::Service), names(&["a"]));
}

/// The server may say when to come again.
#[tokio::test(flavor = "multi_thread")]
async fn server_says_when_to_come_again() {
    let api = FakeApi::start().await;
    api.script(|asked| {
        (asked.plural() == "services").then(|| Instead::Refuse(429, "later".to_owned(), Some(20)))
    });
    let mut listener = listen(&api).await;
    let asked = |plural| api.asked().iter().filter(|a| a.plural() == plural).count();
    listener.until("a request", |_| asked("services") > 0).await;
    listener
        .throughout(Duration::from_millis(3500), |l| !l.synced)
        .await;
    assert_eq!(asked("services"), 1);
}

/// T10: permission for one kind is lost.
#[tokio::test(flavor = "multi_thread")]
async fn lost_permission_is_named_and_what_was_read_stays() {
    let api = FakeApi::start().await;
    api.apply(service("a", "1"));
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;
    api.script(|asked| {
        let message = "services is forbidden: User \"reef\" cannot watch resource".to_owned();
        (asked.plural() == "services").then_some(Instead::Refuse(403, message, None))
    });
    api.break_watches("services");
    listener
        .until("the refusal", |l| {
            l.state(Kind::Service).word() == "forbidden"
        })
        .await;
    let KindState::Forbidden { verb, resource, .. } = listener.state(Kind::Service) else {
        panic!("{:?}", listener.state(Kind::Service));
    };
    assert!(["watch", "list"].contains(&verb));
    assert_eq!(&*resource, "services");
    assert_eq!(listener.names(Kind::Service), names(&["a"]));
    assert!(listener.is_live(Kind::Pod));
    api.apply(service("b", "1"));
    listener
        .throughout(Duration::from_millis(1500), |l| {
            l.names(Kind::Service) == names(&["a"])
        })
        .await;
    api.behave();
    listener
        .until("b", |l| l.names(Kind::Service) == names(&["a", "b"]))
        .await;
    listener.until("all live", |l| l.all_live()).await;
    assert!(listener.deleted.is_empty());
}
