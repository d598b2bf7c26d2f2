//! Every door where an API server says who is who: node ids that are not their bearer's (T35), and debug data (T33).

use std::net::SocketAddr;
use std::sync::Arc;

use super::kit::{POD_UID, bound};
use crate::{
    Authorizer, BoundPod, ClusterRules, Credential, Decision, Denial, Door, PodRecord, Request,
    VerifiedToken,
};
use reef_config::Uid;

const NODE: &str = "sidecar~10.1.0.7~cart-1.shop~shop.svc.cluster.local";
const STREAMS: [Door; 3] = [Door::StateOfTheWorld, Door::Delta, Door::Unary];
const NEAR: &str = "127.0.0.1:9";
const OWN: &str = "10.1.0.7:9";
const FAR: &str = "10.1.0.8:9";

fn authorizer(insecure: bool) -> Authorizer {
    Authorizer::new(insecure).with_cluster(ClusterRules {
        debug_namespaces: vec!["reef-system".to_owned(), "watchers".to_owned()],
        check_peer_address: true,
    })
}

fn pod() -> PodRecord {
    PodRecord {
        namespace: "shop".into(),
        name: "cart-1".into(),
        uid: Uid::parse(POD_UID),
        service_account: "cart".into(),
        ips: ["10.1.0.7".parse().unwrap(), "fd00::7".parse().unwrap()].into(),
        host_network: false,
        in_cluster: true,
    }
}

fn token() -> VerifiedToken {
    VerifiedToken {
        namespace: "shop".into(),
        service_account: "cart".into(),
        pod: Some(bound()),
        expires: None,
    }
}

#[derive(Clone)]
struct Case {
    peer: &'static str,
    node: &'static str,
    token: Option<VerifiedToken>,
    pod: Option<PodRecord>,
    tls: bool,
}

fn case() -> Case {
    Case {
        peer: OWN,
        node: NODE,
        token: Some(token()),
        pod: Some(pod()),
        tls: true,
    }
}

impl Case {
    fn on(&self, authorizer: &Authorizer, door: Door) -> Decision {
        let credential = self
            .token
            .clone()
            .map_or(Credential::None, |token| Credential::Token(Arc::new(token)));
        authorizer.decide(&Request {
            peer: Some(self.peer.parse::<SocketAddr>().unwrap()),
            door,
            node: self.node,
            credential: &credential,
            pod: self.pod.as_ref(),
            tls: self.tls,
        })
    }

    #[track_caller]
    fn refused(&self, denial: Denial) {
        for door in STREAMS {
            assert_eq!(
                self.on(&authorizer(true), door),
                Decision::Deny(denial),
                "{door:?}"
            );
        }
    }

    #[track_caller]
    fn served(&self) {
        for door in STREAMS {
            assert_eq!(
                self.on(&authorizer(false), door),
                Decision::Allow,
                "{door:?}"
            );
        }
    }
}

#[test]
fn a_pod_with_its_token_is_served_from_any_of_its_addresses() {
    case().served();
    for peer in ["[fd00::7]:1", "[::ffff:10.1.0.7]:1", NEAR] {
        Case { peer, ..case() }.served();
    }
    let second = "sidecar~fd00::7~cart-1.shop~shop.svc.cluster.local";
    Case {
        node: second,
        ..case()
    }
    .served();
}

#[test]
fn without_a_token_there_is_no_stream_over_tls_not_even_from_loopback() {
    for peer in [OWN, NEAR] {
        Case {
            token: None,
            peer,
            ..case()
        }
        .refused(Denial::NoCredential);
    }
}

#[test]
fn a_node_id_of_somebody_else_is_refused() {
    let other = |change: fn(&mut PodRecord)| {
        let mut pod = pod();
        change(&mut pod);
        Case {
            pod: Some(pod),
            ..case()
        }
    };
    // What the node named belongs to another account, namespace or pod than the token.
    other(|pod| pod.service_account = "root".into()).refused(Denial::WrongIdentity);
    other(|pod| pod.namespace = "bank".into()).refused(Denial::WrongIdentity);
    other(|pod| pod.name = "cart-2".into()).refused(Denial::WrongIdentity);
    other(|pod| pod.in_cluster = false).refused(Denial::WrongIdentity);
    other(|pod| pod.uid = Uid::parse("ffffffff-1111-4222-8333-444455556666"))
        .refused(Denial::OtherIncarnation);
    // The node id contradicts the pod that was looked up.
    for node in [
        "sidecar~10.1.0.7~cart-2.shop~shop.svc.cluster.local",
        "sidecar~10.1.0.7~cart-1.bank~bank.svc.cluster.local",
        "sidecar~10.1.0.7~cart-1.shop~bank.svc.cluster.local",
        "sidecar~10.1.0.8~cart-1.shop~shop.svc.cluster.local",
        "sidecar~~cart-1.shop~shop.svc.cluster.local",
        "sidecar~10.1.0.7~cart-1.shop~shop.svc.cluster.local~x",
        "cart-1.shop",
        "",
    ] {
        Case { node, ..case() }.refused(Denial::WrongNode);
    }
    Case {
        peer: FAR,
        ..case()
    }
    .refused(Denial::WrongAddress);
}

#[test]
fn what_the_api_server_did_not_tell_yet_may_come() {
    let nameless = PodRecord {
        ips: Box::default(),
        ..pod()
    };
    for (case, denial) in [
        (
            Case {
                pod: None,
                ..case()
            },
            Denial::UnknownWorkload,
        ),
        (
            Case {
                pod: Some(nameless),
                ..case()
            },
            Denial::NoAddress,
        ),
    ] {
        case.refused(denial);
        assert!(denial.may_pass());
    }
    assert!(Denial::OtherIncarnation.may_pass());
    for never in [
        Denial::WrongIdentity,
        Denial::WrongNode,
        Denial::WrongAddress,
        Denial::NoCredential,
        Denial::BadToken,
    ] {
        assert!(!never.may_pass(), "{never}");
    }
}

#[test]
fn a_pod_on_the_network_of_its_host_may_come_from_any_of_its_addresses() {
    let pod = PodRecord {
        host_network: true,
        ..pod()
    };
    Case {
        peer: FAR,
        pod: Some(pod),
        ..case()
    }
    .served();
}

#[test]
fn where_addresses_change_on_the_way_they_are_not_compared() {
    let lax = Authorizer::new(false).with_cluster(ClusterRules {
        debug_namespaces: Vec::new(),
        check_peer_address: false,
    });
    let far = Case {
        peer: FAR,
        ..case()
    };
    assert_eq!(far.on(&lax, Door::Delta), Decision::Allow);
}

#[test]
fn a_virtual_machine_has_a_token_of_its_account_and_the_address_of_its_entry() {
    let entry = PodRecord {
        in_cluster: false,
        name: "vm".into(),
        uid: None,
        ..pod()
    };
    let machine = Case {
        node: "sidecar~10.1.0.7~whatever.shop~shop.svc.cluster.local",
        token: Some(VerifiedToken {
            pod: None,
            ..token()
        }),
        pod: Some(entry),
        ..case()
    };
    machine.served();
    Case {
        peer: FAR,
        ..machine.clone()
    }
    .refused(Denial::WrongAddress);
    // A pod cannot pass for a machine.
    Case {
        token: Some(token()),
        ..machine
    }
    .refused(Denial::WrongIdentity);
}

#[test]
fn an_account_token_without_pod_is_as_good_as_its_address() {
    let loose = Case {
        token: Some(VerifiedToken {
            pod: None,
            ..token()
        }),
        ..case()
    };
    loose.served();
    Case { peer: FAR, ..loose }.refused(Denial::WrongAddress);
    let partly = VerifiedToken {
        pod: Some(BoundPod {
            name: "cart-1".into(),
            uid: None,
        }),
        ..token()
    };
    Case {
        token: Some(partly),
        ..case()
    }
    .served();
}

#[test]
fn plaintext_must_name_a_workload_and_a_token_there_proves_nothing() {
    let plain = Case {
        tls: false,
        peer: NEAR,
        ..case()
    };
    plain.served();
    Case {
        token: None,
        ..plain.clone()
    }
    .served();
    Case {
        pod: None,
        ..plain.clone()
    }
    .refused(Denial::UnknownWorkload);
    Case {
        node: "sidecar~10.9.9.9~cart-1.shop~shop.svc.cluster.local",
        ..plain.clone()
    }
    .refused(Denial::WrongNode);
    let afar = Case { peer: OWN, ..plain };
    assert_eq!(
        afar.on(&authorizer(false), Door::Delta),
        Decision::Deny(Denial::PlaintextFromAfar)
    );
    assert_eq!(afar.on(&authorizer(true), Door::Delta), Decision::Allow);
    Case { peer: FAR, ..afar }.refused(Denial::WrongAddress);
}

#[test]
fn debug_data_is_shown_to_tokens_each_its_namespace() {
    let of = |namespace: &str| {
        Some(VerifiedToken {
            namespace: namespace.into(),
            pod: None,
            ..token()
        })
    };
    for tls in [false, true] {
        for peer in [NEAR, FAR] {
            for door in [Door::Debug, Door::Syncz] {
                let ask = |token| {
                    Case {
                        token,
                        peer,
                        tls,
                        pod: None,
                        ..case()
                    }
                    .on(&authorizer(true), door)
                };
                assert_eq!(ask(of("reef-system")), Decision::Allow);
                assert_eq!(ask(of("watchers")), Decision::Allow);
                assert_eq!(ask(of("shop")), Decision::AllowNamespace("shop".into()));
                let nobody = match (door, peer) {
                    (Door::Syncz, NEAR) => Decision::Allow,
                    _ => Decision::Deny(Denial::DebugWithoutToken),
                };
                assert_eq!(ask(None), nobody, "{door:?} {peer}");
            }
        }
    }
}

#[test]
fn all_failures_of_identity_read_the_same() {
    let identity = [
        Denial::UnknownWorkload,
        Denial::OtherIncarnation,
        Denial::NoAddress,
        Denial::WrongIdentity,
        Denial::WrongNode,
        Denial::WrongAddress,
    ];
    for denial in identity {
        assert_eq!(denial.told(), identity[0].told());
        assert!(!denial.is_unauthenticated());
    }
    assert_eq!(Denial::NoCredential.told(), Denial::BadToken.told());
    assert!(Denial::BadToken.is_unauthenticated());
}
