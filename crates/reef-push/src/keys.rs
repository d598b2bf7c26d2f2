//! The keys of `reef-gen` as keys of the stores.

use reef_config::Problem;
use reef_gen::{
    ClusterKey, EndpointKey, ListenerKey, NameTableKey, RouteKey, build_cluster, build_endpoints,
    build_listener, build_name_table, build_route,
};
use reef_xds::EncodedResource;

use crate::store::ResourceKey;

impl ResourceKey for ClusterKey {
    fn build(&self) -> (EncodedResource, Vec<Problem>) {
        let (cluster, problems) = build_cluster(self);
        (EncodedResource::encode(self.name(), &cluster), problems)
    }
}

impl ResourceKey for EndpointKey {
    fn build(&self) -> (EncodedResource, Vec<Problem>) {
        (
            EncodedResource::encode(self.name(), &build_endpoints(self)),
            Vec::new(),
        )
    }
}

impl ResourceKey for ListenerKey {
    fn build(&self) -> (EncodedResource, Vec<Problem>) {
        let (listener, problems) = build_listener(self);
        (EncodedResource::encode(self.name(), &listener), problems)
    }
}

impl ResourceKey for RouteKey {
    fn build(&self) -> (EncodedResource, Vec<Problem>) {
        let (route, problems) = build_route(self);
        (EncodedResource::encode(self.name(), &route), problems)
    }
}

impl ResourceKey for NameTableKey {
    fn build(&self) -> (EncodedResource, Vec<Problem>) {
        // There is one, and it has no name.
        (
            EncodedResource::encode("", &build_name_table(self)),
            Vec::new(),
        )
    }
}
