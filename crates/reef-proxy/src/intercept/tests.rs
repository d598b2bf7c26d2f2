//! Tests of the interception rules. That a kernel does with them what they say is tested in
//! `tests/`, in a real network namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Cidr, Family, InterceptError, InterceptOptions, Ports, ProxySockets, Ranges, install_input,
    remove_input, route_commands,
};

fn rules_of(options: &InterceptOptions, family: Family, chain: &str) -> Vec<String> {
    let head = format!("-A {chain} ");
    install_input(options, family, "")
        .lines()
        .filter_map(|line| line.strip_prefix(&head).map(str::to_owned))
        .collect()
}

fn annotated(pairs: &[(&str, &str)]) -> Result<Option<InterceptOptions>, InterceptError> {
    let annotations: BTreeMap<String, String> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    InterceptOptions::from_annotations(&annotations)
}

#[test]
fn the_default_leads_everything_through_the_proxy_but_its_own() {
    let options = InterceptOptions::default();
    assert_eq!(
        rules_of(&options, Family::V4, "REEF_OUTPUT"),
        [
            "-s 127.0.0.6/32 -o lo -j RETURN",
            "! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 \
             -j REEF_IN_REDIRECT",
            "-m owner --uid-owner 1337 -j RETURN",
            "! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1337 \
             -j REEF_IN_REDIRECT",
            "-o lo -m owner ! --gid-owner 1337 -j RETURN",
            "-m owner --gid-owner 1337 -j RETURN",
            "-d 127.0.0.1/32 -j RETURN",
            "-j REEF_REDIRECT",
        ]
    );
    assert_eq!(
        rules_of(&options, Family::V4, "REEF_INBOUND"),
        [
            "-p tcp -m tcp --dport 15008 -j RETURN",
            "-p tcp -m tcp --dport 15020 -j RETURN",
            "-p tcp -m tcp --dport 15021 -j RETURN",
            "-p tcp -m tcp --dport 15090 -j RETURN",
            "-p tcp -j REEF_IN_REDIRECT",
        ]
    );
}

#[test]
fn each_family_has_its_own_loopback_and_ranges() {
    let options = InterceptOptions {
        exclude_outbound: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        ..InterceptOptions::default()
    };
    let v4 = install_input(&options, Family::V4, "");
    let v6 = install_input(&options, Family::V6, "");
    assert!(v4.contains("-d 10.0.0.0/8 -j RETURN") && !v4.contains("fd00"));
    assert!(v6.contains("-d fd00::/8 -j RETURN") && !v6.contains("10.0.0.0"));
    assert!(v6.contains("-s ::6/128 -o lo -j RETURN") && !v6.contains("127.0.0"));
}

#[test]
fn installing_again_replaces_the_jumps_instead_of_doubling_them() {
    let present = "*nat\n:REEF_INBOUND - [0:0]\n-A PREROUTING -p tcp -j REEF_INBOUND\n\
                   -A PREROUTING -p tcp -j KUBE\nCOMMIT\n";
    let input = install_input(&InterceptOptions::default(), Family::V4, present);
    let deleted: Vec<&str> = input.lines().filter(|l| l.starts_with("-D")).collect();
    assert_eq!(deleted, ["-D PREROUTING -p tcp -j REEF_INBOUND"]);
}

#[test]
fn removal_touches_only_what_is_there_and_ours() {
    assert_eq!(
        remove_input("*nat\n:KUBE - [0:0]\nCOMMIT\n"),
        "*nat\nCOMMIT\n"
    );
    let present = "*nat\n:REEF_OUTPUT - [0:0]\n-A OUTPUT -p tcp -j REEF_OUTPUT\nCOMMIT\n";
    assert_eq!(
        remove_input(present),
        "*nat\n-D OUTPUT -p tcp -j REEF_OUTPUT\n-F REEF_OUTPUT\n-X REEF_OUTPUT\nCOMMIT\n"
    );
}

#[test]
fn annotations_become_options() {
    let options = annotated(&[
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges",
            "10.0.0.0/8, fd00::1",
        ),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "3306,6379"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "8080"),
        ("traffic.sidecar.istio.io/excludeInterfaces", "eth1"),
    ])
    .unwrap()
    .unwrap();
    let ranges: Vec<Cidr> = ["10.0.0.0/8", "fd00::1/128"]
        .map(|range| range.parse().unwrap())
        .into();
    assert_eq!(options.include_outbound, Ranges::Only(ranges));
    assert_eq!(options.exclude_outbound_ports, BTreeSet::from([3306, 6379]));
    assert_eq!(
        options.include_inbound_ports,
        Ports::Only(BTreeSet::from([8080]))
    );
    let output = rules_of(&options, Family::V4, "REEF_OUTPUT");
    assert_eq!(output.first().unwrap(), "-o eth1 -j RETURN");
    assert_eq!(output.last().unwrap(), "-d 10.0.0.0/8 -j REEF_REDIRECT");
}

#[test]
fn no_interception_is_an_answer_and_an_unreadable_value_is_an_error() {
    let mode = "sidecar.istio.io/interceptionMode";
    assert_eq!(annotated(&[(mode, "NONE")]).unwrap(), None);
    assert_eq!(
        annotated(&[(mode, "OTHER")]).unwrap_err().to_string(),
        "annotation sidecar.istio.io/interceptionMode: \"OTHER\" is not REDIRECT, TPROXY or NONE"
    );
    let port = "traffic.sidecar.istio.io/excludeInboundPorts";
    assert!(annotated(&[(port, "80,http")]).is_err());
    let interface = "traffic.sidecar.istio.io/excludeInterfaces";
    assert!(annotated(&[(interface, "eth0 -j DROP")]).is_err());
    assert!("10.0.0.0/33".parse::<Cidr>().is_err());
}

#[test]
fn a_marked_proxy_is_told_by_its_mark() {
    let options = InterceptOptions {
        proxy: ProxySockets::Mark(1337),
        ..InterceptOptions::default()
    };
    let rules = rules_of(&options, Family::V4, "REEF_OUTPUT");
    assert!(rules.contains(&"-m mark --mark 1337 -j RETURN".to_owned()));
    assert!(rules.contains(&"-o lo -m mark ! --mark 1337 -j RETURN".to_owned()));
    assert!(!rules.iter().any(|rule| rule.contains("owner")));
}

#[test]
fn tproxy_takes_inbound_connections_in_mangle_and_leaves_the_rest_as_it_is() {
    let options = annotated(&[
        ("sidecar.istio.io/interceptionMode", "TPROXY"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "9000"),
    ])
    .unwrap()
    .unwrap();
    assert_eq!(rules_of(&options, Family::V4, "REEF_INBOUND"), [""; 0]);
    let inbound = rules_of(&options, Family::V4, "REEF_TPROXY_IN");
    assert!(inbound.contains(&"-p tcp -m tcp --dport 9000 -j RETURN".to_owned()));
    assert_eq!(
        inbound.last().unwrap(),
        "-p tcp -j TPROXY --on-port 15006 --tproxy-mark 1337"
    );
    let output = rules_of(&options, Family::V4, "REEF_OUTPUT");
    assert_eq!(output.last().unwrap(), "-j REEF_REDIRECT");
    assert_eq!(
        route_commands(&options, Family::V6)[0].join(" "),
        "-6 rule add fwmark 1337 lookup 133"
    );
    assert!(route_commands(&InterceptOptions::default(), Family::V4).is_empty());
    let present = "*mangle\n:REEF_TPROXY_IN - [0:0]\n\
                   -A PREROUTING -p tcp -j REEF_TPROXY_IN\nCOMMIT\n";
    assert_eq!(
        remove_input(present),
        "*nat\nCOMMIT\n*mangle\n-D PREROUTING -p tcp -j REEF_TPROXY_IN\n\
         -F REEF_TPROXY_IN\n-X REEF_TPROXY_IN\nCOMMIT\n"
    );
}

#[test]
fn port_of_probes_is_never_led_through_the_proxy() {
    let status = "status.sidecar.istio.io/port";
    let excluded = "traffic.sidecar.istio.io/excludeInboundPorts";
    let options = annotated(&[(status, "15999"), (excluded, "8081")])
        .unwrap()
        .unwrap();
    let inbound = rules_of(&options, Family::V4, "REEF_INBOUND");
    for port in [8081, 15999, 15021] {
        let rule = format!("-p tcp -m tcp --dport {port} -j RETURN");
        assert!(inbound.contains(&rule), "{inbound:?}");
    }
    let off = annotated(&[(status, "0")]).unwrap().unwrap();
    assert_eq!(off.exclude_inbound_ports, BTreeSet::new());
    assert!(annotated(&[(status, "http")]).is_err());
}

#[test]
fn options_are_written_as_annotations_that_mean_them() {
    let read = |pairs: &[(&str, &str)]| {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let annotations = pairs.iter().map(own).collect();
        InterceptOptions::from_annotations(&annotations)
            .unwrap()
            .unwrap()
    };
    assert!(InterceptOptions::default().annotations().is_empty());
    let options = read(&[
        ("sidecar.istio.io/interceptionMode", "TPROXY"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", ""),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
            " 10.0.0.0/8,, fd00::/8",
        ),
        ("traffic.sidecar.istio.io/includeOutboundPorts", "53"),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "3306, 25"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "80"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "0081"),
        ("traffic.sidecar.istio.io/excludeInterfaces", "eth1"),
        ("status.sidecar.istio.io/port", "15999"),
    ]);
    let written = options.annotations();
    assert_eq!(
        written["traffic.sidecar.istio.io/excludeInboundPorts"],
        "81,15999"
    );
    assert_eq!(
        written["traffic.sidecar.istio.io/includeOutboundIPRanges"],
        ""
    );
    let written: Vec<(&str, &str)> = written.iter().map(|(k, v)| (*k, v.as_str())).collect();
    assert_eq!(read(&written), options);
}
