//! Every door against every kind of peer, without an API server.

use std::net::SocketAddr;

use crate::{Authorizer, BindError, Decision, Denial, Door, Request};

const STREAMS: [Door; 3] = [Door::StateOfTheWorld, Door::Delta, Door::Unary];
const ALL: [Door; 5] = [
    Door::StateOfTheWorld,
    Door::Delta,
    Door::Unary,
    Door::Debug,
    Door::Syncz,
];

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn decide(insecure: bool, peer: Option<&str>, door: Door) -> Decision {
    Authorizer::new(insecure).decide(&Request::anonymous(peer.map(addr), door))
}

#[test]
fn loopback_may_use_every_door() {
    for peer in [
        "127.0.0.1:1",
        "127.8.0.1:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        for door in ALL {
            assert_eq!(
                decide(false, Some(peer), door),
                Decision::Allow,
                "{peer} {door:?}"
            );
        }
    }
}

#[test]
fn another_machine_needs_insecure_xds_for_every_kind_of_stream() {
    for peer in ["10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"] {
        for door in STREAMS {
            assert_eq!(
                decide(false, Some(peer), door),
                Decision::Deny(Denial::PlaintextFromAfar),
                "{peer} {door:?}"
            );
            assert_eq!(
                decide(true, Some(peer), door),
                Decision::Allow,
                "{peer} {door:?}"
            );
        }
    }
}

#[test]
fn debug_data_never_leaves_the_machine() {
    for insecure in [false, true] {
        for door in [Door::Debug, Door::Syncz] {
            assert_eq!(
                decide(insecure, Some("10.0.0.1:1"), door),
                Decision::Deny(Denial::DebugFromAfar)
            );
        }
    }
}

#[test]
fn a_peer_without_address_is_refused() {
    for door in ALL {
        assert_eq!(
            decide(true, None, door),
            Decision::Deny(Denial::UnknownPeer)
        );
    }
}

#[test]
fn binding_beyond_loopback_needs_the_flag() {
    let open = addr("0.0.0.0:15010");
    assert_eq!(
        Authorizer::new(false).check_bind(open),
        Err(BindError::PlaintextXds { addr: open })
    );
    assert_eq!(Authorizer::new(true).check_bind(open), Ok(()));
    assert_eq!(
        Authorizer::new(false).check_bind(addr("127.0.0.1:0")),
        Ok(())
    );
    assert_eq!(Authorizer::new(false).check_bind(addr("[::1]:0")), Ok(()));
    let text = Authorizer::new(false)
        .check_bind(open)
        .unwrap_err()
        .to_string();
    assert!(text.contains("--insecure-xds") && text.contains("0.0.0.0:15010"));
}

#[test]
fn encryption_alone_is_no_identity() {
    let request = Request {
        tls: true,
        ..Request::anonymous(Some(addr("10.0.0.1:1")), Door::Delta)
    };
    assert_eq!(
        Authorizer::new(false).decide(&request),
        Decision::Deny(Denial::NoCredential)
    );
}
