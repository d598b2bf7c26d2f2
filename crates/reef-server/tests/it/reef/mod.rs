//! The items of `xds-protocol.md` 23.3 by their numbers. Items 15 and 16 need a real Envoy and are in `reef-e2e`; item
//! 14 is in `over_tonic`, item 11 in `subscriptions`.

mod nack;
mod names;
mod order;

use crate::kit::*;

/// A delta client after its start: clusters, endpoints, listeners and routes `a` and `b`, everything ACKed.
fn started() -> Hand {
    let mut hand = Hand::delta(World::of(
        &[Cluster, Endpoint, Listener, Route],
        &["a", "b"],
    ));
    hand.subscribe(Cluster, &[], &[]);
    let clusters = hand.says("CDS +a=1 +b=1");
    hand.subscribe(Endpoint, &["a", "b"], &[]);
    hand.ack(&clusters);
    hand.says_acked("EDS +a=1 +b=1");
    hand.subscribe(Listener, &[], &[]);
    let listeners = hand.says("LDS +a=1 +b=1");
    hand.subscribe(Route, &["a", "b"], &[]);
    hand.ack(&listeners);
    hand.says_acked("RDS +a=1 +b=1");
    hand.silent();
    hand
}
