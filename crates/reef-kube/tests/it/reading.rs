//! `discoverySelectors`: what is not read is not held, and is read when that changes.

use std::time::Duration;

use reef_config::Kind;
use reef_testkit::fake_api::FakeApi;

use crate::kit::{listen, mesh, names, namespace, namespace_in, service_in, sidecar};

const SELECT: &str = "discoverySelectors: [{matchLabels: {mesh: 'yes'}}]";

fn with_sidecar(api: &FakeApi, namespace: &str, name: &str) {
    let mut object = sidecar(name, serde_json::json!(["*/*"]));
    object["metadata"]["namespace"] = namespace.into();
    api.apply(object);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_that_is_selected_later_is_read_then_and_nothing_else_is_listed() {
    let api = FakeApi::start().await;
    api.apply_all([
        mesh(SELECT),
        namespace_in("shop", "yes"),
        namespace_in("other", "no"),
        namespace("bare"),
        service_in("shop", "a", "1"),
        service_in("other", "b", "1"),
        service_in("other", "gone", "1"),
        service_in("bare", "c", "1"),
    ]);
    with_sidecar(&api, "other", "s");
    let mut listener = listen(&api).await;
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;
    assert_eq!(listener.names(Kind::Service), names(&["a"]));
    assert!(listener.names(Kind::Sidecar).is_empty());
    assert_eq!(listener.states.borrow().kinds[&Kind::Service].objects, 4);

    // What happens in a namespace that is not read is not told.
    let told = listener.changes;
    api.apply(service_in("other", "b", "2"));
    api.delete("services", "other", "gone");
    listener
        .throughout(Duration::from_millis(700), |l| l.changes == told)
        .await;

    api.forget_asked();
    api.apply(namespace_in("other", "yes"));
    listener
        .until("the namespace", |l| {
            l.names(Kind::Service) == names(&["a", "b"]) && l.names(Kind::Sidecar) == names(&["s"])
        })
        .await;
    let other =
        |object: &reef_config::Object| object.meta.labels.get("mark").map(ToString::to_string);
    let b = listener
        .objects
        .values()
        .find(|o| &*o.key.name == "b")
        .unwrap();
    assert_eq!(other(b).as_deref(), Some("2"));
    let asked = api.asked();
    let lists: Vec<&str> = asked
        .iter()
        .filter(|a| !a.is_watch() && a.plural() == "services")
        .map(|a| a.path.as_str())
        .collect();
    assert_eq!(lists, ["/api/v1/namespaces/other/services"]);
    assert!(asked.iter().all(|a| a.get("sendInitialEvents").is_none()));

    // It is followed now, and left again.
    api.apply(service_in("other", "d", "1"));
    listener
        .until("a new one", |l| {
            l.names(Kind::Service) == names(&["a", "b", "d"])
        })
        .await;
    api.apply(namespace_in("other", "no"));
    listener
        .until("its end", |l| {
            l.names(Kind::Service) == names(&["a"]) && l.names(Kind::Sidecar).is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_come_and_go_with_the_mesh_configuration() {
    let api = FakeApi::start().await;
    api.apply_all((0..12).map(|n| service_in(&format!("n{n}"), &format!("s{n}"), "1")));
    api.apply(namespace_in("n7", "yes"));
    let mut listener = listen(&api).await;
    listener.synced().await;
    assert_eq!(listener.names(Kind::Service).len(), 12);
    listener.until("all live", |l| l.all_live()).await;
    api.apply(mesh(SELECT));
    listener
        .until("the selected", |l| l.names(Kind::Service) == names(&["s7"]))
        .await;
    api.apply(service_in("n3", "s3", "2"));
    // So many namespaces are one list.
    api.forget_asked();
    api.apply(mesh(""));
    listener
        .until("all", |l| l.names(Kind::Service).len() == 12)
        .await;
    let asked = api.asked();
    let lists = asked
        .iter()
        .filter(|a| a.plural() == "services" && a.get("sendInitialEvents").is_some());
    assert_eq!(lists.count(), 1);
    let s3 = listener
        .objects
        .values()
        .find(|o| &*o.key.name == "s3")
        .unwrap();
    assert_eq!(s3.meta.labels.get("mark").map(|mark| &**mark), Some("2"));
}
