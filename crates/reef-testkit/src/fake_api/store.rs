//! Objects, their versions and the history of changes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Kinds and where they are: group, plural, whether they are in namespaces.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("Namespace", "", "namespaces", false),
    ("Node", "", "nodes", false),
    ("Pod", "", "pods", true),
    ("Service", "", "services", true),
    ("ConfigMap", "", "configmaps", true),
    ("EndpointSlice", "discovery.k8s.io", "endpointslices", true),
    (
        "ServiceEntry",
        "networking.istio.io",
        "serviceentries",
        true,
    ),
    (
        "WorkloadEntry",
        "networking.istio.io",
        "workloadentries",
        true,
    ),
    (
        "WorkloadGroup",
        "networking.istio.io",
        "workloadgroups",
        true,
    ),
    ("Sidecar", "networking.istio.io", "sidecars", true),
    (
        "VirtualService",
        "networking.istio.io",
        "virtualservices",
        true,
    ),
    (
        "DestinationRule",
        "networking.istio.io",
        "destinationrules",
        true,
    ),
    ("Gateway", "networking.istio.io", "gateways", true),
    ("EnvoyFilter", "networking.istio.io", "envoyfilters", true),
    ("ProxyConfig", "networking.istio.io", "proxyconfigs", true),
    (
        "PeerAuthentication",
        "security.istio.io",
        "peerauthentications",
        true,
    ),
    (
        "RequestAuthentication",
        "security.istio.io",
        "requestauthentications",
        true,
    ),
    (
        "AuthorizationPolicy",
        "security.istio.io",
        "authorizationpolicies",
        true,
    ),
    ("Telemetry", "telemetry.istio.io", "telemetries", true),
    ("Lease", "coordination.k8s.io", "leases", true),
    ("Event", "", "events", true),
];

/// The kind of a plural of a group.
pub(crate) fn kind_of(group: &str, plural: &str) -> Option<&'static str> {
    let found = KINDS
        .iter()
        .find(|(_, of, known, _)| (*of, *known) == (group, plural));
    found.map(|(kind, ..)| *kind)
}

/// Whether objects of a kind are in namespaces.
pub(crate) fn is_namespaced(kind: &str) -> bool {
    KINDS
        .iter()
        .any(|(known, _, _, namespaced)| *known == kind && *namespaced)
}

/// Plural, namespace and name.
type Key = (String, String, String);

/// A change of history.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) version: u64,
    pub(crate) plural: String,
    pub(crate) happened: &'static str,
    pub(crate) object: Value,
}

/// Everything a server knows.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) version: u64,
    /// A watch from an older version is refused.
    pub(crate) oldest: u64,
    objects: BTreeMap<Key, Value>,
    pub(crate) history: Vec<Event>,
    /// Group, version and plural of what is served.
    pub(crate) served: BTreeSet<(String, String, String)>,
    /// Plurals whose definition has no status subresource.
    pub(crate) without_status: BTreeSet<String>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let mut store = Self {
            // A real server has made things of its own by now.
            version: 100,
            oldest: 0,
            objects: BTreeMap::new(),
            history: Vec::new(),
            served: BTreeSet::new(),
            without_status: BTreeSet::new(),
        };
        for (_, group, plural, _) in KINDS {
            store.install(group, "v1", plural);
        }
        store
    }

    pub(crate) fn install(&mut self, group: &str, version: &str, plural: &str) {
        let served = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.served.insert(served);
    }

    pub(crate) fn uninstall(&mut self, plural: &str) {
        self.served.retain(|(_, _, served)| served != plural);
        self.objects.retain(|(of, _, _), _| of != plural);
    }

    #[expect(clippy::expect_used, reason = "a test with such an object is wrong")]
    pub(crate) fn apply(&mut self, mut object: Value) -> u64 {
        let kind = object["kind"].as_str().expect("an object has a kind");
        let (_, group, plural, namespaced) = KINDS
            .iter()
            .find(|(known, ..)| *known == kind)
            .expect("the kind is known here");
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let namespace = match (namespaced, object["metadata"]["namespace"].as_str()) {
            (false, _) => String::new(),
            (true, namespace) => namespace.unwrap_or("default").to_owned(),
        };
        self.version += 1;
        let version = self.version;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(version.to_string());
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = json!("2026-01-02T03:04:05Z");
        }
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("00000000-0000-4000-8000-{version:012}"));
        }
        if *namespaced {
            metadata["namespace"] = json!(namespace);
        }
        let key = ((*plural).to_owned(), namespace, name);
        if group.ends_with("istio.io") {
            let before = self.objects.get(&key);
            let same = before.is_some_and(|before| before["spec"] == object["spec"]);
            let count = before.and_then(|before| before["metadata"]["generation"].as_u64());
            let count = count.unwrap_or_default() + u64::from(!same);
            object["metadata"]["generation"] = json!(count);
        }
        let before = self.objects.insert(key, object.clone());
        self.history.push(Event {
            version,
            plural: (*plural).to_owned(),
            happened: if before.is_some() {
                "MODIFIED"
            } else {
                "ADDED"
            },
            object,
        });
        version
    }

    pub(crate) fn delete(&mut self, plural: &str, namespace: &str, name: &str) -> bool {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut object) = self.objects.remove(&key) else {
            return false;
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.history.push(Event {
            version: self.version,
            plural: plural.to_owned(),
            happened: "DELETED",
            object,
        });
        true
    }

    /// One object.
    pub(crate) fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<&Value> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.get(&key)
    }

    pub(crate) fn compact(&mut self) {
        self.oldest = self.version;
        self.history.clear();
    }

    /// Objects of a plural that a selector wants, in order.
    pub(crate) fn list(&self, plural: &str, wanted: &Wanted) -> Vec<Value> {
        self.objects
            .iter()
            .filter(|((of, _, _), object)| of == plural && wanted.has(object))
            .map(|(_, object)| object.clone())
            .collect()
    }
}

/// Which objects are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Of this namespace.
    pub(crate) namespace: Option<String>,
    /// `path=value` or `path!=value`, all of them.
    pub(crate) fields: Vec<(String, bool, String)>,
}

impl Wanted {
    pub(crate) fn new(namespace: Option<String>, selector: &str) -> Self {
        let fields = selector.split(',').filter(|part| !part.is_empty());
        let fields = fields.map(|part| match part.split_once("!=") {
            Some((path, value)) => (path.to_owned(), false, value.to_owned()),
            None => {
                let (path, value) = part.split_once('=').unwrap_or((part, ""));
                (path.to_owned(), true, value.to_owned())
            }
        });
        Self {
            namespace,
            fields: fields.collect(),
        }
    }

    pub(crate) fn has(&self, object: &Value) -> bool {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        self.namespace
            .as_deref()
            .is_none_or(|wanted| wanted == namespace)
            && self.fields.iter().all(|(path, equal, wanted)| {
                let found = path.split('.').fold(object, |at, part| &at[part]);
                (found.as_str().unwrap_or_default() == wanted) == *equal
            })
    }
}
