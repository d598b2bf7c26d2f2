//! Messages that several kinds of the Istio API share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::labels::Labels;
use crate::names::Hostname;

api_structs! {
    /// `WorkloadSelector` of networking (`labels`) and of security and telemetry (`matchLabels`).
    pub struct WorkloadSelector {
        /// Labels a workload must have; empty selects every workload of the namespace.
        #[serde(alias = "matchLabels")]
        pub labels: Labels,
    }

    /// A label selector of Kubernetes.
    pub struct LabelSelector {
        /// Labels that must be there with these values.
        pub match_labels: Labels,
        /// Further conditions, all of which must hold.
        pub match_expressions: Vec<LabelSelectorRequirement>,
    }

    /// One condition of a label selector.
    pub struct LabelSelectorRequirement {
        /// Label.
        pub key: String,
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        pub operator: String,
        /// Values for `In` and `NotIn`.
        pub values: Vec<String>,
    }

    /// `PolicyTargetReference`: the resource a policy is attached to.
    pub struct PolicyTargetReference {
        /// API group.
        pub group: String,
        /// Kind.
        pub kind: String,
        /// Name.
        pub name: String,
        /// Namespace.
        pub namespace: String,
    }

    /// `PortSelector`.
    pub struct PortNumber {
        /// Number.
        pub number: u32,
    }

    /// `Percent`.
    pub struct Percent {
        /// 0 to 100.
        pub value: f64,
    }

    /// An empty message whose presence is all it says.
    pub struct Empty {
    }

    /// `Destination`.
    pub struct Destination {
        /// Host of the registry.
        pub host: Hostname,
        /// Subset of the host's DestinationRule.
        pub subset: Option<String>,
        /// Port; may be absent if the host has only one.
        pub port: Option<PortNumber>,
    }

    /// `Headers`.
    pub struct Headers {
        /// Changes of the request.
        pub request: Option<HeaderOperations>,
        /// Changes of the response.
        pub response: Option<HeaderOperations>,
    }

    /// `HeaderOperations`.
    pub struct HeaderOperations {
        /// Overwritten.
        pub set: BTreeMap<String, String>,
        /// Appended.
        pub add: BTreeMap<String, String>,
        /// Removed.
        pub remove: Vec<String>,
    }
}

/// `StringMatch`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "StringMatchFields")]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// Matches the RE2 expression as a whole.
    Regex(String),
    /// An empty match: for a header or query parameter it means "is there".
    Present,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StringMatchFields {
    exact: Option<String>,
    prefix: Option<String>,
    regex: Option<String>,
}

impl Serialize for StringMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Exact(text) => serializer.collect_map([("exact", text)]),
            Self::Prefix(text) => serializer.collect_map([("prefix", text)]),
            Self::Regex(text) => serializer.collect_map([("regex", text)]),
            Self::Present => serializer.collect_map(std::iter::empty::<(&str, &str)>()),
        }
    }
}

impl TryFrom<StringMatchFields> for StringMatch {
    type Error = &'static str;

    fn try_from(fields: StringMatchFields) -> Result<Self, Self::Error> {
        match (fields.exact, fields.prefix, fields.regex) {
            (Some(text), None, None) => Ok(Self::Exact(text)),
            (None, Some(text), None) => Ok(Self::Prefix(text)),
            (None, None, Some(text)) => Ok(Self::Regex(text)),
            (None, None, None) => Ok(Self::Present),
            _ => Err("only one of exact, prefix and regex may be set"),
        }
    }
}
