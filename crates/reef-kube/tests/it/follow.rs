//! A server that behaves.

use std::time::Duration;

use reef_config::Kind;
use reef_kube::{Encoding, KindState, KubeOptions, read_once};
use reef_testkit::fake_api::{Asked, FakeApi, Instead};
use serde_json::json;

use crate::kit::{PATIENCE, client, key, listen, mesh, names, namespace, pod, service, sidecar};

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_told_at_once_and_changes_follow() {
    let api = FakeApi::start().await;
    api.apply_all([
        namespace("shop"),
        service("a", "1"),
        service("b", "1"),
        pod("p", "Running"),
        pod("done", "Succeeded"),
        sidecar("s", json!(["*/*"])),
        mesh("rootNamespace: mesh-root"),
    ]);
    let mut listener = listen(&api).await;
    listener.synced().await;
    assert_eq!(listener.names(Kind::Service), names(&["a", "b"]));
    assert_eq!(listener.names(Kind::Pod), names(&["p"]));
    assert_eq!(listener.names(Kind::Sidecar), names(&["s"]));
    assert_eq!(listener.names(Kind::Namespace), names(&["shop"]));
    assert!(listener.mesh.is_some());
    listener.until("all live", |l| l.all_live()).await;
    // One stream told the list and goes on with changes.
    let asked = api.asked();
    let lists = asked
        .iter()
        .filter(|asked| asked.plural() == "pods" && asked.get("sendInitialEvents").is_some());
    assert_eq!(lists.count(), 1);
    assert!(asked.iter().all(|asked| asked.get("limit").is_none()));

    api.apply(service("b", "2"));
    api.apply(service("c", "1"));
    api.delete("services", "shop", "a");
    listener
        .until("changes", |l| {
            l.names(Kind::Service) == names(&["b", "c"]) && l.mark("b").as_deref() == Some("2")
        })
        .await;
    api.apply(pod("p", "Failed"));
    listener
        .until("a pod ended", |l| l.names(Kind::Pod).is_empty())
        .await;
    assert!(listener.problems.is_empty(), "{:?}", listener.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_end_and_go_on_without_a_list() {
    let api = FakeApi::start().await;
    api.apply(service("a", "1"));
    let mut listener = listen(&api).await;
    listener.synced().await;
    let told = listener.changes;
    api.forget_asked();
    let of_services = |asked: &Asked| asked.plural() == "services";
    listener
        .until("two ends of watches", |_| {
            api.asked().into_iter().filter(of_services).count() >= 2
        })
        .await;
    assert_eq!(listener.changes, told);
    let services: Vec<_> = api.asked().into_iter().filter(of_services).collect();
    for asked in services {
        assert!(
            asked.is_watch() && asked.get("sendInitialEvents").is_none(),
            "{asked:?}"
        );
    }
    api.apply(service("a", "2"));
    listener
        .until("a change", |l| l.mark("a").as_deref() == Some("2"))
        .await;
    assert!(listener.all_live());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_streamed_lists_is_listed_in_pages() {
    listed_in_pages(FakeApi::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_streamed_lists_and_protobuf_is_listed_in_pages() {
    let api = FakeApi::start().await;
    api.json_only();
    listed_in_pages(api).await;
}

async fn listed_in_pages(api: FakeApi) {
    api.apply_all((0..1203).map(|n| service(&format!("s{n}"), "1")));
    api.script(|asked| {
        asked.get("sendInitialEvents")?;
        let message = "sendInitialEvents: Forbidden: is forbidden for watch";
        Some(Instead::Refuse(422, message.to_owned(), None))
    });
    let mut listener = listen(&api).await;
    listener.synced().await;
    assert_eq!(listener.names(Kind::Service).len(), 1203);
    let asked = api.asked();
    let pages = asked
        .iter()
        .filter(|a| a.plural() == "services" && a.get("limit").is_some());
    assert_eq!(pages.count(), 3);
    api.delete("services", "shop", "s7");
    listener
        .until("a change", |l| l.names(Kind::Service).len() == 1202)
        .await;
    // Whoever asks first finds out for all who come later; a kind asks once at most.
    let refused = asked
        .iter()
        .filter(|a| a.get("sendInitialEvents").is_some() && a.plural() == "pods");
    assert!(refused.count() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn kind_that_is_not_installed_is_followed_when_it_comes_and_empty_when_it_goes() {
    let api = FakeApi::start().await;
    for plural in ["sidecars", "telemetries"] {
        api.uninstall(plural);
    }
    let mut listener = listen(&api).await;
    listener.synced().await;
    assert_eq!(listener.state(Kind::Sidecar), KindState::NotInstalled);
    assert!(listener.is_live(Kind::VirtualService));

    // An older version than the one everything else has.
    api.install("networking.istio.io", "v1beta1", &["sidecars"]);
    api.apply(sidecar("s", json!(["*/*"])));
    listener
        .until("the kind", |l| l.names(Kind::Sidecar) == names(&["s"]))
        .await;
    assert!(listener.is_live(Kind::Sidecar));
    let path = api
        .asked()
        .into_iter()
        .rfind(|a| a.plural() == "sidecars")
        .unwrap()
        .path;
    assert_eq!(path, "/apis/networking.istio.io/v1beta1/sidecars");

    api.uninstall("sidecars");
    listener
        .until("its end", |l| {
            l.names(Kind::Sidecar).is_empty() && l.state(Kind::Sidecar) == KindState::NotInstalled
        })
        .await;
    assert_eq!(listener.state(Kind::Telemetry), KindState::NotInstalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn mesh_configuration_follows_its_config_map() {
    let api = FakeApi::start().await;
    let mut other = mesh("rootNamespace: other");
    other["metadata"]["name"] = json!("other");
    api.apply(other);
    let mut listener = listen(&api).await;
    listener.synced().await;
    assert!(listener.mesh.is_none());
    let asked = api
        .asked()
        .into_iter()
        .find(|a| a.plural() == "configmaps")
        .unwrap();
    assert_eq!(asked.path, "/api/v1/namespaces/istio-system/configmaps");
    assert_eq!(asked.get("fieldSelector"), Some("metadata.name=istio"));

    let root =
        |l: &crate::kit::Listener| l.mesh.as_ref().map(|m| format!("{:?}", m.root_namespace));
    api.apply(mesh("rootNamespace: first"));
    listener
        .until("it", |l| root(l).is_some_and(|r| r.contains("first")))
        .await;
    // A broken one leaves the last good one in force.
    api.apply(mesh("rootNamespace: [7]"));
    listener
        .until("a problem", |l| !l.problems.is_empty())
        .await;
    assert!(root(&listener).is_some_and(|r| r.contains("first")));
    api.delete("configmaps", "istio-system", "istio");
    listener
        .until("the default", |l| {
            root(l).is_some_and(|r| !r.contains("first"))
        })
        .await;
    assert!(listener.problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_of_a_thousand_that_cannot_be_read_hurts_only_itself() {
    let api = FakeApi::start().await;
    api.apply_all((0..999).map(|n| sidecar(&format!("s{n}"), json!(["*/*"]))));
    api.apply(sidecar("bad", json!("oops")));
    // Of a built-in kind, too, and in its metadata.
    let mut odd = namespace("odd");
    odd["metadata"]["labels"] = json!("oops");
    api.apply(odd);
    let mut listener = listen(&api).await;
    listener.synced().await;
    assert_eq!(listener.names(Kind::Sidecar).len(), 999);
    assert!(listener.names(Kind::Namespace).is_empty());
    assert_eq!(listener.problems.len(), 2, "{:?}", listener.problems);

    api.apply(sidecar("bad", json!(["*/*"])));
    listener
        .until("it is mended", |l| l.names(Kind::Sidecar).len() == 1000)
        .await;
    assert_eq!(listener.problems.len(), 1);
    api.apply(sidecar("bad", json!({"mode": 7})));
    listener
        .until("it is broken again", |l| l.problems.len() == 2)
        .await;
    assert!(listener.objects.contains_key(&key(Kind::Sidecar, "bad")));
    let told = listener
        .problems
        .values()
        .flatten()
        .find(|p| p.field.starts_with("spec"));
    assert!(told.unwrap().reason.contains("last good version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_is_read_once() {
    let api = FakeApi::start().await;
    api.apply_all([service("a", "1"), sidecar("bad", json!(7))]);
    let cluster = client(&api.kubeconfig()).await;
    let batch = read_once(cluster.clone(), KubeOptions::default(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(batch.changes.len(), 2);

    api.script(|asked| {
        let message = "pods is forbidden".to_owned();
        (asked.plural() == "pods").then_some(Instead::Refuse(403, message, None))
    });
    let error = read_once(cluster.clone(), KubeOptions::default(), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no permission to watch pods");

    api.script(|asked| (asked.plural() == "nodes").then_some(Instead::Silence));
    let error = read_once(cluster, KubeOptions::default(), Duration::from_millis(500)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("Node (listing)"), "{error}");
}

/// Every kind once, as it is told in both.
#[tokio::test(flavor = "multi_thread")]
async fn protobuf_is_asked_for_where_it_is_served_and_tells_the_same() {
    let api = FakeApi::start().await;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "a-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "a"}},
        "endpoints": [{"addresses": ["10.2.0.1"], "conditions": {"ready": true}, "nodeName": "n"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    });
    api.apply_all([
        namespace("shop"),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"zone": "z"}}}),
        service("a", "1"),
        pod("p", "Running"),
        slice,
        sidecar("s", json!(["*/*"])),
        mesh("rootNamespace: mesh-root"),
    ]);
    let read = async |encoding| {
        let options = KubeOptions {
            encoding,
            ..KubeOptions::default()
        };
        api.forget_asked();
        let cluster = client(&api.kubeconfig()).await;
        let batch = read_once(cluster, options, PATIENCE).await.unwrap();
        let mut told: Vec<String> = batch.changes.iter().map(|c| format!("{c:?}")).collect();
        told.sort();
        let asked = api.asked().into_iter();
        let in_protobuf = asked.filter(Asked::in_protobuf);
        let plurals: Vec<String> = in_protobuf.map(|asked| asked.plural().to_owned()).collect();
        (
            told,
            names(&plurals.iter().map(String::as_str).collect::<Vec<_>>()),
        )
    };
    let (of_json, plurals) = read(Encoding::Json).await;
    assert!(of_json.len() >= 7 && plurals.is_empty(), "{plurals:?}");
    let (of_protobuf, plurals) = read(Encoding::Protobuf).await;
    assert_eq!(of_json, of_protobuf);
    let own = [
        "configmaps",
        "endpointslices",
        "namespaces",
        "nodes",
        "pods",
        "services",
    ];
    assert_eq!(plurals, names(&own));
    // Who asks for it and gets JSON reads that.
    api.json_only();
    let (of_either, _) = read(Encoding::Protobuf).await;
    assert_eq!(of_json, of_either);
}
