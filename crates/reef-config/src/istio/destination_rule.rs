//! `DestinationRule`; its policies are next door.

use crate::labels::Labels;
use crate::names::Hostname;

use super::{TrafficPolicy, WorkloadSelector};

api_structs! {
    /// A `DestinationRule`.
    pub struct DestinationRule {
        /// Host, wildcard allowed.
        pub host: Hostname,
        /// Policy for all subsets.
        pub traffic_policy: Option<TrafficPolicy>,
        /// Named sets of endpoints.
        pub subsets: Vec<Subset>,
        /// Namespaces that see it; empty means the mesh default.
        pub export_to: Vec<String>,
        /// Clients it applies to; absent means all.
        pub workload_selector: Option<WorkloadSelector>,
    }

    /// `Subset`.
    pub struct Subset {
        /// Name routes refer to.
        pub name: String,
        /// Labels of the endpoints.
        pub labels: Labels,
        /// Policy; overrides the rule's.
        pub traffic_policy: Option<TrafficPolicy>,
    }
}
