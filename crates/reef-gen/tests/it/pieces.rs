//! A route configuration encoded from parts of another is what it is when encoded from nothing.

use proptest::prelude::*;
use prost::Message;
use reef_gen::{ClassInput, RouteKey, build_route, encode_route, route_keys};
use reef_mesh::identify;

use crate::world::{class, node, snapshot};

/// A service: not there, alone, or with routes of its own in one of two wordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Absent,
    Plain,
    Routed(u8),
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        Just(Host::Absent),
        Just(Host::Plain),
        (0u8..2).prop_map(Host::Routed),
    ]
}

fn mesh(hosts: &[Host], policy: &str) -> ClassInput {
    let mut texts = Vec::new();
    for (at, host) in hosts.iter().enumerate() {
        if *host == Host::Absent {
            continue;
        }
        texts.push(format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{at}, namespace: a}}\n\
             spec: {{clusterIP: 10.0.0.{}, ports: [{{name: http, port: 80}}]}}\n",
            at + 1
        ));
        if let Host::Routed(wording) = host {
            texts.push(format!(
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                 metadata: {{name: v{at}, namespace: a}}\nspec: {{hosts: [s{at}], \
                 http: [{{timeout: {}s, route: [{{destination: {{host: s{at}}}}}]}}]}}\n",
                wording + 1
            ));
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mesh = format!("{{outboundTrafficPolicy: {{mode: {policy}}}}}");
    let snapshot = snapshot(&texts, Some(&mesh));
    let node = node("id: sidecar~10.9.9.9~p.a~a.svc.cluster.local\n");
    class(&snapshot, &identify(&snapshot, &node))
}

/// The route configuration of port 80.
fn routes(input: &ClassInput) -> Option<RouteKey> {
    route_keys(input)
        .into_iter()
        .find(|key| &*key.name() == "80")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn parts_of_the_last_version_change_no_byte(
        before in prop::collection::vec(host(), 12),
        after in prop::collection::vec(prop::option::weighted(0.3, host()), 12),
        blocked: [bool; 2],
    ) {
        let after: Vec<Host> = after
            .iter()
            .zip(&before)
            .map(|(new, old)| new.unwrap_or(*old))
            .collect();
        let policy = |blocked| if blocked { "REGISTRY_ONLY" } else { "ALLOW_ANY" };
        let old = routes(&mesh(&before, policy(blocked[0])));
        let new = routes(&mesh(&after, policy(blocked[1])));
        if let (Some(old), Some(new)) = (old, new) {
            let last = encode_route(&old, None);
            let made = encode_route(&new, Some((&old, &last)));
            prop_assert_eq!(made.value(), build_route(&new).0.encode_to_vec());
            let whole = encode_route(&new, None);
            prop_assert_eq!(made.version(), whole.version());
        }
    }
}
