//! Drawn objects and drawn damage.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

/// A text that is said even if it is empty.
fn said() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(String::new()),
        "[a-z]{1,8}",
        "\\PC{0,12}",
        "[a-z]{90,140}",
        Just("TCP".to_owned()),
        Just("10.0.0.1".to_owned())
    ]
    .prop_map(Value::String)
}

/// A text that is absent if it is empty.
fn text() -> impl Strategy<Value = Value> {
    said().prop_map(|text| {
        if text.as_str() == Some("") {
            Value::Null
        } else {
            text
        }
    })
}

fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    option::of(value).prop_map(|value| value.unwrap_or_default())
}

fn texts() -> impl Strategy<Value = Value> {
    maybe(
        btree_map("[a-z./]{0,6}|kubectl.kubernetes.io/x", "\\PC{0,6}", 1..5)
            .prop_map(|map| json!(map)),
    )
}

fn several(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    maybe(vec(value, 1..4).prop_map(Value::Array))
}

fn port() -> impl Strategy<Value = Value> {
    prop_oneof![8 => 0..65_536i64, 1 => -2..70_000i64, 1 => any::<i32>().prop_map(i64::from)]
        .prop_map(|port| json!(port))
}

fn metadata() -> impl Strategy<Value = Value> {
    let created = prop_oneof![Just(Value::Null), Just(json!("2026-01-02T03:04:05Z"))];
    let generation = (0..3i64).prop_map(|g| if g == 0 { Value::Null } else { json!(g) });
    ("[a-z]{1,5}", maybe("[a-z]{1,5}".prop_map(Value::String)), text(), created, generation, texts(), texts(), any::<u64>()).prop_map(
        |(name, namespace, uid, created, generation, labels, annotations, version)| {
            let mut metadata = json!({
                "name": name, "uid": uid, "creationTimestamp": created, "generation": generation, "labels": labels,
                "annotations": annotations, "resourceVersion": version.to_string(),
            });
            if !namespace.is_null() {
                metadata["namespace"] = namespace;
            }
            metadata
        },
    )
}

/// Go leaves out what is not there.
fn lean(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(lean);
        }
        Value::Array(values) => values.iter_mut().for_each(lean),
        _ => {}
    }
}

fn object() -> impl Strategy<Value = (Kind, Value)> {
    let container_port = (text(), port(), text()).prop_map(
        |(name, port, protocol)| json!({"name": name, "containerPort": port, "protocol": protocol}),
    );
    let container = (several(container_port), maybe(said()))
        .prop_map(|(ports, policy)| json!({"name": "c", "ports": ports, "restartPolicy": policy}));
    let containers = several(container).boxed();
    let ip = said().prop_map(|ip| json!({"ip": ip}));
    let phase = prop_oneof![
        Just(json!("Running")),
        Just(json!("Failed")),
        Just(Value::Null),
        text()
    ];
    let pod = (containers.clone(), containers, text(), text(), any::<bool>(), text(), phase, several(ip)).prop_map(
        |(containers, init, account, node, host, hostname, phase, ips)| {
            let spec = json!({
                "containers": containers, "initContainers": init, "serviceAccountName": account, "nodeName": node,
                "hostNetwork": host, "hostname": hostname,
            });
            (Kind::Pod, json!({"spec": spec, "status": {"phase": phase, "podIPs": ips}}))
        },
    );
    let target = prop_oneof![port(), said()];
    let service_port = (text(), port(), text(), target, maybe(said())).prop_map(|(name, port, protocol, target, app)| {
        json!({"name": name, "port": port, "protocol": protocol, "targetPort": target, "appProtocol": app})
    });
    let ingress =
        (text(), text()).prop_map(|(ip, hostname)| json!({"ip": ip, "hostname": hostname}));
    let spec = (
        several(service_port),
        texts(),
        text(),
        several(said()),
        text(),
        text(),
        any::<bool>(),
        maybe(said()),
        several(ingress),
    );
    let service = spec.prop_map(|(ports, selector, ip, ips, class, external, publish, policy, ingress)| {
        let spec = json!({
            "ports": ports, "selector": selector, "clusterIP": ip, "clusterIPs": ips, "type": class,
            "externalName": external, "publishNotReadyAddresses": publish, "internalTrafficPolicy": policy,
        });
        (Kind::Service, json!({"spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}))
    });
    let truth = || maybe(any::<bool>().prop_map(Value::Bool));
    let reference = (text(), text(), text()).prop_map(
        |(kind, namespace, name)| json!({"kind": kind, "namespace": namespace, "name": name}),
    );
    let endpoint = (several(said()), truth(), truth(), truth(), maybe(reference), maybe(said())).prop_map(
        |(addresses, ready, serving, terminating, target, node)| {
            let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
            json!({"addresses": addresses, "conditions": conditions, "targetRef": target, "nodeName": node})
        },
    );
    let slice_port = (maybe(said()), maybe(port()), maybe(said()), maybe(said())).prop_map(|(name, port, protocol, app)| {
        json!({"name": name, "port": port, "protocol": protocol, "appProtocol": app})
    });
    let slice =
        (said(), several(endpoint), several(slice_port)).prop_map(|(of, endpoints, ports)| {
            (
                Kind::EndpointSlice,
                json!({"addressType": of, "endpoints": endpoints, "ports": ports}),
            )
        });
    let map = texts().prop_map(|data| (Kind::ConfigMap, json!({"data": data})));
    let bare =
        prop_oneof![Just(Kind::Node), Just(Kind::Namespace)].prop_map(|kind| (kind, json!({})));
    (
        metadata(),
        prop_oneof![4 => pod, 4 => service, 4 => slice, 1 => map, 1 => bare],
    )
        .prop_map(|(metadata, (kind, mut object))| {
            object["metadata"] = metadata;
            lean(&mut object);
            (kind, object)
        })
}

/// What happens to bytes.
fn damage() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    vec((any::<usize>(), 0..4u8, any::<u8>()), 1..6)
}

fn damaged(mut bytes: Vec<u8>, damage: &[(usize, u8, u8)]) -> Vec<u8> {
    for (at, how, byte) in damage {
        let at = at % (bytes.len() + 1);
        match how {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, *byte),
            2 if at < bytes.len() => bytes[at] ^= byte,
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_object_is_the_same((kind, object) in object()) {
        let bytes = protobuf::object(kind.as_str(), &object);
        let (text, decoder) = (object.to_string(), decoder(kind));
        let of_json = told(decoder.object(Raw::Json(text.as_bytes())).unwrap());
        let of_proto = told(decoder.object(Raw::Proto(&bytes)).unwrap());
        prop_assert_eq!(&of_json.0, &of_proto.0);
        prop_assert_eq!(of_json.1, of_proto.1);
        prop_assert_eq!(of_json.2, of_proto.2);
        // Of several errors the first is said, and the two know different orders.
        prop_assert_eq!(of_json.3.is_empty(), of_proto.3.is_empty());
    }

    #[test]
    fn damage_hurts_nobody((kind, object) in object(), damage in damage()) {
        let bytes = damaged(protobuf::object(kind.as_str(), &object), &damage);
        let decoder = decoder(kind);
        // Whatever is read has a name; what has none is an error.
        if let Ok(item) = decoder.object(Raw::Proto(&bytes)) {
            prop_assert!(!item.id.name.is_empty());
        }
        let _either = decoder.head(Raw::Proto(&bytes));
        let event = json!({"type": "ADDED", "object": object}).to_string() + "\n";
        let frame = damaged(protobuf::frames(&event), &damage);
        let _either = event_of(&frame);
        let _either = unwrapped(&frame).and_then(list);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        for kind in [Kind::Pod, Kind::Service, Kind::EndpointSlice, Kind::ConfigMap, Kind::Node] {
            let _either = decoder(kind).object(Raw::Proto(&bytes));
        }
        let _either = event_of(&bytes);
        let _either = list(&bytes);
    }
}

/// Through the frames of a watch.
fn event_of(bytes: &[u8]) -> Result<usize, String> {
    let mut feed = crate::event::Feed::new(crate::encoding::Encoding::Protobuf);
    feed.push(bytes::Bytes::copy_from_slice(bytes));
    let mut events = 0;
    while let Some(frame) = feed.next()? {
        feed.event(&frame)?;
        events += 1;
    }
    Ok(events)
}
