//! `Gateway`.

use std::collections::BTreeSet;

use super::check::{Check, Shown};
use super::server_tls;
use super::text::{self, Protocol};
use crate::istio::{Gateway, Server, ServerTlsMode};
use crate::kind::Kind;
use crate::object::Object;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::Gateway];
    Error NAME "gw-name" "The name of a Gateway is 1 to 63 letters, digits and inner dashes, without dots";
    Error SERVERS "gw-servers" "A Gateway has a server";
    Error HOSTS "gw-hosts" "A server has a host";
    Error HOST_NAMESPACE "gw-host-namespace" "The namespace of a server's host is a namespace, `*` or `.`";
    Error HOST_SHORT "gw-host-short" "A server's host is `*` or has a dot; there are no short names";
    Error HOST "gw-host" "A server's host is a domain name that may begin with a wildcard, or an address";
    Error HOST_PARTIAL "gw-host-partial" "The wildcard of a server's host is a whole label, `*.`";
    Error PORT_MISSING "gw-port-missing" "A server has a port";
    Error PORT_NUMBER "gw-port-number" "The port of a server is 1 to 65535, unless it binds a socket";
    Error PORT_PROTOCOL "gw-port-protocol" "The protocol of a server's port is one that Istio knows";
    Error PORT_TARGET "gw-port-target" "A server's port has no targetPort, which has no effect";
    Error PORT_NAME "gw-port-name" "The port of a server has a name";
    Error PORT_NAME_TWICE "gw-port-name-twice" "The ports of two servers have different names";
    Error BIND "gw-bind" "A server binds an address or unix:///path";
    Error BIND_PORT "gw-bind-port" "A server that binds a socket has the port 0";
    Error TLS_MISSING "gw-tls-missing" "A server for HTTPS or TLS has tls";
    Error TLS_PLAIN "gw-tls-plain" "A server for another protocol has no tls, the redirect of HTTP apart";
    Warning REDIRECT "gw-redirect" "httpsRedirect is for servers of HTTP";
}

/// Checks a `Gateway`.
pub(super) fn check(object: &Object, gateway: &Gateway, check: &mut Check<'_>) {
    let root = Path::Root;
    if !text::is_label(&object.key.name) {
        let metadata = root.key("metadata");
        let reason = format_args!("{} must not have dots", Shown(&object.key.name));
        check.tell(&NAME, &metadata.key("name"), reason);
    }
    let spec = root.key("spec");
    let field = spec.key("servers");
    let none = gateway.servers.is_empty();
    check.tell_if(none, &SERVERS, &field, "a gateway needs a server");
    let mut names = BTreeSet::new();
    for (index, server) in gateway.servers.iter().enumerate() {
        let at = field.index(index);
        serves(check, &at, server);
        let Some(port) = &server.port else { continue };
        let at = at.key("port");
        let at = at.key("name");
        if port.name.is_empty() {
            check.tell(&PORT_NAME, &at, "a name is needed");
        } else if !names.insert(port.name.as_str()) {
            let reason = format_args!("another server's port is called {}", Shown(&port.name));
            check.tell(&PORT_NAME_TWICE, &at, reason);
        }
    }
}

fn serves(check: &mut Check<'_>, at: &Path<'_>, server: &Server) {
    let hosts = at.key("hosts");
    let none = server.hosts.is_empty();
    check.tell_if(none, &HOSTS, &hosts, "a server needs a host");
    for (index, host) in server.hosts.iter().enumerate() {
        one_host(check, &hosts.index(index), host);
    }
    if let Some(tls) = &server.tls {
        server_tls::check(check, &at.key("tls"), tls);
    }
    let bind = server.bind.as_deref().unwrap_or_default();
    let socket = bind.strip_prefix("unix://");
    let field = at.key("bind");
    match socket {
        Some(path) => check.tell_err(&BIND, &field, bind, text::socket(path)),
        None if !bind.is_empty() && !text::is_address(bind) => {
            let reason = format_args!("{} is neither an address nor unix:///path", Shown(bind));
            check.tell(&BIND, &field, reason);
        }
        None => {}
    }
    let field = at.key("port");
    let Some(port) = &server.port else {
        check.tell(&PORT_MISSING, &field, "a port is needed");
        return;
    };
    if socket.is_none() {
        check.port(&PORT_NUMBER, &field.key("number"), port.number);
    } else {
        let some = port.number != 0;
        check.tell_if(
            some,
            &BIND_PORT,
            &field.key("number"),
            "a socket has the port 0",
        );
    }
    let target = port.target_port.is_some_and(|port| port != 0);
    check.tell_if(
        target,
        &PORT_TARGET,
        &field.key("targetPort"),
        "this has no effect",
    );
    let Some(protocol) = text::protocol(&port.protocol) else {
        let reason = format_args!("{} is not a protocol", Shown(&port.protocol));
        check.tell(&PORT_PROTOCOL, &field.key("protocol"), reason);
        return;
    };
    match (&server.tls, protocol) {
        (None, Protocol::Tls) => {
            check.tell(&TLS_MISSING, &at.key("tls"), "the protocol needs it");
        }
        (Some(tls), Protocol::Http) => {
            // Only the redirect counts, and it comes without a mode.
            let ends = !matches!(
                tls.mode,
                ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough
            );
            check.tell_if(ends, &TLS_PLAIN, &at.key("tls"), "HTTP is not encrypted");
        }
        (Some(tls), Protocol::Tls) => {
            let reason = "only requests of HTTP can be redirected";
            let field = at.key("tls");
            check.tell_if(
                tls.https_redirect,
                &REDIRECT,
                &field.key("httpsRedirect"),
                reason,
            );
        }
        (Some(_), _) => {
            check.tell(&TLS_PLAIN, &at.key("tls"), "the protocol is not encrypted");
        }
        (None, _) => {}
    }
}

fn one_host(check: &mut Check<'_>, at: &Path<'_>, entry: &str) {
    let (namespace, host) = match entry.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, entry),
    };
    if let Some(namespace) = namespace
        && !matches!(namespace, "*" | ".")
        && !text::is_label(namespace)
    {
        let reason = format_args!("{} is not a namespace", Shown(namespace));
        check.tell(&HOST_NAMESPACE, at, reason);
    }
    if host == "*" || text::is_address(host) {
        return;
    }
    if let Err(reason) = text::domain_pattern(host) {
        check.tell(&HOST, at, format_args!("{}: {reason}", Shown(host)));
    } else if !host.contains('.') {
        check.tell(&HOST_SHORT, at, format_args!("{host} has no dot"));
    } else if host.starts_with('*') && !host.starts_with("*.") {
        let reason = format_args!("{host}: a wildcard must be a whole label");
        check.tell(&HOST_PARTIAL, at, reason);
    }
}
