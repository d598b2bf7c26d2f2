//! `Sidecar`.

use std::collections::BTreeSet;

use super::check::{Check, Shown};
use super::destination_rule::pool;
use super::text::{self, Protocol};
use super::{selector, server_tls, virtual_service};
use crate::istio::{
    CaptureMode, IstioEgressListener, IstioIngressListener, OutboundTrafficPolicyMode,
    ServerTlsMode, Sidecar, SidecarPort,
};
use crate::kind::Kind;
use crate::parse::Path;

mod egress_host;

crate::validation_rules! {
    [Kind::Sidecar];
    Error EMPTY "sc-empty" "A Sidecar has ingress, egress, outboundTrafficPolicy or inboundConnectionPool";
    Error PORT_TARGET "sc-port-target" "The port of a listener has no targetPort, which has no effect";
    Error PORT_NAME "sc-port-name" "The name of a listener's port is 1 to 63 letters, digits and inner dashes";
    Error PORT_PROTOCOL "sc-port-protocol" "The protocol of a listener's port is one that Istio knows, or absent";
    Error BIND "sc-bind" "A listener binds an address; an egress listener with the port 0 binds unix:///path";
    Error INGRESS_PORT "sc-ingress-port" "An ingress listener has a port, 1 to 65535";
    Error INGRESS_TWICE "sc-ingress-twice" "Two ingress listeners have different ports";
    Error ENDPOINT "sc-ingress-endpoint" "defaultEndpoint is 127.0.0.1, 0.0.0.0, [::1] or [::] with a port, or unix:///path";
    Error TLS_NAMES "sc-ingress-tls-names" "The tls of ingress has no subjectAltNames";
    Error TLS_REDIRECT "sc-ingress-tls-redirect" "The tls of ingress has no httpsRedirect";
    Error TLS_CREDENTIAL "sc-ingress-tls-credential" "The tls of ingress has no credentialName: sidecars read no Secrets";
    Error TLS_MODE "sc-ingress-tls-mode" "The mode of ingress tls is not ISTIO_MUTUAL or AUTO_PASSTHROUGH";
    Warning POOL_HTTP "sc-ingress-pool" "The http part of an ingress listener's connectionPool goes with a port of HTTP";
    Error EGRESS_PORT "sc-egress-port" "The port of an egress listener is 1 to 65535, or 0 with a socket";
    Error EGRESS_TWICE "sc-egress-twice" "Two egress listeners have different ports, or sockets";
    Error EGRESS_LAST "sc-egress-last" "The egress listener without port is the last one, and the only one";
    Error EGRESS_CAPTURE "sc-egress-capture" "The captureMode of a socket is DEFAULT or NONE";
    Error EGRESS_HOSTS "sc-egress-hosts" "An egress listener has hosts";
    Error PROXY_MODE "sc-proxy-mode" "egressProxy goes with the mode ALLOW_ANY";
    Error PROXY_HOST "sc-proxy-host" "The host of egressProxy is a domain name";
    Error PROXY_PORT "sc-proxy-port" "egressProxy has a port";
}

/// The rules of `Sidecar`.
pub(super) fn rules() -> [&'static [&'static super::Rule]; 2] {
    [RULES, egress_host::RULES]
}

/// Checks a `Sidecar` of a namespace.
pub(super) fn check(own: &str, sidecar: &Sidecar, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let selector = sidecar.workload_selector.as_ref();
    selector::workload(check, &spec.key("workloadSelector"), selector);
    let nothing = sidecar.ingress.is_empty()
        && sidecar.egress.is_empty()
        && sidecar.outbound_traffic_policy.is_none()
        && sidecar.inbound_connection_pool.is_none();
    check.tell_if(nothing, &EMPTY, &spec, "a sidecar must set something");
    let field = spec.key("ingress");
    let mut numbers = BTreeSet::new();
    for (index, listener) in sidecar.ingress.iter().enumerate() {
        let at = field.index(index);
        ingress(check, &at, listener);
        if let Some(port) = &listener.port
            && !numbers.insert(port.number)
        {
            let reason = format_args!("an earlier listener has the port {}", port.number);
            check.tell(&INGRESS_TWICE, &at.key("port"), reason);
        }
    }
    let inbound = sidecar.inbound_connection_pool.as_ref();
    pool::check(check, &spec.key("inboundConnectionPool"), inbound);
    let field = spec.key("egress");
    let mut places = BTreeSet::new();
    for (index, listener) in sidecar.egress.iter().enumerate() {
        let at = field.index(index);
        egress(check, &at, listener);
        egress_host::check(check, &at.key("hosts"), &listener.hosts, own);
        match &listener.port {
            None => {
                let early = index + 1 != sidecar.egress.len();
                let reason = "the listener without port must be the last one";
                check.tell_if(early, &EGRESS_LAST, &at, reason);
            }
            Some(port) => {
                let socket = if port.number == 0 {
                    listener.bind.as_deref()
                } else {
                    None
                };
                if !places.insert((port.number, socket)) {
                    let reason = "an earlier listener has the same port or socket";
                    check.tell(&EGRESS_TWICE, &at.key("port"), reason);
                }
            }
        }
    }
    outbound(check, &spec, sidecar);
}

fn port(check: &mut Check<'_>, at: &Path<'_>, port: &SidecarPort) {
    let target = port.target_port.is_some_and(|port| port != 0);
    check.tell_if(
        target,
        &PORT_TARGET,
        &at.key("targetPort"),
        "this has no effect",
    );
    if !port.name.is_empty() && !text::is_label(&port.name) {
        let reason = format_args!("{} is not the name of a port", Shown(&port.name));
        check.tell(&PORT_NAME, &at.key("name"), reason);
    }
    if !port.protocol.is_empty() && text::protocol(&port.protocol).is_none() {
        let reason = format_args!("{} is not a protocol", Shown(&port.protocol));
        check.tell(&PORT_PROTOCOL, &at.key("protocol"), reason);
    }
}

fn bind_address(check: &mut Check<'_>, at: &Path<'_>, bind: Option<&str>) {
    if let Some(bind) = bind.filter(|bind| !bind.is_empty())
        && !text::is_address(bind)
    {
        let reason = format_args!("{} is not an IP address", Shown(bind));
        check.tell(&BIND, &at.key("bind"), reason);
    }
}

fn ingress(check: &mut Check<'_>, at: &Path<'_>, listener: &IstioIngressListener) {
    let field = at.key("port");
    let Some(ingress_port) = &listener.port else {
        check.tell(&INGRESS_PORT, &field, "an ingress listener needs a port");
        return;
    };
    port(check, &field, ingress_port);
    check.port(&INGRESS_PORT, &field.key("number"), ingress_port.number);
    bind_address(check, at, listener.bind.as_deref());
    if let Some(endpoint) = listener.default_endpoint.as_deref()
        && !endpoint.is_empty()
        && !is_default_endpoint(endpoint)
    {
        let reason = format_args!(
            "{} is not 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH",
            Shown(endpoint)
        );
        check.tell(&ENDPOINT, &at.key("defaultEndpoint"), reason);
    }
    if let Some(tls) = &listener.tls {
        let at = at.key("tls");
        let names = !tls.subject_alt_names.is_empty();
        let unsupported = "this is not supported here";
        check.tell_if(names, &TLS_NAMES, &at.key("subjectAltNames"), unsupported);
        let field = at.key("httpsRedirect");
        check.tell_if(tls.https_redirect, &TLS_REDIRECT, &field, unsupported);
        let secret = tls
            .credential_name
            .as_ref()
            .is_some_and(|name| !name.is_empty());
        check.tell_if(
            secret,
            &TLS_CREDENTIAL,
            &at.key("credentialName"),
            unsupported,
        );
        let mode = matches!(
            tls.mode,
            ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough
        );
        check.tell_if(mode, &TLS_MODE, &at.key("mode"), unsupported);
        if !mode && !secret {
            server_tls::check(check, &at, tls);
        }
    }
    pool::check(
        check,
        &at.key("connectionPool"),
        listener.connection_pool.as_ref(),
    );
    let http = listener
        .connection_pool
        .as_ref()
        .is_some_and(|pool| pool.http.is_some());
    if http && text::protocol(&ingress_port.protocol) != Some(Protocol::Http) {
        let reason = "the port is not one of HTTP, so only the tcp part has an effect";
        check.tell(&POOL_HTTP, &at.key("connectionPool"), reason);
    }
}

fn is_default_endpoint(endpoint: &str) -> bool {
    if let Some(path) = endpoint.strip_prefix("unix://") {
        return text::socket(path).is_ok();
    }
    ["127.0.0.1:", "0.0.0.0:", "[::1]:", "[::]:", ":"]
        .iter()
        .find_map(|prefix| endpoint.strip_prefix(prefix))
        .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn egress(check: &mut Check<'_>, at: &Path<'_>, listener: &IstioEgressListener) {
    let none = listener.hosts.is_empty();
    check.tell_if(none, &EGRESS_HOSTS, &at.key("hosts"), "hosts are needed");
    let Some(egress_port) = &listener.port else {
        return;
    };
    let field = at.key("port");
    port(check, &field, egress_port);
    let bind = listener.bind.as_deref().unwrap_or_default();
    if egress_port.number != 0 {
        check.port(&EGRESS_PORT, &field.key("number"), egress_port.number);
        // Istio takes no socket beside a port; Envoy can bind one, and Reef does.
        if !bind.starts_with("unix://") {
            bind_address(check, at, Some(bind));
        }
        return;
    }
    let Some(path) = bind.strip_prefix("unix://") else {
        let reason = "the port 0 needs a socket, bind: unix:///path";
        check.tell(&EGRESS_PORT, &field.key("number"), reason);
        return;
    };
    check.tell_err(&BIND, &at.key("bind"), bind, text::socket(path));
    let captured = listener.capture_mode == CaptureMode::Iptables;
    let reason = "a socket cannot be captured by iptables";
    check.tell_if(captured, &EGRESS_CAPTURE, &at.key("captureMode"), reason);
}

fn outbound(check: &mut Check<'_>, spec: &Path<'_>, sidecar: &Sidecar) {
    let Some(policy) = &sidecar.outbound_traffic_policy else {
        return;
    };
    let Some(proxy) = &policy.egress_proxy else {
        return;
    };
    let at = spec.key("outboundTrafficPolicy");
    let at = at.key("egressProxy");
    if policy.mode != OutboundTrafficPolicyMode::AllowAny {
        check.tell(&PROXY_MODE, &at, "this goes with the mode ALLOW_ANY only");
        return;
    }
    if let Err(reason) = text::domain(&proxy.host) {
        let reason = format_args!("{}: {reason}", Shown(&proxy.host));
        check.tell(&PROXY_HOST, &at.key("host"), reason);
        return;
    }
    if proxy.port.is_none() {
        check.tell(&PROXY_PORT, &at.key("port"), "a port is needed");
    }
    virtual_service::destination(check, &at, proxy);
}
