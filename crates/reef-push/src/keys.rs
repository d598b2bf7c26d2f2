//! The keys of `reef-gen` as keys of the stores.

use std::sync::Arc;

use reef_config::Problem;
use reef_gen::{
    ClusterKey, EndpointKey, ListenerKey, NameTableKey, RouteKey, build_cluster, build_endpoints,
    build_listener, build_name_table, encode_route,
};
use reef_xds::EncodedResource;

use crate::store::ResourceKey;

impl ResourceKey for ClusterKey {
    fn build(&self, _: Option<(&Self, &EncodedResource)>) -> (EncodedResource, Vec<Problem>) {
        let (cluster, problems) = build_cluster(self);
        (EncodedResource::encode(self.name(), &cluster), problems)
    }
}

impl ResourceKey for EndpointKey {
    fn build(&self, _: Option<(&Self, &EncodedResource)>) -> (EncodedResource, Vec<Problem>) {
        (
            EncodedResource::encode(self.name(), &build_endpoints(self)),
            Vec::new(),
        )
    }
}

impl ResourceKey for ListenerKey {
    fn build(&self, _: Option<(&Self, &EncodedResource)>) -> (EncodedResource, Vec<Problem>) {
        let (listener, problems) = build_listener(self);
        (EncodedResource::encode(self.name(), &listener), problems)
    }
}

impl ResourceKey for RouteKey {
    fn build(&self, last: Option<(&Self, &EncodedResource)>) -> (EncodedResource, Vec<Problem>) {
        let resource = encode_route(self, last);
        if cfg!(debug_assertions) && last.is_some() {
            assert_eq!(
                resource,
                encode_route(self, None),
                "a route configuration made from parts of the last differs: {self:?}"
            );
        }
        // What is wrong with routes is told of the class.
        (resource, Vec::new())
    }

    fn last_name(&self) -> Option<Arc<str>> {
        Some(self.name())
    }
}

impl ResourceKey for NameTableKey {
    fn build(&self, _: Option<(&Self, &EncodedResource)>) -> (EncodedResource, Vec<Problem>) {
        // There is one, and it has no name.
        (
            EncodedResource::encode("", &build_name_table(self)),
            Vec::new(),
        )
    }
}
