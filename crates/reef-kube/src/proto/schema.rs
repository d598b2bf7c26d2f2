//! Which field of which message is what in JSON: those that somebody reads, and no others.
//!
//! The numbers are those of `generated.proto` in Kubernetes' `api` and `apimachinery`, which never change. A field that
//! Go's JSON leaves out when it is empty is told in protobuf all the same; it is marked here, so that it is absent both
//! times.

/// A message, as far as it is read.
#[derive(Debug)]
pub(crate) struct Message(pub(super) &'static [Field]);

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(super) number: u64,
    /// Its name in JSON.
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) often: Often,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Text,
    Truth,
    Number,
    /// `meta.v1.Time`.
    Time,
    /// `intstr.IntOrString`.
    NumberOrText,
    Message(&'static Message),
}

/// How often a field is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Often {
    /// Once, if it is said at all.
    Once,
    /// Once; absent if it is empty or zero.
    NotEmpty,
    /// As a list.
    List,
    /// As a map of texts by name.
    Map,
}

impl Message {
    /// The field of a number, if it is read.
    pub(super) fn field(&self, number: u64) -> Option<&'static Field> {
        self.0.iter().find(|field| field.number == number)
    }
}

const fn field(number: u64, name: &'static str, form: Form, often: Often) -> Field {
    Field {
        number,
        name,
        form,
        often,
    }
}

/// A text that a pointer leads to in Go, so that an empty one is said; or one that is always said.
const fn said(number: u64, name: &'static str) -> Field {
    field(number, name, Form::Text, Often::Once)
}

/// A text that is absent if it is empty.
const fn text(number: u64, name: &'static str) -> Field {
    field(number, name, Form::Text, Often::NotEmpty)
}

const fn texts(number: u64, name: &'static str) -> Field {
    field(number, name, Form::Text, Often::List)
}

const fn map(number: u64, name: &'static str) -> Field {
    field(number, name, Form::Text, Often::Map)
}

const fn truth(number: u64, name: &'static str) -> Field {
    field(number, name, Form::Truth, Often::Once)
}

const fn number(number: u64, name: &'static str) -> Field {
    field(number, name, Form::Number, Often::Once)
}

const fn message(number: u64, name: &'static str, message: &'static Message) -> Field {
    field(number, name, Form::Message(message), Often::Once)
}

const fn messages(number: u64, name: &'static str, message: &'static Message) -> Field {
    field(number, name, Form::Message(message), Often::List)
}

/// `meta.v1.ObjectMeta`.
static METADATA: Message = Message(&[
    text(1, "name"),
    text(3, "namespace"),
    text(5, "uid"),
    text(6, "resourceVersion"),
    field(7, "generation", Form::Number, Often::NotEmpty),
    field(8, "creationTimestamp", Form::Time, Often::Once),
    map(11, "labels"),
    map(12, "annotations"),
]);

/// What every object has, and all that is read of a Namespace or a Node.
pub(crate) static OBJECT: Message = Message(&[message(1, "metadata", &METADATA)]);

/// `meta.v1.ListMeta`, of a list or of a page of one.
static LIST_METADATA: Message = Message(&[text(2, "resourceVersion"), text(3, "continue")]);

/// A list without its items.
pub(crate) static LIST: Message = Message(&[message(1, "metadata", &LIST_METADATA)]);

/// `meta.v1.Status`.
pub(crate) static STATUS: Message =
    Message(&[text(3, "message"), text(4, "reason"), number(6, "code")]);

/// `core.v1.ConfigMap`.
pub(crate) static CONFIG_MAP: Message =
    Message(&[message(1, "metadata", &METADATA), map(2, "data")]);

/// `core.v1.Pod`.
pub(crate) static POD: Message = Message(&[
    message(1, "metadata", &METADATA),
    message(2, "spec", &POD_SPEC),
    message(3, "status", &POD_STATUS),
]);

static POD_SPEC: Message = Message(&[
    messages(2, "containers", &CONTAINER),
    text(8, "serviceAccountName"),
    text(10, "nodeName"),
    truth(11, "hostNetwork"),
    text(16, "hostname"),
    text(17, "subdomain"),
    messages(20, "initContainers", &CONTAINER),
]);

static CONTAINER: Message = Message(&[
    messages(6, "ports", &CONTAINER_PORT),
    said(24, "restartPolicy"),
]);

static CONTAINER_PORT: Message = Message(&[
    text(1, "name"),
    number(3, "containerPort"),
    text(4, "protocol"),
]);

static POD_STATUS: Message = Message(&[
    text(1, "phase"),
    text(6, "podIP"),
    messages(12, "podIPs", &POD_IP),
]);

static POD_IP: Message = Message(&[said(1, "ip")]);

/// `core.v1.Service`.
pub(crate) static SERVICE: Message = Message(&[
    message(1, "metadata", &METADATA),
    message(2, "spec", &SERVICE_SPEC),
    message(3, "status", &SERVICE_STATUS),
]);

static SERVICE_SPEC: Message = Message(&[
    messages(1, "ports", &SERVICE_PORT),
    map(2, "selector"),
    text(3, "clusterIP"),
    text(4, "type"),
    texts(5, "externalIPs"),
    text(10, "externalName"),
    truth(13, "publishNotReadyAddresses"),
    texts(18, "clusterIPs"),
    said(22, "internalTrafficPolicy"),
    said(23, "trafficDistribution"),
]);

static SERVICE_PORT: Message = Message(&[
    text(1, "name"),
    text(2, "protocol"),
    number(3, "port"),
    field(4, "targetPort", Form::NumberOrText, Often::Once),
    said(6, "appProtocol"),
]);

static SERVICE_STATUS: Message = Message(&[message(1, "loadBalancer", &LOAD_BALANCER)]);

static LOAD_BALANCER: Message = Message(&[messages(1, "ingress", &INGRESS)]);

static INGRESS: Message = Message(&[text(1, "ip"), text(2, "hostname")]);

/// `discovery.v1.EndpointSlice`.
pub(crate) static ENDPOINT_SLICE: Message = Message(&[
    message(1, "metadata", &METADATA),
    messages(2, "endpoints", &ENDPOINT),
    messages(3, "ports", &ENDPOINT_PORT),
    said(4, "addressType"),
]);

static ENDPOINT: Message = Message(&[
    texts(1, "addresses"),
    message(2, "conditions", &CONDITIONS),
    message(4, "targetRef", &REFERENCE),
    said(6, "nodeName"),
]);

static CONDITIONS: Message = Message(&[
    truth(1, "ready"),
    truth(2, "serving"),
    truth(3, "terminating"),
]);

static REFERENCE: Message = Message(&[text(1, "kind"), text(2, "namespace"), text(3, "name")]);

static ENDPOINT_PORT: Message = Message(&[
    said(1, "name"),
    said(2, "protocol"),
    number(3, "port"),
    said(4, "appProtocol"),
]);
