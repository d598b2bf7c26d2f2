//! The one buffer holds what prost would have encoded.

use proptest::prelude::*;
use prost::Message;
use reef_xds::{EncodedResource, InvalidVersion, ResourceType, Version};
use xds_api::{
    Any,
    envoy::{
        config::{cluster::v3::Cluster, listener::v3::Listener},
        service::discovery::v3::Resource,
    },
};

use crate::samples;

/// Compares every view of the buffer with prost's own encoding of the same thing.
fn check(name: &str, cluster: &Cluster) {
    let encoded = EncodedResource::encode(name, cluster);
    let any = reef_xds::any(cluster);
    let wrapper = Resource {
        name: name.to_owned(),
        version: encoded.version().to_string(),
        resource: Some(any.clone()),
        ..Resource::default()
    };
    assert_eq!(encoded.wire_delta(), wrapper.encode_to_vec());
    assert_eq!(encoded.wire_any(), any.encode_to_vec());
    assert_eq!(encoded.any(), any);
    assert_eq!(encoded.value(), cluster.encode_to_vec());
    assert_eq!(encoded.decode::<Cluster>().unwrap(), *cluster);
    assert_eq!(
        EncodedResource::from_parts(ResourceType::Cluster, name, &any.value),
        encoded
    );
}

#[test]
fn views_equal_what_prost_encodes() {
    check("c", &samples::cluster_with_maps());
}

#[test]
fn empty_name_and_empty_message_are_left_out_as_in_proto3() {
    check("", &Cluster::default());
    check("c", &Cluster::default());
    check("", &samples::cluster_with_maps());
}

proptest! {
    #[test]
    fn views_equal_what_prost_encodes_at_any_length(name in ".{0,200}", text in ".{0,40}", repeat in 0_usize..600) {
        let cluster = Cluster { name: text.repeat(repeat), ..Cluster::default() };
        check(&name, &cluster);
    }

    #[test]
    fn versions_round_trip(text in "[0-9a-f]{32}") {
        prop_assert_eq!(Version::from_wire(&text).unwrap().to_string(), text);
    }

    #[test]
    fn a_changed_byte_changes_the_version(bytes in prop::collection::vec(prop::num::u8::ANY, 1..64), at: prop::sample::Index, flip in 1_u8..) {
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= flip;
        let url = ResourceType::Cluster.type_url();
        prop_assert_ne!(Version::of(url, &bytes), Version::of(url, &changed));
    }
}

#[test]
fn version_depends_on_content_and_type_but_not_on_name() {
    let cluster = Cluster {
        name: "a".to_owned(),
        ..Cluster::default()
    };
    let version = EncodedResource::encode("a", &cluster).version();
    assert_eq!(EncodedResource::encode("b", &cluster).version(), version);
    // A listener whose only field is the same string has the same bytes.
    let listener = Listener {
        name: "a".to_owned(),
        ..Listener::default()
    };
    assert_eq!(listener.encode_to_vec(), cluster.encode_to_vec());
    assert_ne!(EncodedResource::encode("a", &listener).version(), version);
}

#[test]
fn version_is_the_start_of_the_blake3_hash() {
    let mut input = ResourceType::Cluster.type_url().as_bytes().to_vec();
    input.push(0);
    input.extend(b"value");
    let version = Version::of(ResourceType::Cluster.type_url(), b"value");
    assert_eq!(version.as_bytes(), &blake3::hash(&input).as_bytes()[..16]);
}

#[test]
fn foreign_versions_are_refused() {
    for text in [
        "",
        "1",
        "0123456789ABCDEF0123456789ABCDEF",
        "0123456789abcdef0123456789abcdeg",
        "2024-01-01T00:00:00Z/12",
    ] {
        assert_eq!(
            Version::from_wire(text),
            Err(InvalidVersion {
                text: text.to_owned()
            })
        );
    }
}

#[test]
fn resources_differ_by_name_type_and_content() {
    let cluster = Cluster {
        name: "a".to_owned(),
        ..Cluster::default()
    };
    let encoded = EncodedResource::encode("a", &cluster);
    assert_eq!(EncodedResource::encode("a", &cluster), encoded);
    assert_ne!(EncodedResource::encode("b", &cluster), encoded);
    assert_ne!(EncodedResource::encode("a", &Cluster::default()), encoded);
    assert_ne!(
        EncodedResource::encode("a", &Listener::default()),
        EncodedResource::encode("a", &Cluster::default())
    );
}

#[test]
fn clones_and_views_share_one_buffer() {
    let encoded = EncodedResource::encode("c", &samples::cluster_with_maps());
    let copy = encoded.clone();
    assert_eq!(copy.wire_delta().as_ptr(), encoded.wire_delta().as_ptr());
    let buffer = encoded.wire_delta().as_ptr_range();
    let Any { value, .. } = encoded.any();
    assert!(buffer.contains(&value.as_ptr()));
    assert!(buffer.contains(&encoded.wire_any().as_ptr()));
    assert!(encoded.retained_bytes() > encoded.wire_delta().len());
}

#[test]
fn decoding_as_another_type_is_an_error() {
    let encoded = EncodedResource::encode("c", &Cluster::default());
    let error = encoded.decode::<Listener>().unwrap_err().to_string();
    assert!(
        error.contains("envoy.config.listener.v3.Listener"),
        "{error}"
    );
}
