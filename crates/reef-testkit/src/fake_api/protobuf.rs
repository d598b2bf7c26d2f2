//! JSON → protobuf, for the kinds and fields tests look at; written down apart from the reader it is a test of.
//!
//! As a Go program writes it: what is no pointer there is written even if it is empty. A value of another type than its
//! field has is written as the value it is.

use serde_json::Value;

/// What a value is.
#[derive(Clone, Copy)]
enum Is {
    Text,
    Number,
    Truth,
    Time,
    NumberOrText,
    Of(&'static [Row]),
}

use Is::{Number, NumberOrText, Of, Text, Time, Truth};

/// How a field is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// If it is there.
    Pointer,
    /// In any case.
    Always,
    /// Each element.
    List,
    /// Each entry.
    Map,
}

use How::{Always, List, Map, Pointer};

/// Number, name in JSON, and form.
type Row = (u64, &'static str, Is, How);

const MANAGED: &[Row] = &[
    (1, "manager", Text, Always),
    (2, "operation", Text, Always),
    (3, "apiVersion", Text, Always),
    (6, "fieldsType", Text, Always),
    (8, "subresource", Text, Always),
];

const METADATA: &[Row] = &[
    (1, "name", Text, Always),
    (2, "generateName", Text, Always),
    (3, "namespace", Text, Always),
    (4, "selfLink", Text, Always),
    (5, "uid", Text, Always),
    (6, "resourceVersion", Text, Always),
    (7, "generation", Number, Always),
    (8, "creationTimestamp", Time, Always),
    (9, "deletionTimestamp", Time, Pointer),
    (10, "deletionGracePeriodSeconds", Number, Pointer),
    (11, "labels", Text, Map),
    (12, "annotations", Text, Map),
    (14, "finalizers", Text, List),
    (17, "managedFields", Of(MANAGED), List),
];

const LIST_METADATA: &[Row] = &[
    (1, "selfLink", Text, Always),
    (2, "resourceVersion", Text, Always),
    (3, "continue", Text, Always),
    (4, "remainingItemCount", Number, Pointer),
];

const STATUS: &[Row] = &[
    (1, "metadata", Of(LIST_METADATA), Always),
    (2, "status", Text, Always),
    (3, "message", Text, Always),
    (4, "reason", Text, Always),
    (6, "code", Number, Always),
];

const BARE: &[Row] = &[
    (1, "metadata", Of(METADATA), Always),
    (2, "spec", Of(&[]), Always),
    (3, "status", Of(&[]), Always),
];

const CONFIG_MAP: &[Row] = &[
    (1, "metadata", Of(METADATA), Always),
    (2, "data", Text, Map),
    (4, "immutable", Truth, Pointer),
];

const CONTAINER: &[Row] = &[
    (1, "name", Text, Always),
    (2, "image", Text, Always),
    (5, "workingDir", Text, Always),
    (
        6,
        "ports",
        Of(&[
            (1, "name", Text, Always),
            (2, "hostPort", Number, Always),
            (3, "containerPort", Number, Always),
            (4, "protocol", Text, Always),
            (5, "hostIP", Text, Always),
        ]),
        List,
    ),
    (14, "imagePullPolicy", Text, Always),
    (24, "restartPolicy", Text, Pointer),
];

const POD: &[Row] = &[
    (1, "metadata", Of(METADATA), Always),
    (
        2,
        "spec",
        Of(&[
            (1, "volumes", Of(&[(1, "name", Text, Always)]), List),
            (2, "containers", Of(CONTAINER), List),
            (3, "restartPolicy", Text, Always),
            (4, "terminationGracePeriodSeconds", Number, Pointer),
            (7, "nodeSelector", Text, Map),
            (8, "serviceAccountName", Text, Always),
            (10, "nodeName", Text, Always),
            (11, "hostNetwork", Truth, Always),
            (16, "hostname", Text, Always),
            (17, "subdomain", Text, Always),
            (20, "initContainers", Of(CONTAINER), List),
        ]),
        Always,
    ),
    (
        3,
        "status",
        Of(&[
            (1, "phase", Text, Always),
            (3, "message", Text, Always),
            (5, "hostIP", Text, Always),
            (6, "podIP", Text, Always),
            (12, "podIPs", Of(&[(1, "ip", Text, Always)]), List),
        ]),
        Always,
    ),
];

const SERVICE: &[Row] = &[
    (1, "metadata", Of(METADATA), Always),
    (
        2,
        "spec",
        Of(&[
            (
                1,
                "ports",
                Of(&[
                    (1, "name", Text, Always),
                    (2, "protocol", Text, Always),
                    (3, "port", Number, Always),
                    (4, "targetPort", NumberOrText, Pointer),
                    (5, "nodePort", Number, Always),
                    (6, "appProtocol", Text, Pointer),
                ]),
                List,
            ),
            (2, "selector", Text, Map),
            (3, "clusterIP", Text, Always),
            (4, "type", Text, Always),
            (5, "externalIPs", Text, List),
            (7, "sessionAffinity", Text, Always),
            (10, "externalName", Text, Always),
            (13, "publishNotReadyAddresses", Truth, Always),
            (18, "clusterIPs", Text, List),
            (19, "ipFamilies", Text, List),
            (22, "internalTrafficPolicy", Text, Pointer),
            (23, "trafficDistribution", Text, Pointer),
        ]),
        Always,
    ),
    (
        3,
        "status",
        Of(&[(
            1,
            "loadBalancer",
            Of(&[(
                1,
                "ingress",
                Of(&[
                    (1, "ip", Text, Always),
                    (2, "hostname", Text, Always),
                    (3, "ipMode", Text, Pointer),
                ]),
                List,
            )]),
            Always,
        )]),
        Always,
    ),
];

const SLICE: &[Row] = &[
    (1, "metadata", Of(METADATA), Always),
    (
        2,
        "endpoints",
        Of(&[
            (1, "addresses", Text, List),
            (
                2,
                "conditions",
                Of(&[
                    (1, "ready", Truth, Pointer),
                    (2, "serving", Truth, Pointer),
                    (3, "terminating", Truth, Pointer),
                ]),
                Always,
            ),
            (3, "hostname", Text, Pointer),
            (
                4,
                "targetRef",
                Of(&[
                    (1, "kind", Text, Always),
                    (2, "namespace", Text, Always),
                    (3, "name", Text, Always),
                    (4, "uid", Text, Always),
                ]),
                Pointer,
            ),
            (6, "nodeName", Text, Pointer),
            (7, "zone", Text, Pointer),
        ]),
        List,
    ),
    (
        3,
        "ports",
        Of(&[
            (1, "name", Text, Pointer),
            (2, "protocol", Text, Pointer),
            (3, "port", Number, Pointer),
            (4, "appProtocol", Text, Pointer),
        ]),
        List,
    ),
    (4, "addressType", Text, Always),
];

fn rows(kind: &str) -> &'static [Row] {
    match kind {
        "Pod" => POD,
        "Service" => SERVICE,
        "EndpointSlice" => SLICE,
        "ConfigMap" => CONFIG_MAP,
        "Status" => STATUS,
        _ => BARE,
    }
}

/// The message of an object of Kubernetes' own, without envelope.
#[must_use]
pub fn object(kind: &str, object: &Value) -> Vec<u8> {
    message(rows(kind), object)
}

/// An object, a `Status` or a list (whose items may lack their kind) in the envelope it has as an answer.
#[must_use]
pub fn answer(body: &Value) -> Vec<u8> {
    let kind = body["kind"].as_str().unwrap_or_default();
    let Some(of) = kind.strip_suffix("List") else {
        return unknown(body, kind, &object(kind, body));
    };
    let mut out = Vec::new();
    bytes(&mut out, 1, &message(LIST_METADATA, &body["metadata"]));
    for item in body["items"].as_array().into_iter().flatten() {
        bytes(&mut out, 2, &object(of, item));
    }
    unknown(body, kind, &out)
}

/// What the lines of a watch are as frames. A line that is no event is a frame of the same bytes, and one that does not
/// end one that is longer than what comes.
#[must_use]
pub fn frames(lines: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split_inclusive('\n') {
        let (said, missing) = match line.strip_suffix('\n') {
            Some(said) => (event(said), 0),
            None => (line.as_bytes().to_vec(), 1),
        };
        let length = u32::try_from(said.len() + missing).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&said);
    }
    out
}

/// A `WatchEvent` of a line, if it is one.
fn event(line: &str) -> Vec<u8> {
    let Ok(event) = serde_json::from_str::<Value>(line) else {
        return line.as_bytes().to_vec();
    };
    let mut extension = Vec::new();
    bytes(&mut extension, 1, &answer(&event["object"]));
    let mut out = Vec::new();
    let happened = event["type"].as_str().unwrap_or_default();
    bytes(&mut out, 1, happened.as_bytes());
    bytes(&mut out, 2, &extension);
    out
}

/// The envelope.
fn unknown(body: &Value, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut of = Vec::new();
    let api_version = body["apiVersion"].as_str().unwrap_or("v1");
    bytes(&mut of, 1, api_version.as_bytes());
    bytes(&mut of, 2, kind.as_bytes());
    let mut out = b"k8s\0".to_vec();
    bytes(&mut out, 1, &of);
    bytes(&mut out, 2, raw);
    bytes(&mut out, 3, b"");
    bytes(&mut out, 4, b"");
    out
}

fn message(rows: &[Row], value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if !value.is_object() && !value.is_null() {
        single(&mut out, 1, Text, value);
    }
    for (number, name, is, how) in rows {
        let value = &value[*name];
        match (how, value) {
            (Map, Value::Object(entries)) => {
                for (name, value) in entries {
                    let mut entry = Vec::new();
                    bytes(&mut entry, 1, name.as_bytes());
                    single(&mut entry, 2, Text, value);
                    bytes(&mut out, *number, &entry);
                }
            }
            (List, Value::Array(elements)) => {
                for element in elements {
                    single(&mut out, *number, *is, element);
                }
            }
            (Pointer | List | Map, Value::Null) => {}
            _ => single(&mut out, *number, *is, value),
        }
    }
    out
}

fn single(out: &mut Vec<u8>, number: u64, is: Is, value: &Value) {
    match (is, value) {
        (Of(rows), Value::Object(_) | Value::Null) => bytes(out, number, &message(rows, value)),
        (Time, Value::String(text)) => {
            let mut time = Vec::new();
            if let Some(seconds) = reef_config::parse::timestamp(text) {
                numeral(&mut time, 1, seconds);
                numeral(&mut time, 2, 0);
            }
            bytes(out, number, &time);
        }
        (Time, Value::Null) => bytes(out, number, &[]),
        (NumberOrText, _) => {
            let mut either = Vec::new();
            numeral(&mut either, 1, i64::from(value.is_string()));
            numeral(&mut either, 2, value.as_i64().unwrap_or_default());
            bytes(
                &mut either,
                3,
                value.as_str().unwrap_or_default().as_bytes(),
            );
            bytes(out, number, &either);
        }
        (Number | Truth, Value::Null) => numeral(out, number, 0),
        (_, Value::Number(value)) => numeral(out, number, value.as_i64().unwrap_or_default()),
        (_, Value::Bool(value)) => numeral(out, number, i64::from(*value)),
        (_, Value::String(text)) => bytes(out, number, text.as_bytes()),
        (_, Value::Null) => bytes(out, number, &[]),
        (_, other) => bytes(out, number, other.to_string().as_bytes()),
    }
}

fn numeral(out: &mut Vec<u8>, number: u64, value: i64) {
    varint(out, number << 3);
    varint(out, value.cast_unsigned());
}

fn bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, u64::try_from(value.len()).unwrap_or_default());
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}
