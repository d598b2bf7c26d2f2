//! What comes in protobuf is what comes in JSON.

mod drawn;
mod objects;
mod real;

use reef_config::{ClusterId, Kind, Object, Problem};
use reef_testkit::fake_api::protobuf;
use serde_json::{Value, json};

use super::*;
use crate::decode::{Content, Decoder, Item};
use crate::encoding::{Raw, message};

fn decoder(kind: Kind) -> Decoder {
    Decoder::new(kind, ClusterId::from("east"))
}

/// An item, for comparison.
fn told(item: Item) -> (String, u64, Option<Object>, Vec<Problem>) {
    let name = format!("{}/{}", item.id.namespace, item.id.name);
    match item.content {
        Content::Good(object, problems) => {
            (name, item.version, Some(Object::clone(&object)), problems)
        }
        Content::Bad(problems) => (name, item.version, None, problems),
        Content::Ignored => (name, item.version, None, Vec::new()),
    }
}

/// What both ways make of an object.
#[track_caller]
fn both(kind: Kind, object: &Value) -> (String, u64, Option<Object>, Vec<Problem>) {
    let decoder = decoder(kind);
    let text = object.to_string();
    let bytes = protobuf::object(kind.as_str(), object);
    let of_json = told(decoder.object(Raw::Json(text.as_bytes())).unwrap());
    let of_proto = told(decoder.object(Raw::Proto(&bytes)).unwrap());
    assert_eq!(of_json, of_proto, "{object}");
    let head = |raw| decoder.head(raw).unwrap();
    assert_eq!(
        head(Raw::Json(text.as_bytes())),
        head(Raw::Proto(&bytes)),
        "{object}"
    );
    of_json
}

#[test]
fn objects_are_the_same() {
    for (kind, object) in objects::good() {
        let (_, version, read, problems) = both(kind, &object);
        assert!(read.is_some() && version > 0, "{problems:?} {object}");
    }
}

#[test]
fn objects_that_do_not_fit_are_the_same_problem() {
    for (kind, object, field) in objects::bad() {
        let (name, _, read, problems) = both(kind, &object);
        assert!(read.is_none(), "{object}");
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert_eq!(problem.field, field);
        assert!(name.starts_with(&*problem.object.as_ref().unwrap().namespace));
    }
}

#[test]
fn pod_that_ended_is_nobodys_business() {
    let (_, version, read, problems) = both(Kind::Pod, &objects::pod("Succeeded"));
    assert!(version > 0 && read.is_none() && problems.is_empty());
}

#[test]
fn object_of_odd_fields_is_one_problem_and_has_a_name() {
    // A port that is a text, which no server tells.
    let mut object = objects::pod("Running");
    object["spec"]["containers"][0]["ports"][0]["containerPort"] = json!("http");
    let bytes = protobuf::object("Pod", &object);
    let (name, version, read, problems) =
        told(decoder(Kind::Pod).object(Raw::Proto(&bytes)).unwrap());
    assert_eq!((name.as_str(), read), ("shop/web-1", None));
    assert!(version > 0 && problems.len() == 1, "{problems:?}");
    assert!(problems[0].reason.contains("another form"), "{problems:?}");
}

#[test]
fn lists_and_messages_in_parts_are_one() {
    let object = objects::service();
    let whole = protobuf::object("Service", &object);
    let mut part =
        json!({"spec": {"ports": [{"name": "late", "port": 7}], "selector": {"z": "z"}}});
    // Only what the part says.
    let spec = from_parts(&protobuf::object("Service", &part));
    let split = [whole.as_slice(), &spec].concat();
    let read = told(decoder(Kind::Service).object(Raw::Proto(&split)).unwrap());
    let mut merged = object;
    let ports = merged["spec"]["ports"].as_array_mut().unwrap();
    ports.push(part["spec"]["ports"][0].take());
    merged["spec"]["selector"]["z"] = json!("z");
    assert_eq!(read, both(Kind::Service, &merged));
}

/// The list and the map of a spec, as a second field of the same number.
fn from_parts(bytes: &[u8]) -> Vec<u8> {
    let mut cursor = wire::Cursor::new(bytes);
    let spec = loop {
        let found = cursor.next().unwrap().unwrap();
        if let (2, wire::Value::Bytes(spec)) = (found.number, found.value) {
            break spec;
        }
    };
    let mut kept = Vec::new();
    let mut inner = wire::Cursor::new(spec);
    while let Some(found) = inner.next().unwrap() {
        if let (1 | 2, wire::Value::Bytes(value)) = (found.number, found.value) {
            kept.push(u8::try_from(found.number << 3 | 2).unwrap());
            kept.push(u8::try_from(value.len()).unwrap());
            kept.extend_from_slice(value);
        }
    }
    [&[2 << 3 | 2, u8::try_from(kept.len()).unwrap()][..], &kept].concat()
}

#[test]
fn times_are_rendered_as_they_are_read() {
    for text in [
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2000-02-29T12:34:56Z",
        "2024-12-31T23:59:59Z",
        "2100-03-01T00:00:00Z",
        "0001-01-01T00:00:01Z",
        "9999-12-31T23:59:59Z",
    ] {
        let object = json!({"metadata": {"name": "a", "creationTimestamp": text}});
        let bytes = protobuf::object("Node", &object);
        assert_eq!(json(&schema::OBJECT, &bytes).unwrap(), object);
    }
}

#[test]
fn envelope_is_asked_for() {
    let body = json!({"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired", "message": "too old"});
    let answer = protobuf::answer(&body);
    let status = unwrapped(&answer).unwrap();
    let read: Value = from_slice(&schema::STATUS, status).unwrap();
    assert_eq!(
        read,
        json!({"code": 410, "reason": "Expired", "message": "too old"})
    );
    for wrong in [&b""[..], b"k8s", b"{}", &answer[1..], &answer[..9]] {
        assert!(unwrapped(wrong).is_err(), "{wrong:?}");
    }
    // Compressed, and of another encoding.
    for field in [
        &[3 << 3 | 2, 1, b'g'][..],
        &[4 << 3 | 2, 1, b'j'],
        &[2 << 3, 1],
    ] {
        assert!(unwrapped(&[&answer, field].concat()).is_err());
    }
}

#[test]
fn schema_has_each_number_and_name_once() {
    fn check(message: &schema::Message) {
        for (at, field) in message.0.iter().enumerate() {
            let others = message.0.iter().skip(at + 1);
            let twice =
                |other: &schema::Field| other.number == field.number || other.name == field.name;
            assert!(!others.clone().any(twice), "{field:?}");
            if let schema::Form::Message(inner) = field.form {
                check(inner);
            }
        }
    }
    for kind in Kind::ALL.iter().copied().filter(|kind| !kind.is_istio()) {
        check(message(kind));
    }
    check(&schema::LIST);
    check(&schema::STATUS);
}
