//! Everything the proxies of one class hold at one moment.

use std::collections::BTreeSet;
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
    pub(crate) clusters: Joined<ClusterKey>,
    pub(crate) endpoints: PartView<EndpointKey>,
    pub(crate) listeners: Joined<ListenerKey>,
    pub(crate) routes: PartView<RouteKey>,
    pub(crate) names: PartView<NameTableKey>,
}

/// Two parts of one type as one: what leads out of the workload, which many classes share, and what leads into it.
/// No resource of one has a name of the other.
#[derive(Debug)]
pub(crate) struct Joined<K> {
    pub(crate) outbound: PartView<K>,
    pub(crate) inbound: PartView<K>,
}

impl<K> Default for Joined<K> {
    fn default() -> Self {
        Self {
            outbound: PartView::default(),
            inbound: PartView::default(),
        }
    }
}

impl<K> Joined<K> {
    fn generation(&self) -> u64 {
        self.outbound.generation().max(self.inbound.generation())
    }

    fn get(&self, name: &str) -> Option<&EncodedResource> {
        let own = self.outbound.get(name);
        own.or_else(|| self.inbound.get(name))
    }

    /// In name order: the inbound ones, which are few, where they belong among the outbound ones.
    fn for_each(&self, mut f: impl FnMut(&EncodedResource)) {
        let mut inbound = self.inbound.resources().iter().peekable();
        self.outbound.for_each(|resource| {
            while let Some(before) =
                inbound.next_if(|slot| slot.resource().name() < resource.name())
            {
                f(before.resource());
            }
            f(resource);
        });
        inbound.for_each(|slot| f(slot.resource()));
    }

    const fn len(&self) -> usize {
        self.outbound.len() + self.inbound.len()
    }

    fn changed_since(&self, generation: u64) -> Option<BTreeSet<Arc<str>>> {
        let mut names = self.outbound.changed_since(generation)?;
        names.extend(self.inbound.changed_since(generation)?);
        Some(names)
    }
}

/// Runs one expression on what holds a type's resources.
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
        with_part!(self, ty, part => part.get(name).cloned(), else None)
    }

    /// Calls `f` for every resource of a type, in name order.
    pub fn for_each(&self, ty: ResourceType, f: &mut dyn FnMut(&EncodedResource)) {
        with_part!(self, ty, part => part.for_each(f), else ());
    }

    /// How many resources of a type there are.
    #[must_use]
    pub fn len(&self, ty: ResourceType) -> usize {
        with_part!(self, ty, part => part.len(), else 0)
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

#[cfg(test)]
mod tests;
