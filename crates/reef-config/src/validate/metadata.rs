//! What holds for the metadata of every kind of Istio's.

use super::check::Check;
use crate::kind::Kind;
use crate::object::Object;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService, Kind::DestinationRule, Kind::ServiceEntry, Kind::WorkloadEntry, Kind::WorkloadGroup, Kind::Sidecar, Kind::Gateway, Kind::PeerAuthentication, Kind::RequestAuthentication, Kind::EnvoyFilter, Kind::Telemetry, Kind::ProxyConfig];
    Error DRY_RUN "meta-dry-run" "The annotation istio.io/dry-run is for AuthorizationPolicies; other kinds always take effect";
}

/// Checks the annotations of an object of Istio's.
pub(super) fn check(object: &Object, check: &mut Check<'_>) {
    let kind = object.key.kind;
    if kind.is_istio()
        && kind != Kind::AuthorizationPolicy
        && object.meta.annotations.contains_key("istio.io/dry-run")
    {
        let root = Path::Root;
        let at = root.key("metadata");
        let at = at.key("annotations");
        let reason = "only an AuthorizationPolicy can be tried without effect";
        check.tell(&DRY_RUN, &at.key("istio.io/dry-run"), reason);
    }
}
