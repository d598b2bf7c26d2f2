//! CustomResourceDefinitions of the Istio kinds, for clusters that have none.
//!
//! Names and versions are Istio's, so that Istio's own may take their place and objects stay.

use serde_json::{Value, json};

use super::{Described, Schema};
use crate::istio::{
    AuthorizationPolicy, DestinationRule, EnvoyFilter, Gateway, PeerAuthentication, ProxyConfig,
    RequestAuthentication, ServiceEntry, Sidecar, Telemetry, VirtualService, WorkloadEntry,
    WorkloadGroup,
};
use crate::kind::Kind;

/// What a definition says beside the schema.
struct Names {
    kind: Kind,
    plural: &'static str,
    short: &'static [&'static str],
    /// Versions served; the first is stored.
    versions: &'static [&'static str],
    /// Columns of `kubectl get`: name, JSON path, what it is.
    columns: &'static [(&'static str, &'static str, &'static str)],
    /// The name that Istio gives the labels of this kind's selectors.
    selector: &'static str,
    spec: fn() -> Schema,
}

/// One definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The kind it is of.
    pub kind: Kind,
    /// Its name, such as `sidecars.networking.istio.io`.
    pub name: String,
    /// The whole object.
    pub object: Value,
}

const NETWORKING: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY: &[&str] = &["v1", "v1beta1"];
const LABELS: &str = "labels";
const MATCH_LABELS: &str = "matchLabels";

/// Every kind that [`Kind::is_istio`], in the order of names.
const ALL: [Names; 13] = [
    Names {
        kind: Kind::AuthorizationPolicy,
        plural: "authorizationpolicies",
        short: &["ap"],
        versions: SECURITY,
        columns: &[("Action", ".spec.action", "What follows from a match.")],
        selector: MATCH_LABELS,
        spec: AuthorizationPolicy::schema,
    },
    Names {
        kind: Kind::DestinationRule,
        plural: "destinationrules",
        short: &["dr"],
        versions: NETWORKING,
        columns: &[("Host", ".spec.host", "The host it is for.")],
        selector: MATCH_LABELS,
        spec: DestinationRule::schema,
    },
    Names {
        kind: Kind::EnvoyFilter,
        plural: "envoyfilters",
        short: &[],
        versions: &["v1alpha3"],
        columns: &[],
        selector: LABELS,
        spec: EnvoyFilter::schema,
    },
    Names {
        kind: Kind::Gateway,
        plural: "gateways",
        short: &["gw"],
        versions: NETWORKING,
        columns: &[],
        selector: LABELS,
        spec: Gateway::schema,
    },
    Names {
        kind: Kind::PeerAuthentication,
        plural: "peerauthentications",
        short: &["pa"],
        versions: SECURITY,
        columns: &[("Mode", ".spec.mtls.mode", "Mode for all ports.")],
        selector: MATCH_LABELS,
        spec: PeerAuthentication::schema,
    },
    Names {
        kind: Kind::ProxyConfig,
        plural: "proxyconfigs",
        short: &[],
        versions: &["v1beta1"],
        columns: &[],
        selector: MATCH_LABELS,
        spec: ProxyConfig::schema,
    },
    Names {
        kind: Kind::RequestAuthentication,
        plural: "requestauthentications",
        short: &["ra"],
        versions: SECURITY,
        columns: &[],
        selector: MATCH_LABELS,
        spec: RequestAuthentication::schema,
    },
    Names {
        kind: Kind::ServiceEntry,
        plural: "serviceentries",
        short: &["se"],
        versions: NETWORKING,
        columns: &[
            ("Hosts", ".spec.hosts", "Hosts."),
            ("Location", ".spec.location", "Inside or outside the mesh."),
            ("Resolution", ".spec.resolution", "How endpoints are found."),
        ],
        selector: LABELS,
        spec: ServiceEntry::schema,
    },
    Names {
        kind: Kind::Sidecar,
        plural: "sidecars",
        short: &[],
        versions: NETWORKING,
        columns: &[],
        selector: LABELS,
        spec: Sidecar::schema,
    },
    Names {
        kind: Kind::Telemetry,
        plural: "telemetries",
        short: &["telemetry"],
        versions: &["v1", "v1alpha1"],
        columns: &[],
        selector: MATCH_LABELS,
        spec: Telemetry::schema,
    },
    Names {
        kind: Kind::VirtualService,
        plural: "virtualservices",
        short: &["vs"],
        versions: NETWORKING,
        columns: &[
            (
                "Gateways",
                ".spec.gateways",
                "Gateways it is bound to; none means all sidecars.",
            ),
            ("Hosts", ".spec.hosts", "Hosts it routes."),
        ],
        selector: LABELS,
        spec: VirtualService::schema,
    },
    Names {
        kind: Kind::WorkloadEntry,
        plural: "workloadentries",
        short: &["we"],
        versions: NETWORKING,
        columns: &[("Address", ".spec.address", "Address.")],
        selector: LABELS,
        spec: WorkloadEntry::schema,
    },
    Names {
        kind: Kind::WorkloadGroup,
        plural: "workloadgroups",
        short: &["wg"],
        versions: NETWORKING,
        columns: &[],
        selector: LABELS,
        spec: WorkloadGroup::schema,
    },
];

/// The definitions of all Istio kinds, in the order of their kinds' names.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    ALL.iter().map(definition).collect()
}

fn definition(names: &Names) -> Definition {
    let group = names.kind.group();
    let name = format!("{}.{group}", names.plural);
    let kind = names.kind.as_str();
    let versions: Vec<Value> = names
        .versions
        .iter()
        .enumerate()
        .map(|(index, version)| version_of(names, version, index == 0))
        .collect();
    let mut words = json!({
        "kind": kind,
        "listKind": format!("{kind}List"),
        "plural": names.plural,
        "singular": kind.to_lowercase(),
        "categories": ["istio-io", names.kind.group().replace('.', "-")],
    });
    if !names.short.is_empty() {
        words["shortNames"] = json!(names.short);
    }
    let object = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": &name},
        "spec": {
            "group": group,
            "names": words,
            "scope": "Namespaced",
            "versions": versions,
        },
    });
    Definition {
        kind: names.kind,
        name,
        object,
    }
}

fn version_of(names: &Names, version: &str, stored: bool) -> Value {
    let mut spec = Value::from((names.spec)());
    if names.kind == Kind::ServiceEntry {
        // Read along with the spec, but it is the object's.
        remove(&mut spec, "status");
    }
    name_selectors(&mut spec, names.selector);
    let kind = names.kind.as_str();
    let schema = json!({
        "type": "object",
        "description": format!("Istio's `{kind}`, as far as Reef knows it."),
        "properties": {
            "spec": spec,
            "status": Value::from(Schema::any_object().described("What controllers say of the object.")),
        },
    });
    let mut columns: Vec<Value> = names
        .columns
        .iter()
        .map(|(name, path, what)| json!({"name": name, "type": "string", "jsonPath": path, "description": what}))
        .collect();
    columns.push(json!({
        "name": "Age",
        "type": "date",
        "jsonPath": ".metadata.creationTimestamp",
        "description": "Time since it was created.",
    }));
    json!({
        "name": version,
        "served": true,
        "storage": stored,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": schema},
    })
}

fn remove(schema: &mut Value, property: &str) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove(property);
    }
}

/// Leaves of the two names of a selector's labels the one that Istio has for this kind.
///
/// Reef reads both wherever a selector is, as the two kinds of selector differ in nothing else.
fn name_selectors(schema: &mut Value, name: &str) {
    let other = if name == LABELS { MATCH_LABELS } else { LABELS };
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        if properties.contains_key(LABELS) && properties.contains_key(MATCH_LABELS) {
            properties.remove(other);
        }
        for property in properties.values_mut() {
            name_selectors(property, name);
        }
    }
    if let Some(items) = schema.get_mut("items") {
        name_selectors(items, name);
    }
}
