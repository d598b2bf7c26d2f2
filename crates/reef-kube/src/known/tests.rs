//! What is told, and what is not told twice.

use reef_config::{ClusterId, Spec, k8s};
use serde_json::{Value, json};

use super::*;
use crate::encoding::Raw;

fn known(kind: Kind) -> Known {
    Known::new(kind, Decoder::new(kind, ClusterId::from("east")))
}

fn pod(name: &str, version: u64, phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "resourceVersion": version.to_string(),
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "uid": "0f0e2f4a-1111-4222-8333-444455556666",
            "labels": {"app": "web"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a.istio.io/b": "c"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        },
        "spec": {
            "nodeName": "n1", "serviceAccountName": "web",
            "containers": [{"name": "app", "image": "x", "ports": [{"containerPort": 8080, "name": "http"}]},
                {"name": "worker", "image": "x"}],
            "volumes": [{"name": "v"}],
        },
        "status": {
            "phase": phase, "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [
                {"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"},
            ],
        },
    })
}

fn apply(known: &mut Known, object: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    known
        .apply(Raw::Json(object.to_string().as_bytes()), &mut changes)
        .unwrap();
    changes
}

fn remove(known: &mut Known, object: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    known
        .remove(Raw::Json(object.to_string().as_bytes()), &mut changes)
        .unwrap();
    changes
}

/// What is told, in short.
fn told(changes: &[Change]) -> Vec<String> {
    let told = |change: &Change| match change {
        Change::Apply(object) => format!("+{}", object.key.name),
        Change::Delete(key) => format!("-{}", key.name),
        Change::MeshConfig(_) => "mesh".to_owned(),
        Change::MeshNetworks(_) => "networks".to_owned(),
        Change::Problems { source, problems } => {
            let reasons: Vec<&str> = problems.iter().map(|p| p.reason.as_str()).collect();
            format!("!{source} {reasons:?}")
        }
    };
    changes.iter().map(told).collect()
}

#[test]
fn pod_is_read_slim_and_of_its_cluster() {
    let mut known = known(Kind::Pod);
    let changes = apply(&mut known, &pod("a", 5, "Running"));
    let [Change::Apply(object)] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(object.key.to_string(), "Pod shop/a (cluster east)");
    assert_eq!(object.origin.as_ref().unwrap().to_string(), "cluster east");
    assert_eq!(object.meta.created, Some(1_767_323_045));
    let uid = object.meta.uid.unwrap().to_string();
    assert_eq!(uid, "0f0e2f4a-1111-4222-8333-444455556666");
    let annotations: Vec<&str> = object
        .meta
        .annotations
        .iter()
        .map(|(key, _)| &**key)
        .collect();
    assert_eq!(annotations, ["a.istio.io/b"]);
    let Spec::Pod(spec) = &object.spec else {
        panic!("{object:?}");
    };
    assert_eq!(spec.ips().collect::<Vec<_>>(), ["10.0.0.1"]);
    assert_eq!(spec.status.pod_ip, None, "it is among the others");
    assert_eq!(spec.spec.containers.len(), 1, "one serves no port");
    assert_eq!(spec.spec.containers[0].ports[0].container_port, 8080);
    assert_eq!(spec.status.phase, k8s::PodPhase::Running);
}

#[test]
fn one_pass_and_the_way_of_a_file_read_the_same() {
    let decoder = Decoder::new(Kind::Pod, ClusterId::default());
    let usual = pod("a", 5, "Running");
    let mut odd = usual.clone();
    // A list that was never made is `null` in Go, and strictly not a list.
    odd["spec"]["initContainers"] = Value::Null;
    let read = |object: &Value| match decoder
        .object(Raw::Json(object.to_string().as_bytes()))
        .unwrap()
        .content
    {
        Content::Good(object, _) => object,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&usual), read(&odd));
}

#[test]
fn slice_without_lists_is_an_empty_one() {
    let mut known = known(Kind::EndpointSlice);
    let slice = json!({
        "metadata": {"name": "a", "namespace": "b", "resourceVersion": "3", "creationTimestamp": null},
        "addressType": "IPv4", "endpoints": null, "ports": null,
    });
    assert_eq!(told(&apply(&mut known, &slice)), ["+a"]);
}

#[test]
fn older_and_equal_events_tell_nothing() {
    let mut known = known(Kind::Pod);
    known.complete(1);
    assert_eq!(told(&apply(&mut known, &pod("a", 5, "Running"))), ["+a"]);
    assert_eq!(told(&apply(&mut known, &pod("a", 5, "Running"))), [""; 0]);
    assert_eq!(told(&apply(&mut known, &pod("a", 4, "Running"))), [""; 0]);
    assert_eq!(told(&remove(&mut known, &pod("a", 4, "Running"))), [""; 0]);
    assert_eq!(told(&remove(&mut known, &pod("a", 6, "Running"))), ["-a"]);
    // An echo of what is gone.
    assert_eq!(told(&apply(&mut known, &pod("a", 5, "Running"))), [""; 0]);
    assert_eq!(told(&apply(&mut known, &pod("a", 7, "Running"))), ["+a"]);
    assert_eq!(known.newest(), 7);
}

#[test]
fn list_tells_what_differs_and_deletes_at_its_end() {
    let mut known = known(Kind::Pod);
    known.begin();
    for (name, version) in [("a", 5), ("b", 6), ("c", 7)] {
        apply(&mut known, &pod(name, version, "Running"));
    }
    assert!(known.complete(9).is_empty());
    known.begin();
    assert_eq!(told(&apply(&mut known, &pod("a", 5, "Running"))), [""; 0]);
    assert_eq!(told(&apply(&mut known, &pod("c", 12, "Running"))), ["+c"]);
    assert_eq!(told(&known.complete(13)), ["-b"]);
    assert_eq!(known.len(), 2);
}

#[test]
fn list_of_another_history_overwrites_newer_versions() {
    let mut known = known(Kind::Pod);
    known.begin();
    apply(&mut known, &pod("a", 50, "Running"));
    apply(&mut known, &pod("b", 51, "Running"));
    known.complete(60);
    known.distrust();
    known.begin();
    // The same version may be another object now.
    assert_eq!(told(&apply(&mut known, &pod("a", 50, "Running"))), ["+a"]);
    assert_eq!(told(&apply(&mut known, &pod("b", 20, "Running"))), ["+b"]);
    assert!(known.complete(50).is_empty());
    assert_eq!(told(&apply(&mut known, &pod("a", 52, "Running"))), ["+a"]);
}

#[test]
fn pod_that_ended_is_gone_and_may_come_back() {
    let mut known = known(Kind::Pod);
    known.complete(1);
    assert_eq!(told(&apply(&mut known, &pod("a", 2, "Pending"))), ["+a"]);
    assert_eq!(told(&apply(&mut known, &pod("a", 3, "Succeeded"))), ["-a"]);
    assert_eq!(told(&apply(&mut known, &pod("a", 4, "Failed"))), [""; 0]);
    assert_eq!(told(&remove(&mut known, &pod("a", 5, "Failed"))), [""; 0]);
    assert_eq!(told(&apply(&mut known, &pod("b", 6, "Failed"))), [""; 0]);
}

fn sidecar(version: u64, egress: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1beta1", "kind": "Sidecar",
        "metadata": {"name": "s", "namespace": "shop", "resourceVersion": version.to_string()},
        "spec": {"egress": egress},
    })
}

#[test]
fn object_that_cannot_be_read_is_one_problem_and_keeps_its_last_version() {
    let mut known = known(Kind::Sidecar);
    known.complete(1);
    let source = "!cluster: Sidecar shop/s (cluster east)";
    let bad = json!([{"hosts": 7}]);
    let changes = told(&apply(&mut known, &sidecar(2, bad.clone())));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].starts_with(source) && !changes[0].contains(KEPT));

    let changes = told(&apply(&mut known, &sidecar(3, json!([{"hosts": ["*/*"]}]))));
    assert_eq!(changes, ["+s".to_owned(), format!("{source} []")]);

    let changes = apply(&mut known, &sidecar(4, bad));
    let [Change::Problems { problems, .. }] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert!(problems[0].reason.ends_with(KEPT));
    assert_eq!(problems[0].field, "spec.egress[0].hosts");
    let object = problems[0].object.as_ref().unwrap();
    assert_eq!(object.to_string(), "Sidecar shop/s (cluster east)");
    assert!(
        problems[0]
            .to_string()
            .starts_with("cluster east: Sidecar shop/s")
    );

    let changes = told(&remove(&mut known, &sidecar(5, json!([]))));
    assert_eq!(changes, ["-s".to_owned(), format!("{source} []")]);
}

#[test]
fn what_is_no_object_is_no_event() {
    let mut known = known(Kind::Pod);
    let mut changes = Vec::new();
    for wrong in [
        "",
        "{\"metadata\":{\"name\":\"a\"",
        "[]",
        "{\"metadata\":{}}",
        "{}",
    ] {
        assert!(
            known
                .apply(Raw::Json(wrong.as_bytes()), &mut changes)
                .is_err(),
            "{wrong}"
        );
        assert!(
            known
                .remove(Raw::Json(wrong.as_bytes()), &mut changes)
                .is_err(),
            "{wrong}"
        );
    }
    assert!(changes.is_empty());
}

#[test]
fn mesh_configuration_is_told_as_such_and_its_end_too() {
    let mut known = known(Kind::ConfigMap);
    known.complete(1);
    let map = json!({
        "metadata": {"name": "istio", "namespace": "istio-system", "resourceVersion": "2"},
        "data": {"mesh": "rootNamespace: mesh-root\n"},
    });
    let changes = apply(&mut known, &map);
    let configs = changes.iter().filter_map(|change| match change {
        Change::MeshConfig(config) => Some(format!("{:?}", config.root_namespace)),
        _ => None,
    });
    let configs: Vec<String> = configs.collect();
    assert_eq!(configs.len(), 1);
    assert!(configs[0].contains("mesh-root"), "{configs:?}");
    assert!(told(&remove(&mut known, &map)).contains(&"mesh".to_owned()));
}

/// What is read with these selectors and one namespace with the label `mesh: yes`.
fn reading(selectors: &str, namespace: &str) -> Reading {
    let origin = reef_config::Origin::cluster(&ClusterId::default());
    let text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{mesh: 'yes'}}}}\n"
    );
    let mut reading = Reading::default();
    for object in reef_config::parse::object(&text, &origin).objects {
        reading.note(&Change::Apply(Arc::new(object)));
    }
    let map = json!({
        "metadata": {"name": "istio", "namespace": "istio-system", "resourceVersion": "2"},
        "data": {"mesh": selectors},
    });
    let mut known = known(Kind::ConfigMap);
    for change in apply(&mut known, &map) {
        reading.note(&change);
    }
    reading
}

#[test]
fn object_that_is_not_read_is_a_version_until_it_is() {
    const SELECT: &str = "discoverySelectors: [{matchLabels: {mesh: 'yes'}}]";
    let mut known = known(Kind::Pod);
    let mut changes = Vec::new();
    known.read(reading(SELECT, "elsewhere"), &mut changes);
    known.begin();
    assert_eq!(told(&apply(&mut known, &pod("a", 3, "Running"))), [""; 0]);
    assert!(known.complete(4).is_empty());
    assert_eq!(told(&apply(&mut known, &pod("a", 5, "Running"))), [""; 0]);
    assert_eq!((known.len(), known.newest()), (1, 5));
    assert!(known.wanted().is_empty());

    let selected = reading(SELECT, "shop");
    assert!(known.concerns(&selected));
    known.read(selected.clone(), &mut changes);
    assert!(changes.is_empty());
    assert_eq!(known.wanted().len(), 1);
    // The list of the namespace has it, and the watch tells it once more.
    known
        .read_now(
            Raw::Json(pod("a", 5, "Running").to_string().as_bytes()),
            &mut changes,
        )
        .unwrap();
    assert_eq!(told(&changes), ["+a"]);
    known.settle(&Namespace::new("shop"));
    assert_eq!(told(&apply(&mut known, &pod("a", 5, "Running"))), [""; 0]);
    assert!(known.wanted().is_empty() && !known.concerns(&selected));

    changes.clear();
    known.read(reading(SELECT, "elsewhere"), &mut changes);
    assert_eq!(told(&changes), ["-a"]);
    assert_eq!(told(&remove(&mut known, &pod("a", 6, "Running"))), [""; 0]);
    assert_eq!(known.len(), 0);
}

#[test]
fn addresses_of_gateways_between_networks_are_kept() {
    let mut known = known(Kind::Service);
    known.complete(1);
    let service = json!({
        "metadata": {"name": "gate", "namespace": "istio-system", "resourceVersion": "2"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "externalIPs": ["192.0.2.1"], "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "gw.example.com"}]}},
    });
    let changes = apply(&mut known, &service);
    let [Change::Apply(object)] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    let Spec::Service(service) = &object.spec else {
        panic!("{object:?}");
    };
    assert_eq!(&*service.spec.external_ips[0], "192.0.2.1");
    let ingress = &service.status.load_balancer.ingress;
    assert_eq!(ingress[0].ip.as_deref(), Some("192.0.2.2"));
    assert_eq!(ingress[1].hostname.as_deref(), Some("gw.example.com"));
}
