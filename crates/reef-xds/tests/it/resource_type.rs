//! Types and messages agree.

use prost::Name;
use reef_xds::{ResourceType, UnknownTypeUrl, XdsResource, json};
use xds_api::envoy::{
    config::{
        cluster::v3::Cluster,
        core::v3::TypedExtensionConfig,
        endpoint::v3::ClusterLoadAssignment,
        listener::v3::Listener,
        route::v3::{RouteConfiguration, ScopedRouteConfiguration, VirtualHost},
    },
    extensions::transport_sockets::tls::v3::Secret,
    service::runtime::v3::Runtime,
};
use xds_api::istio::networking::nds::v1::NameTable;

fn check<M: XdsResource + Name>(short_name: &str) {
    assert_eq!(M::TYPE.type_url(), M::type_url());
    assert_eq!(M::TYPE.short_name(), short_name);
    assert_eq!(ResourceType::from_url(&M::type_url()), Some(M::TYPE));
}

#[test]
fn type_urls_are_those_of_the_messages() {
    check::<Cluster>("CDS");
    check::<ClusterLoadAssignment>("EDS");
    check::<Listener>("LDS");
    check::<ScopedRouteConfiguration>("SRDS");
    check::<RouteConfiguration>("RDS");
    check::<VirtualHost>("VHDS");
    check::<Secret>("SDS");
    check::<TypedExtensionConfig>("ECDS");
    check::<Runtime>("RTDS");
    check::<NameTable>("NDS");
}

#[test]
fn every_type_has_a_descriptor_and_parses_back() {
    for resource_type in ResourceType::ALL {
        let url = resource_type.type_url();
        assert_eq!(url.parse(), Ok(resource_type));
        let name = url.strip_prefix("type.googleapis.com/").unwrap();
        assert!(
            json::descriptors().get_message_by_name(name).is_some(),
            "{name}"
        );
    }
}

#[test]
fn types_order_as_they_are_sent() {
    assert!(ResourceType::ALL.is_sorted());
    assert!(ResourceType::Cluster < ResourceType::Endpoint);
    assert!(ResourceType::Endpoint < ResourceType::Listener);
    assert!(ResourceType::Listener < ResourceType::Route);
}

#[test]
fn only_listeners_and_clusters_are_full_state() {
    let full: Vec<_> = ResourceType::ALL
        .into_iter()
        .filter(|kind| kind.is_full_state())
        .collect();
    assert_eq!(full, [ResourceType::Cluster, ResourceType::Listener]);
}

#[test]
fn another_type_url_is_an_error_that_names_it() {
    let type_url = "type.googleapis.com/envoy.api.v2.Cluster".to_owned();
    assert_eq!(
        type_url.parse::<ResourceType>(),
        Err(UnknownTypeUrl { type_url })
    );
}
