//! Names are what an Istio mesh expects, and come back as they were.

use proptest::prelude::*;
use reef_xds::names::{
    ClusterName, inbound_cluster, outbound_cluster, outbound_sni, parse_outbound_sni,
};

#[test]
fn names_have_the_form_the_mesh_expects() {
    let host = "web.default.svc.cluster.local";
    assert_eq!(
        outbound_cluster(80, "", host),
        "outbound|80||web.default.svc.cluster.local"
    );
    assert_eq!(
        outbound_cluster(80, "v1", host),
        "outbound|80|v1|web.default.svc.cluster.local"
    );
    assert_eq!(inbound_cluster(8080), "inbound|8080||");
    assert_eq!(
        outbound_sni(80, "", host),
        "outbound_.80_._.web.default.svc.cluster.local"
    );
    assert_eq!(
        outbound_sni(80, "v1", host),
        "outbound_.80_.v1_.web.default.svc.cluster.local"
    );
}

#[test]
fn fixed_clusters_parse() {
    assert_eq!(
        ClusterName::parse("BlackHoleCluster"),
        Some(ClusterName::BlackHole)
    );
    assert_eq!(
        ClusterName::parse("PassthroughCluster"),
        Some(ClusterName::Passthrough)
    );
    assert_eq!(
        ClusterName::parse("InboundPassthroughCluster"),
        Some(ClusterName::InboundPassthrough)
    );
}

#[test]
fn other_names_do_not_parse() {
    for name in [
        "",
        "xds-grpc",
        "blackholecluster",
        "outbound",
        "outbound|80",
        "outbound|80||",
        "outbound||v1|web",
        "outbound|080||web",
        "outbound|+80||web",
        "outbound|65536||web",
        "outbound|80||web|more",
        "inbound|80|v1|",
        "inbound|80||web",
        "inbound|80|",
        "sideways|80||web",
    ] {
        assert_eq!(ClusterName::parse(name), None, "{name}");
    }
    for sni in [
        "",
        "web",
        "outbound_.80_.v1",
        "outbound_.80_.v1_.",
        "outbound_.x_.v1_.web",
        "outbound|80||web",
    ] {
        assert_eq!(parse_outbound_sni(sni), None, "{sni}");
    }
}

/// Subset names are DNS labels.
fn subset() -> impl Strategy<Value = String> {
    "([a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?)?"
}

/// Host names, including wildcards.
fn host() -> impl Strategy<Value = String> {
    r"(\*\.)?[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,10}[a-z0-9])?){0,4}"
}

proptest! {
    #[test]
    fn outbound_names_round_trip(port: u16, subset in subset(), host in host()) {
        let name = outbound_cluster(port, &subset, &host);
        let expected = ClusterName::Outbound { port, subset: &subset, host: &host };
        prop_assert_eq!(ClusterName::parse(&name), Some(expected));
        let sni = outbound_sni(port, &subset, &host);
        prop_assert_eq!(parse_outbound_sni(&sni), Some((port, subset.as_str(), host.as_str())));
    }

    #[test]
    fn inbound_names_round_trip(port: u16) {
        let name = inbound_cluster(port);
        prop_assert_eq!(ClusterName::parse(&name), Some(ClusterName::Inbound { port }));
    }

    #[test]
    fn whatever_parses_prints_as_it_was(name in r"(in|out)bound\|[+0-9]{0,6}\|[a-z]{0,2}\|[a-z|.]{0,4}") {
        if let Some(parsed) = ClusterName::parse(&name) {
            prop_assert_eq!(parsed.to_string(), name);
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in r"\PC{0,40}") {
        if let Some((port, subset, host)) = parse_outbound_sni(&text) {
            prop_assert_eq!(outbound_sni(port, subset, host), text.clone());
        }
        if let Some(parsed) = ClusterName::parse(&text) {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }
}
