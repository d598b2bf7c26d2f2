//! Everything the proxies of one class hold at one moment.

use std::sync::Arc;

use reef_gen::{ClusterKey, EndpointKey, ListenerKey, NameTableKey, RouteKey};
use reef_xds::xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use reef_xds::xds_api::envoy::config::route::v3::RouteConfiguration;
use reef_xds::{EncodedResource, ResourceType};

use crate::part::PartView;

/// The resources of one class; immutable and shared by its proxies and their streams.
///
/// It has the methods of the server's view of resources; the binary joins the two.
#[derive(Debug, Default)]
pub struct ClassView {
    pub(crate) lineage: u64,
    pub(crate) clusters: PartView<ClusterKey>,
    pub(crate) endpoints: PartView<EndpointKey>,
    pub(crate) listeners: PartView<ListenerKey>,
    pub(crate) routes: PartView<RouteKey>,
    pub(crate) names: PartView<NameTableKey>,
}

/// Runs one expression on the part that holds a type's resources.
macro_rules! with_part {
    ($view:expr, $ty:expr, $part:ident => $then:expr, else $none:expr) => {
        match $ty {
            ResourceType::Cluster => {
                let $part = &$view.clusters;
                $then
            }
            ResourceType::Endpoint => {
                let $part = &$view.endpoints;
                $then
            }
            ResourceType::Listener => {
                let $part = &$view.listeners;
                $then
            }
            ResourceType::Route => {
                let $part = &$view.routes;
                $then
            }
            ResourceType::NameTable => {
                let $part = &$view.names;
                $then
            }
            _ => $none,
        }
    };
}

/// The types a class has resources of, in sending order.
pub const TYPES: [ResourceType; 5] = [
    ResourceType::Cluster,
    ResourceType::Endpoint,
    ResourceType::Listener,
    ResourceType::Route,
    ResourceType::NameTable,
];

impl ClassView {
    /// Which sequence of views this one belongs to; never used again for another class.
    #[must_use]
    pub const fn lineage(&self) -> u64 {
        self.lineage
    }

    /// The push that last changed a byte of this class. Grows along a lineage, not by one.
    #[must_use]
    pub fn generation(&self) -> u64 {
        TYPES
            .into_iter()
            .map(|ty| with_part!(self, ty, part => part.generation(), else 0))
            .max()
            .unwrap_or(0)
    }

    /// The resource of this name.
    #[must_use]
    pub fn resource(&self, ty: ResourceType, name: &str) -> Option<EncodedResource> {
        with_part!(self, ty, part => part.resources().get(name).map(|slot| slot.resource().clone()), else None)
    }

    /// Calls `f` for every resource of a type, in name order.
    pub fn for_each(&self, ty: ResourceType, f: &mut dyn FnMut(&EncodedResource)) {
        with_part!(self, ty, part => part.resources().iter().for_each(|slot| f(slot.resource())), else ());
    }

    /// How many resources of a type there are.
    #[must_use]
    pub fn len(&self, ty: ResourceType) -> usize {
        with_part!(self, ty, part => part.resources().len(), else 0)
    }

    /// Names that may differ between `generation` of this lineage and this view, by type, then name; `None` if that
    /// generation is too long ago.
    #[must_use]
    pub fn changed_since(&self, generation: u64) -> Option<Vec<(ResourceType, Arc<str>)>> {
        let mut changed = Vec::new();
        for ty in TYPES {
            let names = with_part!(self, ty, part => part.changed_since(generation), else None)?;
            changed.extend(names.into_iter().map(|name| (ty, name)));
        }
        Some(changed)
    }

    /// The empty form of a resource that does not exist, for types where Envoy would wait for ever otherwise.
    #[must_use]
    pub fn absent(&self, ty: ResourceType, name: &str) -> Option<EncodedResource> {
        match ty {
            ResourceType::Route => {
                let empty = RouteConfiguration {
                    name: name.to_owned(),
                    ..RouteConfiguration::default()
                };
                Some(EncodedResource::encode(name, &empty))
            }
            ResourceType::Endpoint => {
                let empty = ClusterLoadAssignment {
                    cluster_name: name.to_owned(),
                    ..ClusterLoadAssignment::default()
                };
                Some(EncodedResource::encode(name, &empty))
            }
            _ => None,
        }
    }
}
