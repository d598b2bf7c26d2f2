//! `EnvoyFilter`; the patch values stay untyped JSON.

use std::collections::BTreeMap;

use super::{PolicyTargetReference, WorkloadSelector};

api_structs! {
    /// An `EnvoyFilter`.
    pub struct EnvoyFilter {
        /// Workloads it is for.
        pub workload_selector: Option<WorkloadSelector>,
        /// Resources it is attached to.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Patches, in order.
        pub config_patches: Vec<EnvoyConfigObjectPatch>,
        /// Order among filters of one level; smaller first.
        pub priority: i32,
    }

    /// `EnvoyConfigObjectPatch`.
    pub struct EnvoyConfigObjectPatch {
        /// What is patched.
        pub apply_to: ApplyTo,
        /// Which of them.
        #[serde(rename = "match")]
        pub object_match: Option<ObjectMatch>,
        /// How.
        pub patch: Option<Patch>,
    }

    /// `EnvoyConfigObjectMatch`.
    pub struct ObjectMatch {
        /// Direction.
        pub context: PatchContext,
        /// Proxies.
        pub proxy: Option<ProxyMatch>,
        /// Listeners.
        pub listener: Option<ListenerMatch>,
        /// Route configurations.
        pub route_configuration: Option<RouteConfigurationMatch>,
        /// Clusters.
        pub cluster: Option<ClusterMatch>,
    }

    /// `ProxyMatch`.
    pub struct ProxyMatch {
        /// Expression on the Istio version of the proxy.
        pub proxy_version: Option<String>,
        /// Node metadata that must be equal.
        pub metadata: BTreeMap<String, String>,
    }

    /// `ClusterMatch`.
    pub struct ClusterMatch {
        /// Port of the service.
        pub port_number: Option<u32>,
        /// Host.
        pub service: Option<String>,
        /// Subset.
        pub subset: Option<String>,
        /// Exact name.
        pub name: Option<String>,
    }

    /// `RouteConfigurationMatch`.
    pub struct RouteConfigurationMatch {
        /// Port.
        pub port_number: Option<u32>,
        /// Name of the gateway's port.
        pub port_name: Option<String>,
        /// Gateway, `namespace/name`.
        pub gateway: Option<String>,
        /// Virtual host.
        pub vhost: Option<VirtualHostMatch>,
        /// Exact name.
        pub name: Option<String>,
    }

    /// `VirtualHostMatch`.
    pub struct VirtualHostMatch {
        /// Exact name.
        pub name: Option<String>,
        /// Route.
        pub route: Option<RouteMatch>,
        /// One of its domains.
        pub domain_name: Option<String>,
    }

    /// `RouteMatch`.
    pub struct RouteMatch {
        /// Exact name.
        pub name: Option<String>,
        /// Action.
        pub action: RouteAction,
    }

    /// `ListenerMatch`.
    pub struct ListenerMatch {
        /// Port.
        pub port_number: Option<u32>,
        /// Accepted and without effect, as in Istio.
        pub port_name: Option<String>,
        /// Filter chain.
        pub filter_chain: Option<ListenerFilterChainMatch>,
        /// Listener filter.
        pub listener_filter: Option<String>,
        /// Exact name.
        pub name: Option<String>,
    }

    /// `FilterChainMatch`.
    pub struct ListenerFilterChainMatch {
        /// Exact name.
        pub name: Option<String>,
        /// Server name.
        pub sni: Option<String>,
        /// `raw_buffer` or `tls`.
        pub transport_protocol: Option<String>,
        /// Application protocols, comma separated.
        pub application_protocols: Option<String>,
        /// Network filter.
        pub filter: Option<FilterMatch>,
        /// Port.
        pub destination_port: Option<u32>,
    }

    /// `FilterMatch`.
    pub struct FilterMatch {
        /// Name.
        pub name: Option<String>,
        /// HTTP filter inside it.
        pub sub_filter: Option<SubFilterMatch>,
    }

    /// `SubFilterMatch`.
    pub struct SubFilterMatch {
        /// Name.
        pub name: Option<String>,
    }

    /// `Patch`.
    pub struct Patch {
        /// Operation.
        pub operation: PatchOperation,
        /// The Envoy message as JSON.
        pub value: Option<serde_json::Value>,
        /// Class that decides where a filter is put.
        pub filter_class: FilterClass,
    }
}

api_enum! {
    /// `ApplyTo`.
    pub enum ApplyTo {
        /// Nothing valid.
        Invalid = "INVALID",
        /// Listener.
        Listener = "LISTENER",
        /// Filter chain.
        FilterChain = "FILTER_CHAIN",
        /// Network filter.
        NetworkFilter = "NETWORK_FILTER",
        /// HTTP filter.
        HttpFilter = "HTTP_FILTER",
        /// Route configuration.
        RouteConfiguration = "ROUTE_CONFIGURATION",
        /// Virtual host.
        VirtualHost = "VIRTUAL_HOST",
        /// Route.
        HttpRoute = "HTTP_ROUTE",
        /// Cluster.
        Cluster = "CLUSTER",
        /// Extension configuration.
        ExtensionConfig = "EXTENSION_CONFIG",
        /// Bootstrap.
        Bootstrap = "BOOTSTRAP",
        /// Listener filter.
        ListenerFilter = "LISTENER_FILTER",
    } default Invalid
}

api_enum! {
    /// `PatchContext`.
    pub enum PatchContext {
        /// Sidecars and gateways.
        Any = "ANY",
        /// Inbound side of sidecars.
        SidecarInbound = "SIDECAR_INBOUND",
        /// Outbound side of sidecars.
        SidecarOutbound = "SIDECAR_OUTBOUND",
        /// Gateways.
        Gateway = "GATEWAY",
        /// Waypoints.
        Waypoint = "WAYPOINT",
    } default Any
}

api_enum! {
    /// `Patch.Operation`.
    pub enum PatchOperation {
        /// Nothing valid.
        Invalid = "INVALID",
        /// Merged into the message.
        Merge = "MERGE",
        /// Added at the end.
        Add = "ADD",
        /// Removed.
        Remove = "REMOVE",
        /// Inserted before the match.
        InsertBefore = "INSERT_BEFORE",
        /// Inserted after the match.
        InsertAfter = "INSERT_AFTER",
        /// Inserted at the beginning.
        InsertFirst = "INSERT_FIRST",
        /// In place of the match.
        Replace = "REPLACE",
    } default Invalid
}

api_enum! {
    /// `Patch.FilterClass`.
    pub enum FilterClass {
        /// Where the operation says.
        Unspecified = "UNSPECIFIED",
        /// After authentication.
        Authn = "AUTHN",
        /// After authorization.
        Authz = "AUTHZ",
        /// Before statistics.
        Stats = "STATS",
    } default Unspecified
}

api_enum! {
    /// `RouteMatch.Action`.
    pub enum RouteAction {
        /// Any.
        Any = "ANY",
        /// Forwarded.
        Route = "ROUTE",
        /// Redirected.
        Redirect = "REDIRECT",
        /// Answered.
        DirectResponse = "DIRECT_RESPONSE",
    } default Any
}
