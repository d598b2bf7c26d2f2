//! What a dump shows.

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use reef_xds::{
    any,
    json::{self, JsonError},
};
use serde_json::{Value, json};
use xds_api::{
    Any,
    envoy::{
        config::{
            core::v3::RuntimeDouble,
            endpoint::v3::{ClusterLoadAssignment, cluster_load_assignment},
        },
        extensions::filters::http::router::v3::Router,
        service::discovery::v3::Resource,
        r#type::v3::{DoubleRange, Int64Range, Percent},
    },
    well_known::Duration,
};

use crate::samples;

const UNKNOWN: &str = "type.googleapis.com/istio.telemetry.PluginConfig";

/// What prost-reflect prints, which fails as a whole on an unknown type.
fn reference(any: &Any) -> Result<Value, serde_json::Error> {
    let pool = json::descriptors();
    let descriptor = pool.get_message_by_name("google.protobuf.Any").unwrap();
    let message = DynamicMessage::decode(descriptor, any.encode_to_vec().as_slice()).unwrap();
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options)
}

fn check_against_reference(any: &Any) {
    assert_eq!(json::to_json(any), reference(any).unwrap());
}

#[test]
fn known_messages_print_as_proto_json() {
    check_against_reference(&any(&samples::cluster_with_maps()));
    check_against_reference(&any(&samples::listener_with_http_filter(any(
        &Router::default(),
    ))));
    check_against_reference(&any(&Int64Range {
        start: i64::MIN,
        end: i64::MAX,
    }));
    check_against_reference(&any(&Percent { value: 12.5 }));
    check_against_reference(&any(&ClusterLoadAssignment {
        cluster_name: "c".to_owned(),
        policy: Some(cluster_load_assignment::Policy {
            overprovisioning_factor: Some(140),
            endpoint_stale_after: Some(Duration {
                seconds: -1,
                nanos: -500_000_000,
            }),
            ..Default::default()
        }),
        ..Default::default()
    }));
    check_against_reference(&any(&Duration {
        seconds: 3,
        nanos: 0,
    }));
    check_against_reference(&samples::text_struct_any(&["a", "b"]));
}

#[test]
fn fields_have_their_proto_names_and_special_forms() {
    let view = json::to_json(&any(&samples::cluster_with_maps()));
    assert_eq!(
        view["@type"],
        "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    );
    assert_eq!(view["connect_timeout"], "10.500s");
    assert_eq!(view["type"], "EDS");
    assert_eq!(
        view["metadata"]["filter_metadata"]["istio"]["service"],
        "value of service"
    );
    let options = &view["typed_extension_protocol_options"]["b"];
    assert_eq!(
        options["@type"],
        "type.googleapis.com/google.protobuf.Struct"
    );
    assert_eq!(options["value"]["one"], "value of one");
}

/// Prints a listener with the given filter; the filter must come out as `expected`, the rest whole.
fn check_odd_filter(filter: Any, expected: Value) {
    let listener = any(&samples::listener_with_http_filter(filter));
    let view = json::to_json(&listener);
    assert_eq!(view["name"], "virtualInbound");
    let manager = &view["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(manager["stat_prefix"], "inbound");
    assert_eq!(manager["http_filters"][0]["typed_config"], expected);
    assert_eq!(
        manager["http_filters"][1]["name"],
        "envoy.filters.http.router"
    );
}

#[test]
fn an_unknown_nested_type_is_shown_as_base64() {
    let filter = Any {
        type_url: UNKNOWN.to_owned(),
        value: b"\x0a\x01x".as_slice().into(),
    };
    assert!(reference(&any(&samples::listener_with_http_filter(filter.clone()))).is_err());
    check_odd_filter(filter, json!({ "@type": UNKNOWN, "value": "CgF4" }));
}

#[test]
fn broken_nested_content_is_shown_as_base64() {
    let mut filter = any(&Router::default());
    filter.value = b"\xff".as_slice().into();
    let type_url = filter.type_url.clone();
    check_odd_filter(filter, json!({ "@type": type_url, "value": "/w==" }));
}

#[test]
fn a_type_url_without_slash_or_an_empty_any_is_shown() {
    check_odd_filter(
        Any {
            type_url: "nonsense".to_owned(),
            value: Default::default(),
        },
        json!({ "@type": "nonsense", "value": "" }),
    );
    check_odd_filter(Any::default(), json!({ "@type": "", "value": "" }));
}

#[test]
fn an_unknown_top_level_type_is_shown_as_base64() {
    let any = Any {
        type_url: UNKNOWN.to_owned(),
        value: b"abc".as_slice().into(),
    };
    assert_eq!(
        json::to_json(&any),
        json!({ "@type": UNKNOWN, "value": "YWJj" })
    );
}

#[test]
fn endless_nesting_is_cut_and_does_not_overflow() {
    let nested = (0..5_000).fold(any(&Router::default()), |inner, _| {
        any(&samples::extension("x", inner))
    });
    let mut view = &json::to_json(&nested);
    let mut levels = 0;
    while view["typed_config"].is_object() {
        view = &view["typed_config"];
        levels += 1;
    }
    assert_eq!(levels, 32);
    assert!(view["value"].is_string());
}

#[test]
fn numbers_without_json_form_have_names() {
    let range = DoubleRange {
        start: f64::NEG_INFINITY,
        end: f64::NAN,
    };
    let view = json::message_to_json(&range).unwrap();
    assert_eq!(view, json!({ "start": "-Infinity", "end": "NaN" }));
    let value = RuntimeDouble {
        default_value: f64::INFINITY,
        runtime_key: String::new(),
    };
    assert_eq!(
        json::message_to_json(&value).unwrap(),
        json!({ "default_value": "Infinity" })
    );
}

#[test]
fn a_value_without_proto_json_form_does_not_hide_the_rest() {
    let resource = Resource {
        name: "r".to_owned(),
        ttl: Some(Duration {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..Resource::default()
    };
    let view = json::message_to_json(&resource).unwrap();
    assert_eq!(view["name"], "r");
    assert!(view["ttl"].is_string(), "{view}");
}

#[test]
fn an_unnamed_enum_value_is_shown_as_its_number() {
    let mut cluster = samples::cluster_with_maps();
    cluster.lb_policy = 77;
    assert_eq!(json::message_to_json(&cluster).unwrap()["lb_policy"], 77);
}

#[test]
fn reading_refuses_what_it_does_not_know() {
    let wrong_field =
        json!({ "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "nmae": "c" });
    assert!(matches!(
        json::from_json(&wrong_field),
        Err(JsonError::Invalid(_))
    ));
    assert!(matches!(
        json::from_json(&json!({ "@type": UNKNOWN })),
        Err(JsonError::Invalid(_))
    ));
    assert!(matches!(
        json::from_json(&json!({ "name": "c" })),
        Err(JsonError::Invalid(_))
    ));
}

#[test]
fn reading_accepts_both_field_name_styles() {
    for view in [
        json!({ "clusterName": "c" }),
        json!({ "cluster_name": "c" }),
    ] {
        let read: ClusterLoadAssignment = json::message_from_json(&view).unwrap();
        assert_eq!(read.cluster_name, "c");
    }
}

#[test]
fn a_message_that_is_not_envoys_is_refused() {
    #[derive(Clone, PartialEq, Message)]
    struct Foreign {}
    impl prost::Name for Foreign {
        const NAME: &'static str = "Foreign";
        const PACKAGE: &'static str = "somewhere";
    }
    let error = json::message_to_json(&Foreign {}).unwrap_err();
    assert!(matches!(error, JsonError::UnknownMessage { name } if name == "somewhere.Foreign"));
}

#[test]
fn a_nested_any_can_be_inside_a_well_known_message() {
    let any_in_any = any(&any(&Duration {
        seconds: 1,
        nanos: 0,
    }));
    let view = json::to_json(&any_in_any);
    assert_eq!(view["value"]["value"], "1s");
}
