//! Rules: objects that say how services are used, indexed by namespace and in order of age.

mod destination;
mod virtual_service;

use std::sync::Arc;

use reef_config::names::{Hostname, Namespace};
use reef_config::{Age, Labels, Object, ObjectKey, Problem, istio};

use crate::ExportTo;

pub use destination::DestinationRuleIndex;
pub(crate) use virtual_service::resolve as resolve_virtual_service;

/// One object of a rule kind, as its author wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule<T> {
    /// The object.
    pub object: ObjectKey,
    /// Its age; rules are kept oldest first.
    pub age: Age,
    /// Its annotations; some rules read them.
    pub annotations: Labels,
    /// Its content.
    pub spec: T,
}

impl<T> Rule<T> {
    /// Makes the rule of an object from its content.
    #[must_use]
    pub fn new(object: &Object, spec: T) -> Self {
        Self {
            object: object.key.clone(),
            age: object.age(),
            annotations: object.meta.annotations.clone(),
            spec,
        }
    }
}

/// A `Sidecar`.
pub type SidecarRule = Rule<istio::Sidecar>;

/// A host some route of a `VirtualService` sends requests to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Fully qualified host.
    pub host: Hostname,
    /// Port, if the route names one.
    pub port: Option<u16>,
    /// If every match of the route names a client namespace: those namespaces, sorted.
    pub only_from: Option<Box<[Namespace]>>,
}

/// One HTTP route under one of its conditions, as `VirtualService`s are read: in order, the first
/// that matches wins.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRule {
    /// When it holds; `None` is always.
    pub condition: Option<istio::HttpMatchRequest>,
    /// What happens; shared by all conditions of one route.
    pub action: Arc<HttpAction>,
}

/// What an HTTP route does: a route without its conditions, and without what can't be done.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpAction {
    /// The route; its `match` and `delegate` are empty.
    pub route: istio::HttpRoute,
    /// The object it was written in: the `VirtualService` itself or a delegate.
    pub object: ObjectKey,
    /// Where in it, such as `spec.http[2]`.
    pub field: Arc<str>,
}

// Numbers that equal nothing, themselves included, are left out when names are resolved.
impl Eq for HttpRule {}
impl Eq for HttpAction {}

/// A `VirtualService` with all names resolved.
///
/// Delegates are not objects of their own here: their routes are among those of each root that may
/// use them.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualServiceRule {
    /// The object.
    pub object: ObjectKey,
    /// Its age.
    pub age: Age,
    /// Fully qualified hosts.
    pub hosts: Box<[Hostname]>,
    /// `namespace/name` of gateways, and `mesh` for sidecars.
    pub gateways: Box<[String]>,
    /// Who may see it.
    pub export_to: ExportTo,
    /// Every destination of its routes and mirrors, sorted, without duplicates.
    pub destinations: Box<[Destination]>,
    /// The delegates it uses and those it names but may not use or that are not there.
    pub delegates: Box<[ObjectKey]>,
    /// The content, with short destination hosts resolved.
    pub spec: istio::VirtualService,
    /// Its HTTP routes in order, one for each condition, those of delegates in place.
    pub http: Box<[Arc<HttpRule>]>,
    /// What of it has no effect.
    pub problems: Box<[Problem]>,
}

impl VirtualServiceRule {
    /// True if it applies to sidecars.
    #[must_use]
    pub fn for_mesh(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway == "mesh")
    }
}

/// `DestinationRule`s of one namespace for one host that were merged because they agree on who
/// they are for.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationPolicy {
    /// The objects it was merged from, oldest first; never empty.
    pub objects: Box<[ObjectKey]>,
    /// Namespace of the rules.
    pub namespace: Namespace,
    /// Fully qualified host or wildcard.
    pub host: Hostname,
    /// Who may use it.
    pub export_to: ExportTo,
    /// Clients it is limited to.
    pub selector: Option<Labels>,
    /// The merged content: subsets of all, the first top-level traffic policy.
    pub spec: istio::DestinationRule,
}
