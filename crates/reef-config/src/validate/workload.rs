//! `WorkloadEntry`, alone and inside a `ServiceEntry`, and `WorkloadGroup`.

use serde_json::Value;

use super::Rule;
use super::check::{Check, Shown};
use super::text;
use crate::istio::{WorkloadEntry, WorkloadGroup};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::WorkloadEntry, Kind::ServiceEntry];
    Error ADDRESS_MISSING "we-address-missing" "A workload has an address, or a network that leads to it";
    Warning ADDRESS_NETWORK "we-address-network" "A workload has an address; without one it is reached through the gateway of its network only";
    Error ADDRESS "we-address" "The address of a workload is an IP address, a domain name or unix:///path";
    Error SOCKET "we-socket" "The path of a socket is absolute and names a file, or begins with @";
    Error SOCKET_PORTS "we-socket-ports" "A socket has no ports";
    Error PORT_NAME "we-port-name" "The name of a workload's port is 1 to 63 letters, digits and inner dashes";
    Error PORT_NUMBER "we-port-number" "The number of a workload's port is 1 to 65535";
    Error LABELS "we-labels" "The labels of a workload have the form of Kubernetes labels";
}

/// Rules of `WorkloadGroup`.
pub(super) mod group {
    use super::Kind;

    crate::validation_rules! {
        [Kind::WorkloadGroup];
        Error LABELS "wg-labels" "The labels of a WorkloadGroup's metadata have the form of Kubernetes labels";
        Error PROBE_NUMBER "wg-probe-number" "Times and thresholds of a probe are not negative";
        Error PROBE_METHOD "wg-probe-method" "A probe has one of httpGet, tcpSocket, exec and grpc";
        Error PROBE_PORT "wg-probe-port" "The port of a probe is 1 to 65535";
        Error PROBE_SCHEME "wg-probe-scheme" "The scheme of a probe is HTTP or HTTPS";
        Error PROBE_HEADER "wg-probe-header" "A header of a probe has a name of letters, digits, '-' and '_'";
        Error PROBE_COMMAND "wg-probe-command" "A probe with exec has a command";
    }
}

/// Checks a `WorkloadEntry` of its own.
pub(super) fn check(entry: &WorkloadEntry, check: &mut Check<'_>) {
    let root = Path::Root;
    self::entry(check, &root.key("spec"), entry, None);
}

/// Checks a workload; `addresses` is the rule a domain name breaks where it is none.
pub(super) fn entry(
    check: &mut Check<'_>,
    at: &Path<'_>,
    entry: &WorkloadEntry,
    addresses: Option<&'static Rule>,
) {
    let field = at.key("address");
    let address = &*entry.address;
    if address.is_empty() {
        if entry.network.as_deref().unwrap_or_default().is_empty() {
            let reason = "an address is needed where there is no network";
            check.tell(&ADDRESS_MISSING, &field, reason);
            return;
        }
        let reason = "without an address only the gateway of the network leads here";
        check.tell(&ADDRESS_NETWORK, &field, reason);
    } else if let Some(path) = address.strip_prefix("unix://") {
        check.tell_err(&SOCKET, &field, address, text::socket(path));
        let some = !entry.ports.is_empty();
        check.tell_if(
            some,
            &SOCKET_PORTS,
            &at.key("ports"),
            "a socket has no ports",
        );
    } else if !text::is_address(address) {
        match addresses {
            Some(rule) => {
                let reason = format_args!(
                    "{} is not an IP address, which STATIC needs",
                    Shown(address)
                );
                check.tell(rule, &field, reason);
            }
            None => check.tell_err(&ADDRESS, &field, address, text::domain(address)),
        }
    }
    ports(check, at, entry);
    labels(check, at, entry);
}

/// Checks the ports of a workload.
pub(super) fn ports(check: &mut Check<'_>, at: &Path<'_>, entry: &WorkloadEntry) {
    let field = at.key("ports");
    for (name, number) in entry.ports.iter() {
        let at = field.key(name);
        if !text::is_label(name) {
            let reason = format_args!("{} is not the name of a port", Shown(name));
            check.tell(&PORT_NAME, &at, reason);
        }
        check.port(&PORT_NUMBER, &at, number);
    }
}

/// Checks the labels of a workload.
pub(super) fn labels(check: &mut Check<'_>, at: &Path<'_>, entry: &WorkloadEntry) {
    if let Err((key, reason)) = text::workload_labels(&entry.labels) {
        let at = at.key("labels");
        check.tell(&LABELS, &at.key(key), reason);
    }
}

/// Checks a `WorkloadGroup`; its template may lack what is filled in when a workload registers.
pub(super) fn check_group(group: &WorkloadGroup, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    if let Some(meta) = &group.metadata
        && let Err((key, reason)) = text::workload_labels(&meta.labels)
    {
        let at = spec.key("metadata");
        let at = at.key("labels");
        check.tell(&group::LABELS, &at.key(key), reason);
    }
    if let Some(probe) = &group.probe {
        probes(check, &spec.key("probe"), probe);
    }
}

fn probes(check: &mut Check<'_>, at: &Path<'_>, probe: &Value) {
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        let value = probe.get(field).and_then(Value::as_i64);
        let negative = value.is_some_and(|value| value < 0);
        check.tell_if(
            negative,
            &group::PROBE_NUMBER,
            &at.key(field),
            "must not be negative",
        );
    }
    let methods = ["httpGet", "tcpSocket", "exec", "grpc"].map(|name| (name, probe.get(name)));
    if methods
        .iter()
        .filter(|(_, method)| method.is_some())
        .count()
        != 1
    {
        let reason = "one of httpGet, tcpSocket, exec and grpc is needed";
        check.tell(&group::PROBE_METHOD, at, reason);
    }
    for (name, method) in methods {
        let Some(method) = method else { continue };
        let at = at.key(name);
        let text = |field: &str| {
            method
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if name == "exec" {
            let command = method.get("command").and_then(Value::as_array);
            let none = command.is_none_or(Vec::is_empty);
            let field = at.key("command");
            check.tell_if(none, &group::PROBE_COMMAND, &field, "a command is needed");
            continue;
        }
        let port = method
            .get("port")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let port = u32::try_from(port).unwrap_or(u32::MAX);
        check.port(&group::PROBE_PORT, &at.key("port"), port);
        if name != "httpGet" {
            continue;
        }
        if !["", "HTTP", "HTTPS"].contains(&text("scheme")) {
            let reason = format_args!("{} is neither HTTP nor HTTPS", Shown(text("scheme")));
            check.tell(&group::PROBE_SCHEME, &at.key("scheme"), reason);
        }
        let headers = method.get("httpHeaders").and_then(Value::as_array);
        for (index, header) in headers.into_iter().flatten().enumerate() {
            let name = header
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if !text::is_header_name(name) {
                let field = at.key("httpHeaders");
                let reason = format_args!("{} is not the name of a header", Shown(name));
                check.tell(&group::PROBE_HEADER, &field.index(index), reason);
            }
        }
    }
}
